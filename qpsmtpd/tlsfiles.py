"""What the administrator says about TLS, as values: files and protocols.

It must not know OpenSSL: a plugin may name files and protocols, and only the engine loads the library.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

OFFERED: Final = ("TLSv1.2", "TLSv1.3")
"""The versions that can be offered, oldest first. RFC 8996: TLS 1.0 and 1.1 must not be used."""

# What `tls_protocols` may say, in any case; old protocols for the sake of old files.
_ANY: Final = "SSLv23"
_PROTOCOLS: Final = {
    "SSLv2": "SSL 2",
    "SSLv3": "SSL 3",
    "TLSv1": "TLS 1.0",
    "TLSv1_1": "TLS 1.1",
    "TLSv11": "TLS 1.1",
    "TLSv1_2": "TLSv1.2",
    "TLSv12": "TLSv1.2",
    "TLSv1_3": "TLSv1.3",
    "TLSv13": "TLSv1.3",
}
_BY_LOWER_CASE: Final = {name.lower(): version for name, version in _PROTOCOLS.items()}
_WARNED: Final = ("TLS 1.0", "TLS 1.1")


CLIENT_MODES: Final = ("off", "ask", "require")
"""What becomes of clients' certificates: none is asked for, it is if there is one, nobody gets in without."""


class TLSConfigError(Exception):
    """TLS cannot be offered as configured; one line that names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class TLSFiles:
    """PEM files: certificate (its chain may follow), key, authorities of the chain, DH parameters.

    With ``self_signed``, certificate and key are made when the server starts and the certificate is missing.
    ``sni`` is a directory of certificates, NAME.pem each with key and chain, for clients that ask for that
    name. ``client`` is one of `CLIENT_MODES`, for listeners that say nothing else; ``client_ca`` holds the
    authorities of clients' certificates.
    """

    certificate: Path
    key: Path
    ca: Path | None = None
    dh: Path | None = None
    self_signed: bool = False
    sni: Path | None = None
    client: str = "off"
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Protocols:
    """The versions to offer, of `OFFERED` and in its order, and what the administrator should know."""

    versions: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def parse_protocols(text: str) -> Protocols:
    """Read `tls_protocols`: one protocol, or SSLv23 for any, then exclusions: ``SSLv23:!TLSv1_2``.

    A protocol that is never offered counts as any. Raises TLSConfigError.
    """
    wanted: list[str] = []
    excluded: list[str] = []
    for token in filter(None, map(str.strip, text.split(":"))):
        (excluded if token.startswith("!") else wanted).append(_version(token))
    if len(wanted) > 1:
        raise TLSConfigError(f"tls_protocols: {text!r} names more than one protocol; exclude others with !")
    only = [name for name in wanted if name in OFFERED]
    versions = tuple(name for name in only or OFFERED if name not in excluded)
    if not versions:
        raise TLSConfigError(f"tls_protocols: {text!r} leaves neither TLSv1_2 nor TLSv1_3")
    warnings = [f"tls_protocols: {name} is never offered (RFC 8996)" for name in wanted if name in _WARNED]
    return Protocols(versions, tuple(warnings))


def _version(token: str) -> str:
    name = token.removeprefix("!").lower()
    if name in _BY_LOWER_CASE:
        return _BY_LOWER_CASE[name]
    if token.lower() == _ANY.lower():
        return _ANY
    allowed = ", ".join([_ANY, *_PROTOCOLS])
    raise TLSConfigError(f"tls_protocols: {token!r} is not one of {allowed}; ! excludes, but not {_ANY}")
