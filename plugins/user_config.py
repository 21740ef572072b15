"""Give users and domains a configuration of their own, from files in their directories.

Where a plugin asks for a setting of a recipient (``await recipient.config("name")``), the file of that name
in the address's directory is read, if there is one; otherwise everybody's setting holds. Blank lines,
comments and the blanks around a line are dropped, as in the configuration directory; there is no $include.

Setting: PATTERN, the directory (default /home/%u/.qpsmtpd). ``%u`` is the local part, ``%h`` the host
in lower case, ``%a`` the whole address. The client writes these: an address that would make a part of the
path empty, ``.`` or ``..``, or that holds a slash or NUL, has no configuration.

Hooks: user_config. Files of more than 64 KiB and files that cannot be read are reported and ignored.

Differences from upstream: addresses cannot leave the pattern; lines are filtered; the host is in lower case.
"""

import re
from pathlib import Path

from qpsmtpd import Address, Plugin, Setting

MAX_OCTETS = 64 * 1024
"""Octets of a file; what its owner writes must not fill our memory."""


class UserConfig(Plugin):
    """Read settings from the directory of an address."""

    pattern = Setting.text("/home/%u/.qpsmtpd", position=True, help="%u, %h, %a: user, host, address")

    async def hook_user_config(self, address: Address, name: str) -> list[str] | None:
        """Read a setting of an address; None if it has none."""
        directory = self.directory_of(address)
        if directory is None:
            return None
        path = directory / name
        try:
            text: str | None = await self.run_in_thread(read_file, path)
        except (OSError, ValueError) as error:
            self.log.notice("error, %s: %s", path, error)
            return None
        if text is None:
            return None
        lines = (line.strip() for line in text.split("\n"))
        return [line for line in lines if line and not line.startswith("#")]

    def directory_of(self, address: Address) -> Path | None:
        """Put an address into the pattern; None if that would lead elsewhere."""
        host = address.domain.lower()
        whole = f"{address.local}@{host}" if host else address.local
        values = {"u": address.local, "h": host, "a": whole}
        parts = []
        for part in self.pattern.split("/"):
            filled = re.sub("%([uha])", lambda match: values[match[1]], part)
            if filled != part and (filled in ("", ".", "..") or "/" in filled or "\0" in filled):
                return None
            parts.append(filled)
        return Path("/".join(parts))


def read_file(path: Path) -> str | None:
    """Read a regular file, None if it is not there; raises OSError or ValueError if it is none to read."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        octets = file.read(MAX_OCTETS + 1)
    if len(octets) > MAX_OCTETS:
        raise ValueError(f"more than {MAX_OCTETS} octets")
    return octets.decode("utf-8", "replace")
