"""A private instance of Postfix: its master with smtpd and cleanup, in a directory of its own."""

from __future__ import annotations

import os
import pwd
from typing import ClassVar

from programs import environment, postfix_daemons
from server import Command, Server, Variant

_QUEUES = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop", "private"),
    *("public", "saved", "trace"),
)
_SERVICES = """\
127.0.0.1:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
proxymap unix - - n - - proxymap
tlsmgr unix - - n 1000? 1 tlsmgr
"""


class Postfix(Server):
    """smtpd, one process a session, and cleanup behind it; qmgr is not there, nothing is delivered."""

    name = "Postfix"
    variants = frozenset({Variant.PLAIN, Variant.TLS, Variant.DURABLE})
    # One process a session.
    most_idle = 200
    notes: ClassVar[dict[Variant, str]] = {
        Variant.PLAIN: "smtpd and cleanup, told to discard; smtpd_peername_lookup = no",
        Variant.DURABLE: "smtpd and cleanup, told to hold",
    }

    @classmethod
    def missing(cls, variant: Variant) -> str:
        """Look for the program, and for the rights that its master needs."""
        del variant
        if os.geteuid() != 0:
            return "its master runs as root only"
        return "" if postfix_daemons() else "apt install postfix"

    def command(self, variant: Variant) -> Command:
        """Write main.cf and master.cf and make the directories of the queue."""
        config = self.setup.work / "config"
        config.mkdir()
        (config / "main.cf").write_text("".join(f"{k} = {v}\n" for k, v in self._settings(variant).items()))
        (config / "master.cf").write_text(_SERVICES.format(port=self.port))
        self._make_queue()
        # -d: stay in the foreground, and in the group of processes that we end.
        return Command([f"{postfix_daemons()}/master", "-d", "-c", str(config)], environment())

    def _settings(self, variant: Variant) -> dict[str, str]:
        verdict = "hold" if variant is Variant.DURABLE else "discard"
        settings = {
            "compatibility_level": "3.6",
            "queue_directory": str(self.setup.work / "queue"),
            "data_directory": str(self.setup.work / "data"),
            "daemon_directory": str(postfix_daemons()),
            "import_environment": "MAIL_CONFIG LD_LIBRARY_PATH",
            "export_environment": "MAIL_CONFIG LD_LIBRARY_PATH",
            "myhostname": "bench.example.com",
            "mynetworks": "127.0.0.0/8",
            "mydestination": "example.com",
            "local_recipient_maps": "",
            "alias_maps": "",
            "alias_database": "",
            "smtpd_peername_lookup": "no",
            "smtpd_client_connection_count_limit": "0",
            # Without qmgr nobody gives back the tokens that it waits for.
            "in_flow_delay": "0",
            "smtpd_delay_reject": "no",
            "smtpd_sender_restrictions": f"check_client_access static:{verdict}",
            "message_size_limit": "33554432",
            "default_process_limit": str(2 * self.most_idle),
        }
        if variant is Variant.TLS:
            settings |= {
                "smtpd_tls_security_level": "may",
                "smtpd_tls_cert_file": str(self.setup.certificate),
                "smtpd_tls_key_file": str(self.setup.key),
            }
        return settings

    def _make_queue(self) -> None:
        owner = pwd.getpwnam("postfix").pw_uid
        queue = self.setup.work / "queue"
        for name in ("pid", "etc", "lib", "usr"):
            (queue / name).mkdir(parents=True)
        for name in _QUEUES:
            (queue / name).mkdir(mode=0o700)
            os.chown(queue / name, owner, -1)
        data = self.setup.work / "data"
        data.mkdir(mode=0o700)
        os.chown(data, owner, -1)
