"""Make ``twistd qpsmtpd`` known to Twisted."""

from twisted.application.service import ServiceMaker

qpsmtpd_service = ServiceMaker(
    "qpsmtpd", "qpsmtpd.daemon", "An extensible SMTP server: every decision is a plugin's", "qpsmtpd"
)
