"""Server side TLS: which versions and ciphers, with which certificate, and how to change it while running.

Knows files and OpenSSL. It must not know SMTP: whether TLS is offered, and what follows, is the session's.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from .connection import TLSInfo
from .tlsfiles import TLSConfigError, TLSFiles, parse_protocols

# Forward secrecy always, authenticated encryption first. Ciphers of the CBC kind come last, for mail servers
# that know no better: whoever finds no common cipher sends the message in clear. TLS 1.3 has its own suites.
DEFAULT_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES"
# A cipher without certificate or without encryption is none, whatever `tls_ciphers` says.
_NEVER: Final = ":!aNULL:!eNULL"
# OpenSSL from 4.0 knows groups of its own (RFC 7919); all versions shall behave alike without parameters.
_NO_DHE: Final = ":!DHE"

_VERSIONS: Final = {"TLSv1.2": SSL.TLS1_2_VERSION, "TLSv1.3": SSL.TLS1_3_VERSION}
_OPTIONS: Final = (
    SSL.OP_CIPHER_SERVER_PREFERENCE
    | SSL.OP_NO_COMPRESSION  # CRIME
    | SSL.OP_NO_RENEGOTIATION  # costs the server more than the client, and SMTP has no use for it
)
EXPIRES_SOON: Final = timedelta(days=7)


@implementer(IOpenSSLServerConnectionCreator)
class _ServerConnections:
    """Begin each handshake with the context of the moment; handshakes and sessions keep theirs."""

    __slots__ = ("context",)

    context: SSL.Context

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:  # noqa: N803
        return SSL.Connection(self.context, None)


class ServerTLS:
    """What `startTLS` and `TLSMemoryBIOFactory` need: hand them ``context_factory``.

    ``ciphers`` is an OpenSSL cipher list for TLS 1.2, "" for ours; ``protocols`` is for `parse_protocols`.
    The constructor raises TLSConfigError.
    """

    __slots__ = ("_certificate", "_ciphers", "_protocols", "_stamps", "context_factory", "files")

    def __init__(self, files: TLSFiles, *, ciphers: str = "", protocols: str = "") -> None:
        self.files = files
        self.context_factory = _ServerConnections()
        self._ciphers = ciphers or DEFAULT_CIPHERS
        self._protocols = parse_protocols(protocols)
        self.reload()

    def reload(self) -> None:
        """Read the files again for the handshakes to come; on TLSConfigError all stays as it was."""
        stamps = _stamps(self.files)  # taken first: a file that changes while we read counts as changed
        certificate = _checked_certificate(self.files)
        self.context_factory.context = _make_context(self.files, self._ciphers, self._protocols.versions)
        self._certificate = certificate
        self._stamps = stamps

    def changed(self) -> bool:
        """Tell whether a file is not the one that was last loaded."""
        return _stamps(self.files) != self._stamps

    def warnings(self, now: datetime | None = None) -> list[str]:
        """List what works but should not stay so, one line each; ``now`` is aware, and by default now."""
        now = now or datetime.now(UTC)
        path, certificate = self.files.certificate, self._certificate
        begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        found = list(self._protocols.warnings)
        if now < begins:
            found.append(f"{path}: certificate is not valid before {begins:%Y-%m-%d %H:%M} UTC")
        if now > ends:
            found.append(f"{path}: certificate expired at {ends:%Y-%m-%d %H:%M} UTC")
        elif ends - now < EXPIRES_SOON:
            found.append(f"{path}: certificate expires at {ends:%Y-%m-%d %H:%M} UTC")
        if certificate.issuer == certificate.subject:
            found.append(f"{path}: certificate is self-signed; clients that verify it will refuse it")
        if self.files.dh and not _has_content(self.files.dh):
            found.append(f"{self.files.dh}: no Diffie-Hellman parameters; DHE ciphers are off")
        return found


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
        version=handle.get_protocol_version_name(),
        cipher=handle.get_cipher_name() or "",
        bits=handle.get_cipher_bits() or 0,
        # The client sends any octets as server name; they go to the log.
        sni="".join(char if char.isprintable() else "?" for char in sni),
        # RFC 9266 section 2; an older version would need an extension that pyOpenSSL cannot see.
        exporter=handle.export_keying_material(b"EXPORTER-Channel-Binding", 32) if bound else b"",
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TLSConfigError(f"{path}: cannot be read: {error.strerror}") from error


def _checked_certificate(files: TLSFiles) -> x509.Certificate:
    """Give the certificate of the server, if all files are what they should be."""
    certificate = _certificates(files.certificate)[0]
    if _public_octets(certificate.public_key()) != _public_octets(_private_key(files.key).public_key()):
        raise TLSConfigError(f"{files.key}: is not the key of the first certificate in {files.certificate}")
    return certificate


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as error:
        raise TLSConfigError(f"{path}: holds no certificate in PEM form") from error


def _private_key(path: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(_read(path), password=None)
    except TypeError as error:  # before OpenSSL sees it, which would ask at the terminal
        raise TLSConfigError(f"{path}: the key is protected by a passphrase; store it without one") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TLSConfigError(f"{path}: holds no private key in PEM form") from error


def _public_octets(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _make_context(files: TLSFiles, ciphers: str, versions: tuple[str, ...]) -> SSL.Context:
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(_VERSIONS[versions[0]])
    context.set_max_proto_version(_VERSIONS[versions[-1]])
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle session keeps no buffers
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # the client keeps its session, in a ticket
    dh = files.dh if files.dh and _has_content(files.dh) else None
    with _blaming("tls_ciphers", f"no cipher matches {ciphers!r}"):
        context.set_cipher_list((ciphers + _NEVER + ("" if dh else _NO_DHE)).encode())
    with _blaming(files.certificate, "OpenSSL refuses the certificate"):
        context.use_certificate_chain_file(str(files.certificate))
    with _blaming(files.key, "OpenSSL refuses the key"):
        context.use_privatekey_file(str(files.key))
    if files.ca:
        # OpenSSL completes the chain from here if the certificate file holds none.
        with _blaming(files.ca, "OpenSSL refuses the certificates"):
            context.load_verify_locations(str(files.ca))
    if dh:
        with _blaming(dh, "OpenSSL refuses the Diffie-Hellman parameters"):
            context.load_tmp_dh(str(dh))
    return context


@contextmanager
def _blaming(culprit: object, complaint: str) -> Iterator[None]:
    try:
        yield
    except SSL.Error as error:
        reasons = ", ".join(entry[-1] for entry in error.args[0] if entry[-1]) if error.args else ""
        raise TLSConfigError(f"{culprit}: {complaint}" + (f" ({reasons})" if reasons else "")) from error


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _stamps(files: TLSFiles) -> list[tuple[int, int, int] | None]:
    return [_stamp(path) for path in (files.certificate, files.key, files.ca, files.dh) if path]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def make_self_signed(certificate: Path, key: Path, host: str, days: int = 3650) -> None:
    """Create a key and its own certificate for host and localhost: both or neither, never over a file.

    ``host`` is a name, or an address. Raises FileExistsError or another OSError; ValueError for a bad name.
    """
    private = ec.generate_private_key(ec.SECP256R1())
    signed = _self_signed(private, host, timedelta(days=days))
    form = serialization.PrivateFormat.PKCS8
    pem = private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    _create(key, pem, 0o600)
    try:
        _create(certificate, signed.public_bytes(serialization.Encoding.PEM), 0o644)
    except BaseException:
        key.unlink()
        raise


def _self_signed(private: ec.EllipticCurvePrivateKey, host: str, lifetime: timedelta) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])  # RFC 5280 appendix A: 64 at most
    begins = datetime.now(UTC) - timedelta(hours=1)  # for clients whose clock is slow
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(begins + lifetime)
        .add_extension(x509.SubjectAlternativeName(_alternative_names(host)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    return builder.sign(private, hashes.SHA256())


def _alternative_names(host: str) -> list[x509.GeneralName]:
    if not host:
        raise ValueError("a certificate needs a host name")
    localhost = x509.DNSName("localhost")
    try:
        return [x509.IPAddress(ip_address(host)), localhost]
    except ValueError:
        pass
    name = x509.DNSName(host.encode("idna").decode("ascii"))
    return [localhost] if name == localhost else [name, localhost]


def _create(path: Path, content: bytes, mode: int) -> None:
    """Make a file that is there with all its content or not at all, and is nobody else's before."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # O_EXCL, 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(handle, mode)
            os.fsync(handle)
        os.link(temporary, path)  # unlike rename, does not replace
    finally:
        Path(temporary).unlink()
