"""Name the certificate for STARTTLS: ``certificate CERTIFICATE KEY``, two PEM files."""

from qpsmtpd import Plugin, Setting
from qpsmtpd.tlsfiles import TLSFiles


class Certificate(Plugin):
    """Offer STARTTLS, and nothing else."""

    certificate = Setting.path(position=True, required=True)
    key = Setting.path(position=True, required=True)

    def register(self) -> None:
        self.services.tls = TLSFiles(self.certificate, self.key)
