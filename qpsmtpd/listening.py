"""A line of ``listen``, ``smtps`` or ``lmtp``: where to listen, and what TLS policy holds there.

It must not know listeners or factories: it only reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from .tlsfiles import CLIENT_MODES

PROXY: Final = "haproxy:"
"""What an endpoint begins with whose clients a load balancer announces."""
STARTTLS_MODES: Final = ("offered", "required", "off")
KINDS: Final = ("listen", "smtps", "lmtp")
"""The files that say where to listen; the options have the same names."""
ALLOWED: Final = "allowed are [ADDRESS:]PORT and endpoints of Twisted"
_POLICY: Final = re.compile(r"([a-z]+)=(\S*)")
_PORT_25: Final = re.compile(r"(?:haproxy:)?(?:tcp6?|ssl):(?:0*25(?![^:])|(?:.*:)?port=0*25(?![^:]))")


@dataclass(frozen=True, slots=True)
class Listener:
    """Where, as a Twisted endpoint string, and how; "" means what holds for all listeners."""

    description: str
    implicit: bool = False
    starttls: str = ""
    client: str = ""
    lmtp: bool = False

    @property
    def needs_tls(self) -> bool:
        """Tell whether the line makes no sense without a certificate."""
        return self.implicit or self.starttls in ("offered", "required") or self.client in ("ask", "require")

    @property
    def requires_tls(self) -> bool:
        """Tell whether mail is taken over TLS only."""
        return self.starttls == "required"


def read_listener(text: str, kind: str = "listen") -> Listener:
    """Read a line of a file of ``KINDS``: [ADDRESS:]PORT or a Twisted endpoint, ``starttls=``, ``client=``.

    Raises ValueError with what is wrong with the policy, and for LMTP on port 25; else the endpoint is not
    looked at.
    """
    implicit = kind == "smtps"
    words = text.split(" ")
    policy: dict[str, str] = {}
    while len(words) > 1 and (match := _POLICY.fullmatch(words[-1].strip())):
        words.pop()
        _add(policy, match[1], match[2], implicit)
    description = endpoint_description(" ".join(words).strip())
    if kind == "lmtp" and _PORT_25.match(description):
        raise ValueError("LMTP must not be spoken on port 25 (RFC 2033 section 5); 24 is usual")
    return Listener(description, implicit, lmtp=kind == "lmtp", **policy)


def _add(policy: dict[str, str], keyword: str, value: str, implicit: bool) -> None:
    allowed = {"starttls": STARTTLS_MODES, "client": CLIENT_MODES}.get(keyword)
    if allowed is None:
        raise ValueError(f"{keyword}= is not known here; allowed are starttls= and client=")
    if value not in allowed:
        raise ValueError(f"{keyword}={value} is none of {', '.join(allowed)}")
    if keyword == "starttls" and implicit:
        raise ValueError("starttls= makes no sense where TLS comes first")
    if keyword in policy:
        raise ValueError(f"{keyword}= is given twice")
    policy[keyword] = value


def endpoint_description(text: str) -> str:
    """Turn [ADDRESS:]PORT into a Twisted endpoint string; other texts are one already."""
    if text.isdigit():
        return f"tcp:{text}"
    if match := re.fullmatch(r"\[([0-9A-Fa-f:.]+)\]:(\d+)", text):
        address = match[1].replace(":", r"\:")
        return f"tcp6:{match[2]}:interface={address}"
    if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+){3}|localhost):(\d+)", text):
        return f"tcp:{match[2]}:interface={match[1].replace('localhost', '127.0.0.1')}"
    return text
