"""Offer TLS: STARTTLS on the listeners of config/listen, implicit TLS on those of config/smtps.

This plugin only names the certificate; the engine does the rest. Whatever a client said before the
handshake is forgotten, unread input included (RFC 3207 section 4.2). What the handshake agreed upon is
in ``connection.tls``. Files that change, and SIGHUP, are noticed without a restart; sessions go on.

Settings: certificate, key, authorities and Diffie-Hellman parameters, in this order, as PEM files.
Without them the files are ``qpsmtpd-server.crt``, ``qpsmtpd-server.key``, and, where they exist,
``qpsmtpd-ca.crt`` and ``qpsmtpd-dhparam.pem``, in ``ssl/`` of the working directory if there is one,
else in ``ssl/`` of the configuration directory. The certificate's file may hold its chain. With
``self_signed`` a missing certificate is made at the start, with its key, for the name in ``me``: good
to begin with, but clients that verify it refuse it.

``sni DIR`` names a directory with more certificates, for clients that ask for a name (SNI): NAME.pem, or
``_.example.org.pem`` for every name directly below example.org, each with its key and its chain. Whoever
asks for another name, or for none, gets the main certificate.

``client ask`` asks clients for a certificate and ``client require`` refuses handshakes without a verified
one, on all listeners that do not say ``client=`` themselves; the default is ``off``. ``client_ca FILE``
holds the authorities that vouch for clients, and no others do. The names in a verified certificate are in
``connection.tls.client_names``, the first one in ``connection.tls.client``; with ``ask`` a certificate that
cannot be verified counts as none. Such handshakes are never resumed.

Clients that want another protocol than SMTP (ALPN, as browsers do) are refused in the handshake. The keys of
session tickets change with each reload, and every day.

Reads ``tls_ciphers``, an OpenSSL cipher list for TLS 1.2, and ``tls_protocols``, as in
``SSLv23:!TLSv1_2``; the engine's ``tls_before_auth`` keeps passwords off connections without TLS.

Hooks: none. Log: the engine's ``TLS setup returning`` after STARTTLS.

Differences from upstream: a missing or unusable certificate stops the start, where upstream stayed
loaded and offered nothing. The authorities may be missing. TLS 1.2 and later only. Which listeners
begin with TLS is configured, not bound to port 465. A failed handshake ends the connection, so there is
no ``ssl_failed``. The place in config/plugins does not matter.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from qpsmtpd import Plugin, Setting, SettingError, TLSFiles


class TLS(Plugin):
    """Name the certificate."""

    certificate = Setting.path("", position=True, help="certificate, maybe with its chain")
    key = Setting.path("", position=True, help="private key, without passphrase")
    ca = Setting.path("", position=True, help="certificates that complete the chain")
    dh = Setting.path("", position=True, help="parameters for DHE ciphers; none are needed for ECDHE")
    self_signed = Setting.switch(help="make a certificate at the start if there is none")
    sni = Setting.path("", help="directory of NAME.pem, key and chain each, for clients that ask for NAME")
    client = Setting.choice("off", ("off", "ask", "require"), help="clients' certificates")
    client_ca = Setting.path("", help="authorities that vouch for clients")

    files: ClassVar[Mapping[str, str]] = {
        "tls_ciphers": "OpenSSL cipher list",
        "tls_protocols": "SSLv23 or one protocol, then maybe exclusions: SSLv23:!TLSv1_2",
    }

    def register(self) -> None:
        """Find the files and tell the engine."""
        if self.services.tls is not None:
            raise SettingError("another line has named a certificate")
        files = TLSFiles(
            self._file("certificate", "qpsmtpd-server.crt"),
            self._file("key", "qpsmtpd-server.key"),
            self._optional("ca", "qpsmtpd-ca.crt"),
            self._optional("dh", "qpsmtpd-dhparam.pem"),
            self.self_signed,
            self._named("sni"),
            self.client,
            self._named("client_ca"),
        )
        if not (files.certificate.exists() or self.self_signed):
            raise SettingError(f"{files.certificate}: there is no such certificate; self_signed makes one")
        self.services.tls = files

    def _file(self, setting: str, name: str) -> Path:
        """Give a file as the line names it, else where it is by default."""
        given: Path = getattr(self, setting)
        # Absolute, because a daemon may change its directory.
        return (given.expanduser() if given.name else self._directory() / name).absolute()

    def _named(self, setting: str) -> Path | None:
        return self._file(setting, "") if getattr(self, setting).name else None

    def _optional(self, setting: str, name: str) -> Path | None:
        path = self._file(setting, name)
        if path.exists():
            return path
        if getattr(self, setting).name:
            raise SettingError(f"{path}: there is no such file")
        return None

    def _directory(self) -> Path:
        here = Path("ssl")
        if here.is_dir() or not self.config.directories:
            return here
        return self.config.directories[0] / "ssl"
