"""The policy about a CR or LF that stands alone in message content (RFC 5321 section 2.3.8).

*reject*: it is reported, and the octets stay as they came. *normalize*: a bare LF becomes CRLF, a bare CR a
blank. Must not know where content begins or ends.
"""


def has_bare(octets: bytes) -> bool:
    """Tell whether a CR or LF stands alone."""
    # An equal copy with canonical line ends is the fastest proof that there is none.
    return octets.replace(b"\r", b"").replace(b"\n", b"\r\n") != octets


def normalized(octets: bytes) -> bytes:
    """Make a bare LF a CRLF, and a bare CR a blank."""
    return octets.replace(b"\r\n", b"\n").replace(b"\r", b" ").replace(b"\n", b"\r\n")


class Newlines:
    """Hold content to the policy, wherever it is cut: the CR at the end of a piece waits for its LF.

    ``bare``: policy *reject* has met something bare.
    """

    __slots__ = ("_held", "_normalize", "bare")

    def __init__(self, *, normalize: bool) -> None:
        self._normalize = normalize
        self._held = b""
        self.bare = False

    def feed(self, octets: bytes, end: bool) -> bytes:
        """Take a piece and return what is decided; after the ``end`` that is all."""
        if self._held:
            octets = self._held + octets
            self._held = b""
        if not end and octets.endswith(b"\r"):
            octets, self._held = octets[:-1], b"\r"
        if has_bare(octets):
            if self._normalize:
                return normalized(octets)
            self.bare = True
        return octets
