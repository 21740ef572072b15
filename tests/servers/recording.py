"""A server that keeps what each client said about its message beside it, for suites that look at clients."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import Server, running

USER, PASSWORD = "user@example.org", "secret word"
PLUGINS = "{more}tls self_signed\nrelay\nauth/auth_flat_file\nrcpt_ok\nrecord mail\n"
DIRECTORIES = f"{Path(__file__).parent / 'plugins'}\n"
RECORD = re.compile(rb"^X-Record: (.*)\n", re.MULTILINE)


@contextmanager
def recording(config: dict[str, str] | None = None, *, more: str = "", port: int = 0) -> Iterator[Server]:
    """Run a server for all mail of loopback; ``more`` are lines of plugins before all others."""
    settings = {
        "plugin_dirs": DIRECTORIES,
        "plugins": PLUGINS.format(more=more),
        "flat_auth_pw": f"{USER}:{PASSWORD}\n",
        "auth_mechanisms": "PLAIN LOGIN CRAM-MD5\n",
        "reverse_dns": "0\n",
        **(config or {}),
    }
    with running(settings, port=port) as server:
        yield server


def record_of(message: bytes) -> dict[str, Any]:
    """Give what the client said about this message."""
    found = RECORD.search(message)
    assert found is not None, message[:2000]
    record: dict[str, Any] = json.loads(found[1])
    return record
