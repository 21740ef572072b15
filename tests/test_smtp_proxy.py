"""The header of the PROXY protocol."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.smtp.proxy import MAX_HEADER, ProxyFault, ProxyHeader, Route, read_proxy_header

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
IPV4 = Route("192.0.2.77", 5555, "192.0.2.25", 25)
IPV6 = Route("2001:db8::77", 5555, "2001:db8::25", 465)


def binary(command: int, family: int, body: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + len(body).to_bytes(2, "big") + body


BODY4 = bytes((192, 0, 2, 77, 192, 0, 2, 25)) + (5555).to_bytes(2, "big") + (25).to_bytes(2, "big")
BODY6 = bytes.fromhex("20010db800000000000000000000007720010db800000000000000000000002515b301d1")
EXTENSION = b"\x04\x00\x03abc"

GOOD = [
    (b"PROXY TCP4 192.0.2.77 192.0.2.25 5555 25\r\n", IPV4),
    (b"PROXY TCP6 2001:db8::77 2001:DB8:0::25 5555 465\r\n", IPV6),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff::1 whatever\r\n", None),
    (binary(0x21, 0x11, BODY4), IPV4),
    (binary(0x21, 0x11, BODY4 + EXTENSION), IPV4),
    (binary(0x21, 0x21, BODY6), IPV6),
    (binary(0x21, 0x00, b""), None),
    (binary(0x21, 0x31, bytes(216)), None),
    (binary(0x20, 0x11, BODY4), None),
    (binary(0x20, 0x00, b""), None),
]

BAD = [
    b"EHLO client.example\r\n",
    b"proxy TCP4 192.0.2.77 192.0.2.25 5555 25\r\n",
    b"PROXY\r\n",
    b"PROXY TCP4\r\n",
    b"PROXY TCP5 192.0.2.77 192.0.2.25 5555 25\r\n",
    b"PROXY TCP4 192.0.2.77 192.0.2.25 5555\r\n",
    b"PROXY TCP4 192.0.2.77 192.0.2.25 5555 25 \r\n",
    b"PROXY TCP4 192.0.2.77  192.0.2.25 5555 25\r\n",
    b"PROXY TCP4 192.0.2.777 192.0.2.25 5555 25\r\n",
    b"PROXY TCP4 2001:db8::1 192.0.2.25 5555 25\r\n",
    b"PROXY TCP6 192.0.2.77 192.0.2.25 5555 25\r\n",
    b"PROXY TCP6 fe80::1%eth0 2001:db8::25 5555 25\r\n",
    b"PROXY TCP4 192.0.2.77 192.0.2.25 65536 25\r\n",
    b"PROXY TCP4 192.0.2.77 192.0.2.25 -1 25\r\n",
    b"PROXY TCP4 192.0.2.77 192.0.2.\xb2 5555 25\r\n",
    b"PROXY UNKNOWN " + b"x" * 107,
    binary(0x11, 0x11, BODY4),
    binary(0x22, 0x11, BODY4),
    binary(0x21, 0x12, BODY4),
    binary(0x21, 0x11, BODY4[:-1]),
    binary(0x21, 0x21, BODY4),
    binary(0x21, 0x31, bytes(215)),
    binary(0x20, 0x00, bytes(MAX_HEADER)),
]


class HeaderTests(SynchronousTestCase):
    def test_good(self) -> None:
        for octets, route in GOOD:
            header = read_proxy_header(octets + b"EHLO x\r\n")
            local = octets[12:13] == b"\x20"
            self.assertEqual(ProxyHeader(len(octets), route, local), header, octets)

    def test_parts(self) -> None:
        """As long as a header is not whole, more is needed."""
        for octets, _ in GOOD:
            for end in range(len(octets)):
                self.assertIsNone(read_proxy_header(octets[:end]), octets[:end])

    def test_bad(self) -> None:
        for octets in BAD:
            self.assertRaises(ProxyFault, read_proxy_header, octets)

    def test_bounded(self) -> None:
        """Who sends no end is told so in time."""
        self.assertRaises(ProxyFault, read_proxy_header, b"PROXY " + b"T" * 101)
        self.assertRaises(ProxyFault, read_proxy_header, SIGNATURE + b"\x21\x11\xff\xff")
        self.assertIsNone(read_proxy_header(SIGNATURE + b"\x21\x11" + (MAX_HEADER - 16).to_bytes(2, "big")))

    @given(st.sampled_from([b"", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11\x00\x0c"]), st.binary())
    @settings(max_examples=100, derandomize=True, deadline=None)
    def test_anything(self, start: bytes, rest: bytes) -> None:
        """Whatever comes is a header, the beginning of one, or none."""
        try:
            header = read_proxy_header(start + rest)
        except ProxyFault:
            return
        if header is not None:
            self.assertLessEqual(header.size, len(start + rest))
