"""What keeps a file or directory from being made, without making it."""

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.place import directory_trouble, place_trouble, writing_trouble


class PlaceTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Path(self.mktemp()).absolute()
        self.place.mkdir()
        self.forbidden: Path | None = None
        self.patch(os, "access", lambda path, *_, **__: path != self.forbidden)

    def test_possible(self) -> None:
        """Missing directories can be made below one that may be written to; what is there is not asked."""
        for path in (self.place / "new", self.place / "deep/er/new", self.place, Path("new")):
            self.assertEqual("", place_trouble(path), path)
        self.assertEqual([], list(self.place.iterdir()))

    def test_not_allowed(self) -> None:
        self.forbidden = self.place
        told = f"{self.place} cannot be written by this user"
        for path in (self.place / "new", self.place / "deep/er/new"):
            self.assertEqual(told, place_trouble(path))
        self.assertEqual((told, told), (directory_trouble(self.place), writing_trouble(self.place)))

    def test_no_directory(self) -> None:
        """A file or a link to nothing is in the way."""
        (self.place / "file").touch()
        told = f"{self.place / 'file'} is not a directory"
        self.assertEqual(told, place_trouble(self.place / "file/new"))
        self.assertEqual(told, directory_trouble(self.place / "file"))
        link = self.place / "link"
        link.symlink_to("missing")
        self.assertEqual(f"{link} is a link that leads nowhere", place_trouble(link))
        self.assertEqual(f"{link} is not a directory", place_trouble(link / "new"))
