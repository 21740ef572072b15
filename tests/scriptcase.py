"""What the tests of the `qpsmtpd` command share: a configuration directory, and running the command."""

from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.script import main
from qpsmtpd.script.check import check

HEAD = """from qpsmtpd import DECLINED, DENY, OK, OUTCOMES, Plugin, Setting, isa_plugin
from qpsmtpd.kit.match import Compiled, HostPatterns, Networks
"""

PLUGINS = {
    "rcpt_ok": """
class RcptOk(Plugin):
    files = {"rcpthosts": "host"}
    def register(self):
        Compiled(self.config, "rcpthosts", HostPatterns).check()
    def hook_rcpt(self):
        return OK
""",
    "keep": """
class Keep(Plugin):
    directory = Setting.path(position=True, required=True)
    def hook_queue(self):
        return OK
""",
    "nets": """
class Nets(Plugin):
    files = {"relayclients": "", "local": "", "more.cdb": "", "nets_*": "", "nets.d/": ""}
    def register(self):
        Compiled(self.config, "relayclients", Networks).check()
""",
    "slow": """
class Slow(Plugin):
    wait = Setting.seconds(1)
    def hook_connect(self): pass
    def hook_rcpt(self): pass
""",
}


class ScriptCase(SynchronousTestCase):
    """A directory without mistakes, with plugins of its own beside the shipped ones."""

    def setUp(self):
        self.directory = Path(self.mktemp()).absolute()
        self.plugins = self.directory.with_name("plugins")
        self.plugins.mkdir(parents=True)
        self.directory.mkdir()
        for name, body in PLUGINS.items():
            self.plugin(name, body)
        self.write("plugin_dirs", self.plugins)
        self.write("me", "mail.example.org")
        self.write("plugins", "slow wait 2\nnets\nrcpt_ok\nkeep mail")

    def write(self, name, text=""):
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else f"{text}\n".encode())
        return path

    def plugin(self, name, body):
        path = self.plugins / f"{name}.py"
        path.write_text(HEAD + body)
        return path

    def run_command(self, *words):
        """Run the command; give its status and what it printed on standard output and error."""
        output, error = StringIO(), StringIO()
        with redirect_stdout(output), redirect_stderr(error):
            try:
                status = main(list(map(str, words)))
            except SystemExit as end:
                status = end.code
        return status, output.getvalue(), error.getvalue()


class CheckCase(ScriptCase):
    def found(self, *directories):
        """Give the findings, with places relative to the directory."""
        findings = check([self.directory, *directories])
        return [
            str(finding).replace(f"{self.directory}/", "").replace(f"{self.place}/", "")
            for finding in findings
        ]

    @property
    def place(self):
        return self.directory.relative_to(Path.cwd())

    def assert_found(self, *expected):
        """Demand exactly these findings, each known by its beginning."""
        found = self.found()
        self.assertEqual(len(expected), len(found), found)
        for text, finding in zip(expected, found, strict=True):
            self.assertIn(text, finding)
