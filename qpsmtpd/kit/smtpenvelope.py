"""Who a message is from and for, what a next hop may say to that, and what came of it.

Writes MAIL and RCPT for the extensions of the next hop. It must not know of connections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..smtp.address import Address, AddressError
from ..smtp.command import SyntaxFault, parse_mail, parse_rcpt
from ..smtp.reply import Reply
from .smtpcontent import EIGHT_BIT
from .smtpreply import SMTPOutError

Parameters = Mapping[str, str | None]
"""MAIL or RCPT parameters: upper-case keyword, value as sent (xtext and all) or None where it has none."""

TOO_BIG: Final = Reply(552, "Message is bigger than the next hop takes", "5.3.4")
# RFC 6531 section 3.5
NO_UTF8_ADDRESS: Final = Reply(553, "Next hop takes no internationalized addresses", "5.6.7")
NO_UTF8_HEADER: Final = Reply(550, "Next hop takes no internationalized header", "5.6.9")
BAD_ADDRESS: Final = Reply(553, "Address cannot be sent on: bad syntax", "5.1.0")
BAD_PARAMETER: Final = Reply(555, "Parameter cannot be sent on: bad syntax", "5.5.4")


@dataclass(frozen=True, slots=True)
class Envelope:
    """Describe one message to send.

    ``size`` counts octets with CRLF line ends, without doubled dots. ``is_8bit`` and ``smtputf8`` tell
    what the message needs of the next hop: BODY, SIZE and SMTPUTF8 are added from them. ``parameters``
    and those beside each recipient are sent as they are: whoever gives them looks at the extensions first.
    """

    sender: Address
    recipients: Sequence[tuple[Address, Parameters]]
    size: int | None = None
    is_8bit: bool = False
    smtputf8: bool = False
    parameters: Parameters = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.recipients:
            raise ValueError("a message needs a recipient")


@dataclass(frozen=True, slots=True)
class Delivery:
    """Tell what became of a message: for each recipient, in order, the reply that decided.

    That is the refusal of MAIL, RCPT, DATA or the content, or the last word of the next hop: responsibility
    is taken with 2yz. Where the next hop said nothing (lost, time over, message unfit for it), a reply of
    ours tells the reason.
    """

    replies: tuple[Reply, ...]

    @property
    def accepted(self) -> bool:
        """Tell whether the next hop has taken the message for every recipient."""
        return all(reply.code < 300 for reply in self.replies)


def commands(envelope: Envelope, extensions: Mapping[str, str]) -> list[bytes]:
    """Write MAIL and then RCPT for each recipient. Raises SMTPOutError if the next hop cannot have it."""
    _check_needs(envelope, extensions)
    mail = _command("MAIL ", "FROM:", envelope.sender, _mail_parameters(envelope, extensions))
    return [mail, *[_command("RCPT ", "TO:", address, given) for address, given in envelope.recipients]]


def _check_needs(envelope: Envelope, extensions: Mapping[str, str]) -> None:
    # RFC 1870 section 3: without a number, or with 0, there is no fixed limit.
    limit = extensions.get("SIZE", "")
    if envelope.size is not None and limit.isdecimal() and 0 < int(limit) < envelope.size:
        raise SMTPOutError(TOO_BIG)
    if envelope.is_8bit and "8BITMIME" not in extensions:
        raise SMTPOutError(EIGHT_BIT)
    if "SMTPUTF8" not in extensions:
        if not _is_ascii(envelope):
            raise SMTPOutError(NO_UTF8_ADDRESS)
        if envelope.smtputf8:
            raise SMTPOutError(NO_UTF8_HEADER)


def _is_ascii(envelope: Envelope) -> bool:
    addresses = [envelope.sender, *[address for address, _ in envelope.recipients]]
    return all(address.path.isascii() for address in addresses)


def _mail_parameters(envelope: Envelope, extensions: Mapping[str, str]) -> dict[str, str | None]:
    parameters: dict[str, str | None] = {}
    if envelope.size is not None and "SIZE" in extensions:
        parameters["SIZE"] = str(envelope.size)
    if envelope.is_8bit:
        parameters["BODY"] = "8BITMIME"
    if envelope.smtputf8 or not _is_ascii(envelope):
        parameters["SMTPUTF8"] = None
    return parameters | dict(envelope.parameters)


def _command(verb: str, word: str, address: Address, parameters: Parameters) -> bytes:
    """Write one command; what a receiver would not read back as it was meant is not sent."""
    argument = word + address.path
    for key, value in parameters.items():
        argument += f" {key}" if value is None else f" {key}={value}"
    try:
        Address.parse(address.path, smtputf8=True)
    except AddressError:
        raise SMTPOutError(BAD_ADDRESS) from None
    try:
        understood = (parse_mail if word == "FROM:" else parse_rcpt)(argument)
    except SyntaxFault:
        raise SMTPOutError(BAD_PARAMETER) from None
    if understood != (address.path, parameters):
        raise SMTPOutError(BAD_PARAMETER)
    return f"{verb}{argument}\r\n".encode()
