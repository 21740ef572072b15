"""Delivery statuses by name (RFC 3463): detail, default text, and what each usually means for the client.

Knows nothing of verdicts or replies; whoever uses a status chooses its class.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Status:
    """Name one condition of RFC 3463.

    ``detail`` is subject and detail ("1.1"); the class comes with `enhanced`. ``soft`` tells that the
    condition is usually temporary, ``success`` that it is no failure at all.
    """

    name: str
    detail: str
    text: str
    soft: bool = False
    success: bool = False

    def enhanced(self, class_digit: int) -> str:
        """Give the enhanced status code for a class: 2 success, 4 try again, 5 failure."""
        return f"{class_digit}.{self.detail}"


# X.0.x: nothing is known.
unspecified = Status("unspecified", "0.0", "Undefined status", soft=True)

# X.1.x: addresses.
addr_unspecified = Status("addr_unspecified", "1.0", "Other address status", soft=True)
no_such_user = Status("no_such_user", "1.1", "No such user here")
addr_bad_dest_mbox = Status("addr_bad_dest_mbox", "1.1", "Bad destination mailbox address")
addr_bad_dest_system = Status("addr_bad_dest_system", "1.2", "Bad destination system address")
addr_bad_dest_syntax = Status("addr_bad_dest_syntax", "1.3", "Bad destination mailbox address syntax")
addr_dest_ambiguous = Status("addr_dest_ambiguous", "1.4", "Destination mailbox is ambiguous", soft=True)
addr_dest_ambigous = addr_dest_ambiguous  # upstream's spelling, which plugins and configurations use
addr_rcpt_ok = Status("addr_rcpt_ok", "1.5", "Destination address is valid", success=True)
addr_mbox_moved = Status("addr_mbox_moved", "1.6", "Mailbox has moved, no forwarding address")
addr_bad_from_syntax = Status("addr_bad_from_syntax", "1.7", "Bad sender mailbox address syntax")
addr_bad_from_system = Status("addr_bad_from_system", "1.8", "Bad sender system address")

# X.2.x: mailboxes.
mbox_unspecified = Status("mbox_unspecified", "2.0", "Other mailbox status", soft=True)
mbox_disabled = Status("mbox_disabled", "2.1", "Mailbox is disabled and takes no messages")
mbox_full = Status("mbox_full", "2.2", "Mailbox is full", soft=True)
mbox_msg_too_long = Status("mbox_msg_too_long", "2.3", "Message is longer than the mailbox may take")
mbox_list_expansion_problem = Status(
    "mbox_list_expansion_problem", "2.4", "Mailing list could not be expanded", soft=True
)

# X.3.x: mail systems.
sys_unspecified = Status("sys_unspecified", "3.0", "Other mail system status", soft=True)
sys_disk_full = Status("sys_disk_full", "3.1", "Mail system is full", soft=True)
sys_not_accepting_mail = Status("sys_not_accepting_mail", "3.2", "System takes no messages now", soft=True)
sys_not_supported = Status("sys_not_supported", "3.3", "System lacks the features asked for", soft=True)
sys_msg_too_big = Status("sys_msg_too_big", "3.4", "Message is too big for this system")

# X.4.x: network and routing.
net_unspecified = Status("net_unspecified", "4.0", "Other network or routing status", soft=True)
net_directory_server_failed = Status(
    "net_directory_server_failed", "4.3", "Directory server failure", soft=True
)
temp_resolver_failed = Status("temp_resolver_failed", "4.3", "Temporary resolver failure", soft=True)
net_system_congested = Status("net_system_congested", "4.5", "Mail system is congested", soft=True)
net_routing_loop = Status("net_routing_loop", "4.6", "Routing loop found")
too_many_hops = Status("too_many_hops", "4.6", "Too many hops")

# X.5.x: the mail protocol.
proto_unspecified = Status("proto_unspecified", "5.0", "Other protocol status", soft=True)
proto_invalid_command = Status("proto_invalid_command", "5.1", "Invalid command")
proto_syntax_error = Status("proto_syntax_error", "5.2", "Syntax error")
proto_rcpt_list_too_long = Status("proto_rcpt_list_too_long", "5.3", "Too many recipients", soft=True)
too_many_rcpts = Status("too_many_rcpts", "5.3", "Too many recipients", soft=True)
proto_invalid_cmd_args = Status("proto_invalid_cmd_args", "5.4", "Invalid command arguments")
proto_wrong_version = Status("proto_wrong_version", "5.5", "Wrong protocol version", soft=True)

# X.6.x: content.
media_unspecified = Status("media_unspecified", "6.0", "Other media error", soft=True)
media_unsupported = Status("media_unsupported", "6.1", "Media type is not supported")
media_conv_prohibited = Status("media_conv_prohibited", "6.2", "Conversion is required and prohibited")
media_conv_unsupported = Status(
    "media_conv_unsupported", "6.3", "Conversion is required and not supported", soft=True
)
media_conv_lossy = Status("media_conv_lossy", "6.4", "Conversion would lose content", soft=True)

# X.7.x: security and policy.
sec_unspecified = Status("sec_unspecified", "7.0", "Other security status", soft=True)
sec_sender_unauthorized = Status("sec_sender_unauthorized", "7.1", "Delivery not authorized, message refused")
bad_sender_ip = Status("bad_sender_ip", "7.1", "Bad sender's IP address")
relaying_denied = Status("relaying_denied", "7.1", "Relaying denied")
sec_list_dest_prohibited = Status("sec_list_dest_prohibited", "7.2", "Sending to this list is not permitted")
sec_conv_failed = Status("sec_conv_failed", "7.3", "Security conversion is required and impossible")
sec_feature_unsupported = Status("sec_feature_unsupported", "7.4", "Security feature is not supported")
sec_crypto_failure = Status("sec_crypto_failure", "7.5", "Cryptographic failure")
sec_crypto_algorithm_unsupported = Status(
    "sec_crypto_algorithm_unsupported", "7.6", "Cryptographic algorithm is not supported", soft=True
)
sec_msg_integrity_failure = Status("sec_msg_integrity_failure", "7.7", "Message integrity failure")

ALL: Final[Mapping[str, Status]] = MappingProxyType(
    {name: value for name, value in globals().items() if isinstance(value, Status)}
)
"""Every status by its name, upstream's misspelled one included."""
