"""The options of ``twistd qpsmtpd``, and the way this process was started, for others of its kind."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from .config import Config, config_directories
from .corefiles import read_workers, worker_count


class Options(UsageOptions):
    """Options of ``twistd qpsmtpd``; what is not given comes from the configuration directory."""

    synopsis = "[options]"
    longdesc = (
        "Runs the qpsmtpd mail server. 'qpsmtpd init DIR' writes a configuration directory in which each "
        "file explains itself, 'qpsmtpd check DIR' names the mistakes in one, and 'qpsmtpd plugins show "
        "NAME' prints the manual of a plugin."
    )
    optParameters: ClassVar = [
        ["config", "c", None, "Configuration directory [$QPSMTPD_CONFIG, ./config or /etc/qpsmtpd]"],
        ["spool", None, None, "Directory for messages on their way in [config/spool_dir or ./spool]"],
        [
            "max-connections",
            None,
            None,
            "Connections at once, 0 for no limit [config/max_connections or 1000]",
        ],
        ["workers", None, None, "Processes that serve, or auto: one for each CPU [config/workers or 1]"],
        ["max-from-ip", None, None, "Connections at once from one address [config/max_from_ip or 0]"],
        ["loglevel", None, None, "Log up to this level, 0 to 7, if no logging plugin is loaded"],
    ]

    parent: Any = None
    """twistd's own options."""

    def __init__(self) -> None:
        super().__init__()
        self.listen: list[str] = []
        self.smtps: list[str] = []
        self.lmtp: list[str] = []
        self.dns: list[str] = []

    def opt_listen(self, endpoint: str) -> None:
        """Listen for SMTP here: [ADDRESS:]PORT or a Twisted endpoint; repeatable
        [config/listen or 127.0.0.1:2525]"""
        self.listen.append(endpoint)

    def opt_smtps(self, endpoint: str) -> None:
        """Listen for SMTP with implicit TLS here, like --listen; repeatable [config/smtps]"""
        self.smtps.append(endpoint)

    def opt_lmtp(self, endpoint: str) -> None:
        """Listen for LMTP here, like --listen, but not on port 25; repeatable [config/lmtp]"""
        self.lmtp.append(endpoint)

    def opt_dns(self, server: str) -> None:
        """Ask this name server, HOST[:PORT]; repeatable [config/dns_servers or the system's]"""
        self.dns.append(server)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Keep the words, for other processes of this server."""
        self.words = list(options or ())
        self.started_in = str(Path.cwd())  # twistd may change it
        super().parseOptions(options)

    def parseArgs(self, *words: str) -> None:
        """Refuse what is no option."""
        if words:
            raise UsageError(f"{words[0]!r} is no option; allowed are options only")

    def postOptions(self) -> None:
        """Check the numbers."""
        try:
            worker_count(self["workers"] or "1")
        except ValueError as error:
            raise UsageError(f"--workers: {error}") from None
        if self["loglevel"] is not None and not re.fullmatch("[0-7]", self["loglevel"]):
            raise UsageError(f"--loglevel takes a number from 0 to 7, not {self['loglevel']!r}")
        for name in ("max-connections", "max-from-ip"):
            if self[name] is not None and not re.fullmatch("[0-9]{1,6}", self[name]):
                raise UsageError(f"--{name} takes a number of at least 0, not {self[name]!r}")

    def way_back(self) -> tuple[str | None, str]:
        """Tell where another process begins as this one did, and where it must go then, if that differs."""
        here = str(Path.cwd())
        if self.started_in == here or not os.access(self.started_in, os.X_OK):
            return None, ""
        return self.started_in, here

    def worker_count(self) -> int:
        """Give the number of processes that serve."""
        if self["workers"] is not None:
            return worker_count(self["workers"])
        return read_workers(Config(config_directories(self["config"], os.environ)))

    def number(self, name: str, config: Config, default: int) -> int:
        """Give an option, else the setting of that name."""
        given = self[name]
        return int(given) if given is not None else config.number(name.replace("-", "_"), default)
