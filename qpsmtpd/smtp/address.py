"""Mail addresses: the path between angle brackets (RFC 5321 section 4.1.2, RFC 6531), parsed and written.

Says whether an address is well formed. It must not know whether anybody lives there.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import total_ordering
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

# RFC 5321 section 4.5.3.1, in octets; a path is counted with its brackets and its source route, a local
# part with its quotes. The limit of a domain, 255, is always met by one in a path of 256.
MAX_LOCAL: Final = 64
MAX_PATH: Final = 256
MAX_LABEL: Final = 63  # RFC 1035 section 2.3.4

_ATEXT: Final = r"A-Za-z0-9!#$%&'*+/=?^_`{|}~\-"
# RFC 6531 section 3.3: UTF8-non-ascii; without C1 controls, line separators and octets that are not UTF-8.
_UTF8: Final = r"\u00a0-\u2027\u202a-\ud7ff\ue000-\U0010ffff"
# RFC 5321 section 4.1.2 with the underscore, which hosts in the wild have in their names.
_LABEL: Final = r"(?!-)[A-Za-z0-9_-]{1,63}+(?<!-)"
_DOMAIN: Final = rf"{_LABEL}(?>(?:\.{_LABEL})*)"

_COMMON: Final = re.compile(rf"<([{_ATEXT}]++(?>(?:\.[{_ATEXT}]++)*))@({_DOMAIN})>")
_DOT_STRING: Final = re.compile(rf"[{_ATEXT}{_UTF8}]++(?>(?:\.[{_ATEXT}{_UTF8}]++)*)")
_QUOTED: Final = re.compile(rf'"((?>(?:[ !#-\[\]-~{_UTF8}]++|\\[ -~])*))"@')
_ASCII_DOMAIN: Final = re.compile(_DOMAIN)
_GENERAL_LITERAL: Final = re.compile(r"[A-Za-z0-9-]*[A-Za-z0-9]:[!-Z^-~]+")

# RFC 5892 appendix A: characters that are neither letter, mark nor digit, yet allowed in a U-label.
_CONTEXTUAL: Final = frozenset("\u00b7\u0375\u05f3\u05f4\u200c\u200d\u30fb")


class AddressError(ValueError):
    """The path is not an address; the message says why in a few words."""


class NeedsSMTPUTF8(AddressError):  # noqa: N818 - says what is missing
    """The address is well formed, but not ASCII, and the client did not say SMTPUTF8 (RFC 6531)."""


@total_ordering
@dataclass(frozen=True, slots=True, eq=False)
class Address:
    """Hold a local part (unquoted) and a domain (as written, literals with brackets).

    Made directly it takes what it is given; `parse` and `from_mailbox` check. The null reverse-path has
    neither part, ``<postmaster>`` has no domain. Domains compare without regard to case, local parts with
    it; addresses sort by domain, then local part.
    """

    local: str
    domain: str

    @classmethod
    def parse(cls, path: str, *, smtputf8: bool = False) -> "Address":
        """Read a path with its angle brackets.

        A source route is dropped. Raises AddressError, or NeedsSMTPUTF8 when only ``smtputf8`` is missing.
        """
        common = _COMMON.fullmatch(path)
        if common and len(path) <= MAX_PATH and common.end(1) <= MAX_LOCAL + 1:
            return cls(common[1], common[2])
        address = cls(*_read(path))
        if not (smtputf8 or path.isascii()):
            raise NeedsSMTPUTF8("non-ASCII address without SMTPUTF8")
        return address

    @classmethod
    def from_mailbox(cls, mailbox: str) -> "Address":
        """Read an address from a configuration file: with or without brackets, in any script.

        Raises AddressError.
        """
        return cls.parse(mailbox if mailbox.startswith("<") else f"<{mailbox}>", smtputf8=True)

    @property
    def mailbox(self) -> str:
        """Write ``local@domain``, quoted where it must be; "" for the null reverse-path."""
        if not self:
            return ""
        local = self.local
        if not _DOT_STRING.fullmatch(local):
            escaped = local.replace("\\", "\\\\").replace('"', '\\"')
            local = f'"{escaped}"'
        return f"{local}@{self.domain}" if self.domain else local

    @property
    def path(self) -> str:
        """Write the mailbox between angle brackets."""
        return f"<{self.mailbox}>"

    def __str__(self) -> str:
        return self.mailbox

    def __bool__(self) -> bool:
        return bool(self.local or self.domain)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Address):
            return NotImplemented
        return self.local == other.local and self.domain.lower() == other.domain.lower()

    def __hash__(self) -> int:
        return hash((self.local, self.domain.lower()))

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Address):
            return NotImplemented
        return (self.domain.lower(), self.local) < (other.domain.lower(), other.local)


NULL_PATH: Final = Address("", "")
"""The reverse-path of a bounce, ``<>``."""


def _read(path: str) -> tuple[str, str]:
    """Read any path into local part and domain."""
    if not (path.startswith("<") and path.endswith(">") and len(path) >= 2):
        raise AddressError("no angle brackets")
    # qmail sends its double bounces from <#@[]>; nobody can be answered there.
    if path in ("<>", "<#@[]>"):
        return "", ""
    # RFC 5321 section 4.1.1.3: postmaster in any case, alone without a domain.
    if path.lower() == "<postmaster>":
        return "postmaster", ""
    if len(path.encode("utf-8", "surrogatepass")) > MAX_PATH:
        raise AddressError("path too long")
    local, written, domain = _split(_without_route(path[1:-1]))
    if not (_is_literal(domain) if domain.startswith("[") else _is_domain(domain)):
        raise AddressError("bad domain")
    if len(written.encode()) > MAX_LOCAL:
        raise AddressError("local part too long")
    return local, domain


def _without_route(text: str) -> str:
    # RFC 5321 appendix C: a source route must be accepted, should be ignored.
    if not text.startswith("@"):
        return text
    route, _, mailbox = text.partition(":")
    if not all(hop.startswith("@") and _is_domain(hop[1:]) for hop in route.split(",")):
        raise AddressError("bad source route")
    return mailbox


def _split(mailbox: str) -> tuple[str, str, str]:
    """Give the local part, the local part as written, and the domain."""
    quoted = _QUOTED.match(mailbox)
    if quoted:
        local, written = re.sub(r"\\(.)", r"\1", quoted[1]), mailbox[: quoted.end() - 1]
        return local, written, mailbox[quoted.end() :]
    # No atom holds an @, but an address literal may.
    local, at, domain = mailbox.partition("@")
    if not _DOT_STRING.fullmatch(local):
        raise AddressError("bad local part")
    if not at:
        raise AddressError("no domain")
    return local, local, domain


def _is_domain(text: str) -> bool:
    if text.isascii():
        return _ASCII_DOMAIN.fullmatch(text) is not None
    return all(_is_label(label) for label in text.split("."))


def _is_label(label: str) -> bool:
    if label.isascii():
        return _ASCII_DOMAIN.fullmatch(label) is not None
    # RFC 5890 section 2.3.2.1: a U-label is in normal form, and its A-label ("xn--...") fits in a label.
    return (
        all(char in "-_" or char in _CONTEXTUAL or unicodedata.category(char)[0] in "LMN" for char in label)
        and not (label.startswith("-") or label.endswith("-"))
        and unicodedata.is_normalized("NFC", label)
        and len("xn--") + len(label.encode("punycode")) <= MAX_LABEL
    )


def _is_literal(text: str) -> bool:
    """Tell whether the text is an address literal (RFC 5321 section 4.1.3)."""
    if not text.endswith("]"):
        return False
    inner = text[1:-1]
    tag, colon, rest = inner.partition(":")
    try:
        if not colon:
            IPv4Address(inner)
        elif tag.lower() == "ipv6":
            # A zone ("%eth0") means nothing to anybody else.
            return IPv6Address(rest).scope_id is None
        else:
            return _GENERAL_LITERAL.fullmatch(inner) is not None
    except AddressValueError:
        return False
    return True
