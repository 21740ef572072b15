"""qpsmtpd check: every mistake is found, with its place, and nothing is done meanwhile."""

import os
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock

from qpsmtpd import script
from qpsmtpd.config import Config, ConfigError
from qpsmtpd.loader import shipped
from qpsmtpd.script.check import check, endpoint_trouble
from qpsmtpd.script.finding import Finding, Findings, shown, summary
from qpsmtpd.tls import make_self_signed
from qpsmtpd.tlsfiles import TLSConfigError

from .scriptcase import ScriptCase


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


class CommandTests(CheckCase):
    """The command: what it prints, and its status."""

    def test_clean(self):
        """Nothing is found where nothing is wrong: status 0."""
        self.assertEqual(
            (0, f"{self.place}: 0 errors, 0 warnings\n", ""), self.run_command("check", self.directory)
        )

    def test_warnings_only(self):
        """Warnings do not change the status."""
        self.write("rcpthost", "example.org")
        status, output, _ = self.run_command("check", self.directory)
        self.assertEqual(0, status)
        self.assertTrue(output.endswith(": 0 errors, 1 warning\n"), output)

    def test_errors(self):
        """Errors do; each is a line FILE:LINE: error: text."""
        self.write("databytes", "# octets\nmany")
        status, output, _ = self.run_command("check", self.directory)
        self.assertEqual(1, status)
        first, last = output.splitlines()
        self.assertEqual(
            f"{self.place}/databytes:2: error: 'many' is not a number; allowed: a whole number, 0 or more",
            first,
        )
        self.assertEqual(f"{self.place}: 1 error, 0 warnings", last)

    def test_no_such_directory(self):
        """A directory that is not there is wrong usage."""
        for words in (["check", self.directory / "x"], ["hooks", self.directory / "x"]):
            status, output, error = self.run_command(*words)
            self.assertEqual((2, ""), (status, output))
            self.assertIn("x: no such configuration directory", error)

    def test_default_directory(self):
        """Without DIR it is the server's: QPSMTPD_CONFIG, ./config, /etc/qpsmtpd."""
        self.patch(os, "environ", {"QPSMTPD_CONFIG": str(self.directory)})
        self.assertEqual(0, self.run_command("check")[0])
        self.patch(os, "environ", {})
        here = Path.cwd()
        self.addCleanup(os.chdir, here)
        os.chdir(self.directory)
        self.write("config/rcpthost")
        self.assertIn("config/rcpthost: warning", self.run_command("check")[1])

    def test_no_directory_anywhere(self):
        """If none is named and none found, that is wrong usage, too."""
        self.patch(script, "config_directories", lambda *_: [self.directory / "x"])
        for command in ("check", "hooks"):
            self.assertEqual(2, self.run_command(command)[0])
        self.assertEqual(0, self.run_command("plugins")[0])

    def test_ten_mistakes(self):
        """Ten mistakes in one directory are all named, each at its place."""
        self.write("plugins", "rcpt_okk\nslow wait soon\nslow wat 1\nnets\nrcpt_ok\nslow:1\nkeep")
        self.write("relayclients", "192.0.2.0/24\n192.0.2.x")
        self.write("rcpthost", "example.org")
        self.write("max_errors", "-1")
        self.write("timeout", "long")
        self.write("listen", "25\ntpc:25")
        self.write("smtps", "465")
        self.write("dns_servers", "ns.example.org")
        self.write("spool_dir", "$include spool_dir")
        self.write("logging", "no_such")
        found = "\n".join(self.found())
        for expected in [
            "plugins:1: error: no plugin is called 'rcpt_okk'",
            "did you mean rcpt_ok?",
            "plugins:2: error: slow: wait (seconds): 'soon' is not a number",
            "plugins:3: error: slow: unknown argument 'wat'; allowed are",
            "plugins:6: warning: slow:1 is never asked about a recipient: rcpt_ok answers first",
            "plugins:7: error: keep: missing argument directory",
            "plugins: error: no queue plugin is loaded",
            "relayclients:2: error: '192.0.2.x' is no network; allowed",
            "rcpthost: warning: nothing reads this file; did you mean rcpthosts?",
            "max_errors:1: error: '-1' is not a number",
            "timeout:1: error: 'long' is not a time",
            "listen:2: error: 'tpc:25' is no address to listen on",
            "smtps:1: error: TLS is wanted here, but no plugin has a certificate",
            "dns_servers:1: error: 'ns.example.org' is no name server",
            "spool_dir:1: error: this file includes itself",
            "logging:1: error: no plugin is called 'no_such'",
        ]:
            self.assertIn(expected, found)
        self.assertEqual(15, len(found.splitlines()), found)


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


class FileTests(CheckCase):
    """Which files are read."""

    def test_unread(self):
        """A file that nobody reads is named, with the name it may have been meant for."""
        for name, hint in [
            ("rcpthost", "; did you mean rcpthosts?"),
            ("relay-clients", "; did you mean relayclients?"),
            ("zzzz", ""),
        ]:
            path = self.write(name, "x")
            self.assertEqual([f"{name}: warning: nothing reads this file{hint}"], self.found())
            path.unlink()

    def test_read(self):
        """Files of the engine, of plugins, included ones, and those that plugin lines name are read."""
        self.write("plugins", "rcpt_ok\nnets\nkeep config/kept\n$include some.d")
        self.write("rcpthosts", f"$include more_hosts\n$include {self.write('absolute')}")
        for name in ("more_hosts", "some.d/file", "kept", "more", "nets_x", "nets_y", "databytes", "logging"):
            self.write(name, "#")
        self.assertEqual([], self.found())

    def test_ignored(self):
        """Backups, hidden files, directories and a README are nobody's business."""
        for name in ("plugins~", ".plugins.swp", "README", "README.md", "ssl/key"):
            self.write(name, "x")
        self.assertEqual([], self.found())

    def test_plugin_not_loaded(self):
        """A file with lines for a plugin that is not loaded is worth a word, one with comments is not."""
        self.write("plugins", "rcpt_ok\nkeep mail")
        path = self.write("local", "# comment")
        self.assertEqual([], self.found())
        path.write_text("192.0.2.1")
        self.assertEqual(
            ["local: warning: only the plugin nets reads this file, and it is not loaded"],
            self.found(),
        )

    def test_unreadable(self):
        """A file that cannot be read, or is no database, is an error, whoever reads it."""
        for name in ("databytes", "rcpthosts"):
            path = self.directory / name
            path.symlink_to(path)
            self.assertEqual(
                [
                    f"{name}: error: cannot be read: Too many levels of symbolic links",
                ],
                self.found(),
            )
            path.unlink()
        self.write("more.cdb", "x")
        self.assert_found("more.cdb: error: not a constant database (CDB)")

    def test_dangling_link(self):
        """A link to nothing is as if the file were not there; that may surprise."""
        (self.directory / "rcpthosts").symlink_to("nothing")
        self.assertEqual(["rcpthosts: warning: this link leads nowhere"], self.found())

    def test_include(self):
        """A file to include that is missing is passed over by the server, so here it is named."""
        self.write("rcpthosts", "example.org\n $include nothing\n# $include comment\n$include plugins.d")
        self.write("plugins.d/x")
        self.assertEqual(["rcpthosts:2: warning: nothing: there is no such file to include"], self.found())

    def test_include_unreadable(self):
        """One that cannot be read is an error, with its own place."""
        (self.directory / "loop").symlink_to("loop")
        self.write("rcpthosts", "$include loop")
        self.assert_found("loop: error: cannot be read")

    def test_qmail_directory(self):
        """Files of qmail are read where ours are missing, and its other files are its own."""
        qmail = self.directory.with_name("control")
        qmail.mkdir()
        (qmail / "databytes").write_text("x")
        (qmail / "concurrencylocal").write_text("x")
        found = self.found(qmail)
        self.assertEqual(1, len(found))
        self.assertIn("control/databytes:1: error: 'x' is not a number", found[0])

    def test_plugin_dirs(self):
        """A plugin directory that is not there is named; one of nobody's home is an error."""
        self.write("plugin_dirs", f"{self.plugins}\n/no/such")
        self.assert_found("plugin_dirs:2: warning: /no/such: there is no such directory")
        self.write("plugin_dirs", f"{self.plugins}\n{'x' * 300}")
        self.assertIn(f"plugin_dirs:2: warning: {'x' * 300}: there is no such directory", self.found())
        self.write("plugin_dirs", f"{self.plugins}\n~no-such-user-here/x")
        self.write("typo")
        self.assertEqual(
            [
                "plugin_dirs:2: error: ~no-such-user-here/x: no such home directory",
                "plugins: error: no queue plugin is loaded: nothing stores the mail",
                "typo: warning: nothing reads this file",
            ],
            self.found(),
        )

    def test_unreadable_everywhere(self):
        """A file that more than one part of the check reads is named once."""
        for name in ("plugins", "logging", "listen", "smtps"):
            (self.directory / name).unlink(missing_ok=True)
            (self.directory / name).symlink_to(name)
        self.write("typo")
        self.assert_found(
            "listen: error: cannot be read",
            "logging: error: cannot be read",
            "plugins: error: cannot be read",
            "plugins: error: no plugin accepts recipients",
            "plugins: error: no queue plugin",
            "smtps: error: cannot be read",
            "typo: warning: nothing reads this file",
        )

    def test_unreadable_file_of_nobody(self):
        """A file of a plugin that is not loaded is named even if it cannot be read."""
        self.write("plugins", "rcpt_ok\nkeep mail")
        (self.directory / "local").symlink_to("local")
        self.assertEqual(
            ["local: warning: only the plugin nets reads this file, and it is not loaded"], self.found()
        )

    def test_unreadable_directory(self):
        """A directory that cannot be listed is an error, and what can be read in it is checked."""
        self.write("databytes", "x")
        denied = PermissionError(13, "Permission denied", str(self.directory))
        self.patch(Path, "iterdir", mock.Mock(side_effect=denied))
        self.assert_found(
            f"{self.place}: error: Permission denied", "databytes:1: error: 'x' is not a number"
        )


class SpoolTests(CheckCase):
    """The spool directory."""

    def setUp(self):
        super().setUp()
        self.spool = self.directory.with_name("spool")
        self.write("spool_dir", self.spool)

    def test_missing(self):
        """It is made by the server, and not by a check."""
        self.assertEqual([], self.found())
        self.assertFalse(self.spool.exists())

    def test_permissions(self):
        """Others than those that are wanted are worth a warning."""
        self.spool.mkdir()
        self.spool.chmod(0o700)
        self.assertEqual([], self.found())
        self.write("spool_perms", "0750")
        self.assert_found(f"spool_perms: warning: {self.spool} has the permissions 700, not 750")
        self.write("spool_perms", "rwx")
        self.assert_found("spool_perms:1: error: 'rwx' is not an octal mode from 0700 to 0777")

    def test_no_directory(self):
        """What is no directory, or cannot be looked at, is an error."""
        self.spool.touch()
        self.assert_found(f"spool_dir: error: {self.spool} is not a directory")
        self.spool.unlink()
        self.spool.symlink_to(self.spool)
        self.assert_found("spool: error: Too many levels of symbolic links")


class RemarkTests(CheckCase):
    """What plugins and lists say without an error."""

    def test_list(self):
        """A remark about a line of a list has that line's place."""
        self.write("rcpthosts", "example.org\n@example.org")
        self.assertEqual(["rcpthosts:2: warning: '@example.org' is not the name of a host"], self.found())

    def test_log(self):
        """What a plugin logs while it is loaded, at WARN and above, has the place of its line."""
        self.plugin(
            "talk",
            "class P(Plugin):\n    def register(self):\n"
            "        self.log.warn('%s', 'so: so')\n        self.log.info('no')",
        )
        self.write("plugins", "rcpt_ok\ntalk\nkeep mail")
        self.assertEqual(["plugins:2: warning: so: so"], self.found())


class ListenerTests(CheckCase):
    """listen and smtps."""

    def test_endpoints(self):
        """What can be listened on is told from what cannot."""
        reactor = MemoryReactorClock()
        for text in [
            "25",
            "192.0.2.1:25",
            "localhost:25",
            "[::]:25",
            "tcp:25",
            "tcp6:25:interface=\\:\\:1",
            "tcp:25:backlog=9",
            "unix:/tmp/x:mode=600",
        ]:
            self.assertEqual("", endpoint_trouble(reactor, text), text)
        for text in [
            "",
            "x",
            "tcp",
            "tcp:x",
            "tcp:1:2:3:4:5",
            "65536",
            "[::1]:70000",
            "haproxy:tcp:65536",
            "300.1.1.1:25",
            "[:::]:25",
            "mail.example.org:25",
            "tcp:25:x=1",
            "ssl:465:privateKey=/no/such",
            "192.0.2.1",
            "unix:x:mode=rw",
        ]:
            self.assertNotEqual("", endpoint_trouble(reactor, text), text)

    def test_nothing_listens(self):
        """Nothing is bound, and no connection made."""
        self.write("listen", "25")
        self.assertEqual([], self.found())


class CertificateTests(CheckCase):
    """tls and smtps."""

    def setUp(self):
        super().setUp()
        self.crt, self.key = self.directory / "ssl/x.crt", self.directory / "ssl/x.key"
        self.crt.parent.mkdir()

    def use(self, arguments):
        self.write("plugins", f"tls {arguments}\nrcpt_ok\nkeep mail")

    def test_missing(self):
        """A certificate that is not there is an error; one that will be made is not, and is not made."""
        self.use(f"{self.crt} {self.key}")
        self.assert_found("plugins:1: error: tls: ssl/x.crt: there is no such certificate")
        self.use(f"{self.crt} {self.key} self_signed")
        self.write("smtps", "465")
        self.assertEqual([], self.found())
        self.assertEqual([], list(self.crt.parent.iterdir()))

    def test_smtps_without_tls(self):
        """Each line of smtps needs a certificate."""
        self.write("smtps", "465\n4650")
        self.assert_found("smtps:1: error: TLS is wanted here", "smtps:2: error: TLS is wanted here")

    def test_warnings(self):
        """What a certificate should not stay like is a warning about its file."""
        make_self_signed(self.crt, self.key, "mail.example.org", 3)
        self.use(f"{self.crt} {self.key}")
        self.assert_found(
            "ssl/x.crt: warning: certificate expires at", "ssl/x.crt: warning: certificate is self-signed"
        )

    def test_mismatch(self):
        """A key of another certificate is an error of its file."""
        make_self_signed(self.crt, self.key, "mail.example.org")
        other = self.crt.with_name("other.crt")
        make_self_signed(other, self.key.with_name("other.key"), "mail.example.org")
        self.use(f"{other} {self.key}")
        self.assert_found("ssl/x.key: error: is not the key of the first certificate in ")

    def test_protocols(self):
        """A setting of TLS that is none is an error of its file."""
        make_self_signed(self.crt, self.key, "mail.example.org")
        self.use(f"{self.crt} {self.key}")
        self.write("tls_protocols", "SSLv9")
        self.assert_found("tls_protocols: error: 'SSLv9' is not one of SSLv23")


class StillnessTests(CheckCase):
    """A check leaves nothing behind."""

    BODY = """
class Busy(Plugin):
    def register(self):
        reactor = self.services.reactor
        reactor.callLater(0, self.fail)
        reactor.callInThread(self.fail)
        reactor.callFromThread(self.fail)
        reactor.callWhenRunning(self.fail)
        reactor.connectTCP("192.0.2.1", 25, Factory())
        reactor.listenTCP(2525, Factory())
        reactor.listenUDP(2525, DatagramProtocol())
        reactor.spawnProcess(None, "/bin/false")
        self.run_in_thread(self.fail)
        self.dns.a("example.org").addBoth(self.fail)
    def fail(self, *_):
        raise AssertionError("something happened")
"""

    def test_nothing_happens(self):
        """Timers, threads, connections, ports, processes and lookups are taken and forgotten."""
        imports = "from twisted.internet.protocol import DatagramProtocol, ClientFactory as Factory\n"
        self.plugin("busy", imports + self.BODY)
        self.write("plugins", "busy\nrcpt_ok\nkeep mail")
        before = sorted(self.directory.rglob("*"))
        self.assertEqual([], self.found())
        self.assertEqual(before, sorted(self.directory.rglob("*")))


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
