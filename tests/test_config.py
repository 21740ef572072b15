"""The configuration directory: order of sources, file syntax, caching, errors."""

import os
import shutil
import socket
import sys
import time
from pathlib import Path

import cdblib
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import configfile
from qpsmtpd.config import Config, ConfigError, Line, config_directories

LONG_AGO = 1_000_000_000


class ConfigCase(SynchronousTestCase):
    """Two directories, ours before qmail's, and a clock."""

    def setUp(self):
        self.ours = Path(self.mktemp()).absolute()
        self.qmail = Path(self.mktemp()).absolute()
        self.ours.mkdir(parents=True)
        self.qmail.mkdir(parents=True)
        self.clock = Clock()
        self.reports = []
        self.config = Config([self.ours, self.qmail], now=self.clock.seconds)
        self.config.report = self.reports.append

    def write(self, name, text, age=0, directory=None):
        """Write a file, `age` seconds before a time long past, so that its stamp is settled."""
        path = (directory or self.ours) / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        os.utime(path, (LONG_AGO - age, LONG_AGO - age))
        return path

    def error(self, method, *arguments):
        return str(self.assertRaises(ConfigError, method, *arguments))


class SyntaxTests(ConfigCase):
    """spec 10.4."""

    def test_lines(self):
        """Each file gives these lines."""
        for text, expected in [
            ("", ()),
            ("one", ("one",)),
            ("one\ntwo\n", ("one", "two")),
            ("one\r\ntwo\r\n", ("one", "two")),
            ("  \t one two \f\n", ("one two",)),
            ("# a\n   # b\n\n \n one \n", ("one",)),
            ("one # not a comment", ("one # not a comment",)),
            ("a\x0cb\x1cc\u2028d", ("a\x0cb\x1cc\u2028d",)),
            ("0\n", ("0",)),
            ("gr\u00fc\u00dfe", ("gr\u00fc\u00dfe",)),
            ("gr\u00fc\u00dfe".encode("iso-8859-1"), ("gr\u00fc\u00dfe",)),
            (b"\xef\xbb\xbfone", ("one",)),
        ]:
            self.write("some", text)
            self.config.forget()
            self.assertEqual(expected, self.config.lines("some"), text)

    def test_utf_16(self):
        """A file of another encoding is named as a whole, not line by line."""
        for encoding in ("utf-16-le", "utf-16-be"):
            path = self.write("some", "\ufeffone\ntwo\n".encode(encoding))
            self.config.forget()
            error = self.assertRaises(ConfigError, self.config.lines, "some")
            self.assertEqual(f"{path}: this file is UTF-16; allowed: UTF-8 and ISO 8859-1", str(error))

    def test_numbered(self):
        """A line knows its file and number."""
        path = self.write("some", "# comment\n\n one\ntwo")
        self.assertEqual((Line("one", path, 3), Line("two", path, 4)), self.config.numbered("some"))

    def test_table(self):
        """A table splits each line at the first blanks."""
        self.write("some", "@example.com\na@b  go  away \nx\ty")
        self.assertEqual((("@example.com", ""), ("a@b", "go  away"), ("x", "y")), self.config.table("some"))

    @given(st.binary(max_size=60))
    @settings(max_examples=100, derandomize=True, deadline=None, database=None)
    def test_any_octets(self, octets):
        """No file breaks the reader, and every line is trimmed, not blank and no comment."""
        self.write("some", octets)
        self.config.forget()
        for text in self.config.lines("some"):
            self.assertEqual(text.strip(" \t\r\n\f\v"), text)
            self.assertNotIn(text[:1], ("", "#"))


class IncludeTests(ConfigCase):
    """spec 10.4, QUIRK Q56."""

    def test_in_place(self):
        """The content of the named file replaces the line, at any depth, with its own numbers."""
        self.write("some", "a\n$include other\nz")
        self.write("other", "# x\nb\n$include third")
        self.write("third", "c")
        self.assertEqual(("a", "b", "c", "z"), self.config.lines("some"))
        places = [(line.file.name, line.number) for line in self.config.numbered("some")]
        self.assertEqual([("some", 1), ("other", 2), ("third", 1), ("some", 3)], places)

    def test_not_an_include(self):
        """Only one lower-case word with one name is an include."""
        for line in ["$Include other", "$include", "$include other x", "$includeother", "x $include other"]:
            self.write("some", line)
            self.write("other", "included")
            self.config.forget()
            self.assertEqual((line,), self.config.lines("some"))

    def test_looked_up(self):
        """A relative name is looked for in every directory, an absolute one is taken as it is."""
        self.write("some", f"$include other\n$include {self.write('elsewhere/x', 'absolute')}")
        self.write("other", "qmail's", directory=self.qmail)
        self.assertEqual(("qmail's", "absolute"), self.config.lines("some"))

    def test_missing(self):
        """A missing file gives nothing."""
        self.write("some", "a\n$include nowhere\n$include /nowhere/at/all\nb")
        self.assertEqual(("a", "b"), self.config.lines("some"))

    def test_directory(self):
        """A directory gives its regular files in byte order, without hidden ones."""
        for name in ["b", "a", "B", ".hidden", "\u00e9"]:
            self.write(f"some.d/{name}", name)
        (self.ours / "some.d" / "sub").mkdir()
        self.write("some", "$include some.d")
        self.assertEqual(("B", "a", "b", "\u00e9"), self.config.lines("some"))

    def test_twice(self):
        """The same file twice is no cycle."""
        self.write("some", "$include other\n$include other\n$include third")
        self.write("third", "$include other")
        self.write("other", "x")
        self.assertEqual(("x", "x", "x"), self.config.lines("some"))

    def test_cycle(self):
        """A file that includes itself is an error with the file, the line and the way."""
        for files in [
            {"some": "\n$include some"},
            {"some": "$include other", "other": "\n$include some"},
            {"some": "$include some.d", "some.d/1": "x\n$include some"},
        ]:
            for name, text in files.items():
                path = self.write(name, text)
            way = " > ".join([*(Path(name).name for name in files), "some"])
            error = self.error(Config([self.ours]).lines, "some")
            self.assertEqual(f"{path}:2: this file includes itself: {way}", error)


class OrderTests(ConfigCase):
    """spec 10.1 and 10.2."""

    def test_directories(self):
        """The first directory with the file wins, even when the file is empty; a directory is no file."""
        self.write("both", "ours")
        self.write("both", "qmail's", directory=self.qmail)
        self.write("empty", "")
        self.write("empty", "qmail's", directory=self.qmail)
        self.write("dir/x", "")
        second = self.write("dir", "qmail's", directory=self.qmail)
        self.assertEqual("ours", self.config.value("both"))
        self.assertEqual("", self.config.value("empty"))
        self.assertEqual("qmail's", self.config.value("dir"))
        self.assertEqual((second, None), (self.config.find("dir"), self.config.find("nothing")))

    def test_given(self):
        """A given value comes before the files, even an empty one; a string is one line."""
        self.write("a", "file")
        self.write("b", "file")
        config = Config([self.ours], {"a": ["x", "y 1"], "b": (), "c": "whole line"})
        self.assertEqual(("x", "y 1"), config.lines("a"))
        self.assertEqual(((), ("whole line",)), (config.lines("b"), config.lines("c")))
        self.assertEqual((("x", ""), ("y", "1")), config.table("a"))

    def test_overlay(self):
        """The hook is asked first; its answer is final even when empty, and None leaves it to the others."""
        self.write("a", "file")
        self.config.overlay = {"a": ["hook", "more"], "timeout": []}.get
        self.assertEqual(("hook", "more"), self.config.lines("a"))
        self.assertEqual((), self.config.lines("timeout"))
        self.config.overlay = {"b": "one line"}.get
        self.assertEqual(("file",), self.config.lines("a"))
        self.assertEqual(("one line",), self.config.lines("b"))

    def test_overlay_follows(self):
        """What the hook says now counts, and the same answer is the same tuple."""
        answers = [["1"], ["1"], ["2"], ["x"]]
        self.config.overlay = lambda name: answers.pop(0)
        first = self.config.lines("a")
        self.assertIs(first, self.config.lines("a"))
        self.assertEqual([2, 2], [self.config.number("a", 0), self.config.number("a", 0)])
        self.assertIn("<config hook a>:1: 'x'", self.reports[0])

    def test_overlay_reads(self):
        """A hook that reads the configuration itself is not asked by itself."""
        self.write("a", "file")
        self.config.overlay = lambda name: [f"<{self.config.value('a')}>"]
        self.assertEqual("<file>", self.config.value("a"))
        self.assertEqual("<file>", self.config.value("other"))

    def test_defaults(self):
        """The host's name, the time limit, and nothing else is built in."""
        self.patch(socket, "gethostname", lambda: "mx.example.org")
        self.assertEqual("mx.example.org", self.config.value("me"))
        self.assertEqual(1200.0, self.config.seconds("timeout", 5.0))
        self.assertEqual((), self.config.lines("other"))
        self.assertEqual("default", self.config.value("other", "default"))

    def test_short_host_name(self):
        """A host name without a domain is completed."""
        self.patch(socket, "gethostname", lambda: "mx")
        self.patch(socket, "getfqdn", lambda: "mx.example.org")
        self.assertEqual("mx.example.org", self.config.value("me"))

    def test_default_gives_way(self):
        """A file with a line wins over the built-in default, one without does not."""
        self.write("me", "# nothing")
        self.write("timeout", "0")
        self.patch(socket, "gethostname", lambda: "mx.example.org")
        self.assertEqual(("mx.example.org", "0"), (self.config.value("me"), self.config.value("timeout")))


class DirectoriesTests(SynchronousTestCase):
    """config_directories."""

    def setUp(self):
        self.here = Path(self.mktemp()).absolute()
        (self.here / "mine").mkdir(parents=True)
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(self.here)

    def test_first(self):
        """The option wins over the environment, and that over ./config, and that over /etc."""
        mine, here = self.here / "mine", self.here / "config"
        self.assertEqual(Path("/etc/qpsmtpd"), config_directories(None, {})[0])
        here.mkdir()
        self.assertEqual(here, config_directories(None, {"QPSMTPD_CONFIG": ""})[0])
        self.assertEqual(mine, config_directories("", {"QPSMTPD_CONFIG": "mine"})[0])
        self.assertEqual(mine, config_directories("mine", {"QPSMTPD_CONFIG": str(here)})[0])

    def test_qmail(self):
        """qmail's directory comes second."""
        self.assertEqual(Path("/var/qmail/control"), config_directories("mine", {})[1])
        self.assertEqual([Path("/q/control")], config_directories("mine", {"QMAIL": "/q"})[1:])

    def test_not_there(self):
        """A directory that was asked for must exist."""
        self.assertRaises(ConfigError, config_directories, "typo", {})
        self.assertRaises(ConfigError, config_directories, None, {"QPSMTPD_CONFIG": "typo"})


class CacheTests(ConfigCase):
    """Files are looked at again after a second, and read again when they changed."""

    def test_once_a_second(self):
        """An edit shows within a second, not before."""
        self.write("a", "1")
        first = self.config.lines("a")
        self.write("a", "2", age=5)
        self.clock.advance(0.9)
        self.assertIs(first, self.config.lines("a"))
        self.clock.advance(0.2)
        self.assertEqual(("2",), self.config.lines("a"))

    def test_not_read_again(self):
        """A file that is as it was is not opened again."""
        self.write("a", "1")
        self.config.lines("a")
        self.clock.advance(2)
        self.patch(Path, "read_bytes", lambda path: self.fail("opened"))
        self.assertEqual(("1",), self.config.lines("a"))

    def test_what_changes(self):
        """Whatever took part is noticed: a file, an include, a directory, a better candidate."""
        self.write("some", "$include other\n$include some.d\n$include later", directory=self.qmail)
        self.write("some.d/1", "x")
        for change, expected in [
            (lambda: self.write("other", "o"), ("o", "x")),
            (lambda: self.write("other", "p", age=1), ("p", "x")),
            (lambda: self.write("some.d/2", "y"), ("p", "x", "y")),
            ((self.ours / "some.d/1").unlink, ("p", "y")),
            (lambda: self.write("later", "l", directory=self.qmail), ("p", "y", "l")),
            (lambda: self.write("later", "nearer"), ("p", "y", "nearer")),
            (lambda: self.write("some", "ours"), ("ours",)),
            ((self.ours / "some").unlink, ("p", "y", "nearer")),
            ((self.qmail / "some").unlink, ()),
        ]:
            change()
            self.clock.advance(1)
            self.assertEqual(expected, self.config.lines("some"))

    def test_young_file(self):
        """A file changed twice within a tick of the file system's clock is still noticed."""
        path = self.write("a", "1")
        seen = path.stat()
        self.patch(Path, "stat", lambda path, **options: seen)
        for age, expected in [(configfile.SETTLED_NS, 1), (configfile.SETTLED_NS - 1, 2)]:
            config = Config([self.ours], now=self.clock.seconds)
            self.patch(time, "time_ns", lambda age=age: seen.st_mtime_ns + age)
            path.write_text("1")
            config.lines("a")
            path.write_text("2")
            self.clock.advance(1)
            self.assertEqual(expected, config.number("a", 0))

    def test_same_tuple(self):
        """Lines that are the same stay the same tuple, and the numbers follow the file."""
        self.write("a", "1\n2")
        first = self.config.lines("a")
        self.write("a", "# new\n1\n2")
        self.clock.advance(1)
        self.assertIs(first, self.config.lines("a"))
        self.assertEqual(2, self.config.numbered("a")[0].number)

    def test_forget(self):
        """Forgetting reads again at once, and keeps what is the same."""
        self.write("a", "1")
        self.write("b", "1")
        self.config.lines("a")
        same = self.config.lines("b")
        self.write("a", "2")
        self.config.forget()
        self.assertEqual(("2",), self.config.lines("a"))
        self.assertIs(same, self.config.lines("b"))


class ParsedTests(ConfigCase):
    """Numbers, times and switches."""

    def test_number(self):
        """A number is decimal digits and nothing else."""
        for text in ["0", "7", "10000000", "007"]:
            self.assertEqual(int(text), Config(values={"a": text}).number("a", 5))
        for text in ["-1", "+1", "1.5", "1_0", "0x1", "ten", "10 MB", "\u0661", "\u00b2"]:
            message = f"<given a>:1: {text!r} is not a number; allowed: a whole number, 0 or more"
            self.assertEqual(message, self.error(Config(values={"a": text}).number, "a", 5))
        self.assertEqual(5, self.config.number("a", 5))

    def test_huge_number(self):
        """Digits without end are an error, not a burden."""
        self.assertRaises(ConfigError, Config(values={"a": "9" * 9999}).number, "a", 5)
        self.assertRaises(ConfigError, Config(values={"a": "9" * 9999}).seconds, "a", 5)

    def test_seconds(self):
        """A time may have a fraction."""
        for text, expected in [("30", 30.0), ("0.5", 0.5), (".5", 0.5), ("2.", 2.0), ("0", 0.0)]:
            self.assertEqual(expected, Config(values={"a": text}).seconds("a", 5.0))
        for text in ["-1", "nan", "inf", "1e3", "5 s", "."]:
            self.assertIn("allowed: seconds", self.error(Config(values={"a": text}).seconds, "a", 5.0))
        self.assertEqual(5.0, self.config.seconds("a", 5.0))

    def test_flag(self):
        """A switch has two positions and three names for each."""
        for expected, names in [(False, ["0", "no", "Off"]), (True, ["1", "YES", "on"])]:
            for text in names:
                self.assertIs(expected, Config(values={"a": text}).flag("a", not expected))
        error = self.error(Config(values={"a": "2"}).flag, "a", True)
        self.assertIn("'2' is not a switch; allowed: 0, 1, no, yes, off, on", error)
        self.assertEqual((True, False), (self.config.flag("a", True), self.config.flag("a", False)))

    def test_place(self):
        """The error names the file and the line, in an included file too."""
        self.write("a", "$include b")
        path = self.write("b", "# megabytes\nten")
        self.assertTrue(self.error(self.config.number, "a", 1).startswith(f"{path}:2: 'ten' is not"))

    def test_same_name_differently(self):
        """One name may be read as a number, a time, a switch and a table."""
        config = Config(values={"a": "1"})
        self.assertEqual((1, 1.0), (config.number("a", 0), config.seconds("a", 0)))
        self.assertIs(True, config.flag("a", False))
        self.assertEqual((("1", ""),), config.table("a"))

    def test_hot_path(self):
        """Within the second neither the file nor the text is looked at again."""
        self.write("a", "1")
        number, table = self.config.number("a", 0), self.config.table("a")
        self.config.map("b")
        self.patch(Path, "stat", lambda *_: self.fail("looked at the file"))
        self.assertEqual(number, self.config.number("a", 0))
        self.assertIs(table, self.config.table("a"))
        self.assertEqual({}, self.config.map("b"))


class BadEditTests(ConfigCase):
    """A slip of the pen does not stop the mail."""

    def test_malformed(self):
        """The value before stays in force, and the error is reported once."""
        path = self.write("a", "7")
        self.assertEqual(7, self.config.number("a", 5))
        self.write("a", "x")
        for _ in range(3):
            self.clock.advance(1)
            self.assertEqual(7, self.config.number("a", 5))
        self.assertEqual(1, len(self.reports))
        self.assertIn(f"{path}:1: 'x' is not a number", self.reports[0])

    def test_default_before(self):
        """Where there was no file, the default stays in force."""
        self.config.number("a", 5)
        self.write("a", "x")
        self.clock.advance(1)
        self.assertEqual(5, self.config.number("a", 5))

    def test_never_good(self):
        """What never was good is an error each time, and works when it is put right."""
        self.write("a", "x")
        self.error(self.config.number, "a", 5)
        self.error(self.config.number, "a", 5)
        self.write("a", "8", age=1)
        self.clock.advance(1)
        self.assertEqual(8, self.config.number("a", 5))

    def test_reported_again(self):
        """A second slip, and one still there after HUP, is reported again."""
        self.write("a", "7")
        self.config.number("a", 5)
        for text in ["x", "y"]:
            self.write("a", text)
            self.config.forget()
            self.config.number("a", 5)
        self.config.forget()
        self.assertEqual(7, self.config.number("a", 5))
        self.assertEqual(["'x'", "'y'", "'y'"], [report.split()[1] for report in self.reports])

    def unreadable(self, path):
        path.unlink()
        path.symlink_to(path.name)  # the one obstacle that stops root too

    def test_unreadable(self):
        """A file that cannot be read is an error at the start, and keeps its lines later."""
        path = self.write("a", "7")
        self.config.lines("a")
        self.unreadable(path)
        for _ in range(3):
            self.clock.advance(1)
            self.assertEqual(("7",), self.config.lines("a"))
        self.assertEqual(1, len(self.reports))
        self.assertIn(f"{path}: cannot be read: ", self.reports[0])
        self.assertIn(self.error(Config([self.ours]).lines, "a"), self.reports[0])

    def test_cannot_open(self):
        """A file that is there and cannot be opened is the same; once readable, it counts."""
        path = self.write("a", "7")
        self.config.lines("a")

        def refuse(path):
            raise PermissionError(13, "Permission denied")

        patch = self.patch(Path, "read_bytes", refuse)
        for age in (1, 2):
            self.write("a", "8", age)
            self.clock.advance(1)
            self.assertEqual(("7",), self.config.lines("a"))
        self.assertEqual(1, len(self.reports))
        self.assertIn(f"{path}: cannot be read: Permission denied", self.reports[0])
        patch.restore()
        self.config.forget()
        self.assertEqual(("8",), self.config.lines("a"))

    def test_unreadable_directory(self):
        """An included directory that cannot be listed is an error, not an empty one."""
        self.write("some.d/1", "x")
        self.write("a", "$include some.d")
        self.patch(Path, "iterdir", lambda path: os.scandir("/nowhere"))
        expected = f"{self.ours / 'some.d'}: cannot be read: No such file or directory"
        self.assertEqual(expected, self.error(self.config.lines, "a"))

    def test_removed_meanwhile(self):
        """A file that goes between the look and the opening is a missing file."""
        path = self.write("a", "7")
        real = Path.stat

        def stat_then_remove(self, **options):
            result = real(self, **options)
            path.unlink()
            return result

        self.patch(Path, "stat", stat_then_remove)
        self.assertEqual((), self.config.lines("a"))

    def test_cycle(self):
        """A cycle written while the server runs keeps the lines before."""
        self.write("a", "1")
        self.config.lines("a")
        self.write("a", "2\n$include a")
        self.clock.advance(1)
        self.assertEqual(("1",), self.config.lines("a"))
        self.assertIn("includes itself", self.reports[0])

    def test_nobody_told(self):
        """Without a listener the value before stays in force all the same."""
        self.config.report = None
        self.write("a", "7")
        self.config.number("a", 5)
        self.write("a", "x")
        self.config.forget()
        self.assertEqual(7, self.config.number("a", 5))


class ErrorTests(ConfigCase):
    """The errors that plugins raise about their lines."""

    def test_words(self):
        """An error says as much of the place as is known."""
        self.assertEqual("wrong", str(ConfigError("wrong")))
        self.assertEqual("a: wrong", str(ConfigError("wrong", Path("a"))))
        self.assertEqual("a:3: wrong", str(ConfigError("wrong", Path("a"), 3)))

    def test_about_a_line(self):
        """A position becomes file and line."""
        path = self.write("a", "# x\none\ntwo")
        empty = self.write("empty", "")
        for name, position, expected in [
            ("a", 1, f"{path}:3: wrong"),
            ("a", None, f"{path}: wrong"),
            ("a", 2, f"{path}: wrong"),
            ("empty", 0, f"{empty}: wrong"),
            ("missing", None, f"{self.ours / 'missing'}: wrong"),
        ]:
            self.assertEqual(expected, str(self.config.error(name, "wrong", position)))


class MapTests(ConfigCase):
    """spec 10.5, QUIRK Q57."""

    def write_map(self, name, rows, directory=None):
        path = (directory or self.ours) / f"{name}.cdb"
        with path.open("wb") as file, cdblib.Writer(file) as writer:
            for key, value in rows.items():
                writer.put(key.encode(), value.encode())
        os.utime(path, (LONG_AGO, LONG_AGO))
        return path

    def test_mapping(self):
        """A constant database is a mapping of text; its plain file says nothing about its place."""
        self.write("users", "plain")
        rows = {"!example.com-": "1", "gr\u00fcn": "\u00fc", "empty": ""}
        self.write_map("users", rows, self.qmail)
        users = self.config.map("users")
        self.assertEqual(rows, dict(users))
        self.assertEqual(3, len(users))
        self.assertIn("empty", users)
        self.assertNotIn("example", users)
        self.assertIsNone(users.get("\udcff"))

    def test_missing(self):
        """A missing database is an empty mapping."""
        self.assertEqual({}, self.config.map("users"))

    def test_given(self):
        """A given database is its lines."""
        config = Config(values={"users.cdb": ["a 1", "b"]})
        self.assertEqual({"a": "1", "b": ""}, config.map("users"))

    def test_follows(self):
        """It is kept for a second, then a new one is opened."""
        self.write_map("users", {"a": "1"})
        first = self.config.map("users")
        self.write_map("users", {"a": "2", "b": ""})
        self.assertIs(first, self.config.map("users"))
        self.clock.advance(1)
        self.assertEqual({"a": "2", "b": ""}, dict(self.config.map("users")))
        (self.ours / "users.cdb").unlink()
        self.config.forget()
        self.assertEqual({}, self.config.map("users"))

    def test_every_part(self):
        """A database copied in part is refused, however much of it is there."""
        path = self.write_map("users", {"alpha": "1", "beta": "2"})
        octets = path.read_bytes()
        for length in (0, 1, 100, 2047, 2048, *range(2049, len(octets))):
            path.write_bytes(octets[:length])
            message = self.error(Config([self.ours]).map, "users")
            self.assertEqual(f"{path}: not a constant database (CDB), or a part of one", message)

    def test_overwritten(self):
        """The database before stays in force, whole, when its file is overwritten with rubbish."""
        path = self.write_map("users", {"a": "1"})
        self.config.map("users")
        path.write_bytes(b"rubbish")
        self.clock.advance(1)
        self.assertEqual({"a": "1"}, dict(self.config.map("users")))
        self.assertIn("not a constant database", self.reports[0])

    def test_without_package(self):
        """Where the package is missing the error says how to get it, and only where a database is."""
        self.addCleanup(sys.modules.__setitem__, "cdblib", sys.modules["cdblib"])
        sys.modules["cdblib"] = None
        self.assertEqual({}, self.config.map("users"))
        self.write_map("users", {"a": "1"})
        self.assertTrue(self.error(Config([self.ours]).map, "users").endswith("pip install 'qpsmtpd[cdb]'"))


class UpstreamTests(ConfigCase):
    """spec A.6: what the Perl qpsmtpd tests of its configuration."""

    def test_relayclients(self):
        """The sample relayclients, trimmed."""
        self.write(
            "relayclients",
            "# comment\n127.0.0.1\n # leading white space\n 192.0. \n\n2001:0DB8\n2001:DB8::1\n"
            "2001:DB8::1/32\n2001:0DB8:0000:0000:0000:0000:0000:0001\n",
        )
        expected = ["127.0.0.1", "192.0.", "2001:0DB8", "2001:0DB8:0000:0000:0000:0000:0000:0001"]
        expected += ["2001:DB8::1", "2001:DB8::1/32"]
        self.assertEqual(expected, sorted(self.config.lines("relayclients")))

    def test_qmail_files(self):
        """A file of qmail's directory is read when ours has none."""
        self.write("me", "host.example.org\n", directory=self.qmail)
        self.assertEqual("host.example.org", self.config.value("me"))
        shutil.rmtree(self.qmail)
        self.clock.advance(1)
        self.patch(socket, "gethostname", lambda: "other.example.org")
        self.assertEqual("other.example.org", self.config.value("me"))
