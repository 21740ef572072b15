"""Certificates and keys in PEM files: reading them, what is wrong with them, whom they name, making one.

It must not know what they are used for.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
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

from .tlsfiles import TLSConfigError

EXPIRES_SOON: Final = timedelta(days=7)
_BROKEN: Final = ("md5", "sha1")
Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate that goes with its key: its file and the file of the key, and the chain behind it."""

    path: Path
    key: Path
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...]

    @staticmethod
    def load(path: Path, key: Path) -> Identity:
        """Read and check both files; TLSConfigError says what is wrong with which."""
        certificate, *chain = read_certificates(path)
        if _public_octets(certificate.public_key()) != _public_octets(_private_key(key).public_key()):
            raise TLSConfigError(f"{key}: is not the key of the first certificate in {path}")
        return Identity(path, key, certificate, tuple(chain))

    def warnings(self, now: datetime, host: str = "") -> Iterator[str]:
        """List what works but should not stay so; ``host`` is whom it is shown for, "" for anybody."""
        begins, ends = self.certificate.not_valid_before_utc, self.certificate.not_valid_after_utc
        if now < begins:
            yield f"{self.path}: certificate is not valid before {begins:%Y-%m-%d %H:%M} UTC"
        if now > ends:
            yield f"{self.path}: certificate expired at {ends:%Y-%m-%d %H:%M} UTC"
        elif ends - now < EXPIRES_SOON:
            yield f"{self.path}: certificate expires at {ends:%Y-%m-%d %H:%M} UTC"
        if self.certificate.issuer == self.certificate.subject:
            yield f"{self.path}: certificate is self-signed; clients that verify it will refuse it"
        for certificate in (self.certificate, *self.chain):
            # RFC 9325 section 4.5; what issued itself is trusted, or not, whatever its signature.
            digest = _digest(certificate)
            if digest in _BROKEN and certificate.issuer != certificate.subject:
                yield f"{self.path}: certificate is signed with {digest}; clients will refuse it"
        if host and not _is_for(self.certificate, host):
            names = ", ".join(names_of(self.certificate)) or "nobody"
            yield f"{self.path}: certificate is not for {host} but for {names}"


def names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    """Give the alternative names (DNS, mail, address), else the common names (RFC 9525: as a last resort)."""
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return tuple(_printable(str(each.value)) for each in common)
    kinds = (x509.DNSName, x509.RFC822Name, x509.IPAddress)
    return tuple(_printable(str(each.value)) for each in extension.value if isinstance(each, kinds))


def _digest(certificate: x509.Certificate) -> str:
    """Name the digest of the signature; "" if that has none, or one that nobody knows."""
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return ""
    return algorithm.name if algorithm else ""


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _is_for(certificate: x509.Certificate, host: str) -> bool:
    """Tell whether a client that looks for the host is content; a star stands for one label."""
    host = host.lower()
    return not {host, "*." + host.partition(".")[2]}.isdisjoint(map(str.lower, names_of(certificate)))


def complete_chain(identity: Identity, authorities: list[x509.Certificate]) -> list[x509.Certificate]:
    """Give what is to be sent behind the certificate, if its file does not say so."""
    chain: list[x509.Certificate] = []
    last, left = identity.certificate, list(authorities)
    while not identity.chain and last.issuer != last.subject:
        issuers = [each for each in left if each.subject == last.issuer]
        if not issuers:
            break
        last = issuers[0]
        left.remove(last)
        chain.append(last)
    return chain


def stamp(path: Path) -> Stamp:
    """Tell one version of a file from the next; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TLSConfigError(f"{path}: cannot be read: {error.strerror}") from error


def read_certificates(path: Path) -> list[x509.Certificate]:
    """Read all certificates of a file, at least one."""
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
    """Make a file that is there with all its content or not at all, and is nobody else's before.

    Made by root it is for the owner of its directory, as whom the server will have to read it again.
    """
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # O_EXCL, 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(handle, mode)
            if os.geteuid() == 0:
                owner = path.parent.stat()
                os.fchown(handle, owner.st_uid, owner.st_gid)
            os.fsync(handle)
        os.link(temporary, path)  # unlike rename, does not replace
    finally:
        Path(temporary).unlink()
