"""A private Postfix on loopback: relays to us, or takes mail from us into a Maildir of its own."""

from __future__ import annotations

import pwd
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness import answers, free_port, need, run, wait_until

MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix:
    """One instance; ``relay_port`` is where it sends mail, 0 keeps mail for far.example in a Maildir."""

    def __init__(self, relay_port: int = 0, **settings: str) -> None:
        need("postfix")
        self.directory = Path(tempfile.mkdtemp(prefix="postfix-"))
        self.directory.chmod(0o755)
        self.port = free_port()
        user = pwd.getpwnam("postfix")
        queue, data, mail = (self.directory / name for name in ("queue", "data", "mail"))
        for path in (queue, data, mail, self.directory / "etc"):
            path.mkdir()
        shutil.chown(data, user.pw_uid)
        shutil.chown(mail, user.pw_uid)
        self.maildir = mail / "inbox"
        main = {
            "compatibility_level": "3.6",
            "queue_directory": str(queue),
            "data_directory": str(data),
            "maillog_file": str(self.directory / "log"),
            "maillog_file_prefixes": str(self.directory),
            "myhostname": "far.example",
            "mydestination": "",
            "inet_interfaces": "127.0.0.1",
            "mynetworks": "127.0.0.0/8",
            "smtpd_relay_restrictions": "permit_mynetworks, reject",
            "virtual_mailbox_domains": "",
            "virtual_mailbox_base": str(mail),
            "virtual_mailbox_maps": "static:inbox/",
            "virtual_minimum_uid": "1",
            "virtual_uid_maps": f"static:{user.pw_uid}",
            "virtual_gid_maps": f"static:{user.pw_gid}",
            "alias_maps": "",
            "smtp_host_lookup": "native",
            "disable_dns_lookups": "yes",
            "default_process_limit": "20",
        }
        if relay_port:
            main["relayhost"] = f"[127.0.0.1]:{relay_port}"
        else:
            main["virtual_mailbox_domains"] = "far.example"
            main["smtpd_relay_restrictions"] = "reject_unauth_destination"
        main.update(settings)
        text = "".join(f"{name} = {value}\n" for name, value in main.items())
        (self.directory / "etc" / "main.cf").write_text(text)
        (self.directory / "etc" / "master.cf").write_text(MASTER.format(port=self.port))

    def __enter__(self) -> Postfix:
        # Its daemons hold the descriptors they inherit, so the output goes to a file, not to a pipe.
        with (self.directory / "output").open("wb") as output:
            self._command("start", output)
        wait_until(lambda: answers(self.port), "Postfix listens")
        return self

    def __exit__(self, *_: object) -> None:
        with (self.directory / "output").open("ab") as output:
            self._command("stop", output)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _command(self, word: str, output: object) -> None:
        subprocess.run(
            ["/usr/sbin/postfix", "-c", str(self.directory / "etc"), word],
            stdout=output,  # type: ignore[call-overload]
            stderr=subprocess.STDOUT,
            timeout=60,
            check=False,
        )

    def log(self) -> str:
        """Give what Postfix has logged."""
        path = self.directory / "log"
        return path.read_text() if path.exists() else ""

    def log_line(self, pattern: str) -> str:
        """Wait for a line of the log in which this pattern is found, and give it."""

        def found() -> list[str]:
            return [line for line in self.log().splitlines() if re.search(pattern, line)]

        wait_until(found, f"Postfix logs {pattern}")
        return found()[0]

    def queued(self) -> str:
        """Give the list of the messages that are still in the queue, with their recipients."""
        return run("postqueue", "-c", self.directory / "etc", "-p").stdout

    def flush(self) -> None:
        """Try to deliver now what is in the queue."""
        run("postqueue", "-c", self.directory / "etc", "-f")

    def take_messages(self, count: int) -> list[bytes]:
        """Wait for so many messages in its Maildir and empty it."""
        new = self.maildir / "new"
        wait_until(lambda: new.exists() and len(list(new.iterdir())) >= count, "mail arrives at the far end")
        messages = [path.read_bytes() for path in sorted(new.iterdir())]
        for path in new.iterdir():
            path.unlink()
        return messages


def swaks(port: int, text: str, *options: str, recipient: str = "b@example.org", check: bool = True) -> str:
    """Send a message with swaks."""
    done = run(
        "swaks", "--server", f"127.0.0.1:{port}", "--from", "a@example.com", "--to", recipient,
        "--data", "-", *options, stdin=text.removesuffix("\n").replace("\n", "\r\n"), check=check,
    )  # fmt: skip
    return done.stdout
