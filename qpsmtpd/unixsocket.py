"""UNIX sockets that a killed server has left behind, and that would keep the next one from listening there.

Twisted writes a lock beside the socket and looks whether its owner lives; but in a container the owner has
always the number of the new server.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from errno import EADDRINUSE
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import UNIXServerEndpoint


def clear_socket(endpoint: Any) -> None:
    """Remove the socket that an endpoint wants to make, and its lock, if nobody listens there any more.

    Raises OSError if somebody does, since Twisted asks the lock only, which a server killed in an upgrade
    has left; and if there is no directory for it, since what Twisted says of that speaks of the lock.
    """
    if not isinstance(endpoint, UNIXServerEndpoint):
        return
    path = Path(endpoint._address)
    path.parent.stat()
    if path.is_socket() and _answers(path):
        raise OSError(EADDRINUSE, "somebody listens there already", str(path))
    if path.is_socket() or not os.path.lexists(path):
        for left in (path, path.with_name(path.name + ".lock")):
            with suppress(OSError):  # who may not remove it is told so when listening fails
                left.unlink()


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:  # somebody listens, who is busy, or is none of our business
            return True
    return True
