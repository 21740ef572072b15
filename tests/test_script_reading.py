"""qpsmtpd check: which files are read, and which cannot be."""

from pathlib import Path
from unittest import mock

from .scriptcase import CheckCase


class FileTests(CheckCase):
    """Which files are read."""

    def test_unread(self):
        """A file that nobody reads is named, with the name it may have been meant for."""
        for name, hint in [
            ("rcpthost", "; did you mean rcpthosts?"),
            ("relay-clients", "; did you mean relayclients?"),
            ("zzzz", ""),
        ]:
            path = self.write(name, "x")
            self.assertEqual([f"{name}: warning: nothing reads this file{hint}"], self.found())
            path.unlink()

    def test_read(self):
        """Files of the engine, of plugins, included ones, and those that plugin lines name are read."""
        self.write("plugins", "rcpt_ok\nnets\nkeep config/kept\n$include some.d")
        self.write("rcpthosts", f"$include more_hosts\n$include {self.write('absolute')}")
        for name in ("more_hosts", "some.d/file", "kept", "more", "nets_x", "nets_y", "databytes", "logging"):
            self.write(name, "#")
        self.assertEqual([], self.found())

    def test_ignored(self):
        """Backups, hidden files, directories and a README are nobody's business."""
        for name in ("plugins~", ".plugins.swp", "README", "README.md", "ssl/key"):
            self.write(name, "x")
        self.assertEqual([], self.found())

    def test_plugin_not_loaded(self):
        """A file with lines for a plugin that is not loaded is worth a word, one with comments is not."""
        self.write("plugins", "rcpt_ok\nkeep mail")
        path = self.write("local", "# comment")
        self.assertEqual([], self.found())
        path.write_text("192.0.2.1")
        self.assertEqual(
            ["local: warning: only the plugin nets reads this file, and it is not loaded"],
            self.found(),
        )

    def test_unreadable(self):
        """A file that cannot be read, or is no database, is an error, whoever reads it."""
        for name in ("databytes", "rcpthosts"):
            path = self.directory / name
            path.symlink_to(path)
            self.assertEqual(
                [
                    f"{name}: error: cannot be read: Too many levels of symbolic links",
                ],
                self.found(),
            )
            path.unlink()
        self.write("more.cdb", "x")
        self.assert_found("more.cdb: error: not a constant database (CDB)")

    def test_dangling_link(self):
        """A link to nothing is as if the file were not there; that may surprise."""
        (self.directory / "rcpthosts").symlink_to("nothing")
        self.assertEqual(["rcpthosts: warning: this link leads nowhere"], self.found())

    def test_include(self):
        """A file to include that is missing is passed over by the server, so here it is named."""
        self.write("rcpthosts", "example.org\n $include nothing\n# $include comment\n$include plugins.d")
        self.write("plugins.d/x")
        self.assertEqual(["rcpthosts:2: warning: nothing: there is no such file to include"], self.found())

    def test_include_unreadable(self):
        """One that cannot be read is an error, with its own place."""
        (self.directory / "loop").symlink_to("loop")
        self.write("rcpthosts", "$include loop")
        self.assert_found("loop: error: cannot be read")

    def test_qmail_directory(self):
        """Files of qmail are read where ours are missing, and its other files are its own."""
        qmail = self.directory.with_name("control")
        qmail.mkdir()
        (qmail / "databytes").write_text("x")
        (qmail / "concurrencylocal").write_text("x")
        found = self.found(qmail)
        self.assertEqual(1, len(found))
        self.assertIn("control/databytes:1: error: 'x' is not a number", found[0])

    def test_plugin_dirs(self):
        """A plugin directory that is not there is named; one of nobody's home is an error."""
        self.write("plugin_dirs", f"{self.plugins}\n/no/such")
        self.assert_found("plugin_dirs:2: warning: /no/such: there is no such directory")
        self.write("plugin_dirs", f"{self.plugins}\n{'x' * 300}")
        self.assertIn(f"plugin_dirs:2: warning: {'x' * 300}: there is no such directory", self.found())
        self.write("plugin_dirs", f"{self.plugins}\n~no-such-user-here/x")
        self.write("typo")
        self.assertEqual(
            [
                "plugin_dirs:2: error: ~no-such-user-here/x: no such home directory",
                "plugins: error: no queue plugin is loaded: nothing stores the mail",
                "typo: warning: nothing reads this file",
            ],
            self.found(),
        )

    def test_unreadable_everywhere(self):
        """A file that more than one part of the check reads is named once."""
        for name in ("plugins", "logging", "listen", "smtps", "lmtp"):
            (self.directory / name).unlink(missing_ok=True)
            (self.directory / name).symlink_to(name)
        self.write("typo")
        self.assert_found(
            "listen: error: cannot be read",
            "lmtp: error: cannot be read",
            "logging: error: cannot be read",
            "plugins: error: cannot be read",
            "plugins: error: no plugin accepts recipients",
            "plugins: error: no queue plugin",
            "smtps: error: cannot be read",
            "typo: warning: nothing reads this file",
        )

    def test_unreadable_file_of_nobody(self):
        """A file of a plugin that is not loaded is named even if it cannot be read."""
        self.write("plugins", "rcpt_ok\nkeep mail")
        (self.directory / "local").symlink_to("local")
        self.assertEqual(
            ["local: warning: only the plugin nets reads this file, and it is not loaded"], self.found()
        )

    def test_unreadable_directory(self):
        """A directory that cannot be listed is an error, and what can be read in it is checked."""
        self.write("databytes", "x")
        denied = PermissionError(13, "Permission denied", str(self.directory))
        self.patch(Path, "iterdir", mock.Mock(side_effect=denied))
        self.assert_found(
            f"{self.place}: error: Permission denied", "databytes:1: error: 'x' is not a number"
        )
