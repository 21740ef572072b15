"""The words behind a plugin's name."""

from .test_loader import LoaderCase


class ArgumentTests(LoaderCase):
    """The words behind a plugin's name."""

    BODY = """\
        class P(Plugin):
            first = Setting.text("one", position=True)
            second = Setting.integer(2, position=True, maximum=9)
            wait = Setting.seconds(1.5)
            loud = Setting.switch()
            host = Setting.text(many=True)
            at_end = Setting.text(keyword="at-end")
        """

    def values(self, text):
        plugin = self.load(text)
        names = ("first", "second", "wait", "loud", "host", "at_end", "on_error", "reject")
        values = {name: getattr(plugin, name) for name in names}
        return {name: value for name, value in values.items() if value != getattr(type(plugin), name).default}

    def test_values(self):
        """Words become settings by place and by keyword, in any order; the rest keeps its default."""
        self.write("p", self.BODY)
        for text, expected in [
            ("p", {}),
            ("p a", {"first": "a"}),
            ("p a 3", {"first": "a", "second": 3}),
            ("p wait 3", {"wait": 3.0}),
            ("p wait 0.25 a 3", {"wait": 0.25, "first": "a", "second": 3}),
            ("p a wait 3 4", {"wait": 3.0, "first": "a", "second": 4}),
            ("p loud", {"loud": True}),
            ("p loud wait 3", {"loud": True, "wait": 3.0}),
            ("p loud no a", {"first": "a"}),
            ("p loud 1 a", {"loud": True, "first": "a"}),
            ("p host a host b", {"host": ("a", "b")}),
            ("p at-end x", {"at_end": "x"}),
            ("p on_error reject reject 0", {"on_error": "reject", "reject": 0}),
            ('p "a b"  wait\t3', {"first": "a b", "wait": 3.0}),
            ('p ""', {"first": ""}),
            ('p a"b', {"first": 'a"b'}),
        ]:
            self.assertEqual(expected, self.values(text), text)

    def test_wrong(self):
        """The error names the plugin, the word, and what is allowed."""
        self.write("p", self.BODY)
        common = "[reject] [reject_type] [loglevel] [on_error] [hook_timeout] [shadow]"
        for text, expected in [
            ("p a x", "p: second: 'x' is not a whole number of at least 0 and at most 9"),
            ("p a 10", "p: second: '10' is not a whole number"),
            ("p a 1 b", f"p: unknown argument 'b'; allowed are {common} [FIRST] [SECOND] [wait]"),
            ("p wait", "p: wait needs a value: a number of at least 0"),
            ("p wait soon", "p: wait (seconds): 'soon' is not a number of at least 0"),
            ("p wait 1 wait 2", "p: wait is given twice"),
            ("p on_error panic", "p: on_error: 'panic' is not one of tempfail, continue, reject, disconnect"),
            ("p loglevel LOUD", "p: loglevel: 'LOUD' is not a log level: 0 to 7 or EMERG,"),
        ]:
            self.assertIn(expected, self.error(text), text)

    def test_rest_and_required(self):
        """rest takes all words that are left; what is required must be there."""
        self.write(
            "p", "class P(Plugin):\n    text = Setting.text(position=True, rest=True, required=True)\n"
        )
        self.assertEqual("a  wait b", self.load('p "a " wait b').text)
        self.assertIn("p: missing argument text; allowed are", self.error("p"))
        self.assertTrue(self.error("p").endswith("[shadow] TEXT"))

    def test_many_by_place(self):
        """A positional setting may take many words."""
        self.write("p", "class P(Plugin):\n    names = Setting.text(position=True, many=True)\n")
        self.assertEqual(("a", "b"), self.load("p a b").names)

    def test_characters(self):
        """Only printable ASCII and tabs are allowed; the error shows the others as escapes."""
        self.write("p", self.BODY)
        for text, shown in [("p ü", r"'p \xfc'"), ("p \x07", r"'p \x07'"), ("p \u2028", r"'p \u2028'")]:
            self.assertEqual(f"{shown}: only printable ASCII characters are allowed", self.error(text))
