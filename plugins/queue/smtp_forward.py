"""Hand each message to another SMTP server while the client waits: what that one answers, the client hears.

``queue/smtp-forward HOST [PORT] [lmtp] [xclient] [tls POLICY] [ca FILE] [helo NAME] [...timeout SECONDS]``

HOST is a name, an address, IPv6 in brackets, or the absolute path of a UNIX socket; PORT is 25 if not given.
``lmtp`` speaks LMTP (RFC 2033), as to Dovecot; PORT is 24 then. ``helo`` is what we call ourselves, else what
is in ``me``. ``tls`` says what to demand of the connection:

* ``none``: never ask for TLS
* ``may`` (default): TLS where it works, whoever the server is; in clear otherwise
* ``encrypt``: only over TLS, whoever the server is
* ``verify``: only over TLS, and only if a trusted certificate names HOST; ``ca`` is a PEM file with the
  authorities to trust instead of the system's

``xclient`` tells the next hop who our client is (Postfix: ``smtpd_authorized_xclient_hosts``): NAME, ADDR,
PORT, HELO, PROTO and LOGIN, as far as it wants to know; it must offer the extension.

A connection is made for a session's first message and kept for its next ones; QUIT follows when the client
has left. A connection that proves dead before any of a message was sent is replaced, once a message. The
message goes from the spool file to the network in pieces, with the envelope's SIZE, BODY and SMTPUTF8 where
the next hop offers them. It is refused when the next hop cannot have it: too big, 8-bit content without
8BITMIME (552 5.6.3), a NUL (552 5.6.0), addresses or header that need SMTPUTF8. It is sent with DATA, so
BINARYMIME is not offered to clients while this plugin is loaded; a message that came with it is refused.

DSN (RET, ENVID, NOTIFY, ORCPT) is passed on, and if ``extensions`` names them REQUIRETLS (with ``tls verify``
only), MT-PRIORITY and FUTURERELEASE. Clients are offered what the next hop offered when we last connected:
nothing before the first message. A message with what it has ceased to offer is delayed, as below.

A client that hears a reply for each recipient (LMTP, PRDR) hears the next hop's for each. Others get one for
all, so the message is sent only if all are accepted: a refused one keeps it from the others. With ``lmtp``
they may name one recipient a message, and are told 452 4.5.3 at the others, for which they come again: the
next hop may refuse one when another has the message already. The reply is what the next hop says, with its
enhanced status. If recipients are refused, each is named with the reply to it, ten at most. The reply is 452
if any refusal is temporary (the client tries again, and no recipient is lost), else 552. Whatever goes wrong
before MAIL is about the next hop and not about the message: refused connection or greeting, TLS, XCLIENT,
extensions. It is 452 4.4.1, and only the log tells why.

Time limits in seconds, those of RFC 5321 section 4.5.3.2: ``connect_timeout`` 60, ``command_timeout`` 300
for the greeting and the reply to each command, ``data_timeout`` 180 for each piece of the message,
``end_timeout`` 600 for the reply to all of it; RSET has 60 and QUIT 10. To cut off that last reply makes
duplicates, so ``hook_timeout`` is 3600 here, a last resort. When the client leaves meanwhile, the connection
to the next hop is dropped: what that one has not got whole, it forgets; a message that it has just taken, the
client will send again. Clients wait ten minutes after their final dot (RFC 5321 section 4.5.3.2.6).

Hooks: queue, disconnect; rcpt with ``lmtp``. Replies: ``250 Queued! as ID``, the ID being the last word of
the next hop's reply, with ``lmtp`` all of it; 452, 552. Log: ``pass, queued as ID by HOST:PORT``, ``fail,
HOST:PORT: ...`` when it refuses the message, ``error, HOST:PORT: ...`` when it is not to be had. SIGHUP
reads ``ca`` and ``me`` again.

Differences from upstream: permanent refusals are permanent, where upstream told 451 for everything; no QUIT
that fails makes a duplicate; connections are reused; TLS, ESMTP parameters and IPv6 are new; a port that is
no number stops the start. A name with an underscore is looked up for IPv4 only.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from qpsmtpd import DENY, DENYSOFT, OK, Connection, Outcome, Plugin, Reply, Setting, SettingError, Transaction
from qpsmtpd.kit.smtpmessage import Message
from qpsmtpd.kit.smtpout import Delivery, NextHop, SMTPClient, SMTPOutError, Timeouts, TLSPolicy
from qpsmtpd.kit.smtppassing import PASSED
from qpsmtpd.kit.smtpplace import HOST, endpoint_of, read_authorities, read_place, shown
from qpsmtpd.kit.smtprefusal import one_refusal

HELLO_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")

# The XCLIENT specification: this stands for what is not known, and a value has at most 255 octets.
UNAVAILABLE = "[UNAVAILABLE]"
MAX_VALUE = 255

# RFC 3030 section 3: binary content goes by BDAT only, and we do not convert.
NO_BINARY = DENY("binary content (BODY=BINARYMIME) is not sent on", "5.6.3")
ONE_AT_A_TIME = Reply(452, "one recipient a message, please", "4.5.3")
# A reply that names ten recipients has a line for those that are more.
MAX_LINES = 11
MAX_TEXT = 400
NO_NEXT_HOP = DENYSOFT("the next hop takes no mail now, please try again later", "4.4.1")


class Link(NamedTuple):
    """A connection to the next hop, and what it was told about our client."""

    client: SMTPClient
    attributes: Mapping[str, str]


class SMTPForward(Plugin):
    """Forward over SMTP, one connection a session."""

    takes_binary = False

    host = Setting(
        read_place,
        "",
        allowed="a host name, an address, IPv6 in brackets, or the absolute path of a UNIX socket",
        position=True,
        required=True,
        help="the next hop",
    )
    port = Setting.integer(
        0, minimum=1, maximum=65535, position=True, help="its port; 25 if not given, 24 with lmtp"
    )
    lmtp = Setting.switch(help="speak LMTP")
    xclient = Setting.switch(help="tell it who our client is")
    tls = Setting.choice(
        "may", [policy.value for policy in TLSPolicy], help="what to demand of the connection"
    )
    ca = Setting.path("", help="PEM file with the authorities to trust, for tls verify")
    helo = Setting.text(
        "", pattern=HELLO_NAME.pattern, allowed="a host name", help="our name, else that in me"
    )
    connect_timeout = Setting.seconds(60, minimum=1, help="to connect")
    command_timeout = Setting.seconds(300, minimum=1, help="for the greeting, and the reply to each command")
    data_timeout = Setting.seconds(180, minimum=1, help="for each piece of the message")
    end_timeout = Setting.seconds(600, minimum=1, help="for the reply to the whole message")
    hook_timeout = Setting.seconds(3600, help="for all of it; too little makes duplicates")

    def register(self) -> None:
        """Check what belongs together, and read the authorities."""
        if self.ca.name and self.tls != "verify":
            raise SettingError("ca is for tls verify")
        if self.host.startswith("/") and (self.port or self.tls == "verify"):
            raise SettingError(f"{self.host}: a UNIX socket has no port, and nobody has a certificate for it")
        self.ca = self.ca.expanduser().absolute() if self.ca.name else self.ca
        self.port = self.port or (24 if self.lmtp else 25)
        self.place = shown(self.host, self.port)
        if self.lmtp:
            self.register_hook("rcpt", self.one_at_a_time, first=True)
        self.reload()

    def reload(self) -> None:
        """Read the authorities and our name again."""
        seconds = self.command_timeout
        timeouts = Timeouts(
            connect=self.connect_timeout,
            greeting=seconds,
            hello=seconds,
            start_tls=seconds,
            mail=seconds,
            rcpt=seconds,
            data=seconds,
            block=self.data_timeout,
            end=self.end_timeout,
        )
        try:
            authorities = read_authorities(self.ca) if self.ca.name else None
        except ValueError as error:
            raise SettingError(f"ca: {error}") from None
        endpoint = endpoint_of(self.services.reactor, self.host, self.port, self.connect_timeout)
        name, host, tls = (
            self.helo or self.config.value("me"),
            self.host.removesuffix("."),
            TLSPolicy(self.tls),
        )
        try:
            self.hop = NextHop(endpoint, name, tls, host, authorities, lmtp=self.lmtp, timeouts=timeouts)
        except ValueError as error:
            raise SettingError(f"tls verify {self.host}: {error}") from None

    def one_at_a_time(self, transaction: Transaction) -> Reply | None:
        """Let a client that hears one reply for all name one recipient only.

        The next hop may take the message for one recipient and not for another, when nothing can be undone.
        """
        return ONE_AT_A_TIME if transaction.all_or_none and transaction.recipients else None

    async def hook_queue(self, connection: Connection, transaction: Transaction) -> Outcome:
        """Forward; the next hop's word is ours."""
        if not transaction.recipients:
            return DENY("no recipient is left", "5.1.0")
        if transaction.binary:
            return NO_BINARY
        try:
            delivery = await self.deliver(connection, Message(transaction))
        except SMTPOutError as error:
            self.log.warn("error, %s: %s", self.place, error)
            return NO_NEXT_HOP
        recipients = transaction.recipients
        if transaction.all_or_none:
            refused = not delivery.accepted
            addresses = [recipient.address for recipient in recipients]
            return self.outcome(one_refusal(addresses, delivery) if refused else delivery.replies[0])
        outcomes = {reply: self.outcome(reply) for reply in dict.fromkeys(delivery.replies)}
        for recipient, reply in zip(recipients, delivery.replies, strict=True):
            transaction.answer(recipient, outcomes[reply])
        return OK

    def outcome(self, reply: Reply) -> Outcome:
        """Make the next hop's word ours."""
        if reply.code >= 400:
            lines = reply.lines[:MAX_LINES]
            self.log.info("fail, %s: %d %s", self.place, reply.code, "; ".join(lines))
            return (DENYSOFT if reply.code < 500 else DENY)("\n".join(lines), reply.status)
        words = reply.text.split()
        # What LMTP says to a recipient names neither always the message, nor last.
        known = " ".join(words)[:MAX_TEXT] if self.lmtp else f"as {words[-1]}" if words else ""
        queued = f" {known}" if known else ""
        self.log.info("pass, queued%s by %s", queued, self.place)
        return OK(f"Queued!{queued}")

    def hook_disconnect(self, connection: Connection) -> None:
        """Take leave of the next hop; nobody waits for that."""
        link = connection.notes.pop(self.name, None)
        if link is not None:
            link.client.quit()

    async def deliver(self, connection: Connection, message: Message) -> Delivery:
        """Send the message over the session's connection, else over a new one.

        Raises SMTPOutError if there is none to be had.
        """
        attributes = self.attributes(connection) if self.xclient else {}
        link: Link | None = connection.notes.pop(self.name, None)
        if link is not None and link.attributes == attributes:
            delivery = await self.send(connection, link, message)
            if link.client.connected or message.begun:
                return delivery
            # The next hop has nothing of the message yet, so this makes no duplicate.
            self.log.debug("the connection was lost: %s", delivery.replies[0].text)
        elif link is not None:
            link.client.quit()
        link = Link(await self.connect(attributes), attributes)
        return await self.send(connection, link, message)

    async def send(self, connection: Connection, link: Link, message: Message) -> Delivery:
        """Send the message, and keep the connection if it is still of use. Raises SMTPOutError."""
        try:
            envelope = message.envelope(link.client.extensions)
        except SMTPOutError:
            link.client.quit()
            raise
        delivery = await link.client.send(envelope, message, all_or_none=message.all_or_none)
        if link.client.connected:
            connection.notes[self.name] = link
        return delivery

    async def connect(self, attributes: Mapping[str, str]) -> SMTPClient:
        """Connect, and tell who our client is. Raises SMTPOutError."""
        client = await SMTPClient.connect(self.clock, self.hop)
        if attributes:
            try:
                name = attributes["HELO"]
                await client.xclient(attributes, None if name == UNAVAILABLE else name)
            except SMTPOutError:
                client.quit()
                raise
        self.learn(client.extensions)
        return client

    def learn(self, extensions: Mapping[str, str]) -> None:
        """Promise clients what the next hop offers."""
        # RFC 8689 section 4.2.1: for REQUIRETLS the next hop must be who it says it is.
        self.honours = PASSED & extensions.keys() - ({"REQUIRETLS"} if self.tls != "verify" else set())

    def attributes(self, connection: Connection) -> dict[str, str]:
        """Say who our client is, in the terms of XCLIENT."""
        name = connection.remote_host
        known = {
            "NAME": name if name != "Unknown" and HOST.fullmatch(name) else "",
            "ADDR": f"IPV6:{connection.remote_ip}" if ":" in connection.remote_ip else connection.remote_ip,
            "PORT": str(connection.remote_port),
            "HELO": connection.hello_host if HELLO_NAME.fullmatch(connection.hello_host) else "",
            "PROTO": "ESMTP" if connection.hello == "ehlo" else "SMTP",
            "LOGIN": connection.user,
        }
        return {
            key: value if 0 < len(value.encode("utf-8", "surrogateescape")) <= MAX_VALUE else UNAVAILABLE
            for key, value in known.items()
        }
