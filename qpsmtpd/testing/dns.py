"""A DNS for tests: a table instead of name servers, and a list of what was asked.

Knows the questions of `qpsmtpd.kit.dns`; must not know clocks or sockets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from ipaddress import ip_address
from typing import Any

from twisted.internet.defer import Deferred, succeed

from qpsmtpd.kit.dns import MX, Answer, Lookup, Status
from qpsmtpd.kit.dns_answer import KINDS, NO_SUCH_NAME, is_address, question_name

from .held import Held

Records = Mapping[str, Mapping[str, Sequence[Any]]]


class MemoryResolver(Lookup):
    """Answer from a table of names, or of addresses for PTR.

    `MemoryResolver({"example.com": {"A": ["192.0.2.1"], "MX": [(10, "mx.example.com")]},
    "192.0.2.1": {"PTR": ["example.com"]}}, failed={"broken.example"}, silent={"slow.example"})`: questions
    for names in `failed` get SERVFAIL, for names in `silent` no answer until they are cancelled. A name in no
    list does not exist. `asked` has each question as name and type, in order, `held.waiting` those that
    are neither answered nor cancelled yet; with `held.on` every answer waits for `held.release()`. A mistake
    in the table raises ValueError.
    """

    def __init__(
        self, records: Records | None = None, *, failed: Collection[str] = (), silent: Collection[str] = ()
    ) -> None:
        self._records = {_key(name): dict(kinds) for name, kinds in (records or {}).items()}
        for name, kinds in self._records.items():
            if unknown := kinds.keys() - KINDS:
                raise ValueError(f"{name}: unknown record type {min(unknown)!r}")
        self._failed = {_key(name) for name in failed}
        self._silent = {_key(name) for name in silent}
        self.asked: list[tuple[str, str]] = []
        self.held = Held()

    def ptr(self, address: str) -> Deferred[Answer]:
        """Look up the names of an address, in the table under the address itself."""
        key = _key(address)
        return self._ask(key, "PTR") if is_address(key) else succeed(NO_SUCH_NAME)

    def _ask(self, name: str, kind: str) -> Deferred[Answer]:
        self.asked.append((name, kind))
        silent = name in self._silent
        return self.held.ask((name, kind), None if silent else partial(self._answer, name, kind))

    def _answer(self, name: str, kind: str) -> Answer:
        if name in self._failed:
            return Answer(Status.FAILED, detail="SERVFAIL")
        if name not in self._records:
            return NO_SUCH_NAME
        values = tuple(self._records[name].get(kind, ()))
        if kind == "MX":
            values = tuple(sorted(MX(*value) for value in values))
        return Answer(Status.FOUND, values) if values else Answer(Status.NONE)


def _key(text: str) -> str:
    """Spell a name or an address as it is asked for; raises ValueError if it can never be asked."""
    if is_address(text):
        return str(ip_address(text))
    name = question_name(text)
    if name is None:
        raise ValueError(f"not a domain name: {text!r}")
    return name
