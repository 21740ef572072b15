"""SASLprep (RFC 4013): one spelling for user names and passwords that look alike. Knows text only."""

from __future__ import annotations

import stringprep
from typing import Final
from unicodedata import ucd_3_2_0

# RFC 4013 section 2.3; unassigned code points (A.1) pass, as in a query: people have newer characters.
_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """Map, normalize and check a text; raises ValueError for what it must not hold."""
    if text.isascii() and text.isprintable():
        return text
    spaced = (" " if stringprep.in_table_c12(char) else char for char in text)
    mapped = "".join(char for char in spaced if not stringprep.in_table_b1(char))
    prepared = ucd_3_2_0.normalize("NFKC", mapped)
    if any(prohibits(char) for char in prepared for prohibits in _PROHIBITED):
        raise ValueError("prohibited character")
    # RFC 3454 section 6: text of both directions is refused, and right-to-left text keeps to its ends.
    if any(map(stringprep.in_table_d1, prepared)):
        ends = stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])
        if not ends or any(map(stringprep.in_table_d2, prepared)):
            raise ValueError("mixed directions")
    return prepared


def prepared_password(password: str) -> str:
    """Give a password as it is hashed and compared: prepared, or as it is if SASLprep refuses it."""
    try:
        return saslprep(password)
    except ValueError:
        return password
