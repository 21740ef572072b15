"""Addresses: the grammar of RFC 5321 section 4.1.2 and RFC 6531."""

from dataclasses import FrozenInstanceError
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.smtp.address import NULL_PATH, Address, AddressError, NeedsSMTPUTF8

QUICK = settings(max_examples=100, derandomize=True, deadline=None)

L63 = "x" * 63

GOOD = [
    # path, local part, domain, mailbox if it is written another way
    ("<>", "", "", ""),
    ("<#@[]>", "", "", ""),
    ("<postmaster>", "postmaster", "", None),
    ("<PostMaster>", "postmaster", "", "postmaster"),
    ("<foo@example.com>", "foo", "example.com", None),
    ("<foo@localhost>", "foo", "localhost", None),
    ("<Foo.Bar@Example.COM>", "Foo.Bar", "Example.COM", None),
    ("<ask@p.qpsmtpd-test.askask.com>", "ask", "p.qpsmtpd-test.askask.com", None),
    ("<!#$%&'*+-/=?^_`{|}~@b>", "!#$%&'*+-/=?^_`{|}~", "b", None),
    ("<a@b_c.example>", "a", "b_c.example", None),
    ("<a@_dmarc.example>", "a", "_dmarc.example", None),
    ("<a@192.168.1.1>", "a", "192.168.1.1", None),
    ("<postmaster@test>", "postmaster", "test", None),
    ("<@a:postmaster@test>", "postmaster", "test", "postmaster@test"),
    ("<@a.b,@c-d.e:x@b.c>", "x", "b.c", "x@b.c"),
    ('<"a b"@c>', "a b", "c", None),
    ('<"a@b"@wifo.ac.at>', "a@b", "wifo.ac.at", None),
    ('<"a\\@b"@c>', "a@b", "c", '"a@b"@c'),
    ('<"a\\"b\\\\"@c>', 'a"b\\', "c", None),
    ('<"foo"@c>', "foo", "c", "foo@c"),
    ('<"a>"@c>', "a>", "c", None),
    ('<".a"@c>', ".a", "c", None),
    ('<""@c.com>', "", "c.com", None),
    ("<ask@[1.2.3.4]>", "ask", "[1.2.3.4]", None),
    ("<a@[255.255.255.255]>", "a", "[255.255.255.255]", None),
    ("<a@[IPv6:2001:db8::1]>", "a", "[IPv6:2001:db8::1]", None),
    ("<a@[ipv6:::ffff:1.2.3.4]>", "a", "[ipv6:::ffff:1.2.3.4]", None),
    ("<a@[x-tag:any@thing]>", "a", "[x-tag:any@thing]", None),
    (f"<{'x' * 64}@b>", "x" * 64, "b", None),
    (f'<"{"x" * 61} "@b>', "x" * 61 + " ", "b", None),
    (f"<a@{L63}.{L63}.{L63}.{'x' * 60}>", "a", f"{L63}.{L63}.{L63}.{'x' * 60}", None),
]

BAD = [
    # path, reason
    ("", "no angle brackets"),
    ("<", "no angle brackets"),
    (">", "no angle brackets"),
    ("sample@path", "no angle brackets"),
    ("<a@b", "no angle brackets"),
    ("<a@b> ", "no angle brackets"),
    ("<user>", "no domain"),
    ("<abuse>", "no domain"),
    ("<a@>", "bad domain"),
    ("<@>", "bad source route"),
    ("<@b>", "bad local part"),
    ("<@a:>", "bad local part"),
    ("<@a:postmaster>", "no domain"),
    ("<@a,b:c@d>", "bad source route"),
    ("<@a b:c@d>", "bad source route"),
    ("<.a@b>", "bad local part"),
    ("<a.@b>", "bad local part"),
    ("<a..b@c>", "bad local part"),
    ("< a@b>", "bad local part"),
    ("<ask @perl.org>", "bad local part"),
    ("<foo bar@example.com>", "bad local part"),
    ("<a(b)@c>", "bad local part"),
    ("<a,b@c>", "bad local part"),
    ('<a"b@c>', "bad local part"),
    ("<a\tb@c>", "bad local part"),
    ("<a\\@b@c>", "bad local part"),
    ('<"a@c>', "bad local part"),
    ('<"a"b"@c>', "bad local part"),
    ('<"a\0"@c>', "bad local part"),
    ('<"a\r\n"@c>', "bad local part"),
    ('<"a\\ü"@c>', "bad local part"),
    ('<"a">', "bad local part"),
    ("<a@b@c>", "bad domain"),
    ("<a@b >", "bad domain"),
    ("<a@b\n>", "bad domain"),
    ("<a@b.>", "bad domain"),
    ("<a@.b>", "bad domain"),
    ("<a@b..c>", "bad domain"),
    ("<a@-b>", "bad domain"),
    ("<a@b->", "bad domain"),
    ("<a@b-.c>", "bad domain"),
    ("<user@example.com#>", "bad domain"),
    ("<a@exam ple.com>", "bad domain"),
    ("<a@b,c.d>", "bad domain"),
    ("<a@b/c>", "bad domain"),
    (f"<a@{L63}x.example>", "bad domain"),
    ("<x@[undefined]>", "bad domain"),
    ("<a@[]>", "bad domain"),
    ("<a@[1.2.3.4>", "bad domain"),
    ("<a@[999.2.3.4]>", "bad domain"),
    ("<a@[1.2.3]>", "bad domain"),
    ("<a@[1.2.3.04]>", "bad domain"),
    ("<a@[IPv6:2001:db8]>", "bad domain"),
    ("<a@[IPv6:1.2.3.4]>", "bad domain"),
    ("<a@[IPv6:fe80::1%eth0]>", "bad domain"),
    ("<a@[tag:]>", "bad domain"),
    ("<a@[tag-:x]>", "bad domain"),
    ("<a@[tag:a b]>", "bad domain"),
    ("<a@[tag:a]b]>", "bad domain"),
    (f"<{'x' * 65}@b>", "local part too long"),
    (f'<"{"x" * 62} "@b>', "local part too long"),
    (f"<a@{L63}.{L63}.{L63}.{'x' * 61}>", "path too long"),
    (f"<@{L63}.{L63}:{'x' * 64}@{L63}.x>", "path too long"),
    (f"<{'a' * 5000}@b>", "path too long"),
    # Even with SMTPUTF8:
    ("<\udcff@b>", "bad local part"),
    ("<a\u0085b@c>", "bad local part"),
    ("<a\x7fb@c>", "bad local part"),
    ('<"a\u2028b"@c>', "bad local part"),
    ("<a@\udcff.example>", "bad domain"),
    ("<a@bü。example>", "bad domain"),
    ("<a@-bü.example>", "bad domain"),
    ("<a@bü-.example>", "bad domain"),
    ("<a@bü..example>", "bad domain"),
    ("<a@ü!.example>", "bad domain"),
    ("<a@bu\u0308.example>", "bad domain"),
    (f"<a@{'x' * 60}ü.example>", "bad domain"),
    (f"<{'ü' * 33}@b>", "local part too long"),
    (f"<a@{'.'.join(['ü' * 20] * 7)}>", "path too long"),
]

FOREIGN = [
    # path, local part, domain
    ("<jörg@example.com>", "jörg", "example.com"),
    ("<a@bücher.example>", "a", "bücher.example"),
    ("<用户@例子.公司>", "用户", "例子.公司"),
    ('<"ü b"@c>', "ü b", "c"),
    ("<a@l·l.example>", "a", "l·l.example"),
    ("<@ü.example:a@b>", "a", "b"),
    (f"<{'ü' * 32}@b>", "ü" * 32, "b"),
    ("<a@b_ü.example>", "a", "b_ü.example"),
]

LOCALS = st.from_regex(r"[a-z!+]{1,5}(\.[a-z]{1,5})?", fullmatch=True) | st.text(
    alphabet='ab. @<>"\\:,(ü', max_size=20
)
DOMAINS = st.sampled_from(["example.com", "Example.COM", "b_c", "[1.2.3.4]", "[IPv6:::1]", "bücher.example"])


class ParseTests(SynchronousTestCase):
    """A path is read as the grammar has it."""

    def test_good(self) -> None:
        """Well-formed paths give local part and domain, and are written in the shortest way."""
        for path, local, domain, mailbox in GOOD:
            with self.subTest(path=path):
                address = Address.parse(path)
                self.assertEqual((local, domain), (address.local, address.domain))
                self.assertEqual(path[1:-1] if mailbox is None else mailbox, address.mailbox)

    def test_bad(self) -> None:
        """Malformed paths are refused with a reason."""
        for path, reason in BAD:
            with self.subTest(path=path):
                error = self.assertRaises(AddressError, Address.parse, path, smtputf8=True)
                self.assertEqual(reason, str(error))

    def test_bad_without_smtputf8(self) -> None:
        """A path that would be malformed in any case does not ask for SMTPUTF8."""
        for path, _ in BAD:
            with self.subTest(path=path):
                error = self.assertRaises(AddressError, Address.parse, path)
                self.assertNotIsInstance(error, NeedsSMTPUTF8)

    def test_smtputf8(self) -> None:
        """Addresses in other scripts need SMTPUTF8, and are written as they came."""
        for path, local, domain in FOREIGN:
            with self.subTest(path=path):
                self.assertRaises(NeedsSMTPUTF8, Address.parse, path)
                address = Address.parse(path, smtputf8=True)
                self.assertEqual((local, domain), (address.local, address.domain))
                self.assertEqual(address, Address.parse(address.path, smtputf8=True))

    @QUICK
    @given(LOCALS, DOMAINS)
    def test_round_trip(self, local: str, domain: str) -> None:
        """Any address of proper length, written and read again, is the same."""
        address = Address(local, domain)
        self.assertEqual(address, Address.parse(address.path, smtputf8=True))
        self.assertEqual(address, Address.from_mailbox(address.mailbox))

    @QUICK
    @given(st.text(alphabet='ab.@<>"\\:,[]1- ü_', max_size=20).map("<{}>".format))
    def test_any_path_is_parsed_or_refused(self, path: str) -> None:
        """Nothing but AddressError is raised; what is accepted can be written and read again."""
        try:
            address = Address.parse(path, smtputf8=True)
        except AddressError:
            return
        self.assertEqual(address, Address.parse(address.path, smtputf8=True))

    def test_from_mailbox(self) -> None:
        """Configuration files have addresses with or without brackets, in any script."""
        for mailbox in ("jörg@example.com", "<jörg@example.com>"):
            self.assertEqual(Address("jörg", "example.com"), Address.from_mailbox(mailbox))
        self.assertEqual(NULL_PATH, Address.from_mailbox("<>"))
        for mailbox in ("user", "a@b>", "a b@c", "<a@b"):
            self.assertRaises(AddressError, Address.from_mailbox, mailbox)


class ValueTests(SynchronousTestCase):
    """An address is a value."""

    def test_written(self) -> None:
        """Text is the mailbox; a path has brackets."""
        address = Address("a b", "example.com")
        self.assertEqual('"a b"@example.com', str(address))
        self.assertEqual('<"a b"@example.com>', address.path)
        self.assertEqual("<>", NULL_PATH.path)
        self.assertEqual("<postmaster>", Address("postmaster", "").path)

    def test_only_the_null_path_is_false(self) -> None:
        """An address is true unless it has neither part."""
        self.assertFalse(NULL_PATH)
        for address in (Address("a", "b"), Address("postmaster", ""), Address("", "b")):
            self.assertTrue(address)

    def test_equality(self) -> None:
        """The case of the domain does not matter, that of the local part does."""
        self.assertEqual(Address("a", "b.c"), Address("a", "B.C"))
        self.assertEqual(hash(Address("a", "b.c")), hash(Address("a", "B.C")))
        self.assertNotEqual(Address("a", "b.c"), Address("A", "b.c"))
        self.assertNotEqual(Address("a", "b.c"), Address("a", "b.d"))

    def test_other_types(self) -> None:
        """Text is not an address, however it reads, and does not sort with one."""
        address: Any = Address("a", "b")
        self.assertNotEqual("a@b", address)
        self.assertRaises(TypeError, lambda: address < "a@b")

    def test_order(self) -> None:
        """Addresses sort by domain without regard to case, then by local part."""
        wanted = ["a@cpan.org", "b@Example.com", "c@example.com", "a@foo.x.example.com", "a@perl.org"]
        self.assertEqual(wanted, [str(a) for a in sorted(map(Address.from_mailbox, reversed(wanted)))])
        self.assertLessEqual(Address("a", "B"), Address("a", "b"))

    def test_frozen(self) -> None:
        """Nobody changes an address that others hold, and it holds nothing else."""
        address: Any = Address("a", "b")
        with self.assertRaises(FrozenInstanceError):
            address.local = "c"
        self.assertFalse(hasattr(address, "__dict__"))
