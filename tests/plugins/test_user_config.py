"""The plugin user_config: settings of one address."""

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd import OK, Address, Recipient
from qpsmtpd.testing import Server, Tried
from qpsmtpd.waiting import start

BOB = Address("bob", "Example.ORG")


class UserConfigTests(SynchronousTestCase):
    """In a directory of its own."""

    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        self.here.mkdir()

    def write(self, name: str, text: str | bytes) -> None:
        """Write a file."""
        path = self.here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)

    def ask(self, address: Address, name: str = "x", pattern: str = "%u_%h_%a") -> object:
        """Ask for a setting of an address."""
        self.tried = Tried(f"user_config {self.here}/{pattern}")
        return start(self.tried.registry.ask_lines("user_config", (address, name)))

    def test_pattern(self) -> None:
        """User, host in lower case, and address stand in the pattern."""
        self.write("bob_example.org_bob@example.org/x", "a line\n")
        self.assertEqual(["a line"], self.ask(BOB))
        self.assertIs(None, self.ask(BOB, "y"))
        self.assertIs(None, self.ask(Address("Bob", "example.org")))

    def test_default(self) -> None:
        """Without an argument it is the home directory's."""
        plugin: Any = Tried("user_config").plugin
        self.assertEqual(Path("/home/bob/.qpsmtpd"), plugin.directory_of(BOB))

    def test_lines(self) -> None:
        """Lines are filtered as those of the configuration directory; an empty list is an answer."""
        self.write("bob/x", "# no\n\n one \r\n\t#no\n#\ntwo words\n$include /etc/passwd\n\xe9")
        lines = ["one", "two words", "$include /etc/passwd", "\xe9"]
        self.assertEqual(lines, self.ask(BOB, pattern="%u"))
        self.write("bob/x", "# nothing\n")
        self.assertEqual([], self.ask(BOB, pattern="%u"))

    def test_no_octets_are_bad(self) -> None:
        """A file that is not UTF-8 is read nevertheless."""
        self.write("bob/x", b"\xff\n")
        self.assertEqual(["\ufffd"], self.ask(BOB, pattern="%u"))

    def test_without_host(self) -> None:
        """Postmaster has no host, which is well within a name and not well as a name of its own."""
        postmaster = Address("postmaster", "")
        self.write("postmaster__postmaster/x", "p")
        self.assertEqual(["p"], self.ask(postmaster))
        self.write("x", "outside")
        self.write("postmaster/x", "p")
        self.assertIs(None, self.ask(postmaster, pattern="%h"))
        self.assertIs(None, self.ask(postmaster, pattern="%h/%u"))

    def test_escape(self) -> None:
        """No address leads out of its place in the pattern."""
        self.write("x", "outside")
        self.write("users/victim/x", "victim")
        for local in ("..", ".", "", "../victim", "a/../victim", "/", "victim/", "\0", "victim\0"):
            for pattern in ("users/%u", "users/%u/y", "users/%u."):
                self.assertIs(None, self.ask(Address(local, "x"), pattern=pattern), (local, pattern))
        self.assertIs(None, self.ask(Address("", ""), pattern="users/%a"))

    @settings(max_examples=200, derandomize=True, deadline=None, database=None)
    @given(
        st.text("./%uha\0x", max_size=6),
        st.text("./x[]:", max_size=4),
        st.sampled_from(["%u", "%h", "%a", "%u%h"]),
    )
    def test_any_address(self, local: str, host: str, part: str) -> None:
        """Whatever an address holds, its directory is right below the pattern's, or there is none."""
        plugin: Any = Tried(f"user_config /top/{part}/end").plugin
        found = plugin.directory_of(Address(local, host))
        if found is not None:
            self.assertEqual(("/", "top", "end"), (*found.parts[:2], found.parts[3]))
            self.assertEqual(4, len(found.parts))
            self.assertNotIn(found.parts[2], ("..", "."))

    def test_unreadable(self) -> None:
        """What cannot be read, or is too large, is reported, and everybody's setting holds."""
        self.write("bob/x", "y" * 65537)
        self.assertIs(None, self.ask(BOB, pattern="%u"))
        self.assertIn("more than 65536 octets", self.tried.events[-1].text)
        self.write("bob/x", "y" * 65536)
        self.assertEqual(["y" * 65536], self.ask(BOB, pattern="%u"))
        self.assertIs(None, self.ask(Address("a" * 300, "x"), pattern="%u"))
        self.assertIn("too long", self.tried.events[-1].text)

    def test_directory(self) -> None:
        """A directory is no file."""
        self.write("bob/x/y", "z")
        self.assertIs(None, self.ask(BOB, pattern="%u"))

    def test_in_a_session(self) -> None:
        """A plugin that asks for a recipient's setting gets his own, or else everybody's."""
        self.write("bob/greylist", "off")
        found: list[str] = []

        async def rcpt(recipient: Recipient) -> object:
            found.extend(await recipient.config("greylist"))
            return OK

        server = Server([f"user_config {self.here}/%u"], config={"greylist": "on"}, hooks={"rcpt": rcpt})
        client = server.connect()
        client.say("EHLO x", "MAIL FROM:<>", "RCPT TO:<bob@example.org>", "RCPT TO:<eve@example.org>")
        self.assertEqual(["off", "on"], found)
