"""Names of files in Maildirs, and which of them are left behind."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit import maildir
from qpsmtpd.kit.maildir import remove_stale, unique_name


class NameTests(SynchronousTestCase):
    def test_unique(self) -> None:
        """Names never repeat, whatever the clock says."""
        self.patch(maildir.time, "time_ns", lambda: 1_800_000_000_000_042_000)
        names = {unique_name() for _ in range(100)}
        self.assertEqual(100, len(names))
        self.assertRegex(min(names), rf"^1800000000\.P{os.getpid()}M000042Q\d+\.")

    def test_host(self) -> None:
        """A host's name is no path, and holds no flags."""
        self.patch(maildir.socket, "gethostname", lambda: "a/b:c")
        self.assertTrue(unique_name().endswith(r".a\057b\072c"))

    def test_stale(self) -> None:
        """Of tmp, what is older than 36 hours and was ours is removed."""
        directory = Path(self.mktemp())
        directory.mkdir()
        ours, foreign, young = (directory / name for name in (unique_name(), "message", unique_name()))
        for path, age in ((ours, 36 * 3600 + 60), (foreign, 40 * 3600), (young, 35 * 3600)):
            path.touch()
            moment = maildir.time.time() - age
            os.utime(path, (moment, moment))
        self.assertEqual(1, remove_stale(directory))
        self.assertEqual({foreign, young}, set(directory.iterdir()))
