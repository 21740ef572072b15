"""qpsmtpd init: a directory that works, and nothing written over."""

import os
from pathlib import Path

from qpsmtpd.loader import shipped
from qpsmtpd.script import init
from qpsmtpd.script.check import check

from .scriptcase import ScriptCase


class InitTests(ScriptCase):
    def setUp(self):
        super().setUp()
        self.new = self.directory.with_name("new") / "config"

    def test_works(self):
        """What is written has neither mistakes nor doubts, wherever the server is started."""
        self.assertEqual(0, self.run_command("init", self.new)[0])
        here = Path.cwd()
        self.addCleanup(os.chdir, here)
        os.chdir("/")
        self.assertEqual([], check([self.new]))

    def test_all_files(self):
        """Every shipped file is there, and every one but those with places is as it was shipped."""
        self.run_command("init", self.new)
        source = shipped("config")
        files = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
        names = {name for name in files if name.parts[0] != "ssl"}
        self.assertEqual(
            names, {path.relative_to(self.new) for path in self.new.rglob("*") if path.is_file()}
        )
        for name in names - {Path("plugins"), Path("spool_dir")}:
            self.assertEqual((source / name).read_bytes(), (self.new / name).read_bytes(), name)

    def test_no_key_is_copied(self):
        """A server that ran in a checkout made a key there, which stays its own."""
        source = Path(self.mktemp())
        (source / "ssl").mkdir(parents=True)
        for name in ("plugins", "ssl/qpsmtpd-server.key"):
            (source / name).write_text("x\n")
        written = {path.name for path in init.contents(source, Path("/new"), Path("/new"))}
        self.assertEqual({"plugins", "spool_dir"}, written)

    def test_passwords(self):
        """A file for passwords is not readable for everybody."""
        self.run_command("init", self.new)
        self.assertEqual(0o640, (self.new / "flat_auth_pw").stat().st_mode & 0o777)

    def test_places(self):
        """Mail, certificate and spool files go below the new directory."""
        self.run_command("init", self.new)
        plugins = (self.new / "plugins").read_text().splitlines()
        ssl = self.new / "ssl/qpsmtpd-server"
        self.assertIn(f"tls {ssl}.crt {ssl}.key self_signed", plugins)
        self.assertIn(f"queue/maildir {self.new}/mail", plugins)
        self.assertEqual(f"{self.new}/spool", (self.new / "spool_dir").read_text().splitlines()[-1])

    def test_state(self):
        """A server that may not write to its configuration has another directory for what it writes."""
        state = self.new.with_name("state")
        self.assertEqual(0, self.run_command("init", self.new, "--state", state)[0])
        plugins = (self.new / "plugins").read_text().splitlines()
        ssl = state / "ssl/qpsmtpd-server"
        self.assertIn(f"tls {ssl}.crt {ssl}.key self_signed", plugins)
        self.assertIn(f"queue/maildir {state}/mail", plugins)
        self.assertEqual(f"{state}/spool", (self.new / "spool_dir").read_text().splitlines()[-1])
        for path in self.new.rglob("*"):
            self.assertFalse(path.is_file() and f" {self.new}/" in path.read_text(), path)

    def test_output(self):
        """It prints what it wrote, and the next commands, ready to be copied."""
        new = self.new.with_name("with blank")
        _, output, error = self.run_command("init", new)
        self.assertEqual("", error)
        for path in new.rglob("*"):
            if path.is_file():
                self.assertIn(f"wrote {path.relative_to(Path.cwd())}\n", output)
        place = f"'{new.relative_to(Path.cwd())}'"
        self.assertTrue(
            output.endswith(f"  qpsmtpd check {place}\n  twistd -n qpsmtpd --config {place}\n"), output
        )
        self.assertEqual([], check([new]))

    def test_writes_nothing_over(self):
        """If one file is there, it is named, and nothing is written; other files do not matter."""
        self.new.mkdir(parents=True)
        (self.new / "notes").touch()
        for name in ("rcpthosts", "me"):
            (self.new / name).symlink_to("nothing")
        status, output, error = self.run_command("init", self.new)
        self.assertEqual((1, ""), (status, output))
        self.assertEqual(2, error.count("exists; nothing was written"))
        self.assertEqual(["me", "notes", "rcpthosts"], sorted(path.name for path in self.new.iterdir()))
        for name in ("rcpthosts", "me"):
            (self.new / name).unlink()
        self.assertEqual(0, self.run_command("init", self.new)[0])

    def test_impossible(self):
        """A place where nothing can be written, or that no plugin line can name, is refused."""
        self.new.parent.mkdir()
        self.new.touch()
        for place, expected in [
            (self.new, f"qpsmtpd: {self.new}: not a directory"),
            (self.new / "x", f"qpsmtpd: {self.new / 'x'}: Not a directory"),
            (self.new.with_name("ü"), "must be printable ASCII without quotes"),
            (self.new.with_name('"'), "must be printable ASCII without quotes"),
            (self.new.with_name("a\nb"), "must be printable ASCII without quotes"),
        ]:
            status, output, error = self.run_command("init", place)
            self.assertEqual((2, ""), (status, output), place)
            self.assertIn(expected, error)
        for place, expected in [
            (self.new, f"qpsmtpd: {self.new}: not a directory"),
            (self.new.with_name("ü"), "must be printable ASCII without quotes"),
        ]:
            status, output, error = self.run_command("init", self.new.with_name("y"), "--state", place)
            self.assertEqual((2, ""), (status, output), place)
            self.assertIn(expected, error)
        self.assertEqual([self.new], list(self.new.parent.iterdir()))

    def test_lines(self):
        """Only what the line leaves to the working directory is settled."""
        for line, expected in [
            ("queue/maildir mail\n", "queue/maildir /d/mail\n"),
            ("queue/maildir mail %d/%l 750 crlf\n", "queue/maildir /d/mail %d/%l 750 crlf\n"),
            ("queue/maildir /var/mail\n", "queue/maildir /var/mail\n"),
            ("tls\n", "tls /d/ssl/qpsmtpd-server.crt /d/ssl/qpsmtpd-server.key\n"),
            ("tls  a.crt a.key\n", "tls  a.crt a.key\n"),
            ("# tls\n", "# tls\n"),
            ("\n", "\n"),
            ('helo  "a b"\n', 'helo  "a b"\n'),
        ]:
            self.assertEqual(expected, init.settled(line, Path("/d")))
        self.assertEqual('queue/maildir "/a b/mail"\n', init.settled("queue/maildir mail", Path("/a b")))

    def test_source(self):
        """Backups and hidden files of the source are left; a source without spool_dir has one afterwards."""
        source = self.directory.with_name("source")
        source.mkdir()
        for name in ("plugins", "plugins~", ".hidden", "me"):
            (source / name).write_text("x\n")
        files = init.contents(source, Path("/d"), Path("/d"))
        self.assertEqual(
            {Path("/d/plugins"): "x\n", Path("/d/me"): "x\n", Path("/d/spool_dir"): "/d/spool\n"}, files
        )
