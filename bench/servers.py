"""The servers: our engine and its peers, each set up to accept whatever comes and to look nothing up."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
from pathlib import Path
from typing import ClassVar

from postfix import Postfix
from programs import environment, find
from server import ROOT, START_TIMEOUT, Command, Server, Setup, Variant

BENCH = ROOT / "bench"
_TWISTD = "from twisted.scripts.twistd import run; run()"


class Engine(Server):
    """One process of ``twistd qpsmtpd`` with the plugin of bench/plugins."""

    name = "qpsmtpd"
    variants = frozenset(Variant)
    notes: ClassVar[dict[Variant, str]] = {
        Variant.DURABLE: "queue/maildir",
        Variant.CHAIN: "config/plugins, its queue plugins replaced by one that keeps nothing",
    }

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.twistd_options: list[str] = []

    @classmethod
    def missing(cls, variant: Variant) -> str:
        """Look for the plugin or the configuration that a variant is about."""
        if variant is Variant.DURABLE and not (ROOT / "plugins/queue/maildir.py").exists():
            return "there is no plugins/queue/maildir.py"
        if variant is Variant.CHAIN and not (ROOT / "config/plugins").exists():
            return "there is no config/plugins"
        return ""

    def command(self, variant: Variant) -> Command:
        """Write a configuration directory."""
        config = self.setup.work / "config"
        if variant is Variant.CHAIN:
            shutil.copytree(ROOT / "config", config)
        config.mkdir(exist_ok=True)
        for name, text in self._files(variant).items():
            (config / name).write_text(text + "\n")
        arguments = [sys.executable, "-c", _TWISTD, "--nodaemon", "--pidfile=", *self.twistd_options]
        arguments += ["qpsmtpd", "--config", str(config), "--spool", str(self.setup.work / "spool")]
        arguments += ["--listen", f"127.0.0.1:{self.port}", "--max-connections", "0"]
        if variant is Variant.CHAIN:
            arguments += ["--dns", f"127.0.0.1:{self.setup.dns_port}"]
        return Command(arguments, {"PYTHONPATH": str(ROOT)})

    def _files(self, variant: Variant) -> dict[str, str]:
        if variant is Variant.CHAIN:
            lines = (ROOT / "config/plugins").read_text().splitlines()
            plugins = [line for line in lines if not line.startswith("queue/")] + ["accept"]
        else:
            plugins = ["accept"]
        if variant is Variant.DURABLE:
            plugins.insert(0, f"queue/maildir {self.setup.work / 'Maildir'}")
        if variant is Variant.TLS:
            plugins.append(f"certificate {self.setup.certificate} {self.setup.key}")
        files = {
            "me": "bench.example.com",
            "plugins": "\n".join(plugins),
            "plugin_dirs": str(BENCH / "plugins"),
            "rcpthosts": "example.com",
        }
        if variant is Variant.CHAIN:
            # Whoever relays, as this machine may, passes by most plugins. Nobody asks for TLS.
            return files | {"relayclients": "", "smtps": ""}
        return files | {"reverse_dns": "0"}


class Workers(Engine):
    """A parent and two workers."""

    name = "qpsmtpd, 2 workers"
    variants = frozenset({Variant.WORKERS})
    notes: ClassVar[dict[Variant, str]] = {}

    def command(self, variant: Variant) -> Command:
        """Ask for workers, and to be told when all are there."""
        command = super().command(variant)
        environment = command.environment | {"NOTIFY_SOCKET": str(self._notified)}
        return Command([*command.arguments, "--workers", "2"], environment)

    @property
    def _notified(self) -> Path:
        return self.setup.work / "notify"

    def start(self, variant: Variant) -> None:
        """Start, and wait for all workers."""
        self.setup.work.mkdir(parents=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(self._notified))
            ready.settimeout(START_TIMEOUT)
            super().start(variant)
            ready.recv(100)


class Uncrowded(Engine):
    """The engine with the same work, but without the sessions that stay idle."""

    name = "qpsmtpd, uncrowded"
    variants = frozenset({Variant.CROWDED})
    notes: ClassVar[dict[Variant, str]] = {}
    crowded = False


class AioSMTPD(Server):
    """aiosmtpd with a handler of one line."""

    name = "aiosmtpd"
    variants = frozenset({Variant.PLAIN, Variant.TLS, Variant.DURABLE})
    notes: ClassVar[dict[Variant, str]] = {
        Variant.DURABLE: "its Mailbox handler: fsync of the file, not of the directory"
    }

    @classmethod
    def missing(cls, variant: Variant) -> str:
        """Look for the package."""
        del variant
        return "" if importlib.util.find_spec("aiosmtpd") else "pip install aiosmtpd"

    def command(self, variant: Variant) -> Command:
        """Start it with the same Python as ours."""
        arguments = [sys.executable, str(BENCH / "aiosmtpd_server.py"), str(self.port)]
        if variant is Variant.DURABLE:
            arguments += ["--maildir", str(self.setup.work / "Maildir")]
        if variant is Variant.TLS:
            arguments += ["--tls", str(self.setup.certificate), str(self.setup.key)]
        return Command(arguments)


class SMTPSink(Server):
    """Postfix's counterpart to smtp-source: a C program that does nothing but speak."""

    name = "smtp-sink"
    variants = frozenset({Variant.PLAIN})

    @classmethod
    def missing(cls, variant: Variant) -> str:
        """Look for the program."""
        del variant
        return "" if find("smtp-sink") else "apt install postfix"

    def command(self, variant: Variant) -> Command:
        """Let it have as many sessions as it likes."""
        del variant
        user = ["-u", "nobody"] if os.geteuid() == 0 else []
        most = str(2 * self.most_idle)
        arguments = [find("smtp-sink"), *user, "-m", most, f"inet:127.0.0.1:{self.port}", "1024"]
        return Command(arguments, environment())


class Haraka(Server):
    """Haraka with one plugin: accept, discard, no reverse DNS. Its command may be in $BENCH_HARAKA."""

    name = "Haraka"
    variants = frozenset({Variant.PLAIN, Variant.TLS, Variant.CHAIN})
    notes: ClassVar[dict[Variant, str]] = {
        Variant.PLAIN: "reverse DNS switched off by a plugin",
        Variant.CHAIN: "set up as for B, with one plugin",
    }

    @classmethod
    def missing(cls, variant: Variant) -> str:
        """Look for the program."""
        del variant
        return "" if cls._found() else "npm install Haraka, and set BENCH_HARAKA to its bin/haraka"

    @staticmethod
    def _found() -> str:
        return os.environ.get("BENCH_HARAKA") or find("haraka")

    def command(self, variant: Variant) -> Command:
        """Write a Haraka directory: its defaults, one process, a log as quiet as ours."""
        home, found = self.setup.work, self._found()
        shutil.copytree(Path(found).resolve().parent.parent / "config", home / "config")
        tls = ["tls"] if variant is Variant.TLS else []
        files = {
            "config/smtp.ini": f"listen=127.0.0.1:{self.port}\nnodes=0",
            "config/plugins": "\n".join([*tls, "bench"]),
            "config/log.ini": "[main]\nlevel=warn",
            "config/me": "bench.example.com",
            "config/tls.ini": f"key={self.setup.key}\ncert={self.setup.certificate}",
            "plugins/bench.js": _HARAKA_PLUGIN,
        }
        for name, text in files.items():
            path = home / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text + "\n")
        return Command([found, "-c", str(home)])


_HARAKA_PLUGIN = """\
exports.hook_lookup_rdns = (next) => next(OK, 'localhost')
exports.hook_mail = (next) => next(OK)
exports.hook_rcpt = (next) => next(OK)
exports.hook_queue = (next) => next(OK)
"""

ENGINES: list[type[Server]] = [Engine, Workers, Uncrowded]
PEERS: list[type[Server]] = [AioSMTPD, SMTPSink, Postfix, Haraka]
