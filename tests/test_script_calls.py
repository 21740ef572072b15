"""qpsmtpd check: who accepts recipients, who stores mail, who is never asked."""

from .scriptcase import CheckCase


class CallTests(CheckCase):
    """Who accepts, who stores, who is never asked."""

    def test_nothing_accepts(self):
        """Without a plugin that may accept recipients no mail comes in."""
        for lines in ("slow\nkeep m", "badrcptto\nkeep m", "rcpt_ok shadow\nkeep m", "keep m"):
            self.write("plugins", lines)
            self.assert_found("plugins: error: no plugin accepts recipients: load rcpt_ok")

    def test_what_may_accept(self):
        """OK may be mentioned by the hook, by what it calls, by a function in it, or by register."""
        for body in [
            "class P(Plugin):\n    def hook_rcpt(self):\n        return OK('mine')",
            "class P(Plugin):\n    def hook_rcpt(self):\n        return self.verdict()\n"
            "    def verdict(self):\n        return OK",
            "class P(Plugin):\n    def hook_rcpt(self):\n        return verdict()\n"
            "def verdict():\n    return OK",
            "class P(Plugin):\n    def hook_rcpt(self):\n        return [OK for _ in 'x'][0]",
            "class P(Plugin):\n    def hook_rcpt(self):\n        return self.table['x']\n"
            "    def register(self):\n        self.table = {'x': OUTCOMES['OK']}",
            "class P(Plugin):\n    def register(self):\n        self.register_hook('rcpt', self.verdict)\n"
            "    def verdict(self):\n        return OK",
            "class P(isa_plugin('rcpt_ok')):\n    pass",
            "import functools\nclass P(Plugin):\n    def register(self):\n"
            "        self.register_hook('rcpt', functools.partial(lambda: 0))",
        ]:
            self.plugin("mine", body)
            self.write("plugins", "mine\nkeep mail")
            self.assertEqual([], self.found(), body)

    def test_what_does_not_accept(self):
        """OK of another hook does not count, nor does a circle of calls."""
        for body in [
            "class P(Plugin):\n    def hook_rcpt(self):\n        return DENY\n"
            "    def hook_mail(self):\n        return OK",
            "class P(Plugin):\n    def hook_rcpt(self):\n        return self.hook_rcpt()",
        ]:
            self.plugin("mine", body)
            self.write("plugins", "mine\nkeep mail")
            self.assert_found("no plugin accepts recipients")

    def test_no_queue(self):
        """Without a queue plugin, or with one whose answer is ignored, every message is refused."""
        for lines in ("rcpt_ok", "rcpt_ok\nkeep mail shadow"):
            self.write("plugins", lines)
            self.assert_found("plugins: error: no queue plugin is loaded: nothing stores the mail")

    def test_no_plugins_file(self):
        """A directory without plugins is wrong on both counts."""
        (self.directory / "plugins").unlink()
        self.assert_found("plugins: error: no plugin accepts recipients", "plugins: error: no queue plugin")

    def test_never_asked(self):
        """What comes behind rcpt_ok, or behind a child of it, is named with its own line."""
        self.plugin("child", "class Child(isa_plugin('rcpt_ok')):\n    pass")
        for last in ("rcpt_ok", "rcpt_ok:1", "child"):
            self.write("plugins", f"slow:1\n{last}\nkeep mail\nslow\nslow:2")
            self.assert_found(
                f"plugins:4: warning: slow is never asked about a recipient: {last} answers first",
                f"plugins:5: warning: slow:2 is never asked about a recipient: {last} answers first",
            )
