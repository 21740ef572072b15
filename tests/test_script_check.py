"""qpsmtpd check: what it prints, and what it finds in settings; nothing is done meanwhile."""

import os
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock

from qpsmtpd import script
from qpsmtpd.certificates import make_self_signed
from qpsmtpd.script.check import endpoint_trouble

from .scriptcase import CheckCase


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
        self.assert_found(f"spool_dir:1: error: {self.spool} is not a directory; allowed is a directory that")
        self.spool.unlink()
        self.spool.symlink_to(self.spool)
        self.assert_found(f"spool_dir:1: error: {self.spool}: Too many levels of symbolic links; allowed")
        self.spool.unlink()
        self.spool.symlink_to("missing")
        self.assert_found(f"spool_dir:1: error: {self.spool} is a link that leads nowhere; allowed")
        self.write("spool_dir", f"{self.directory}/me/spool")
        self.assert_found("spool_dir:1: error: me/spool: Not a directory; allowed")


class StoreTests(CheckCase):
    """What plugins keep."""

    def setUp(self):
        super().setUp()
        self.plugin("know", "class Know(Plugin):\n    def register(self):\n        self.store")
        self.write("plugins", "know\nrcpt_ok\nkeep mail")
        self.write("store", f"# where\nsqlite {self.directory}/deep/store")

    def assert_found(self, *expected):
        """Nothing is left behind."""
        before = sorted(self.directory.rglob("*"))
        super().assert_found(*expected)
        self.assertEqual(before, sorted(self.directory.rglob("*")))

    def test_missing(self):
        """It is made by the server, and not by a check."""
        self.assert_found()

    def test_no_place(self):
        """What is not a file of ours, or cannot become one, is an error of the line; nobody is in the way of
        one that nobody uses.
        """
        self.write("deep/store", "rubbish" * 1000)
        self.assert_found("store:2: error: store deep/store: file is not a database; allowed is a file that")
        (self.directory / "deep/store").unlink()
        (self.directory / "deep/store").mkdir()
        self.assert_found("store:2: error: store deep/store: not a file; allowed")
        self.write("store", f"sqlite {self.directory}/me/store")
        self.assert_found("store:1: error: store me/store: me is not a directory; allowed")
        self.write("store", "sqlite /a\0b")
        self.assert_found("store:1: error: '/a\\x00b': no path has a NUL in it")
        self.write("store", f"sqlite {self.directory}/me/store")
        self.write("plugins", "rcpt_ok\nkeep mail")
        self.assert_found()

    def test_no_place_by_default(self):
        """Without a line it is an error of the file that may say otherwise."""
        (self.directory / "store").unlink()
        self.write("spool_dir", f"{self.directory}/me/spool")
        self.assert_found(
            "spool_dir:1: error: me/spool: Not a directory",
            "store: error: store me/store.sqlite: me is not a directory",
        )


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


class DoubtTests(CheckCase):
    """What is no mistake, but hardly meant."""

    def test_surplus(self):
        """Of a file with one value only the first line counts, and the next one is named."""
        self.write("databytes", "1000\n# or\n2000\n3000")
        self.assertEqual(["databytes:3: warning: only the first line counts, not this one"], self.found())

    def test_forgetful_workers(self):
        """Workers without a store in common are named, if the configuration asks for several."""
        self.write("store", "memory")
        self.assertEqual([], self.found())
        self.write("workers", "3")
        self.assert_found("store:1: warning: each of 3 workers remembers for itself")

    def test_unreadable(self):
        """What cannot be read, or is no number, is an error once and no doubt."""
        self.write("store", "memory")
        self.write("workers", "many")
        self.write("databytes", "$include databytes")
        self.assert_found("databytes:1: error: this file includes itself", "workers:1: error: 'many' is not")


class ListenerTests(CheckCase):
    """listen, smtps and lmtp."""

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

    def test_lmtp(self):
        """LMTP is looked at like SMTP, and is not spoken on port 25."""
        self.write("lmtp", "unix:/run/lmtp:mode=660\n25\n24 starttls=required\ntcp:x")
        self.assert_found(
            "lmtp:2: error: LMTP must not be spoken on port 25",
            "lmtp:3: error: TLS is wanted here",
            "lmtp:4: error: 'tcp:x' is no address to listen on",
        )

    def test_mechanisms(self):
        """A mechanism that does not exist is never offered, so it may be a slip."""
        self.write("auth_mechanisms", "plain LOGIN\nSCRAM")
        self.assert_found(
            "auth_mechanisms:2: warning: 'SCRAM' is never offered; there are SCRAM-SHA-256-PLUS, "
        )

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

    def test_proxied_by_nobody(self):
        """A listener for proxies needs some that are trusted."""
        self.write("listen", "haproxy:tcp:25")
        self.assert_found("listen:1: error: nobody may connect here: trusted_proxies is empty")
        self.write("trusted_proxies", "192.0.2.1")
        self.assert_found()

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

    def test_policy(self):
        """What a listener wants of TLS must be known, and possible."""
        make_self_signed(self.crt, self.key, "mail.example.org")
        self.write("listen", "25 client=ask\n26 starttls=perhaps\n27 starttls=required\n28 starttls=off")
        self.assert_found(
            "listen:1: error: TLS is wanted here",
            "listen:2: error: starttls=perhaps is none of offered, required, off",
            "listen:3: error: TLS is wanted here",
        )
        self.use(f"{self.crt} {self.key}")
        self.assert_found(
            "listen:1: error: client=ask needs client_ca",
            "listen:2: error: starttls=perhaps",
            "ssl/x.crt: warning: certificate is self-signed",
        )

    def test_other_name(self):
        """A certificate for somebody else is a warning about its file, in the directory of SNI as well."""
        make_self_signed(self.crt, self.key, "other.example.org")
        self.use(f"{self.crt} {self.key} sni {self.crt.parent}")
        path = self.crt.with_name("one.example.pem")
        path.write_bytes(self.crt.read_bytes() + self.key.read_bytes())
        mine = "warning: certificate is self-signed"
        self.assert_found(
            "ssl/one.example.pem: warning: certificate is not for one.example but for other.example.org",
            f"ssl/one.example.pem: {mine}",
            "ssl/x.crt: warning: certificate is not for mail.example.org but for other.example.org",
            f"ssl/x.crt: {mine}",
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
