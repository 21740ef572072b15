"""A private Dovecot that takes mail over LMTP, at a UNIX socket and a port, into Maildirs of its own."""

from __future__ import annotations

import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness import answers, free_port, need, wait_until

CONFIG = """\
base_dir = {directory}/run
log_path = {directory}/log
protocols = lmtp
ssl = no
mail_location = maildir:{directory}/mail/%u
first_valid_uid = {uid}
first_valid_gid = {gid}
default_internal_user = dovecot
default_login_user = dovecot
service lmtp {{
  chroot =
  unix_listener {directory}/lmtp {{
    mode = 0600
    user = root
  }}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
}}
service anvil {{
  chroot =
}}
protocol lmtp {{
  postmaster_address = postmaster@far.example
  mail_plugins = quota
}}
plugin {{
  quota = maildir:User quota
}}
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
userdb {{
  driver = passwd-file
  args = {directory}/users
}}
"""


class Dovecot:
    """One instance; its users are b and c of far.example, and full, whose mailbox is."""

    def __init__(self) -> None:
        need("dovecot")
        self.directory = Path(tempfile.mkdtemp(prefix="dovecot-"))
        self.directory.chmod(0o755)
        self.port = free_port()
        self.socket = self.directory / "lmtp"
        user = pwd.getpwnam("dovecot")
        self.mail = self.directory / "mail"
        self.mail.mkdir()
        shutil.chown(self.mail, user.pw_uid, user.pw_gid)
        ids = f"{user.pw_uid}:{user.pw_gid}"
        lines = [f"{name}@far.example:{{PLAIN}}x:{ids}::{self.mail}::" for name in ("b", "c")]
        lines.append(f"full@far.example:{{PLAIN}}x:{ids}::{self.mail}::userdb_quota_rule=*:bytes=1")
        (self.directory / "users").write_text("\n".join(lines) + "\n")
        text = CONFIG.format(directory=self.directory, port=self.port, uid=user.pw_uid, gid=user.pw_gid)
        (self.directory / "dovecot.conf").write_text(text)
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Dovecot:
        with (self.directory / "output").open("wb") as output:
            self.process = subprocess.Popen(
                ["/usr/sbin/dovecot", "-F", "-c", self.directory / "dovecot.conf"],
                stdout=output,
                stderr=output,
            )
        wait_until(lambda: answers(self.port), f"Dovecot listens: {self.directory}")
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.wait(60)
        shutil.rmtree(self.directory, ignore_errors=True)

    def messages(self, user: str) -> list[bytes]:
        """Give what was delivered to somebody at far.example."""
        return [path.read_bytes() for path in self.mail.glob(f"{user}@far.example/new/*")]
