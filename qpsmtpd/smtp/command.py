"""Command lines: verb and argument, the path and the parameters of MAIL and RCPT, xtext.

Finds where things begin and end. It must not know whether a path is an address (`address` does), which
parameters exist, or in which order commands may come.
"""

import re
from typing import Final

from .reply import Reply

MAIL_SYNTAX: Final = Reply(501, "Syntax: MAIL FROM:<address> [parameters]", "5.5.2")
RCPT_SYNTAX: Final = Reply(501, "Syntax: RCPT TO:<address> [parameters]", "5.5.2")
NO_SENDER: Final = Reply(501, "MAIL FROM: needs an address, or <>", "5.5.4")
NO_RECIPIENT: Final = Reply(501, "RCPT TO: needs an address", "5.5.4")
BAD_SENDER: Final = Reply(501, "Bad sender address syntax", "5.1.7")
BAD_RECIPIENT: Final = Reply(501, "Bad recipient address syntax", "5.1.3")
BAD_PARAMETER: Final = Reply(501, "Malformed parameter", "5.5.4")
DUPLICATE_PARAMETER: Final = Reply(501, "Parameter given twice", "5.5.4")
BAD_XTEXT: Final = Reply(501, "Malformed xtext in parameter", "5.5.4")

_UTF8: Final = ("utf-8", "surrogateescape")
# Those of which a message is made; decoding takes longer than to find them here.
_VERBS: Final = {b"MAIL": "MAIL", b"RCPT": "RCPT", b"DATA": "DATA", b"BDAT": "BDAT"}

# A quoted string may hold blanks, brackets and escaped quotes.
_QUOTED: Final = r'"(?>(?:[^"\\]++|\\.)*)"'
_PATH: Final = re.compile(rf'<(?>(?:{_QUOTED}|[^">]++)*)>', re.DOTALL)
_BARE_PATH: Final = re.compile(rf'(?>(?:{_QUOTED}|[^ "]++)+)(?= |$)', re.DOTALL)

# RFC 5321 section 4.1.2: esmtp-keyword and esmtp-value; RFC 6531 section 3.3 lets a value be UTF-8.
_PARAMETER: Final = re.compile(
    r"([A-Za-z0-9][A-Za-z0-9-]*+)(?:=([!-<>-~\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff]++))?"
)

# RFC 3461 section 4: the characters from ! to ~, but + and = and all others as +XX.
_XTEXT: Final = re.compile(rb"(?>(?:[!-*,-<>-~]++|\+[0-9A-Fa-f]{2})*)")
_HEXCHAR: Final = re.compile(rb"\+(..)")
_XCHARS: Final = [
    chr(octet) if 0x21 <= octet <= 0x7E and octet not in b"+=" else f"+{octet:02X}" for octet in range(256)
]


class SyntaxFault(Exception):  # noqa: N818 - the client's error, not ours
    """The client's line cannot be understood; ``reply`` tells it so."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.text)
        self.reply = reply


def split_command(line: bytes) -> tuple[str, str]:
    """Split a line without its line end into verb (upper case) and argument.

    Octets that are not UTF-8 become surrogate escapes. An empty line, or one that begins with a blank,
    has the verb "".
    """
    # RFC 5321 section 4.1.1: trailing white space is tolerated.
    verb, _, argument = line.rstrip(b" \t").partition(b" ")
    # Upper case of octets, not of text: no other letter than s shall become an S.
    verb = verb.upper()
    return _VERBS.get(verb) or verb.decode(*_UTF8), argument.lstrip(b" ").decode("utf-8", "surrogateescape")


def parse_mail(argument: str) -> tuple[str, dict[str, str | None]]:
    """Split ``FROM:<path> KEY=value KEY`` into the path as written and the parameters.

    Keys are in upper case; a key without a value has None. A path without brackets is given back as it
    is, up to the first blank. Raises SyntaxFault.
    """
    if argument[:5].upper() != "FROM:":
        raise SyntaxFault(MAIL_SYNTAX)
    return _parse(argument[5:], NO_SENDER, BAD_SENDER)


def parse_rcpt(argument: str) -> tuple[str, dict[str, str | None]]:
    """Split ``TO:<path> KEY=value KEY`` as `parse_mail` does."""
    if argument[:3].upper() != "TO:":
        raise SyntaxFault(RCPT_SYNTAX)
    return _parse(argument[3:], NO_RECIPIENT, BAD_RECIPIENT)


def _parse(text: str, missing: Reply, malformed: Reply) -> tuple[str, dict[str, str | None]]:
    # RFC 5321 section 4.1.1.2 has no blank after the colon, but clients have.
    text = text.strip(" \t")
    if not text:
        raise SyntaxFault(missing)
    common = text.startswith("<") and '"' not in text
    end = text.find(">") + 1 if common else _path_end(text)
    if not end:
        raise SyntaxFault(malformed)
    if end == len(text):
        return text, {}
    if text[end] != " ":
        raise SyntaxFault(BAD_PARAMETER)
    return text[:end], _parameters(text[end:])


def _path_end(text: str) -> int:
    """Find where a path with quotes or without brackets ends; 0 if it does not."""
    path = (_PATH if text.startswith("<") else _BARE_PATH).match(text)
    return path.end() if path else 0


def _parameters(text: str) -> dict[str, str | None]:
    parameters: dict[str, str | None] = {}
    # Only the space separates, not the tab; more than one does no harm.
    for item in filter(None, text.split(" ")):
        match = _PARAMETER.fullmatch(item)
        if not match:
            raise SyntaxFault(BAD_PARAMETER)
        key = match[1].upper()
        if key in parameters:
            raise SyntaxFault(DUPLICATE_PARAMETER)
        parameters[key] = match[2]
    return parameters


def decode_xtext(text: str) -> str:
    """Decode xtext (RFC 3461 section 4), taking its octets for UTF-8.

    The result may hold any character, control characters too. Raises SyntaxFault.
    """
    octets = text.encode(*_UTF8)
    if not _XTEXT.fullmatch(octets):
        raise SyntaxFault(BAD_XTEXT)
    plain = _HEXCHAR.sub(lambda match: bytes.fromhex(match[1].decode()), octets)
    return plain.decode(*_UTF8)


def encode_xtext(text: str) -> str:
    """Encode text as xtext, its UTF-8 octets one by one."""
    return "".join([_XCHARS[octet] for octet in text.encode(*_UTF8)])
