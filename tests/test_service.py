"""``twistd qpsmtpd``: options, listeners, reload, the orderly end."""

import os
import signal
import socket
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.certificates import make_self_signed
from qpsmtpd.daemon import makeService
from qpsmtpd.inheritance import Inheritance
from qpsmtpd.listening import endpoint_description
from qpsmtpd.log import Event, Level
from qpsmtpd.options import Options
from qpsmtpd.proxied import ProxiedFactory
from qpsmtpd.reloading import CERTIFICATE_CHECK, TICKET_KEYS
from qpsmtpd.service import MailService

PLUGIN = """\
from qpsmtpd import OK, Plugin

class All(Plugin):
    reloads = 0

    def reload(self):
        All.reloads += 1
        raise RuntimeError("not today")

    def hook_rcpt(self):
        return OK

    def hook_queue(self):
        return OK
"""
ALLOWED_STORE = "allowed is a file that this server has made, or may make"
KEEPER = """\
from qpsmtpd import Plugin

class Keeper(Plugin):
    def register(self):
        self.store
"""
LOGGER = """\
from pathlib import Path

from qpsmtpd import Plugin

class Logger(Plugin):
    def hook_logging(self, text):
        with Path("{log}").open("a") as log:
            print(text, file=log)
"""
CERTIFIED = """\
from pathlib import Path

from qpsmtpd import Plugin
from qpsmtpd.tlsfiles import TLSFiles

class Certified(Plugin):
    def register(self):
        self.services.tls = TLSFiles(
            Path("{certificate}"), Path("{key}"), client_ca=Path("{ca}") if "{ca}" else None
        )
"""


class OptionTests(SynchronousTestCase):
    def parse(self, *words: str) -> Options:
        options = Options()
        options.parseOptions(list(words))
        return options

    def test_repeatable(self) -> None:
        options = self.parse("--listen", "25", "--listen=587", "--smtps", "465", "--dns", "192.0.2.53")
        self.assertEqual(
            (["25", "587"], ["465"], ["192.0.2.53"]), (options.listen, options.smtps, options.dns)
        )
        options = self.parse("--lmtp", "24", "--lmtp", "unix:/run/lmtp:mode=660")
        self.assertEqual(["24", "unix:/run/lmtp:mode=660"], options.lmtp)

    def test_numbers(self) -> None:
        for words in (
            ["--max-connections", "x"],
            ["--max-from-ip", "-1"],
            ["--loglevel", ""],
            ["--loglevel", "8"],
            ["--bogus"],
            ["word"],
        ):
            self.assertRaises(UsageError, self.parse, *words)

    def test_apart(self) -> None:
        """Two sets of options share nothing."""
        self.parse("--listen", "25")
        self.assertEqual([], self.parse().listen)

    def test_endpoints(self) -> None:
        rows = {
            "25": "tcp:25",
            "127.0.0.1:25": "tcp:25:interface=127.0.0.1",
            "localhost:25": "tcp:25:interface=127.0.0.1",
            "[2001:db8::1]:25": r"tcp6:25:interface=2001\:db8\:\:1",
            "unix:/run/x": "unix:/run/x",
            "haproxy:tcp:25": "haproxy:tcp:25",
        }
        self.assertEqual(rows, {text: endpoint_description(text) for text in rows})


class Case(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        (self.directory / "own").mkdir(parents=True)
        self.write("me", "mx.example.org")
        self.write("plugin_dirs", str(self.directory / "own"))
        self.write("own/all.py", PLUGIN)
        self.write("plugins", "all")
        self.write("spool_dir", str(self.directory / "spool"))
        self.write("reverse_dns", "0")
        self.reactor = MemoryReactorClock()
        self.events: list[Event] = []

    def write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text + "\n")

    def options(self, *words: str) -> Options:
        options = Options()
        options.parseOptions(["--config", str(self.directory), *words])
        return options

    def service(self, *words: str) -> MailService:
        service = makeService(self.options(*words), self.reactor)
        service.engine.log.observe(Level.DEBUG, self.events.append)
        return service

    def running(self, *words: str) -> MailService:
        service = self.service(*words)
        service.startService()
        return service

    def factory(self, listener: int = 0) -> Any:
        return self.reactor.tcpServers[listener][1]

    def connect(self, listener: int = 0) -> StringTransport:
        peer = IPv4Address("TCP", "192.0.2.1", 5)
        transport = StringTransport(peerAddress=peer)
        transport.protocol = self.factory(listener).buildProtocol(peer)
        transport.protocol.makeConnection(transport)
        self.addCleanup(transport.protocol.connectionLost)
        return transport

    def logged(self, text: str) -> bool:
        return any(text in str(event) for event in self.events)

    def certify(self, authorities: str = "") -> None:
        certificate, key = self.directory / "cert.pem", self.directory / "key.pem"
        make_self_signed(certificate, key, "mx.example.org")
        ca = self.directory / authorities if authorities else ""
        self.write("own/certified.py", CERTIFIED.format(certificate=certificate, key=key, ca=ca))
        self.write("plugins", "all\ncertified")


class StartTests(Case):
    def test_default(self) -> None:
        """Without any word about it, nobody from outside can connect."""
        self.running()
        (server,) = self.reactor.tcpServers
        self.assertEqual((2525, "127.0.0.1"), (server[0], server[3]))
        self.assertTrue(self.connect().value().startswith(b"220 mx.example.org"))
        self.assertTrue(self.logged("Listening on tcp:2525:interface=127.0.0.1"))

    def test_config(self) -> None:
        """Configuration says where, options say it louder."""
        self.write("listen", "25\n127.0.0.1:587")
        self.running()
        self.assertEqual([25, 587], [server[0] for server in self.reactor.tcpServers])
        self.reactor.tcpServers.clear()
        self.running("--listen", "2500")
        self.assertEqual([2500], [server[0] for server in self.reactor.tcpServers])

    def test_inherited_for_nobody(self) -> None:
        """A socket of a listener that is no more is closed."""
        descriptor = socket.socket().detach()
        MailService(self.options(), self.reactor, Inheritance({"tcp:26": descriptor}))
        self.assertRaises(OSError, os.fstat, descriptor)

    def test_limits(self) -> None:
        """Limits hold over all listeners; options win."""
        self.write("max_connections", "7")
        self.running("--listen", "25", "--listen", "26", "--max-from-ip", "1")
        self.assertEqual((7, 1), (self.factory().max_connections, self.factory().max_from_ip))
        self.connect(0)
        self.assertTrue(self.connect(1).value().startswith(b"421 4.7.0"))

    def test_tls(self) -> None:
        self.certify()
        self.running("--listen", "25", "--smtps", "465")
        plain, implicit = self.factory(0), self.factory(1)
        self.assertEqual((False, True), (plain._implicit_tls, implicit._implicit_tls))
        self.assertIsNotNone(plain.tls_context)

    def test_policy(self) -> None:
        """Each listener has the policy of its own line."""
        self.certify("cert.pem")
        lines = ("25", "587 starttls=required client=ask", "588 starttls=off")
        options = [f"--listen={line}" for line in lines]
        self.running(*options, "--smtps", "465 client=require")
        self.assertEqual([25, 587, 588, 465], [server[0] for server in self.reactor.tcpServers])
        factories = [self.factory(number) for number in range(4)]
        self.assertEqual([False, True, False, False], [each._requires_tls for each in factories])
        modes = [each.tls_context and each.tls_context.context.get_verify_mode() for each in factories]
        self.assertEqual([0, 1, None, 3], modes)

    def test_lmtp(self) -> None:
        """LMTP is spoken where config or options say so, and nowhere else."""
        self.write("lmtp", "24")
        self.running("--lmtp", "2400", "--lmtp", "unix:/run/lmtp:mode=660:lockfile=0")
        self.assertEqual([2525, 2400], [server[0] for server in self.reactor.tcpServers])
        self.assertIn(b" ESMTP ", self.connect(0).value())
        self.assertIn(b" LMTP ", self.connect(1).value())
        path, factory, _, mode, _ = self.reactor.unixServers[0]
        self.assertEqual(("/run/lmtp", 0o660, True), (path, mode, factory._lmtp))
        self.reactor.tcpServers.clear()
        self.running()
        self.assertEqual([2525, 24], [server[0] for server in self.reactor.tcpServers])

    def test_proxied(self) -> None:
        """Clients behind a load balancer are announced before they are greeted."""
        self.write("trusted_proxies", "192.0.2.1")
        self.running("--listen", "haproxy:tcp:25")
        self.assertIsInstance(self.factory(), ProxiedFactory)
        transport = self.connect()
        self.assertEqual(b"", transport.value())
        transport.protocol.dataReceived(b"PROXY TCP4 192.0.2.7 192.0.2.25 5 25\r\n")
        self.assertTrue(transport.value().startswith(b"220 "))

    def test_spool(self) -> None:
        """The spool directory is made when the server starts, not when it is looked at."""
        service = self.service()
        self.assertFalse((self.directory / "spool").exists())
        service.startService()
        self.assertEqual(0o700, (self.directory / "spool").stat().st_mode & 0o777)

    def test_cannot_bind(self) -> None:
        """What keeps a listener from being bound is told with the line or the option that asks for it."""
        missing = f"unix:{self.directory}/missing/lmtp"
        told = f"{missing}: cannot listen: [Errno 2] No such file or directory: '{self.directory}/missing'"
        error = self.assertRaises(SystemExit, self.service("--lmtp", missing).privilegedStartService)
        self.assertEqual(f"qpsmtpd: --lmtp {told}", str(error))
        self.write("lmtp", f"# here\n{missing}")
        error = self.assertRaises(SystemExit, self.service().privilegedStartService)
        self.assertEqual(f"qpsmtpd: {self.directory}/lmtp:2: {told}", str(error))

    def test_no_systemd(self) -> None:
        """A socket that systemd has not given is told as such."""
        error = self.assertRaises(SystemExit, self.service, "--listen", "systemd:domain=INET:index=0")
        self.assertIn("no address to listen on: systemd has given no such socket", str(error))

    def test_no_spool(self) -> None:
        """One that cannot be made stops the start, with the line or the option that asks for it."""
        place = f"{self.directory}/me/spool"
        told = f"{place}: Not a directory"
        error = self.assertRaises(SystemExit, self.service("--spool", place).startService)
        self.assertEqual(f"qpsmtpd: --spool {told}", str(error))
        self.write("spool_dir", f"# where\n{place}")
        error = self.assertRaises(SystemExit, self.service().startService)
        self.assertEqual(
            f"qpsmtpd: {self.directory}/spool_dir:2: {told}; "
            "allowed is a directory that this server may make, or write to",
            str(error),
        )

    def test_no_queue(self) -> None:
        """A server that can queue nothing says so."""
        self.write("plugins", "")
        heard: list[str] = []
        self.patch(MailService, "startService", lambda _: None)
        from qpsmtpd.log import Log

        self.patch(Log, "emit", lambda _, level, text, *values, **names: heard.append(text))
        makeService(self.options(), self.reactor)
        self.assertIn("no queue plugin is loaded: every message will be refused with 451", heard)


class MistakeTests(Case):
    """A mistake ends the start with a line for each, and status 1."""

    def refused(self, *words: str) -> list[str]:
        with self.assertRaises(SystemExit) as caught:
            makeService(self.options(*words), self.reactor)
        # An exit "code" that is a text is printed, and the status is 1.
        return [line.removeprefix("qpsmtpd: ") for line in str(caught.exception.code).splitlines()]

    def test_directory(self) -> None:
        options = Options()
        options.parseOptions(["--config", "/nowhere"])
        with self.assertRaises(SystemExit) as caught:
            makeService(options, self.reactor)
        self.assertEqual("qpsmtpd: /nowhere: no such configuration directory", caught.exception.code)

    def test_each(self) -> None:
        self.write("plugins", "bogus\nall wrong")
        self.write("databytes", "many")
        lines = self.refused()
        self.assertEqual(3, len(lines), lines)
        for line in lines:
            self.assertTrue(line.startswith(str(self.directory)), line)

    def test_endpoint(self) -> None:
        self.write("trusted_proxies", "192.0.2.1")
        for words in (["--listen", "bogus:1"], ["--listen", "tcp:x"], ["--listen", "haproxy:bogus"]):
            (line,) = self.refused(*words)
            self.assertIn(words[1], line)

    def test_place(self) -> None:
        """File and line are named, or the option."""
        for kind, text in (
            ("listen", "tcp:x"),
            ("smtps", "465"),
            ("lmtp", "25"),
            ("listen", "haproxy:tcp:25"),
        ):
            self.write(kind, f"# where\n{text}")
            (line,) = self.refused()
            self.assertTrue(line.startswith(f"{self.directory / kind}:2: "), line)
            (line,) = self.refused(f"--{kind}", text)
            self.assertTrue(line.startswith(f"--{kind} "), line)
            self.write(kind, "")

    def test_proxied_by_nobody(self) -> None:
        """A listener for proxies needs some that are trusted."""
        (line,) = self.refused("--listen", "haproxy:tcp:25")
        self.assertIn("trusted_proxies is empty", line)

    def test_smtps_without_certificate(self) -> None:
        (line,) = self.refused("--smtps", "465")
        self.assertIn("no plugin has a certificate", line)

    def test_policy(self) -> None:
        for words, expected in (
            (["--listen", "25 starttls=required"], "no plugin has a certificate"),
            (["--listen", "25 starttls=x"], "25 starttls=x: starttls=x is none of"),
            (["--lmtp", "localhost:25"], "localhost:25: LMTP must not be spoken on port 25"),
            (["--lmtp", "24 starttls=required"], "no plugin has a certificate"),
        ):
            (line,) = self.refused(*words)
            self.assertIn(expected, line)
        self.certify()
        (line,) = self.refused("--listen", "25 client=ask")
        self.assertIn("client=ask needs client_ca", line)

    def test_certificate(self) -> None:
        self.certify()
        (self.directory / "cert.pem").write_text("nothing")
        (line,) = self.refused()
        self.assertIn("cert.pem", line)

    def test_numbers(self) -> None:
        for name in ("max_connections", "max_from_ip", "shutdown_grace", "spool_perms"):
            self.setUp()
            self.write(name, "some")
            (line,) = self.refused()
            self.assertIn(name, line)


class ReloadTests(Case):
    def test_values(self) -> None:
        """New values are in force at once."""
        service = self.running()
        self.write("databytes", "7")
        service.reload()
        self.assertEqual(7, service.engine.limits.databytes)

    def test_mistake(self) -> None:
        """A mistake is logged, and the old values stay in force."""
        self.write("databytes", "7")
        service = self.running()
        self.write("databytes", "many")
        service.reload()
        self.assertEqual(7, service.engine.limits.databytes)
        self.assertTrue(self.logged("'many' is not a number"))
        self.assertTrue(self.connect().value().startswith(b"220 "))

    def test_plugins(self) -> None:
        """Plugins are told; one that fails is logged, and the server goes on."""
        service = self.running()
        service.reload()
        self.assertEqual(1, service.engine.registry.plugins[0].reloads)
        self.assertTrue(self.logged("cannot reload: not today"))

    def test_signal(self) -> None:
        """HUP asks for it, in the reactor's own time, from the moment that a port is open."""
        for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT):
            self.addCleanup(signal.signal, number, signal.getsignal(number))
        service = self.service()
        called: list[Any] = []
        self.reactor.callFromThread = called.append
        service.privilegedStartService()
        self.addCleanup(service.stopService)
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual([service.reload], called)


class CertificateTests(Case):
    def setUp(self) -> None:
        super().setUp()
        self.certify()
        self.mail = self.running()
        assert self.mail.built.tls is not None
        self.tls = self.mail.built.tls

    def replace(self) -> None:
        certificate, key = self.directory / "cert.pem", self.directory / "key.pem"
        certificate.unlink()
        key.unlink()
        make_self_signed(certificate, key, "mx.example.org")

    def context(self) -> Any:
        return self.tls.context_factory.context

    def test_watched(self) -> None:
        """A certificate that was replaced is taken without being told."""
        old = self.context()
        self.reactor.advance(CERTIFICATE_CHECK)
        self.assertIs(old, self.context())
        self.replace()
        self.reactor.advance(CERTIFICATE_CHECK)
        self.assertIsNot(old, self.context())

    def test_ticket_keys(self) -> None:
        """RFC 9325 section 3.4: the keys of session tickets, which the context holds, last a day."""
        for _ in range(2):
            old = self.context()
            self.reactor.pump([CERTIFICATE_CHECK] * int(TICKET_KEYS / CERTIFICATE_CHECK - 1))
            self.assertIs(old, self.context())
            self.reactor.advance(CERTIFICATE_CHECK)
            self.assertIsNot(old, self.context())

    def test_mistake(self) -> None:
        """One that is none is logged, the old one stays in use, and the watch goes on."""
        old = self.context()
        (self.directory / "cert.pem").write_text("nothing")
        self.reactor.advance(CERTIFICATE_CHECK)
        self.assertIs(old, self.context())
        self.assertTrue(self.logged("the old certificate stays in use"))
        self.replace()
        self.reactor.advance(CERTIFICATE_CHECK)
        self.assertIsNot(old, self.context())

    def test_reload(self) -> None:
        old = self.context()
        self.mail.reload()
        self.assertIsNot(old, self.context())

    def test_stop(self) -> None:
        """The watch ends with the server."""
        self.mail.stopService()
        self.assertEqual([], self.reactor.getDelayedCalls())


class StoreTests(Case):
    """What plugins keep: opened at the start if there is one that keeps anything, closed at the end."""

    def setUp(self) -> None:
        super().setUp()
        self.write("own/keeper.py", KEEPER)
        self.path = self.directory / "store.sqlite"

    def test_nobody_keeps_anything(self) -> None:
        """There is no file then, not even a directory for it."""
        self.write("store", f"sqlite {self.directory}/deep/store")
        self.successResultOf(self.running().stopService())
        self.assertFalse((self.directory / "deep").exists())

    def test_opened_and_closed(self) -> None:
        """Beside the spool directory, when the server starts and not before; the end leaves one file."""
        self.write("plugins", "all\nkeeper")
        service = self.service()
        stores: Any = service.built.services.store
        stores._run_in_thread = maybeDeferred
        self.assertFalse(self.path.exists())
        service.startService()
        self.assertTrue(Path(f"{self.path}-wal").exists())
        self.successResultOf(service.stopService())
        self.assertEqual([self.path], list(self.directory.glob("store*")))

    def test_broken(self) -> None:
        """A file that is no store stops the start, by its name."""
        self.write("plugins", "all\nkeeper")
        self.path.write_text("rubbish" * 1000)
        service = self.service()
        error = self.assertRaises(SystemExit, service.startService)
        self.assertEqual(
            f"qpsmtpd: {self.directory}/store: store {self.path}: file is not a database; {ALLOWED_STORE}",
            str(error),
        )

    def test_no_place(self) -> None:
        """A place that cannot be is named with the line that asks for it."""
        self.write("plugins", "all\nkeeper")
        self.write("store", f"# here:\nsqlite {self.directory}")
        error = self.assertRaises(SystemExit, self.service().startService)
        self.assertEqual(
            f"qpsmtpd: {self.directory}/store:2: store {self.directory}: not a file; {ALLOWED_STORE}",
            str(error),
        )

    def test_mistake(self) -> None:
        self.write("store", "redis")
        error = self.assertRaises(SystemExit, self.service)
        self.assertIn(f"qpsmtpd: {self.directory}/store:1: 'redis' is no store; allowed are", str(error))

    def test_forgetful_workers(self) -> None:
        """Workers without a store in common are a line in the log, at the start; of the parent only."""
        self.write("store", "memory")
        self.write("own/logger.py", LOGGER.format(log=self.directory / "log"))
        self.write("logging", "logger")
        self.service()
        self.service("--workers", "3")
        heard = (self.directory / "log").read_text().replace(f"{self.directory}/", "").splitlines()
        self.assertEqual(
            ["store:1: each of 3 workers remembers for itself; one for all of them is sqlite"],
            [line for line in heard if "store" in line],
        )

    def test_memory(self) -> None:
        """As many entries as the configuration allows; the log tells when they are too many."""
        self.write("plugins", "all\nkeeper")
        self.write("store", "memory")
        self.write("max_store_entries", "1")
        service = self.running()
        store = service.engine.registry.plugins[-1].store
        for key in ("a", "b"):
            self.successResultOf(store.set(key, 1, lifetime=10))
        self.assertEqual(["b"], [item.key for item in self.successResultOf(store.items())])
        self.assertTrue(self.logged("the store of keeper is full"))
        self.assertFalse(self.path.exists())


class StopTests(Case):
    def stop(self, service: MailService) -> Deferred[None]:
        return service.stopService()

    def test_idle(self) -> None:
        """Clients are told to go, and the server ends when they have gone."""
        service = self.running()
        transport = self.connect()
        stopped = self.stop(service)
        self.assertIn(b"421 4.3.2", transport.value())
        self.assertNoResult(stopped)
        transport.protocol.connectionLost()
        self.successResultOf(stopped)
        self.assertEqual([], self.reactor.getDelayedCalls())

    def test_message(self) -> None:
        """Who holds a message has the time of grace."""
        self.write("shutdown_grace", "5")
        service = self.running()
        transport = self.connect()
        transport.protocol.dataReceived(b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n")
        self.stop(service)
        transport.protocol.dataReceived(b"\r\nx\r\n.\r\n")
        self.assertIn(b"250 2.0.0 Queued!\r\n421 4.3.2", transport.value())

    def test_nobody(self) -> None:
        self.successResultOf(self.stop(self.running()))
