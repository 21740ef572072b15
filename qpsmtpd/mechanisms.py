"""The table of AUTH mechanisms: how an exchange begins, who can check it, what it needs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from .connection import Connection
from .registry import Registry
from .sasl import Channel, CramMD5, Exchange, Login, Plain
from .sasl_oauth import OAuthBearer, XOAuth2
from .sasl_scram import Scram


class Mechanism(NamedTuple):
    """One mechanism; any of ``hooks`` can check what comes of its exchange."""

    begin: Callable[[Channel], Exchange]
    hooks: tuple[str, ...]
    only_tls: bool = False
    """whether it may never be used in clear"""
    binding: bool = False
    """whether it is bound to the TLS connection"""

    def checked(self, registry: Registry) -> bool:
        """Tell whether a plugin can check it."""
        return any(map(registry.has, self.hooks))

    def usable(self, connection: Connection) -> bool:
        """Tell whether this connection has what the mechanism needs."""
        tls = connection.tls
        if tls is None:
            return not self.only_tls
        return bool(tls.exporter) or not self.binding


MECHANISMS: Final[dict[str, Mechanism]] = {
    "SCRAM-SHA-256-PLUS": Mechanism(partial(Scram, plus=True), ("credentials",), only_tls=True, binding=True),
    "SCRAM-SHA-256": Mechanism(partial(Scram, plus=False), ("credentials",)),
    # RFC 6750 section 5.3: who hears a token can use it.
    "OAUTHBEARER": Mechanism(OAuthBearer, ("auth-oauthbearer",), only_tls=True),
    "XOAUTH2": Mechanism(XOAuth2, ("auth-xoauth2",), only_tls=True),
    "PLAIN": Mechanism(lambda _: Plain(), ("auth", "auth-plain", "credentials")),
    "LOGIN": Mechanism(lambda _: Login(), ("auth", "auth-login", "credentials")),
    "CRAM-MD5": Mechanism(lambda channel: CramMD5(channel.me), ("auth", "auth-cram-md5", "credentials")),
}
"""All there are; which are offered, and in which order, says config/auth_mechanisms."""
