"""Whether two addresses, or two names, are likely to have the same owner.

Rules of thumb: networks of a given size; domains by their last two labels, or by the public suffix list.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address

Owner = Callable[[str], str]
"""Gives the part of a name, in lower case, that its owner registered; "" if it has none."""


def same_network(one: str, other: str, *, bits4: int = 24, bits6: int = 64) -> bool:
    """Tell whether two addresses agree in their leading bits; those of two families never do."""
    a, b = ip_address(one), ip_address(other)
    if a.version != b.version:
        return False
    shift = a.max_prefixlen - (bits4 if a.version == 4 else bits6)
    return int(a) >> shift == int(b) >> shift


def last_two_labels(name: str) -> str:
    """Guess what was registered: right for example.com, too much for example.co.uk."""
    labels = name.split(".")
    return ".".join(labels[-2:]) if len(labels) > 1 else ""


def public_suffix_owner() -> Owner:
    """Make the function that knows the public suffixes, from the list of `publicsuffixlist`.

    Raises ImportError without that package.
    """
    from publicsuffixlist import PublicSuffixList

    suffixes = PublicSuffixList()
    return lambda name: suffixes.privatesuffix(name) or ""
