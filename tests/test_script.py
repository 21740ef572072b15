"""The qpsmtpd command line: help, version, wrong usage, output that cannot be written."""

import io
import os
import sys
from unittest import mock

from qpsmtpd.script import main
from qpsmtpd.version import VERSION

from .scriptcase import ScriptCase


class CommandLineTests(ScriptCase):
    def test_version(self):
        """--version prints name and version."""
        self.assertEqual((0, f"qpsmtpd {VERSION}\n", ""), self.run_command("--version"))

    def test_help(self):
        """--help names every command, each of which has a help of its own."""
        status, output, _ = self.run_command("--help")
        self.assertEqual(0, status)
        for command in ("init", "check", "hooks", "plugins"):
            self.assertIn(f"    {command} ", output)
            self.assertEqual(0, self.run_command(command, "--help")[0])
        self.assertIn("$QPSMTPD_CONFIG, ./config or /etc/qpsmtpd", output)

    def test_wrong_usage(self):
        """Wrong usage is told on standard error: status 2."""
        for words in ([], ["no-such"], ["init"], ["check", "a", "b"], ["plugins", "show"], ["plugins", "x"]):
            status, output, error = self.run_command(*words)
            self.assertEqual((2, ""), (status, output), words)
            self.assertIn("usage: qpsmtpd", error)

    def test_wrong_environment(self):
        """A directory of the environment that is not there is wrong usage, for every command."""
        self.patch(os, "environ", {"QPSMTPD_CONFIG": str(self.directory / "x")})
        for command in ("check", "hooks", "plugins"):
            status, output, error = self.run_command(command)
            self.assertEqual((2, ""), (status, output))
            self.assertIn("no such configuration directory", error)

    def test_impossible_place(self):
        """A place at which the system does not let anybody look is told in one line."""
        place = self.directory / ("x" * 300)
        for words in (["init", place], ["check", place], ["hooks", place], ["plugins", "--config", place]):
            status, output, error = self.run_command(*words)
            self.assertEqual((2, ""), (status, output), words)
            self.assertEqual(f"qpsmtpd: {place}: File name too long\n", error)

    def test_strange_file_name(self):
        """A name in no encoding is shown, whatever the terminal can show."""
        (self.directory / os.fsdecode(b"n\xffme")).touch()
        terminal = io.TextIOWrapper(io.BytesIO(), "ascii")
        with mock.patch.object(sys, "stdout", terminal):
            self.assertEqual(0, main(["check", str(self.directory)]))
        self.assertIn(rb"n\udcffme: warning: nothing reads this file", terminal.buffer.getvalue())

    def test_reader_has_gone(self):
        """When nobody reads the rest of the output, the command ends without a word, now and at its exit."""
        replaced = []
        self.patch(os, "dup2", lambda _, descriptor: replaced.append(descriptor))
        with mock.patch.object(sys, "stdout", mock.Mock(write=mock.Mock(side_effect=BrokenPipeError))):
            self.assertEqual(1, main(["check", str(self.directory)]))
        self.assertEqual([1], replaced)
