"""The table of hooks: the arguments each offers, whether plugins are asked or told.

An *asked* hook stops at the first plugin whose answer is not DECLINED. A *told* hook tells every plugin
and ignores what they return. A plugin that fails in an asked hook delays the mail (451); in a told one
the failure is only logged. `docs/hooks.md` describes each; a test keeps the two together.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .secret import Secret


class Kind(Enum):
    """How the plugins of a hook are called."""

    ASKED = "asked"
    """one after another until one answers; may wait"""
    TOLD = "told"
    """every one; answers are ignored; may wait"""
    SYNC = "sync"
    """one after another until one answers; must answer at once"""


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook: its upstream name and the arguments it offers, in the order of the call."""

    name: str
    kind: Kind
    arguments: tuple[str, ...]
    gives: type | None = None
    """the type of the value that a plugin may answer with, beside outcomes"""

    @property
    def method(self) -> str:
        """The name of the method that implements it."""
        return "hook_" + self.name.replace("-", "_")


_SESSION = ("connection", "transaction")
_AUTH = (*_SESSION, "mechanism", "user", "password", "digest", "ticket")
_TOKEN = (*_SESSION, "mechanism", "user", "token")


def _asked(name: str, *arguments: str) -> Hook:
    return Hook(name, Kind.ASKED, _SESSION + arguments)


def _told(name: str, *arguments: str) -> Hook:
    return Hook(name, Kind.TOLD, _SESSION + arguments)


_ALL = (
    Hook("logging", Kind.SYNC, ("event", "level", "hook", "plugin", "text", "connection")),
    Hook("config", Kind.SYNC, ("name",)),
    Hook("user_config", Kind.ASKED, ("address", "name")),
    _asked("pre-connection", "connections_from_ip", "max_from_ip"),
    _asked("connect"),
    _asked("ehlo_parse", "argument"),
    _asked("ehlo", "host", "words"),
    _asked("helo_parse", "argument"),
    _asked("helo", "host", "words"),
    _asked("auth_parse", "argument"),
    Hook("auth", Kind.ASKED, _AUTH),
    Hook("auth-plain", Kind.ASKED, _AUTH),
    Hook("auth-login", Kind.ASKED, _AUTH),
    Hook("auth-cram-md5", Kind.ASKED, _AUTH),
    Hook("auth-oauthbearer", Kind.ASKED, _TOKEN),
    Hook("auth-xoauth2", Kind.ASKED, _TOKEN),
    Hook("credentials", Kind.ASKED, (*_SESSION, "user", "mechanism"), gives=Secret),
    _asked("rcpt_parse", "argument"),
    _asked("rcpt_pre", "path", "parameters"),
    _asked("rcpt", "recipient", "parameters"),
    _asked("mail_parse", "argument"),
    _asked("mail_pre", "path", "parameters"),
    _asked("mail", "sender", "parameters"),
    _asked("data"),
    _asked("data_headers_end"),
    _asked("data_post_headers"),
    _asked("received_line", "protocol", "auth", "tls"),
    _asked("data_post"),
    _asked("queue_pre"),
    _asked("queue"),
    _told("queue_post"),
    _asked("vrfy", "argument"),
    _asked("noop", "argument"),
    _asked("help", "argument"),
    _asked("quit"),
    _asked("unrecognized_command", "command", "argument", "secret"),
    _told("reset_transaction"),
    _told("disconnect"),
    _told("post-connection"),
    _told("deny", "plugin", "outcome"),
    _told("ok", "plugin", "outcome"),
)

HOOKS: dict[str, Hook] = {hook.name: hook for hook in _ALL}
"""Every hook by its name, in upstream's order of registration."""

METHODS: dict[str, Hook] = {hook.method: hook for hook in _ALL}
"""Every hook by the name of the method that implements it."""
