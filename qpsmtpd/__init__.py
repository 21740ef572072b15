"""An extensible ESMTP engine on Twisted: every decision about mail is a plugin's.

These are the names for plugin authors; `qpsmtpd.factory.SMTPFactory` is for those who embed the server.
"""

from __future__ import annotations

from . import dsn
from .config import ConfigError
from .connection import Connection
from .header import Header
from .loader import isa_plugin
from .log import Event, Level
from .outcome import (
    DECLINED,
    DENY,
    DENY_DISCONNECT,
    DENYSOFT,
    DENYSOFT_DISCONNECT,
    OK,
    OUTCOMES,
    Code,
    Outcome,
    Policy,
    Rejection,
)
from .plugin import Plugin
from .secret import Secret
from .setting import Setting, SettingError
from .smtp.address import Address
from .smtp.reply import Reply
from .tlsfiles import TLSFiles
from .transaction import Recipient, Transaction
from .version import VERSION

__version__ = VERSION

__all__ = [
    "DECLINED",
    "DENY",
    "DENYSOFT",
    "DENYSOFT_DISCONNECT",
    "DENY_DISCONNECT",
    "OK",
    "OUTCOMES",
    "Address",
    "Code",
    "ConfigError",
    "Connection",
    "Event",
    "Header",
    "Level",
    "Outcome",
    "Plugin",
    "Policy",
    "Recipient",
    "Rejection",
    "Reply",
    "Secret",
    "Setting",
    "SettingError",
    "TLSFiles",
    "Transaction",
    "dsn",
    "isa_plugin",
]
