"""Server side TLS: a certificate for each name, and how to change them while running.

Knows files and OpenSSL. It must not know SMTP: whether TLS is offered, and what follows, is the session's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from sys import intern

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from .certificates import Identity, Stamp, names_of, read_certificates, stamp
from .connection import TLSInfo
from .tlscontext import (
    ServerConnection,
    has_content,
    make_context,
    show,
    verify_clients,
    without_forward_secrecy,
)
from .tlsfiles import TLSConfigError, TLSFiles, parse_protocols


class _Contexts:
    """A context for each name that a client may ask for, and one for all others."""

    __slots__ = ("by_name", "default")

    def __init__(self, default: SSL.Context, by_name: Mapping[str, SSL.Context]) -> None:
        self.default = default
        self.by_name = by_name
        if by_name:
            default.set_tlsext_servername_callback(_choose)


class _ServerConnection(ServerConnection):
    """Keeps the contexts alive, whose callbacks OpenSSL calls."""

    contexts: _Contexts


def _choose(connection: SSL.Connection) -> None:
    """Take the certificate for the name that the client asks for (RFC 6066 section 3)."""
    assert isinstance(connection, _ServerConnection)
    name = (connection.get_servername() or b"").decode("ascii", "replace").lower().rstrip(".")
    by_name = connection.contexts.by_name
    context = by_name.get(name) or by_name.get("*." + name.partition(".")[2])
    # A name that nobody knows is no reason to send a message in clear: it gets the main certificate.
    if context is not None:
        connection.set_context(context)


@implementer(IOpenSSLServerConnectionCreator)
class _ServerConnections:
    """Begin each handshake with the contexts of the moment; handshakes and sessions keep theirs."""

    __slots__ = ("_factory", "contexts")

    contexts: _Contexts

    def __init__(self) -> None:
        self._factory: TLSMemoryBIOFactory | None = None

    @property
    def context(self) -> SSL.Context:
        return self.contexts.default

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N803
        factory = tlsProtocol.factory
        if factory.wrappedFactory is None:
            # `startTLS` has made it for this connection, which needs it for nothing but to be listed. One for
            # all saves each 0.7 KiB (measured).
            self._factory = tlsProtocol.factory = self._factory or factory
        connection = _ServerConnection(self.contexts.default, None)
        connection.contexts = self.contexts
        return connection


class ServerTLS:
    """What `startTLS` and `TLSMemoryBIOFactory` need: hand them ``context_factory``, or one of `accepting`.

    ``ciphers`` is an OpenSSL cipher list for TLS 1.2, "" for ours; ``protocols`` is for `parse_protocols`;
    ``host`` is whom the main certificate should be for, "" if that is unknown. The constructor raises
    TLSConfigError.
    """

    __slots__ = (
        "_authorities",
        "_ciphers",
        "_factories",
        "_host",
        "_identities",
        "_protocols",
        "_stamps",
        "files",
    )

    def __init__(self, files: TLSFiles, *, ciphers: str = "", protocols: str = "", host: str = "") -> None:
        self.files = files
        self._host = host
        self._ciphers = ciphers
        self._protocols = parse_protocols(protocols)
        self._factories = {files.client: _ServerConnections()}
        self.reload()

    @property
    def context_factory(self) -> _ServerConnections:
        """The context factory that treats clients' certificates as the files say."""
        return self._factories[self.files.client]

    def accepting(self, client: str) -> _ServerConnections:
        """Give the context factory that treats clients' certificates so; "" means as the files say."""
        client = client or self.files.client
        if client not in self._factories:
            contexts = self._make_contexts(client, self._identities, self._authorities)
            self._factories[client] = _ServerConnections()
            self._factories[client].contexts = contexts
        return self._factories[client]

    def reload(self) -> None:
        """Read the files again for the handshakes to come; on TLSConfigError all stays as it was."""
        stamps = self._stamp()  # taken first: a file that changes while we read counts as changed
        identities = {"": Identity.load(self.files.certificate, self.files.key)}
        identities |= {name: Identity.load(path, path) for name, path in _named(self.files.sni).items()}
        authorities = read_certificates(self.files.ca) if self.files.ca else []
        made = {client: self._make_contexts(client, identities, authorities) for client in self._factories}
        for client, contexts in made.items():
            self._factories[client].contexts = contexts
        self._identities, self._authorities = identities, authorities
        self._stamps = stamps

    def changed(self) -> bool:
        """Tell whether a file is not the one that was last loaded, or a name came or went."""
        return self._stamp() != self._stamps

    def warnings(self, now: datetime | None = None) -> list[str]:
        """List what works but should not stay so, one line each; ``now`` is aware, and by default now."""
        now = now or datetime.now(UTC)
        found = list(self._protocols.warnings)
        for name, identity in self._identities.items():
            found += identity.warnings(now, name or self._host)
        weak = without_forward_secrecy(self.context_factory.context)
        if weak:
            listed = ", ".join(weak[:3]) + (", ..." if len(weak) > 3 else "")
            found.append(f"tls_ciphers: no forward secrecy (RFC 9325 section 4.1): {listed}")
        if self.files.dh and not has_content(self.files.dh):
            found.append(f"{self.files.dh}: no Diffie-Hellman parameters; DHE ciphers are off")
        return found

    def _stamp(self) -> dict[Path, Stamp]:
        files = self.files
        paths = [files.certificate, files.key, files.ca, files.dh, files.client_ca, *_pem_files(files.sni)]
        return {path: stamp(path) for path in paths if path}

    def _make_contexts(
        self, client: str, identities: Mapping[str, Identity], authorities: list[x509.Certificate]
    ) -> _Contexts:
        made = {}
        for name, identity in identities.items():
            context = made[name] = make_context(self._protocols.versions, self._ciphers, self.files.dh)
            show(context, identity, authorities)
            verify_clients(context, client, self.files.client_ca)
        return _Contexts(made.pop(""), made)


def info_of(transport: object) -> TLSInfo:
    """Tell what the handshake agreed upon; raises ValueError before it is complete.

    ``transport`` is a TCP transport after `startTLS`, or the one that `TLSMemoryBIOFactory` gives.
    """
    handle = transport.getHandle() if hasattr(transport, "getHandle") else None
    version = handle.get_cipher_version() if isinstance(handle, SSL.Connection) else None
    if handle is None or version is None:
        raise ValueError("no TLS handshake was completed on this transport")
    sni = (handle.get_servername() or b"").decode("ascii", "backslashreplace")
    bound = handle.get_protocol_version() >= SSL.TLS1_3_VERSION
    return TLSInfo(
        # The same few names for all sessions.
        version=intern(handle.get_protocol_version_name()),
        cipher=intern(handle.get_cipher_name() or ""),
        bits=handle.get_cipher_bits() or 0,
        # The client sends any octets as server name; they go to the log.
        sni="".join(char if char.isprintable() else "?" for char in sni),
        # RFC 9266 section 2; an older version would need an extension that pyOpenSSL cannot see.
        exporter=handle.export_keying_material(b"EXPORTER-Channel-Binding", 32) if bound else b"",
        client_names=_client_names(handle),
    )


def _client_names(handle: SSL.Connection) -> tuple[str, ...]:
    """Name the client by its certificate, if that was verified; one that names nobody by its fingerprint."""
    certificate = handle.get_peer_certificate()
    if certificate is None or not isinstance(handle, _ServerConnection) or handle.refused:
        return ()
    read = certificate.to_cryptography()
    return names_of(read) or (f"sha256:{read.fingerprint(hashes.SHA256()).hex()}",)


def _pem_files(directory: Path | None) -> list[Path]:
    """List the certificates by name, without the files that editors and certbot hide meanwhile."""
    if directory is None:
        return []
    return sorted(path for path in directory.glob("*.pem") if not path.name.startswith("."))


def _named(directory: Path | None) -> dict[str, Path]:
    """Give the files of the directory by the name that each is for; ``_`` stands for a star."""
    if directory is not None and not directory.is_dir():
        raise TLSConfigError(f"{directory}: there is no such directory")
    named: dict[str, Path] = {}
    for path in _pem_files(directory):
        name = path.stem.lower()
        if name.startswith("_."):
            name = "*" + name[1:]
        if name in named:
            raise TLSConfigError(f"{path}: {named[name].name} is for the same name")
        named[name] = path
    return named
