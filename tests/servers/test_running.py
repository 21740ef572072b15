"""What docs/running.md tells to do without systemd, done to the letter by root on a machine of its own."""

from __future__ import annotations

import re
import unittest

from harness import ROOT, TWISTD, need, run

BLOCK = re.compile(r"## Without systemd.*?```sh\n(.*?)```", re.DOTALL)
MACHINE = """
set -e
ip link set lo up
for place in /run /var/lib /var/log; do mount -t tmpfs none $place; done
mkdir /run/etc
cp -a /etc/. /run/etc
mount --bind /run/etc /etc
cd /
"""
"""A network and directories that nobody else sees."""
TRIAL = """
pid() { cat /run/qpsmtpd/pid; }
until_true() { for i in $(seq 100); do if "$@"; then return; fi; sleep 0.1; done; exit 9; }
said() { grep -q "$1" /var/log/qpsmtpd/log; }
send() { swaks --server 127.0.0.1 --tls --from a@localhost --to b@localhost --silent 2; }
until_true said "set uid/gid"
send
kill -HUP $(pid)
until_true said "reloading the configuration"
send
ps -o user= -p $(pid)
ls /var/lib/qpsmtpd/mail/new | wc -l
kill $(pid)
! grep -iE "cannot|traceback|denied|failed" /var/log/qpsmtpd/log
"""


class RunningTests(unittest.TestCase):
    def test_without_systemd(self) -> None:
        """Port 25 is served by the user mail, who can read all again at SIGHUP."""
        for program in ("unshare", "swaks", "ip"):
            need(program)
        apart = ("unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc")
        if run(*apart, "true").returncode:
            self.skipTest("this machine lets nobody have namespaces of their own")
        match = BLOCK.search((ROOT / "docs/running.md").read_text())
        assert match is not None
        script = f"{MACHINE}PATH={TWISTD.parent}:$PATH\n{match[1]}{TRIAL}"
        ran = run(*apart, "sh", "-c", script)
        self.assertEqual(
            (0, ["mail", "2"]), (ran.returncode, ran.stdout.split()[-2:]), ran.stdout + ran.stderr
        )


if __name__ == "__main__":
    unittest.main()
