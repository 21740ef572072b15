"""Delivery statuses by name."""

from dataclasses import FrozenInstanceError
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.smtp import dsn

TABLE = """
unspecified 0.0 soft
addr_unspecified 1.0 soft
no_such_user 1.1 hard
addr_bad_dest_mbox 1.1 hard
addr_bad_dest_system 1.2 hard
addr_bad_dest_syntax 1.3 hard
addr_dest_ambiguous 1.4 soft
addr_dest_ambigous 1.4 soft
addr_rcpt_ok 1.5 success
addr_mbox_moved 1.6 hard
addr_bad_from_syntax 1.7 hard
addr_bad_from_system 1.8 hard
mbox_unspecified 2.0 soft
mbox_disabled 2.1 hard
mbox_full 2.2 soft
mbox_msg_too_long 2.3 hard
mbox_list_expansion_problem 2.4 soft
sys_unspecified 3.0 soft
sys_disk_full 3.1 soft
sys_not_accepting_mail 3.2 soft
sys_not_supported 3.3 soft
sys_msg_too_big 3.4 hard
net_unspecified 4.0 soft
net_directory_server_failed 4.3 soft
temp_resolver_failed 4.3 soft
net_system_congested 4.5 soft
net_routing_loop 4.6 hard
too_many_hops 4.6 hard
proto_unspecified 5.0 soft
proto_invalid_command 5.1 hard
proto_syntax_error 5.2 hard
proto_rcpt_list_too_long 5.3 soft
too_many_rcpts 5.3 soft
proto_invalid_cmd_args 5.4 hard
proto_wrong_version 5.5 soft
media_unspecified 6.0 soft
media_unsupported 6.1 hard
media_conv_prohibited 6.2 hard
media_conv_unsupported 6.3 soft
media_conv_lossy 6.4 soft
sec_unspecified 7.0 soft
sec_sender_unauthorized 7.1 hard
bad_sender_ip 7.1 hard
relaying_denied 7.1 hard
sec_list_dest_prohibited 7.2 hard
sec_conv_failed 7.3 hard
sec_feature_unsupported 7.4 hard
sec_crypto_failure 7.5 hard
sec_crypto_algorithm_unsupported 7.6 soft
sec_msg_integrity_failure 7.7 hard
"""


def kind(status: dsn.Status) -> str:
    """Say in one word what a status usually means."""
    if status.success:
        return "success"
    return "soft" if status.soft else "hard"


class StatusTests(SynchronousTestCase):
    """The table of RFC 3463 by upstream's names."""

    def test_table(self) -> None:
        """Every name that upstream's plugins use has its detail and its usual verdict."""
        table = {name: (status.detail, kind(status)) for name, status in dsn.ALL.items()}
        rows = [line.split() for line in TABLE.split("\n") if line]
        self.assertEqual({name: (detail, word) for name, detail, word in rows}, table)

    def test_names(self) -> None:
        """A status knows the name it is found by; upstream's misspelling leads to the right one."""
        for name, status in dsn.ALL.items():
            self.assertEqual("addr_dest_ambiguous" if name == "addr_dest_ambigous" else name, status.name)
            self.assertIs(status, getattr(dsn, name))

    def test_texts(self) -> None:
        """Every status has one line of plain text to answer with."""
        for name, status in dsn.ALL.items():
            with self.subTest(name=name):
                self.assertTrue(status.text.isascii() and status.text.isprintable() and status.text.strip())

    def test_enhanced(self) -> None:
        """The class goes in front of the detail."""
        self.assertEqual("5.1.1", dsn.no_such_user.enhanced(5))
        self.assertEqual("4.1.1", dsn.no_such_user.enhanced(4))
        self.assertEqual("2.1.5", dsn.addr_rcpt_ok.enhanced(2))

    def test_frozen(self) -> None:
        """Neither a status nor the table can be changed."""
        status: Any = dsn.no_such_user
        table: Any = dsn.ALL
        with self.assertRaises(FrozenInstanceError):
            status.text = "who?"
        with self.assertRaises(TypeError):
            table["no_such_user"] = dsn.mbox_full
