"""Facts about a client that stay true until it leaves. Knows no transaction, no hook, no transport."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

MAX_JOURNAL = 100
"""Entries of the journal that are kept; a client that goes on and on loses the oldest.

That is some messages' worth. More would not stay in the CPU's caches (measured: 1000 cost 3 % of a message).
"""


MAX_FINDINGS = 100
"""Findings of a plugin and kind that are kept."""


@dataclass(frozen=True, slots=True)
class TLSInfo:
    """What the handshake agreed upon: version, cipher suite, key bits, server name asked for.

    ``exporter`` is the binding of RFC 9266, which only the two ends know; b"" before TLS 1.3.
    ``client_names`` are those of the client's certificate if it was verified; one without any has its
    fingerprint.
    """

    version: str
    cipher: str
    bits: int
    sni: str = ""
    exporter: bytes = field(default=b"", repr=False, compare=False)
    client_names: tuple[str, ...] = ()

    @property
    def client(self) -> str:
        """The first name of the client's verified certificate, "" if it showed none."""
        return self.client_names[0] if self.client_names else ""


class JournalEntry(NamedTuple):
    """An answer or a failure of one plugin; milliseconds are of the clock, not of the CPU."""

    hook: str
    plugin: str
    verdict: str
    text: str
    milliseconds: float


class Results:
    """What each plugin found out about this client or message, for the log summary and for other plugins.

    Findings are lists of texts by plugin name and kind (``passed``, ``failed``, ``skipped``, ``error``); of
    each kind the last MAX_FINDINGS are kept.
    """

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[str, dict[str, deque[str]]] = {}

    def add(self, plugin: object, **found: str) -> None:
        """Note a finding under the plugin's name: ``results.add(self, passed="DNS agrees")``."""
        kinds = self._found.setdefault(getattr(plugin, "name", str(plugin)), {})
        for kind, text in found.items():
            kinds.setdefault(kind, deque(maxlen=MAX_FINDINGS)).append(text)

    def of(self, plugin: str, kind: str) -> tuple[str, ...]:
        """Give the findings of one plugin."""
        return tuple(self._found.get(plugin, {}).get(kind, ()))

    def has(self, plugin: str, kind: str) -> bool:
        """Tell whether the plugin found anything of the kind."""
        return bool(self._found.get(plugin, {}).get(kind))

    def __iter__(self) -> Any:
        for plugin, kinds in self._found.items():
            for kind, texts in kinds.items():
                for text in texts:
                    yield plugin, kind, text


class Connection:
    """A client: where it comes from, what it called itself, who it proved to be.

    ``number`` identifies the connection in the log. ``hello`` is "", "helo" or "ehlo". ``user`` is the
    authenticated name or "". ``wait_for_input(seconds)`` fires with True as soon as the client has sent
    something unread, else with False after that time; it is given by whoever owns the transport.
    ``early_talker``: the client spoke before the greeting was sent.
    """

    __slots__ = (
        "__weakref__",
        "auth_attempted",
        "auth_mechanism",
        "capabilities",
        "early_talker",
        "hello",
        "hello_host",
        "journal",
        "karma",
        "local_ip",
        "local_port",
        "naughty",
        "naughty_reject_type",
        "notes",
        "number",
        "relay_client",
        "remote_host",
        "remote_info",
        "remote_ip",
        "remote_port",
        "results",
        "tls",
        "user",
        "wait_for_input",
    )

    def __init__(
        self,
        remote_ip: str = "127.0.0.1",
        remote_port: int = 0,
        local_ip: str = "127.0.0.1",
        local_port: int = 25,
        *,
        number: int = 0,
    ) -> None:
        self.number = number
        self.remote_ip = remote_ip
        self.remote_port = remote_port
        self.remote_host = f"[{remote_ip}]"
        self.remote_info = ""
        self.local_ip = local_ip
        self.local_port = local_port
        self.relay_client = False
        self.early_talker = False
        self.tls: TLSInfo | None = None
        self.karma = 0
        self.naughty = ""
        self.naughty_reject_type = ""
        self.notes: dict[str, Any] = {}
        self.journal: deque[JournalEntry] | tuple[()] = ()  # an empty deque takes 760 octets
        self.results = Results()
        self.wait_for_input: Callable[[float], Deferred[bool]] | None = None
        self.forget_client()

    def begin_journal(self) -> deque[JournalEntry]:
        """Make the journal, for the first entry."""
        self.journal = deque(maxlen=MAX_JOURNAL)
        return self.journal

    def forget_client(self) -> None:
        """Forget all that the client told in clear (RFC 3207 section 4.2): hello and authentication."""
        if getattr(self, "user", ""):
            self.relay_client = False
        self.hello = ""
        self.hello_host = ""
        self.user = ""
        self.auth_mechanism = ""
        self.auth_attempted = False
        self.capabilities: list[str] = []

    @property
    def log_name(self) -> str:
        """How the log names the client: identity, if known, and host."""
        return f"{self.remote_info}@{self.remote_host}" if self.remote_info else self.remote_host
