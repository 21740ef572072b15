"""Clients that speak another protocol, by what they say first.

Such a client may have been sent by somebody who wants the lines that follow to be taken for commands, as the
body of a web form (Postfix's smtpd_forbidden_commands is against the same).
"""

from typing import Final

from .reply import Next, Reply

CLIENT_HELLO: Final = b"\x16\x03"
"""How a TLS handshake begins (RFC 8446 section 5.1); no command does."""

NOT_SMTP: Final = Reply(421, "this is a mail server", "4.7.0", Next.CLOSE)

# RFC 9110 section 9.1, RFC 5789; RFC 9113 section 3.4: PRI begins HTTP/2.
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI")
_STARTS: Final = {
    CLIENT_HELLO: "TLS",
    b"SSH-": "SSH",
    **{method.encode() + b" ": "HTTP" for method in _METHODS},
}
_ALL: Final = tuple(_STARTS)


def foreign_protocol(line: bytes) -> str:
    """Name the protocol that a line, or its beginning, is of; "" if it may be SMTP.

    The methods of HTTP are in upper case, with what they are about behind them.
    """
    if not line.startswith(_ALL):
        return ""
    return next(name for start, name in _STARTS.items() if line.startswith(start))
