"""A private HAProxy on loopback in front of the server."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from harness import answers, free_port, need, wait_until

CONFIG = """\
defaults
    mode tcp
    timeout connect 10s
    timeout client 60s
    timeout server 60s
"""
LISTEN = """\
listen port{port}
    bind {address}:{port}
    server qpsmtpd 127.0.0.1:{behind} {option}
"""


class HAProxy:
    """One instance; ``places`` are a port to send clients to and an option of ``server`` each.

    ``address`` is where it listens; with one of IPv6, IPv4 clients have addresses of IPv6, too.
    """

    def __init__(self, *places: tuple[int, str], address: str = "127.0.0.1") -> None:
        need("haproxy")
        self.directory = Path(tempfile.mkdtemp(prefix="haproxy-"))
        self.ports = [free_port() for _ in places]
        listens = [
            LISTEN.format(address=address, port=port, behind=behind, option=option)
            for port, (behind, option) in zip(self.ports, places, strict=True)
        ]
        (self.directory / "haproxy.cfg").write_text("".join([CONFIG, *listens]))

    def __enter__(self) -> HAProxy:
        program = shutil.which("haproxy") or "/usr/sbin/haproxy"
        with (self.directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [program, "-db", "-f", self.directory / "haproxy.cfg"], stdout=log, stderr=log
            )
        for port in self.ports:
            wait_until(lambda port=port: answers(port), "HAProxy listens")
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(60)
        shutil.rmtree(self.directory, ignore_errors=True)
