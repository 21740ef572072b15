"""The words behind a plugin's name on its line."""

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.log import Level
from qpsmtpd.outcome import Policy
from qpsmtpd.setting import Setting, SettingError, describe, read_arguments, settings_of, split_words

BAD = SettingError


class ConstructorTests(SynchronousTestCase):
    """Each constructor: its default, words and their values, and words that are refused."""

    def check(self, setting: Setting[Any], default: Any, good: dict[str, Any], bad: dict[str, str]) -> None:
        owner = type("Owner", (), {"x": setting})
        self.assertEqual(default, owner().x)
        for word, value in good.items():
            self.assertEqual({"x": value}, read_arguments(owner, ["x", word]), word)
        for word, allowed in bad.items():
            with self.assertRaises(SettingError, msg=word) as caught:
                read_arguments(owner, ["x", word])
            self.assertEqual(f"x{allowed}", str(caught.exception).replace(repr(word), "WORD"))

    def test_text(self) -> None:
        self.check(Setting.text("d"), "d", {"a": "a", "": ""}, {})

    def test_pattern(self) -> None:
        setting = Setting.text(pattern="[ab]+", allowed="a or b")
        self.check(setting, "", {"abba": "abba"}, {"abc": ": WORD is not a or b", "": ": WORD is not a or b"})

    def test_integer(self) -> None:
        refused = ": WORD is not a whole number of at least 1 and at most 9"
        bad = dict.fromkeys(["0", "10", "-1", "1.0", "", "x", "1_0", "\u0661"], refused)
        self.check(Setting.integer(3, minimum=1, maximum=9), 3, {"1": 1, "09": 9}, bad)

    def test_integer_of_nothing(self) -> None:
        """A maximum of 0 is a maximum, too."""
        setting = Setting.integer(minimum=-2, maximum=0)
        refused = ": WORD is not a whole number of at least -2 and at most 0"
        self.check(setting, 0, {"-2": -2}, {"1": refused})

    def test_seconds(self) -> None:
        refused = " (seconds): WORD is not a number of at least 2"
        bad = dict.fromkeys(["1", "x", "-3", "3s", "inf", "nan", "1e3", "9" * 400], refused)
        self.check(Setting.seconds(5, minimum=2), 5, {"2": 2.0, "2.5": 2.5}, bad)

    def test_switch(self) -> None:
        good = {"1": True, "yes": True, "ON": True, "0": False, "off": False, "False": False}
        self.check(
            Setting.switch(), False, good, {"maybe": ": WORD is not 0 or 1", "": ": WORD is not 0 or 1"}
        )

    def test_choice(self) -> None:
        setting = Setting.choice("a", ("a", "b"))
        self.check(setting, "a", {"a": "a", "B": "b"}, {"c": ": WORD is not one of a, b"})

    def test_words(self) -> None:
        self.check(Setting.words(["d"]), ("d",), {"a,b": ("a", "b"), "a,,": ("a",), ",": ()}, {})

    def test_path(self) -> None:
        self.check(Setting.path("/d"), Path("/d"), {"/a/b": Path("/a/b")}, {})

    def test_level(self) -> None:
        good = {"0": Level.EMERG, "LOGINFO": Level.INFO, "debug": Level.DEBUG}
        self.check(Setting.level(), Level.WARN, good, {})
        with self.assertRaisesRegex(SettingError, "x: '8' is not a log level: 0 to 7 or EMERG, .*RADAR$"):
            read_arguments(type("Owner", (), {"x": Setting.level()}), ["x", "8"])

    def test_reject(self) -> None:
        good = {"0": Policy.TOLERATE, "1": Policy.REJECT, "naughty": Policy.NAUGHTY}
        self.check(
            Setting.reject(default=False), Policy.TOLERATE, good, {"2": ": WORD is not 0, 1 or naughty"}
        )

    def test_reject_type(self) -> None:
        words = ("temp", "soft", "perm", "hard", "disconnect", "temp_disconnect")
        refused = f": WORD is not one of {', '.join(words)}"
        self.check(Setting.reject_type(), "", {word: word for word in words}, {"later": refused})

    def test_own_error(self) -> None:
        """A reader's own words say more."""
        with self.assertRaisesRegex(SettingError, r"x: '\(' is not a pattern: missing \)"):
            import re

            read_arguments(
                type("Owner", (), {"x": Setting(re.compile, None, allowed="a pattern")}), ["x", "("]
            )


class Owner:
    place = Setting.path(position=True, required=True)
    words = Setting.text(position=True, rest=True)
    wait = Setting.seconds(1)
    loud = Setting.switch()
    hosts = Setting.text(many=True, keyword="only-for")


class LineTests(SynchronousTestCase):
    """Words by position, by keyword, as flags; in any mixture."""

    def read(self, line: str, owner: type = Owner) -> dict[str, Any]:
        return read_arguments(owner, split_words(line))

    def refuse(self, line: str, owner: type = Owner) -> str:
        with self.assertRaises(SettingError) as caught:
            self.read(line, owner)
        return str(caught.exception)

    def test_mixture(self) -> None:
        expected = {"place": Path("/a"), "wait": 2.0, "loud": True}
        for line in ("/a wait 2 loud", "wait 2 /a loud 1", "loud yes wait 2 /a"):
            self.assertEqual(expected, self.read(line), line)

    def test_rest(self) -> None:
        """All that is left is one text."""
        self.assertEqual("b c wait 2", self.read("/a b c wait 2")["words"])

    def test_many(self) -> None:
        """What may be repeated is a tuple; its keyword need not be a name."""
        self.assertEqual(("x", "y"), self.read("/a only-for x only-for y")["hosts"])

    def test_many_positions(self) -> None:
        owner = type("Many", (), {"names": Setting.text(position=True, many=True)})
        self.assertEqual({"names": ("a", "b", "c")}, self.read("a b c", owner))

    def test_flag(self) -> None:
        """A flag needs no value, and takes one that is meant for it only."""
        self.assertEqual({"place": Path("/a"), "loud": True}, self.read("loud /a"))
        self.assertEqual({"place": Path("/a"), "loud": False}, self.read("loud 0 /a"))
        self.assertEqual({"place": Path("/a"), "loud": True, "wait": 3.0}, self.read("/a loud wait 3"))

    def test_missing(self) -> None:
        allowed = "allowed are PLACE [WORDS] [wait] [loud] [only-for]"
        self.assertEqual(f"missing argument place; {allowed}", self.refuse("wait 2"))

    def test_unknown(self) -> None:
        owner = type("None_", (), {"wait": Setting.seconds()})
        self.assertEqual("unknown argument 'x'; allowed are [wait]", self.refuse("x", owner))

    def test_no_value(self) -> None:
        self.assertEqual("wait needs a value: a number of at least 0", self.refuse("/a wait"))

    def test_twice(self) -> None:
        self.assertEqual("wait is given twice", self.refuse("/a wait 1 wait 1"))

    def test_quotes(self) -> None:
        """Double quotes keep a word with blanks together; others are letters."""
        rows = {
            'a "b c" d': ["a", "b c", "d"],
            '""': [""],
            "'a b'": ["'a", "b'"],
            'a"b c"': ['a"b', 'c"'],
            '"a b': ['"a', "b"],
            " \t a\t b ": ["a", "b"],
        }
        for line, words in rows.items():
            self.assertEqual(words, split_words(line), line)


class ClassTests(SynchronousTestCase):
    def test_inherited(self) -> None:
        """A class has the settings of its bases, and may replace or drop them."""
        child = type("Child", (Owner,), {"wait": Setting.integer(7), "loud": None})
        self.assertEqual(["place", "words", "hosts", "wait"], list(settings_of(child)))
        self.assertEqual(7, child().wait)

    def test_on_the_class(self) -> None:
        """On the class a setting is itself, with its name and keyword."""
        self.assertEqual(("hosts", "only-for"), (Owner.hosts.name, Owner.hosts.keyword))
        self.assertEqual(("wait", "wait"), (Owner.wait.name, Owner.wait.keyword))

    def test_value(self) -> None:
        """A value that is set is found before the default."""
        owner = Owner()
        owner.wait = 9  # type: ignore[assignment]
        self.assertEqual(9, owner.wait)
        self.assertEqual(1, Owner().wait)

    def test_describe(self) -> None:
        self.assertEqual("allowed are ", describe({}))
