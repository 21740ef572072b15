"""One OpenSSL context for servers: versions, ciphers, certificate, and what clients must show.

It must not know where the files are named, or when a context is replaced.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cryptography import x509
from OpenSSL import SSL, crypto

from .certificates import Identity, complete_chain, read_certificates
from .tlsbuffers import ShrinkingConnection
from .tlsfiles import TLSConfigError

# Forward secrecy always, authenticated encryption first. Ciphers of the CBC kind come last, for mail servers
# that know no better: whoever finds no common cipher sends the message in clear. They are the lesser evil:
# OpenSSL answers all of Lucky 13's questions in the same time, and uses encrypt-then-MAC (RFC 7366) with who
# can. CCM, which nobody needs beside GCM, is not in RFC 9325 section 4.2. TLS 1.3 has its own suites.
DEFAULT_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES:!AESCCM"
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
# Nobody has registered a name for SMTP; these are Exim's.
_PROTOCOL_NAMES: Final = (b"smtp", b"esmtp")


class ServerConnection(ShrinkingConnection):
    """Knows whether the verification of the client failed."""

    refused = False


def make_context(versions: tuple[str, ...], ciphers: str, dh: Path | None) -> SSL.Context:
    """Make a context without a certificate; ``versions`` are of `OFFERED`, ``ciphers`` "" means ours.

    Raises TLSConfigError.
    """
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(_VERSIONS[versions[0]])
    context.set_max_proto_version(_VERSIONS[versions[-1]])
    context.set_options(_OPTIONS)
    context.set_mode(SSL.MODE_RELEASE_BUFFERS)  # an idle session keeps no buffers
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)  # the client keeps its session, in a ticket
    context.set_alpn_select_callback(_select_protocol)
    ciphers = ciphers or DEFAULT_CIPHERS
    dh = dh if dh and has_content(dh) else None
    with _blaming("tls_ciphers", f"no cipher matches {ciphers!r}"):
        context.set_cipher_list((ciphers + _NEVER + ("" if dh else _NO_DHE)).encode())
    if dh:
        with _blaming(dh, "OpenSSL refuses the Diffie-Hellman parameters"):
            context.load_tmp_dh(str(dh))
    return context


def _select_protocol(connection: SSL.Connection, names: list[bytes]) -> bytes:
    """Refuse clients that want another protocol (RFC 7301 section 3.2).

    A browser whose TLS was led astray to a mail server must not be answered, for it would take SMTP's words
    for the web server's (RFC 9325 section 3.8). What a callback raises becomes the alert.
    """
    for name in names:
        if name in _PROTOCOL_NAMES:
            return name
    raise SSL.Error([("SSL routines", "", "no application protocol")])


def without_forward_secrecy(context: SSL.Context) -> list[str]:
    """List the ciphers with which a key that is stolen one day opens all that was sent before."""
    names = SSL.Connection(context, None).get_cipher_list()
    return [name for name in names if not name.startswith(("TLS_", "ECDHE-", "DHE-"))]


def show(context: SSL.Context, identity: Identity, authorities: list[x509.Certificate]) -> None:
    """Let the context show a certificate with its chain. Raises TLSConfigError."""
    with _blaming(identity.path, "OpenSSL refuses the certificate"):
        context.use_certificate_chain_file(str(identity.path))
        # Not as trusted ones: who issues the server's certificate has no say about clients.
        for issuer in complete_chain(identity, authorities):
            context.add_extra_chain_cert(issuer)
    with _blaming(identity.key, "OpenSSL refuses the key"):
        context.use_privatekey_file(str(identity.key))


def verify_clients(context: SSL.Context, client: str, authorities: Path | None) -> None:
    """Let the context ask clients for a certificate: never, for their name if they have one, or always.

    Raises TLSConfigError.
    """
    if client == "off":
        return
    if authorities is None:
        raise TLSConfigError(f"client={client} needs client_ca on the line of the plugin tls")
    read_certificates(authorities)  # says better than OpenSSL what is wrong
    with _blaming(authorities, "OpenSSL refuses the certificates"):
        context.load_verify_locations(str(authorities))
        context.load_client_ca(str(authorities).encode())
    # Who comes back with a ticket would be taken at its word: the verification is not repeated then.
    context.set_options(SSL.OP_NO_TICKET)
    context.set_session_id(f"qpsmtpd {client}".encode())
    if client == "require":
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _insist)
    else:
        context.set_verify(SSL.VERIFY_PEER, _remember)


def _insist(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    return bool(ok)


def _remember(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """Go on with whoever it is: many servers show a certificate that nobody can verify. It gives no name."""
    assert isinstance(connection, ServerConnection)
    connection.refused = connection.refused or not ok
    return True


@contextmanager
def _blaming(culprit: object, complaint: str) -> Iterator[None]:
    try:
        yield
    except SSL.Error as error:
        reasons = ", ".join(entry[-1] for entry in error.args[0] if entry[-1]) if error.args else ""
        raise TLSConfigError(f"{culprit}: {complaint}" + (f" ({reasons})" if reasons else "")) from error


def has_content(path: Path) -> bool:
    """Tell whether a file is there and not empty."""
    return path.is_file() and path.stat().st_size > 0
