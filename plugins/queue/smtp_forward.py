"""Hand each message to another SMTP server while the client waits: what that one answers, the client hears.

``queue/smtp-forward HOST [PORT] [xclient] [tls POLICY] [ca FILE] [helo NAME] [...timeout SECONDS]``

HOST is a name or an address, IPv6 in brackets; PORT is 25 if not given. ``helo`` is what we call ourselves,
else what is in ``me``. ``tls`` says what to demand of the connection:

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

The client gets one reply for all its recipients, so the message is sent only if all are accepted: a refused
one keeps it from the others. The reply is what the next hop says, with its enhanced status. If recipients
are refused, each is named with the reply to it, ten at most. The reply is 452 if any refusal is temporary
(the client tries again, and no recipient is lost), else 552. Whatever goes wrong before MAIL is about the
next hop and not about the message: refused connection or greeting, TLS, XCLIENT, extensions. It is 452
4.4.1, and only the log tells why.

Time limits in seconds, those of RFC 5321 section 4.5.3.2: ``connect_timeout`` 60, ``command_timeout`` 300
for the greeting and the reply to each command, ``data_timeout`` 180 for each piece of the message,
``end_timeout`` 600 for the reply to all of it; RSET has 60 and QUIT 10. To cut off that last reply makes
duplicates, so ``hook_timeout`` is 3600 here, a last resort. When the client leaves meanwhile, the connection
to the next hop is dropped: what that one has not got whole, it forgets; a message that it has just taken, the
client will send again. Clients wait ten minutes after their final dot (RFC 5321 section 4.5.3.2.6).

Hooks: queue, disconnect. Replies: ``250 Queued! as ID``, the ID being the last word of the next hop's reply;
452, 552. Log: ``pass, queued as ID by HOST:PORT``, ``fail, HOST:PORT: ...`` when it refuses the message,
``error, HOST:PORT: ...`` when it is not to be had. SIGHUP reads ``ca`` and ``me`` again.

Differences from upstream: permanent refusals are permanent, where upstream told 451 for everything; no QUIT
that fails makes a duplicate; connections are reused; TLS, ESMTP parameters and IPv6 are new; a port that is
no number stops the start. A name with an underscore is looked up for IPv4 only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple

from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, trustRootFromCertificates

from qpsmtpd import DENY, DENYSOFT, OK, Connection, Outcome, Plugin, Setting, SettingError, Transaction
from qpsmtpd.kit.smtpout import Delivery, Envelope, NextHop, SMTPClient, SMTPOutError, Timeouts, TLSPolicy
from qpsmtpd.kit.smtppassing import PASSED, passed_on
from qpsmtpd.kit.smtprefusal import one_refusal

HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")
HELLO_NAME = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

# The XCLIENT specification: this stands for what is not known, and a value has at most 255 octets.
UNAVAILABLE = "[UNAVAILABLE]"
MAX_VALUE = 255

# RFC 3030 section 3: binary content goes by BDAT only, and we do not convert.
NO_BINARY = DENY("binary content (BODY=BINARYMIME) is not sent on", "5.6.3")
NO_NEXT_HOP = DENYSOFT("the next hop takes no mail now, please try again later", "4.4.1")


def read_host(word: str) -> str:
    """Read a host name, or an address without the brackets that it may have."""
    if word.startswith("[") and word.endswith("]"):
        return str(ip_address(word[1:-1]))
    if not HOST.fullmatch(word):
        raise ValueError
    return word


class Link(NamedTuple):
    """A connection to the next hop, and what it was told about our client."""

    client: SMTPClient
    attributes: Mapping[str, str]


class Message:
    """A message as it is sent; ``begun`` tells whether anything of it was read."""

    __slots__ = ("_body", "_header", "_transaction", "begun")

    def __init__(self, transaction: Transaction) -> None:
        assert transaction.header is not None
        assert transaction.body is not None
        self._transaction = transaction
        self._header = bytes(transaction.header) + b"\r\n"
        self._body = transaction.body
        self.begun = False

    def __iter__(self) -> Iterator[bytes]:
        self.begun = True
        yield self._header
        yield from self._body.chunks()

    def envelope(self, extensions: Mapping[str, str]) -> Envelope:
        """Make the envelope; what was declared but is not needed depends on the next hop's extensions.

        Raises SMTPOutError if they lack what the client was promised.
        """
        transaction = self._transaction
        ascii_header = self._header.isascii()
        declared = (transaction.parameters.get("BODY") or "").upper() == "8BITMIME"
        return Envelope(
            transaction.reverse_path,
            [(one.address, passed_on("RCPT", one.parameters, extensions)) for one in transaction.recipients],
            len(self._header) + self._body.size,
            not ascii_header or self._body.is_8bit or (declared and "8BITMIME" in extensions),
            transaction.smtputf8 and (not ascii_header or "SMTPUTF8" in extensions),
            passed_on("MAIL", transaction.parameters, extensions),
        )


class SMTPForward(Plugin):
    """Forward over SMTP, one connection a session."""

    takes_binary = False

    host = Setting(
        read_host,
        "",
        allowed="a host name, or an address, IPv6 in brackets",
        position=True,
        required=True,
        help="the next hop",
    )
    port = Setting.integer(25, minimum=1, maximum=65535, position=True, help="its port")
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
        self.ca = self.ca.expanduser().absolute() if self.ca.name else self.ca
        self.name_and_port = f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
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
        name = self.helo or self.config.value("me")
        host = self.host.removesuffix(".")
        try:
            self.hop = NextHop(
                self.endpoint(), name, TLSPolicy(self.tls), host, self.trust_root(), timeouts=timeouts
            )
        except ValueError as error:
            raise SettingError(f"tls verify {self.host}: {error}") from None

    def endpoint(self) -> IStreamClientEndpoint:
        """Say how to connect."""
        reactor, seconds = self.services.reactor, self.connect_timeout
        if "_" in self.host:
            # Containers have such names, but to HostnameEndpoint they are none.
            return TCP4ClientEndpoint(reactor, self.host, self.port, seconds)
        return HostnameEndpoint(reactor, self.host, self.port, seconds)

    def trust_root(self) -> Any:
        """Give the authorities to trust, None for the system's."""
        if not self.ca.name:
            return None
        try:
            found = [Certificate.loadPEM(pem) for pem in PEM.findall(self.ca.read_text())]
        except Exception as error:
            # What OpenSSL raises has no name that fits here.
            raise SettingError(f"ca: {self.ca} cannot be read: {error}") from None
        if not found:
            raise SettingError(f"ca: {self.ca} holds no certificate")
        return trustRootFromCertificates(found)

    async def hook_queue(self, connection: Connection, transaction: Transaction) -> Outcome:
        """Forward; the next hop's word is ours."""
        if not transaction.recipients:
            return DENY("no recipient is left", "5.1.0")
        if transaction.binary:
            return NO_BINARY
        try:
            delivery = await self.deliver(connection, Message(transaction))
        except SMTPOutError as error:
            self.log.warn("error, %s: %s", self.name_and_port, error)
            return NO_NEXT_HOP
        if not delivery.accepted:
            reply = one_refusal([recipient.address for recipient in transaction.recipients], delivery)
            self.log.info("fail, %s: %d %s", self.name_and_port, reply.code, reply.text.replace("\n", "; "))
            return (DENYSOFT if reply.code < 500 else DENY)(reply.text, reply.status)
        words = delivery.replies[0].text.split()
        queued = f" as {words[-1]}" if words else ""
        self.log.info("pass, queued%s by %s", queued, self.name_and_port)
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
        delivery = await link.client.send(envelope, message, all_or_none=True)
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
