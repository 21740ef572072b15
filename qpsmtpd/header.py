"""The header of a message: fields in order, their octets as they were received.

Knows the form of a field (RFC 5322 section 2.2), and no field by name. It must not know who adds which.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

HEADER_LIMIT: Final = 256 * 1024
"""Octets of a header in all; mail in the wild stays below a tenth of it."""

# RFC 5322 section 3.6.8: printable ASCII without colon. Section 4.5: blanks before the colon are obsolete.
_NAME: Final = re.compile(rb"[!-9;-~]++")
_COLON: Final = rb"[!-9;-~]++[ \t]*+:"
_FIELD: Final = re.compile(_COLON)
_MBOX: Final = re.compile(rb">?From ")
# The LF before a line that is neither a field nor a continuation (RFC 5322 section 2.2.3).
_NO_FIELD: Final = re.compile(rb"\n(?![ \t]|" + _COLON + rb")")
_FIELDS: Final = re.compile(rb"^([!-9;-~]++)[ \t]*+:[^\n]*+\n(?>(?:[ \t][^\n]*+\n)*)", re.MULTILINE)
# A line end that does not fold would begin another field, or the body.
_NO_FOLD: Final = re.compile(rb"\r\n(?![ \t])|\r(?!\n)")


class HeaderTooLong(Exception):  # noqa: N818 - the client's doing, not ours
    """The header passes the limit: read the message to its end, then refuse it."""


class Header:
    """The fields of a message header.

    Names are compared without regard to case. Values are unfolded text without the blanks around them;
    octets that are not UTF-8 become surrogates (``surrogateescape``). A field that nobody changes keeps its
    octets. Fields are taken apart when one is first asked for, not when one is added. An empty header is
    false.
    """

    __slots__ = ("_fields", "_raw", "_top")

    def __init__(self, octets: bytes = b"") -> None:
        """Take over fields that a HeaderReader has found to be fields."""
        self._raw = octets
        self._top: list[bytes] = []  # fields put on top of the raw ones, the topmost last
        self._fields: list[tuple[bytes, bytes]] | None = None  # lower-case name, whole field

    @classmethod
    def parse(cls, octets: bytes) -> tuple["Header", bytes]:
        """Split a whole message into header and body, without the separator."""
        reader = HeaderReader(limit=len(octets))
        return reader.feed(octets) or reader.finish()

    def get(self, name: str, default: str = "") -> str:
        """Return the value of the first field of this name."""
        found = self._find(name)
        return _value(self._parsed()[found[0]][1]) if found else default

    def get_all(self, name: str) -> list[str]:
        """Return the values of all fields of this name, from the top."""
        return [_value(octets) for octets in self.raw(name)]

    def raw(self, name: str) -> list[bytes]:
        """Return all fields of this name as they are: name, colon, folds and CRLF."""
        return [self._parsed()[index][1] for index in self._find(name)]

    def names(self) -> list[str]:
        """Return the names of all fields as they are spelled, from the top."""
        return [_name(octets) for _, octets in self._parsed()]

    def add(self, name: str, value: str, *, index: int | None = 0) -> None:
        """Put a field on top, at the end (None), or before the field that has this index.

        The value may be folded: LF or CRLF with a blank behind. Raises ValueError for a name that is none
        and for any other CR or LF in the value.
        """
        octets = _format(name, value)
        if self._fields is not None:
            place = len(self._fields) if index is None else index
            self._fields.insert(place, (_key(name), octets))
        elif index is None:
            self._raw += octets
        elif index == 0:
            self._top.append(octets)
        else:
            self._parsed().insert(index, (_key(name), octets))

    def put_on_top(self, field: bytes) -> None:
        """Put a whole field on top that is known to be one, with its CRLF."""
        if self._fields is not None:
            self._fields.insert(0, (field.partition(b":")[0].lower(), field))
        else:
            self._top.append(field)

    def replace(self, name: str, value: str) -> None:
        """Put a new field in the place of the first one of this name, or at the end."""
        found = self._find(name)
        if found:
            self._parsed()[found[0]] = (_key(name), _format(name, value))
        else:
            self.add(name, value, index=None)

    def remove(self, name: str) -> int:
        """Drop all fields of this name and return how many there were."""
        found = self._find(name)
        if found:
            key = _key(name)
            self._fields = [field for field in self._parsed() if field[0] != key]
        return len(found)

    def rename(self, old: str, new: str) -> int:
        """Give all fields of a name another one; place and value stay, to the octet. Return how many."""
        name, found = _checked_name(new), self._find(old)
        for index in found:
            key, octets = self._parsed()[index]
            self._parsed()[index] = (name.lower(), name + octets[len(key) :])
        return len(found)

    def __contains__(self, name: str) -> bool:
        return bool(self._find(name))

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter([(_name(octets), _value(octets)) for _, octets in self._parsed()])

    def __len__(self) -> int:
        return len(bytes(self))

    def __bytes__(self) -> bytes:
        if self._fields is not None:
            return b"".join([octets for _, octets in self._fields])
        return b"".join([*reversed(self._top), self._raw]) if self._top else self._raw

    def _parsed(self) -> list[tuple[bytes, bytes]]:
        """Take the fields apart, once."""
        if self._fields is None:
            self._fields = [(field[1].lower(), field[0]) for field in _FIELDS.finditer(bytes(self))]
            self._raw = b""
            self._top.clear()
        return self._fields

    def _find(self, name: str) -> list[int]:
        """Return where the fields of this name are; that there is none is found out without parsing."""
        key = _key(name)
        if self._fields is None and key not in bytes(self).lower():
            return []
        return [index for index, (found, _) in enumerate(self._parsed()) if found == key]


class HeaderReader:
    """Split the header off a message that comes in pieces.

    The header ends at the first empty line (RFC 5322 section 2.1), or before the first line that is neither a
    field nor a continuation: from there on it is body, and the separator is missing. So a message is always
    header, CRLF, body. An mbox line at the very start (``From user date``) becomes a Mail-From field.
    The header and the line behind it must fit into ``limit`` octets.
    """

    __slots__ = ("_checked", "_held", "_limit")

    def __init__(self, *, limit: int = HEADER_LIMIT) -> None:
        self._limit = limit
        self._held: bytes | bytearray = b""
        self._checked = 0  # the last LF seen: the lines before it are fields

    def feed(self, octets: bytes) -> tuple[Header, bytes] | None:
        """Take a piece; return the header and the beginning of the body when the header has ended.

        Raises HeaderTooLong when it has not ended in time; the reader is of no use then.
        """
        data: bytes | bytearray = octets
        held = len(self._held)
        if held:
            self._held += octets
            data = self._held
        last = octets.rfind(b"\n")
        start = self._body_start(data, held + last) if last >= 0 else -1
        if (data.find(b"\n", start) if start >= 0 else len(data)) > self._limit:
            raise HeaderTooLong
        if start >= 0:
            return _split(data, start)
        if not held:
            self._held = bytearray(octets)
        return None

    def finish(self) -> tuple[Header, bytes]:
        """Return header and body of a message that ended before its header did."""
        # An empty line is the end of any header. Only BDAT can end a message within a line (RFC 3030).
        data = bytes(self._held)
        start = self._body_start(data + b"\r\n", len(data) + 1)
        return _split(data, start) if start >= 0 else _split(data + b"\r\n", len(data) + 2)

    def _body_start(self, data: bytes | bytearray, last: int) -> int:
        """Return where the first line begins that is not of the header, -1 if that is still to come."""
        if not self._checked and not (_FIELD.match(data) or _MBOX.match(data)):
            return 0
        found = _NO_FIELD.search(data, self._checked, last)
        self._checked = last
        return found.end() if found else -1


def _split(data: bytes | bytearray, start: int) -> tuple[Header, bytes]:
    separator = 2 if data.startswith(b"\r\n", start) else 0
    return Header(_coerce(bytes(data[:start]))), bytes(data[start + separator :])


def _coerce(octets: bytes) -> bytes:
    """Make a field of an mbox line, as a relay must not pass it on and should not lose it."""
    if not octets.startswith((b"From", b">From")):
        return octets
    mbox = _MBOX.match(octets)
    if mbox and not _FIELD.match(octets):
        return b"Mail-From: " + octets[mbox.end() :]
    return octets


@lru_cache(maxsize=256)
def _key(name: str) -> bytes:
    return name.lower().encode("utf-8", "surrogateescape")


def _name(octets: bytes) -> str:
    return octets.partition(b":")[0].rstrip().decode("ascii")


def _value(octets: bytes) -> str:
    # RFC 5322 section 2.2.3: unfolding removes any CRLF that is followed by a blank.
    unfolded = octets.partition(b":")[2].replace(b"\r\n", b"").replace(b"\n", b"")
    return unfolded.strip().decode("utf-8", "surrogateescape")


@lru_cache(maxsize=256)
def _checked_name(name: str) -> bytes:
    octets = name.encode("utf-8", "surrogateescape")
    if not _NAME.fullmatch(octets):
        raise ValueError(f"{name!r} is not a header field name")
    return octets


def _format(name: str, value: str) -> bytes:
    if "\n" in value:
        value = value.replace("\r\n", "\n").replace("\n", "\r\n")
    octets = value.encode("utf-8", "surrogateescape")
    if _NO_FOLD.search(octets):
        raise ValueError(f"a line end in the value of {name} does not fold it")
    return b"%b: %b\r\n" % (_checked_name(name), octets)
