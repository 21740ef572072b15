"""What `run` and `profile` both need beside the server: a certificate, and a name server."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from server import ROOT, free_port

sys.path.insert(0, str(ROOT))


def make_certificate(work: Path) -> tuple[Path, Path]:
    """Make a certificate and its key for all servers."""
    from qpsmtpd.certificates import make_self_signed

    certificate, key = work / "certificate.pem", work / "key.pem"
    make_self_signed(certificate, key, "bench.example.com")
    return certificate, key


@contextmanager
def name_server(wanted: bool) -> Iterator[int]:
    """Run the name server, if it is wanted; give its port."""
    if not wanted:
        yield 0
        return
    port = free_port(socket.SOCK_DGRAM)
    server = subprocess.Popen([sys.executable, str(ROOT / "bench/dns_responder.py"), str(port)])
    try:
        yield port
    finally:
        server.terminate()
        server.wait()
