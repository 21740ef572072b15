"""Where the programs of others are: on the path, in a directory of the administrator, or in $BENCH_POSTFIX.

Debian does not let Postfix be installed beside another mail server. Its package unpacked anywhere
(``apt-get download postfix; dpkg -x postfix_*.deb DIRECTORY``) will do: BENCH_POSTFIX=DIRECTORY.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

_UNPACKED = os.environ.get("BENCH_POSTFIX", "")


def find(name: str) -> str:
    """Find a program; "" when it is not there."""
    own = f"{_UNPACKED}/usr/sbin:" if _UNPACKED else ""
    return shutil.which(name, path=f"{own}{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin") or ""


def environment() -> dict[str, str]:
    """Give what the programs of an unpacked package need to find their libraries."""
    return {"LD_LIBRARY_PATH": f"{_UNPACKED}/usr/lib/postfix"} if _UNPACKED else {}


def postfix_daemons() -> Path | None:
    """Find the directory of Postfix's daemons."""
    postconf = find("postconf")
    if not postconf:
        return None
    prefix = Path(postconf).parent.parent
    return next((path.parent for path in prefix.glob("lib*/postfix/**/master") if path.is_file()), None)
