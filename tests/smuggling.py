"""What some server took, or takes, for the end of a message, and is none (RFC 5321 section 2.3.8)."""

from itertools import product

_BEFORE = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\n\r",
    b"\r\r\n",
    b"\r\0\n",
    b"\0\n",
    b"\r\n\0",
    b"\n\n",
    b"\xc2\x85",
    b"\x0b",
    b"\x0c",
)
_AFTER = (*_BEFORE[:8], b"\0\r\n", b" \r\n", b"\x80\r\n", b"\xe2\x80\xa8")
END = b"\r\n.\r\n"

SEQUENCES = [before + b"." + after for before, after in product(_BEFORE, _AFTER)]
SEQUENCES += [
    b"\r\n .\r\n",
    b"\r\n..\r\n",
    b"\r\n\xa0.\r\n",
    b"\r\n\xff.\r\n",
    b"\r\n\xae\r\n",
    b"\x8d\x8a.\x8d\x8a",
    b"\r\n\x2e\x2e\n",
    b"\r\n=2E\r\n",
    b"\r\n\x1a\r\n",
]
SEQUENCES = [sequence for sequence in dict.fromkeys(SEQUENCES) if END not in sequence]
"""Line ends of every kind before and after the dot, NUL, 8-bit octets and other signs around it; no END.

Octets above 127 may be line ends or dots to who knows only seven bits, or UTF-8.
"""


def is_clean(sequence: bytes) -> bool:
    """Tell whether each CR and LF is half of a CRLF."""
    return not {b"\r", b"\n"} & {bytes([octet]) for octet in sequence.replace(b"\r\n", b"")}
