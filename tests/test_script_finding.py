"""qpsmtpd check: a line for each finding, and no traceback for any typo."""

from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from qpsmtpd.config import Config, ConfigError
from qpsmtpd.loader import shipped
from qpsmtpd.script.check import check
from qpsmtpd.script.finding import Finding, Findings, shown, summary
from qpsmtpd.tlsfiles import TLSConfigError

from .scriptcase import CheckCase


class FindingTests(CheckCase):
    """One line for each finding."""

    def test_control_characters(self):
        """What a file holds cannot move the cursor, nor make a second line."""
        self.write("databytes", "\x1b[2J")
        self.write("a\nb")
        found = self.found()
        self.assertTrue(all(finding.isprintable() for finding in found), found)
        self.assertIn("a\\nb: warning: nothing reads this file", found)

    def test_shown(self):
        """A path is relative below the working directory, unless that is the root."""
        for here, expected in [("/a", "b/c"), ("/a/b/x", "/a/b/c"), ("/", "/a/b/c")]:
            with mock.patch.object(Path, "cwd", return_value=Path(here)):
                self.assertEqual(expected, shown(Path("/a/b/c")))
        with mock.patch.object(Path, "cwd", side_effect=FileNotFoundError):
            self.assertEqual("/a/b/c", shown(Path("/a/b/c")))

    def test_order(self):
        """They come in the order of files and lines, each once."""
        self.write("plugins", "\n".join(f"no_such_{n}" for n in range(1, 12)))
        self.write("databytes", "x")
        lines = [finding.line for finding in check([self.directory])]
        self.assertEqual([1, 0, 0, *range(1, 12)], lines)

    def test_places(self):
        """An error has the place it knows, that at the beginning of its text, or else the directory."""
        self.write("me", "x")
        (self.directory / "loop").symlink_to("loop")
        findings = Findings(Config([self.directory]))
        for error, expected in [
            (ConfigError("so", Path("/x"), 3), "/x:3: error: so"),
            (ConfigError("so", Path("/x")), "/x: error: so"),
            (ConfigError("so"), f"{self.place}: error: so"),
            (TLSConfigError("/x/y.key: no: key"), "/x/y.key: error: no: key"),
            (TLSConfigError("me: so"), f"{self.place}/me: error: so"),
            (TLSConfigError("loop: so"), f"{self.place}/loop: error: so"),
            (TLSConfigError("nobody: so"), f"{self.place}: error: nobody: so"),
            (PermissionError(13, "Permission denied", "/x"), "/x: error: Permission denied"),
            (OSError("broken"), f"{self.place}: error: broken"),
        ]:
            findings.add_exception(error)
            self.assertIn(expected, list(map(str, findings.sorted())))

    def test_summary(self):
        """The count knows singular and plural."""
        error, warning = Finding(Path(), 0, ""), Finding(Path(), 0, "", is_error=False)
        for findings, expected in [
            ([], "0 errors, 0 warnings"),
            ([error, warning], "1 error, 1 warning"),
            ([error, error, warning, warning], "2 errors, 2 warnings"),
        ]:
            self.assertEqual(expected, summary(findings))


WORDS = [
    "rcpt_ok",
    "keep",
    "slow",
    "nets",
    "tls",
    "wait",
    "self_signed",
    "$include",
    "plugins",
    "..",
    "/",
    "~x/y",
    '"',
    "1",
    "-1",
]
TEXTS = st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=6).map(" ".join)
NAMES = st.sampled_from(
    [
        "plugins",
        "logging",
        "plugin_dirs",
        "listen",
        "smtps",
        "lmtp",
        "me",
        "databytes",
        "spool_dir",
        "rcpthosts",
        "relayclients",
        "dns_servers",
        "loglevel",
        "tls_protocols",
        "tls_ciphers",
        "more.cdb",
        "nets_x",
        "typo",
        "auth_mechanisms",
    ]
)


class FuzzTests(CheckCase):
    """No typo makes a traceback."""

    @given(st.dictionaries(NAMES, st.lists(TEXTS, max_size=4), max_size=5))
    @settings(max_examples=80, derandomize=True, deadline=None)
    def check_files(self, files):
        for path in self.directory.iterdir():
            path.unlink()
        # The shipped plugins would all have to be read for each misspelled name.
        files = {**files, "plugin_dirs": [str(self.plugins), *files.get("plugin_dirs", ())]}
        for name, lines in files.items():
            self.write(name, "\n".join(lines).encode("utf-8", "surrogatepass"))
        status, output, error = self.run_command("check", self.directory)
        self.assertIn(status, (0, 1))
        self.assertEqual("", error)
        self.assertNotIn("Traceback", output)
        self.assertEqual(status, int(": error: " in output))

    def test_fuzz(self):
        """Whatever stands in the files, the command lists findings and ends with 0 or 1."""
        (self.plugins / "tls.py").symlink_to(shipped("plugins") / "tls.py")
        self.check_files()
