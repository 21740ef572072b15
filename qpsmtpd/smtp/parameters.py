"""Parameters of MAIL and RCPT: one table of keyword, command, extension and reader.

A reader gives the meaning of a value and raises SyntaxFault for one that has none. It must not know whether
the extension was offered, or what becomes of the value.
"""

import re
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from .address import NULL_PATH, Address, AddressError
from .command import SyntaxFault, decode_xtext
from .reply import Reply

BODY_TYPES: Final = frozenset({"7BIT", "8BITMIME", "BINARYMIME"})
RETURNS: Final = frozenset({"FULL", "HDRS"})
NOTIFICATIONS: Final = frozenset({"SUCCESS", "FAILURE", "DELAY"})

# RFC 3461 sections 4.2 and 4.4: the lengths of values as they are sent.
MAX_ORCPT: Final = 500
MAX_ENVID: Final = 100

# RFC 3461 sections 4.2 and 4.4: what is behind the xtext is graphic ASCII or white space.
_PRINTABLE: Final = re.compile(r"[\t -~]+")
# Postfix puts UTF-8 behind the xtext of ORCPT, too, with the type rfc822.
_PRINTABLE_UTF8: Final = re.compile(r"[\t -~\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff]+")
_ADDRESS_TYPE: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/?^_`{|}~-]+")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# RFC 6533 section 3: QCHAR, UTF-8 as it is, and \x{HEX} for all else; no leading zeros, no surrogates.
_UTF8_ADDRESS: Final = re.compile(
    r"(?:[!-*,-<>-\[\]-~\u00a0-\ud7ff\ue000-\U0010ffff]"
    r"|\\x\{(?:[1-9A-F][0-9A-F]|[1-9A-C][0-9A-F]{2}|D[0-9A-F]{2}|[1-9A-CEF][0-9A-F]{3}|D[0-7][0-9A-F]{2}"
    r"|[1-9A-F][0-9A-F]{4}|10[0-9A-F]{4})\})+"
)
_EMBEDDED: Final = re.compile(r"\\x\{([0-9A-F]+)\}")
_BY: Final = re.compile(r"([+-]?[0-9]{1,9});([NRnr])([Tt]?)")
_PRIORITY: Final = re.compile(r"-?[1-9]|0")
_DATE_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:Z|[+-][0-9]{2}:[0-9]{2})",
    re.I,
)


class OriginalRecipient(NamedTuple):
    """The address that the sender wrote, and in which form (RFC 3461 section 4.2)."""

    type: str
    address: str


class DeliverBy(NamedTuple):
    """Seconds until delivery, what then (N: notify, R: return), and whether to trace (RFC 2852 section 4)."""

    seconds: int
    mode: str
    trace: bool


def malformed(text: str) -> SyntaxFault:
    """Make the fault of a value that is none."""
    return SyntaxFault(Reply(501, text, "5.5.4"))


def read_size(value: str | None) -> int:
    """Read SIZE (RFC 1870 section 5): a number of octets of up to 20 digits."""
    if value is None or not re.fullmatch("[0-9]{1,20}", value):
        raise malformed("SIZE is a number of octets")
    return int(value)


def read_body(value: str | None) -> str:
    """Read BODY (RFC 6152 section 2, RFC 3030 section 3)."""
    return _one_of("BODY", BODY_TYPES, value)


def read_auth(value: str | None) -> Address:
    """Read AUTH (RFC 4954 section 5): who sent it first; the null path for ``<>``, nobody knows.

    A mailbox may have the brackets that curl puts around it.
    """
    mailbox = _xtext("AUTH", value)
    if mailbox == "<>":
        return NULL_PATH
    try:
        return Address.from_mailbox(mailbox)
    except AddressError:
        raise malformed("AUTH is a mailbox, or <>") from None


def read_ret(value: str | None) -> str:
    """Read RET (RFC 3461 section 4.3): how much of the message comes back."""
    return _one_of("RET", RETURNS, value)


def read_envid(value: str | None) -> str:
    """Read ENVID (RFC 3461 section 4.4): the sender's name for the envelope."""
    identity = _xtext("ENVID", value)
    if len(value or "") > MAX_ENVID or not _PRINTABLE.fullmatch(identity):
        raise malformed(f"ENVID has at most {MAX_ENVID} characters, printable ones")
    return identity


def read_notify(value: str | None) -> frozenset[str]:
    """Read NOTIFY (RFC 3461 section 4.1): when to send a report; the empty set for NEVER."""
    words = frozenset(_upper(value).split(","))
    if words == {"NEVER"}:
        return frozenset()
    if not words <= NOTIFICATIONS:
        raise malformed("NOTIFY is NEVER, or some of SUCCESS,FAILURE,DELAY")
    return words


def read_orcpt(value: str | None) -> OriginalRecipient:
    """Read ORCPT (RFC 3461 section 4.2, RFC 6533 section 3)."""
    kind, semicolon, encoded = (value or "").partition(";")
    if not semicolon or not _ADDRESS_TYPE.fullmatch(kind) or len(value or "") > MAX_ORCPT:
        raise malformed(f"ORCPT is a type, a semicolon and an address, at most {MAX_ORCPT} characters")
    if kind.lower() == "utf-8":
        if not _UTF8_ADDRESS.fullmatch(encoded):
            raise malformed("the address in ORCPT is not encoded as RFC 6533 has it")
        address = _EMBEDDED.sub(lambda match: chr(int(match[1], 16)), encoded)
        good = not _CONTROL.search(address)
    else:
        address = decode_xtext(encoded)
        good = _PRINTABLE_UTF8.fullmatch(address) is not None
    if not good:
        raise malformed("the address in ORCPT has characters that are not printable")
    return OriginalRecipient(kind, address)


def read_priority(value: str | None) -> int:
    """Read MT-PRIORITY (RFC 6710 section 5): -9 to 9."""
    if value is None or not _PRIORITY.fullmatch(value):
        raise malformed("MT-PRIORITY is a number from -9 to 9")
    return int(value)


def read_by(value: str | None) -> DeliverBy:
    """Read BY (RFC 2852 section 4)."""
    match = _BY.fullmatch(value or "")
    if not match:
        raise malformed("BY is a number of seconds, a semicolon, N or R, and maybe T")
    by = DeliverBy(int(match[1]), match[2].upper(), bool(match[3]))
    if by.mode == "R" and by.seconds <= 0:
        raise malformed("BY with R needs more than 0 seconds")
    return by


def read_hold_for(value: str | None) -> int:
    """Read HOLDFOR (RFC 4865 section 3): seconds."""
    if value is None or not re.fullmatch("[0-9]{1,9}", value):
        raise malformed("HOLDFOR is a number of seconds of at most 9 digits")
    return int(value)


def read_hold_until(value: str | None) -> float:
    """Read HOLDUNTIL (RFC 4865 section 3, date-time of RFC 3339); give seconds since the epoch."""
    try:
        if value is None or not _DATE_TIME.fullmatch(value):
            raise ValueError
        return datetime.fromisoformat(value.upper()).timestamp()
    except (ValueError, OverflowError):
        raise malformed("HOLDUNTIL is a date and time as in 2030-01-31T12:00:00Z") from None


def _none(keyword: str) -> Callable[[str | None], None]:
    def read(value: str | None) -> None:
        if value is not None:
            raise malformed(f"{keyword} has no value")

    return read


def _upper(value: str | None) -> str:
    # Beyond ASCII there are letters whose upper case is an I or an S.
    return value.upper() if value and value.isascii() else ""


def _one_of(keyword: str, words: frozenset[str], value: str | None) -> str:
    word = _upper(value)
    if word not in words:
        raise malformed(f"{keyword} is one of {', '.join(sorted(words))}")
    return word


def _xtext(keyword: str, value: str | None) -> str:
    if value is None:
        raise malformed(f"{keyword} needs a value")
    return decode_xtext(value)


class Parameter(NamedTuple):
    """One parameter: the command it belongs to, the extension that brings it, and what reads its value."""

    verb: str
    keyword: str
    extension: str
    read: Callable[[str | None], object]


_ROWS: Final = (
    Parameter("MAIL", "SIZE", "SIZE", read_size),
    Parameter("MAIL", "BODY", "8BITMIME", read_body),
    Parameter("MAIL", "SMTPUTF8", "SMTPUTF8", _none("SMTPUTF8")),
    Parameter("MAIL", "AUTH", "AUTH", read_auth),
    Parameter("MAIL", "PRDR", "PRDR", _none("PRDR")),
    Parameter("MAIL", "RET", "DSN", read_ret),
    Parameter("MAIL", "ENVID", "DSN", read_envid),
    Parameter("RCPT", "NOTIFY", "DSN", read_notify),
    Parameter("RCPT", "ORCPT", "DSN", read_orcpt),
    Parameter("MAIL", "REQUIRETLS", "REQUIRETLS", _none("REQUIRETLS")),
    Parameter("MAIL", "MT-PRIORITY", "MT-PRIORITY", read_priority),
    Parameter("MAIL", "BY", "DELIVERBY", read_by),
    Parameter("MAIL", "HOLDFOR", "FUTURERELEASE", read_hold_for),
    Parameter("MAIL", "HOLDUNTIL", "FUTURERELEASE", read_hold_until),
)

PARAMETERS: Final = {(row.verb, row.keyword): row for row in _ROWS}
"""Every parameter by its command and keyword."""

PROMISES: Final = ("DSN", "REQUIRETLS", "MT-PRIORITY", "DELIVERBY", "FUTURERELEASE")
"""Extensions that promise what becomes of the message later: whoever queues it must keep that."""
