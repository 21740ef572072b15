"""What a process of the server is given by the one that starts it: listening sockets, pipes, the ledger.

The child is a worker, or the server's successor.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import asdict, dataclass, field
from typing import Final

VARIABLE: Final = "QPSMTPD_INHERITED"

WORKER: Final = f"""\
import json, os, sys; sys.path = json.loads(os.environ["{VARIABLE}"])["path"]; \
from qpsmtpd.worker import main; main()"""
"""The program of a worker, which finds its modules where the parent does."""

ERRORS: Final = 2
"""The child's standard error: a pipe to the parent until it is ready."""
FROM_PARENT: Final = 3
TO_PARENT: Final = 4
KEPT_ERRORS: Final = 5
"""What standard error will be when the child is ready."""
_FIRST: Final = 6


@dataclass(frozen=True, slots=True)
class Inheritance:
    """Descriptors by the description of their listener; for a worker, its ledger too."""

    sockets: Mapping[str, int] = field(default_factory=dict)
    ledger: int = -1
    worker: int = -1
    """The number of the worker, from 0; -1 is a successor."""
    workers: int = 0
    capacity: int = 0
    directory: str = ""
    """Where the server runs, if that is not where it was started."""
    pidfile: str = ""
    errors: int = 2
    """Our descriptor for what the child's standard error will be when it is ready."""

    @property
    def is_worker(self) -> bool:
        """Tell it from a successor."""
        return self.worker >= 0

    def plan(self) -> tuple[dict[str, str], dict[int, int | str]]:
        """Give the environment and the descriptors of a child that inherits what we name as ours."""
        fds: dict[int, int | str] = {
            0: 0,
            1: 1,
            ERRORS: "r",
            FROM_PARENT: "w",
            TO_PARENT: "r",
            KEPT_ERRORS: self.errors,
        }
        values = {**asdict(self), "errors": KEPT_ERRORS}
        values["sockets"] = dict(self.sockets)
        for number, (name, ours) in enumerate(self.sockets.items(), _FIRST):
            values["sockets"][name] = number
            fds[number] = ours
        if self.ledger >= 0:
            values["ledger"] = _FIRST + len(self.sockets)
            fds[values["ledger"]] = self.ledger
        values["path"] = sys.path
        return {**os.environ, VARIABLE: json.dumps(values)}, fds

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Inheritance | None:
        """Read what there is, once, and keep it from our own children."""
        text = environ.pop(VARIABLE, "")
        if not text:
            return None
        values = json.loads(text)
        del values["path"]
        found = cls(**values)
        for descriptor in (*found.sockets.values(), found.ledger, FROM_PARENT, TO_PARENT, KEPT_ERRORS):
            if descriptor >= 0:
                os.set_inheritable(descriptor, False)
        return found
