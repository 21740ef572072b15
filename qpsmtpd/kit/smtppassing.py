"""What a client asked for with MAIL and RCPT, for a next hop that shall do it.

Picks the parameters that are passed on. It must not know how the message is sent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from ..smtp.parameters import PARAMETERS
from ..smtp.reply import Reply
from .smtpreply import SMTPOutError

PASSED: Final = frozenset({"DSN", "REQUIRETLS", "MT-PRIORITY", "FUTURERELEASE"})
"""Extensions whose parameters are passed on: the next hop keeps what we have promised.

Not DELIVERBY: its seconds run while the message is with us (RFC 2852 section 4).
"""


def passed_on(
    verb: str, parameters: Mapping[str, str | None], extensions: Collection[str]
) -> dict[str, str | None]:
    """Give those parameters of MAIL or RCPT that a next hop with these extensions is to be sent.

    Raises SMTPOutError if it does not offer what one of them needs.
    """
    passed = {}
    for keyword, value in parameters.items():
        row = PARAMETERS.get((verb, keyword))
        if row is None or row.extension not in PASSED:
            continue
        if row.extension not in extensions:
            raise SMTPOutError(Reply(451, f"Next hop does not offer {row.extension}", "4.3.3"))
        # RFC 6533 section 3: this form of ORCPT needs no SMTPUTF8.
        passed[keyword] = value and "".join([c if c.isascii() else f"\\x{{{ord(c):X}}}" for c in value])
    return passed
