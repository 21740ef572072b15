"""The spool directory."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.spool import prepare_spool

UNIQUE = "0123456789abcdef"


class SpoolTests(SynchronousTestCase):
    """It is private, and holds nothing of the dead."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp(), "deep", "spool")
        self.warnings: list[str] = []

    def prepare(self) -> None:
        prepare_spool(self.directory, 0o700, self.warnings.append)

    def test_it_is_made_for_nobody_else(self) -> None:
        self.prepare()
        self.assertEqual(self.directory.stat().st_mode & 0o777, 0o700)
        self.assertEqual(self.warnings, [])

    def test_wrong_permissions_are_told(self) -> None:
        self.directory.mkdir(parents=True)
        self.directory.chmod(0o755)
        self.prepare()
        self.assertEqual(self.warnings, [f"Permissions on spool_dir {self.directory} are not 0700"])

    def test_files_of_dead_processes_go_and_others_stay(self) -> None:
        self.prepare()
        dead = [f"1:{2**22 + 1}:{UNIQUE}", f"1:{os.getpid()}:{UNIQUE}"]
        alive = [f"1:1:{UNIQUE}", f"1:{os.getppid()}:{UNIQUE}", "a file of somebody else", f"{2**22 + 1}"]
        for name in dead + alive:
            (self.directory / name).touch()
        self.prepare()
        self.assertEqual(sorted(path.name for path in self.directory.iterdir()), sorted(alive))
