"""A private Exim that takes mail, mostly on standard input, and delivers it to us, at once or when told."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from apart import program
from harness import answers, wait_until

CONFIG = """\
exim_path = {program}
primary_hostname = exim.example
spool_directory = {directory}/spool
log_file_path = {directory}/log/%slog
keep_environment =
tls_advertise_hosts =
dsn_advertise_hosts = *
acl_smtp_rcpt = accept
message_size_limit = 100M
spool_wireformat = true
local_interfaces = 127.0.0.1
host_lookup =
log_selector = +smtp_confirmation +pipelining +tls_cipher
remote_max_parallel = 1
queue_run_max = 1
begin routers
relay:
  driver = manualroute
  transport = smtp
  route_list = * 127.0.0.1
  self = send
begin transports
smtp:
  driver = smtp
  port = {port}
{options}
begin retry
* * F,1h,1s
begin authenticators
{authenticator}
"""
PLAIN = """\
plain:
  driver = plaintext
  public_name = PLAIN
  client_send = ^{user}^{password}
"""


class Exim:
    """One spool and configuration; ``options`` are those of the smtp transport."""

    def __init__(self, port: int, *, login: tuple[str, str] | None = None, **options: str) -> None:
        self.program = program("exim4-daemon-heavy", "usr/sbin/exim4")
        self.directory = Path(tempfile.mkdtemp(prefix="exim-"))
        self.directory.chmod(0o755)
        for name in ("spool", "log"):
            (self.directory / name).mkdir()
            shutil.chown(self.directory / name, "Debian-exim")
        usual = {"tls_verify_hosts": "", "tls_try_verify_hosts": "", "message_linelength_limit": "100K"}
        text = CONFIG.format(
            program=self.program,
            directory=self.directory,
            port=port,
            options="".join(f"  {name} = {value}\n" for name, value in (usual | options).items()),
            authenticator=PLAIN.format(user=login[0], password=login[1]) if login else "",
        )
        (self.directory / "config").write_text(text)

    def __enter__(self) -> Exim:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)

    def run(self, *options: str, stdin: bytes = b"") -> str:
        """Run Exim to its end; deliveries are part of it with -odf, -q and -M."""
        command = [self.program, "-C", self.directory / "config", *options]
        done = subprocess.run(command, input=stdin, capture_output=True, timeout=120, check=False)
        said = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode:
            raise AssertionError(f"{options} ended with {done.returncode}\n{said}\n{self.log()}")
        return said

    def send(
        self, message: bytes, *recipients: str, sender: str = "<a@example.com>", when: str = "-odf"
    ) -> None:
        """Give it a message with LF line ends over SMTP; sender and recipients may have parameters."""
        self.send_all((message, recipients), sender=sender, when=when)

    def send_all(
        self,
        *mails: tuple[bytes, Sequence[str]],
        sender: str = "<a@example.com>",
        when: str = "-odf",
    ) -> None:
        """Give it several messages over SMTP."""
        said = ["EHLO client.example"]
        script = b""
        for message, recipients in mails:
            said += [f"MAIL FROM:{sender}", *(f"RCPT TO:{one}" for one in recipients), "DATA"]
            content = re.sub(rb"(?m)^\.", b"..", message).replace(b"\n", b"\r\n")
            script += "".join(f"{line}\r\n" for line in said).encode() + content + b".\r\n"
            said = []
        answer = self.run(when, "-bs", stdin=script + b"QUIT\r\n")
        refused = [line for line in answer.splitlines() if line[:1] in "45"]
        if refused or answer.count("250 OK id=") != len(mails):
            raise AssertionError(f"Exim does not want it: {answer}")

    @contextmanager
    def serving(self, port: int) -> Iterator[None]:
        """Take mail at a port for the length of a block, and keep it."""
        command = [self.program, "-C", self.directory / "config", "-bdf", "-odq", "-oX", str(port)]
        with subprocess.Popen(command) as process:
            try:
                wait_until(lambda: process.poll() is not None or answers(port), "Exim listens")
                yield
            finally:
                process.terminate()

    def log(self) -> str:
        """Give what Exim has logged: ``=>`` delivered, ``->`` with it, ``**`` failed, ``==`` later."""
        path = self.directory / "log" / "mainlog"
        return path.read_text() if path.exists() else ""

    def fates(self) -> dict[str, str]:
        """Give the last mark of each recipient in the log."""
        return {found[2]: found[1] for found in re.finditer(r" (=>|->|\*\*|==) (\S+) ", self.log())}
