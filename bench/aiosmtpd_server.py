"""aiosmtpd that accepts everything: ``aiosmtpd_server.py PORT [--maildir DIR] [--tls CERT KEY]``."""

from __future__ import annotations

import argparse
import asyncio
import ssl
from pathlib import Path
from typing import Any

from aiosmtpd.handlers import Mailbox
from aiosmtpd.smtp import SMTP

SIZE_LIMIT = 32 * 1024 * 1024


class Discard:
    """The least that a handler can do."""

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        return "250 OK"


async def main() -> None:
    """Serve until somebody ends us."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--maildir", type=Path)
    parser.add_argument("--tls", nargs=2, metavar=("CERT", "KEY"))
    options = parser.parse_args()
    context = None
    if options.tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*options.tls)
    handler = Mailbox(options.maildir) if options.maildir else Discard()

    def session() -> SMTP:
        # Without a name given, each session would look its own up.
        return SMTP(handler, hostname="bench.example.com", tls_context=context, data_size_limit=SIZE_LIMIT)

    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", options.port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
