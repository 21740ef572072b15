"""What scanners need: a server with a certificate to trust, a weak server, tools that run side by side."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from pathlib import Path

from harness import ROOT, Server, answers, free_port, need, run, wait_until

TOOLS = ROOT / ".venv-tools/bin"
"""Scanners from PyPI, in an environment of their own; .ci/run makes it."""
LIMIT = 180
"""Seconds that a scan may take."""
HOST = "localhost"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
LEAF = f"""\
subjectAltName=DNS:mail.example.com,DNS:{HOST},IP:127.0.0.1
basicConstraints=critical,CA:false
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth
crlDistributionPoints=URI:http://crl.example.com/ca.crl
"""


def tool(name: str) -> Path:
    """Give a scanner of that environment, or fail."""
    path = TOOLS / name
    if not path.exists():
        raise AssertionError(f"{path} is not installed; .ci/run installs it")
    return path


def certify(place: Path) -> None:
    """Make an authority ``ca.crt`` and a server's ``mail.crt`` of 90 days with ``mail.key``."""
    (place / "leaf.cnf").write_text(LEAF)
    ca, mail = place / "ca", place / "mail"
    run(
        "openssl", "req", "-x509", *CURVE, "-subj", "/CN=Test authority", "-days", 365,
        "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", f"{ca}.key", "-out", f"{ca}.crt",
    )  # fmt: skip
    run(
        "openssl", "req", "-new", *CURVE, "-subj", "/CN=mail.example.com",
        "-keyout", f"{mail}.key", "-out", f"{mail}.csr",
    )  # fmt: skip
    run(
        "openssl", "x509", "-req", "-in", f"{mail}.csr", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key",
        "-CAcreateserial", "-days", 90, "-extfile", place / "leaf.cnf", "-out", f"{mail}.crt",
    )  # fmt: skip


def scanned(config: Mapping[str, str] | None = None) -> Server:
    """Make, but do not start, the shipped server with that certificate, for clients without privileges.

    It waits for no early talkers, which would make a scan of hundreds of connections last for minutes.
    """
    need("openssl")
    server = Server({"relayclients": "", "max_from_ip": "0\n", "max_connections": "500\n", **(config or {})})
    certify(server.directory)
    lines = (server.config / "plugins").read_text().splitlines()
    lines = [line for line in lines if not line.startswith(("tls", "earlytalker"))]
    server.write("plugins", "\n".join(["tls mail.crt mail.key", *lines]) + "\n")
    return server


class WeakServer:
    """What a scanner must find fault with: old versions, no forward secrecy or encryption, renegotiation."""

    def __init__(self, place: Path) -> None:
        self.port = free_port()
        key = place / "weak"
        run(
            "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=weak.example",
            "-keyout", f"{key}.key", "-out", f"{key}.crt",
        )  # fmt: skip
        self.process = subprocess.Popen(
            [
                "openssl", "s_server", "-accept", f"127.0.0.1:{self.port}", "-quiet", "-no_tls1_3",
                "-cert", f"{key}.crt", "-key", f"{key}.key", "-client_renegotiation",
                "-cipher", "AES128-SHA:AES256-SHA:ECDHE-RSA-AES128-SHA:NULL-SHA:@SECLEVEL=0",
            ],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(lambda: answers(self.port), "openssl s_server listens")

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.communicate()


class BadServer:
    """A server in a thread that speaks SMTP badly; ``context`` has the certificate of `certify`."""

    def __init__(self, place: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(place / "mail.crt", place / "mail.key")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        """Serve until the listener is closed."""
        raise NotImplementedError


class Scan:
    """A tool that runs beside others; its end is waited for by `output`."""

    def __init__(self, place: Path, *command: object) -> None:
        self.place = place
        self.command = [str(word) for word in command]
        self.said = ""
        self.seconds = 0.0
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        done = subprocess.run(
            self.command, cwd=self.place, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=LIMIT, check=False,
        )  # fmt: skip
        self.seconds = time.monotonic() - self._began
        self.said = done.stdout

    def output(self) -> str:
        """Wait for its end and give what it said; it fails when that takes more than LIMIT."""
        self._thread.join()
        if not self.seconds:
            raise AssertionError(f"{self.command} takes more than {LIMIT} seconds")
        return self.said


def nmap(place: Path, scripts: str, *ports: int, arguments: str = "vulns.showall") -> Scan:
    """Run nmap's scripts on services whatever their ports; the output is XML for `script_results`."""
    need("nmap")
    return Scan(
        place, "nmap", "-Pn", "-n", "-sV", "--version-intensity", 2, "--script", scripts,
        "--script-args", arguments, "-oX", "-", "-p", ",".join(map(str, ports)), "127.0.0.1",
    )  # fmt: skip


def script_results(xml: str) -> dict[tuple[int, str], str]:
    """Give what each of nmap's scripts said about each port, and as ``service`` what nmap took it for."""
    found: dict[tuple[int, str], str] = {}
    for port in ET.fromstring(xml[xml.index("<nmaprun") :]).iter("port"):
        number = int(port.get("portid", ""))
        for service in port.iter("service"):
            found[number, "service"] = f"{service.get('name')} {service.get('product')}"
        for script in port.iter("script"):
            found[number, script.get("id", "")] = script.get("output", "")
    return found
