"""Deliver into a Maildir, and note on top of the message what the client said about it; honours DSN."""

import json

from qpsmtpd import Connection, Transaction, isa_plugin


class Record(isa_plugin("queue/maildir")):
    """The Maildir of the tests: the field X-Record is JSON."""

    honours = frozenset({"DSN"})

    def hook_data_post(self, connection: Connection, transaction: Transaction) -> None:
        """Write it all down."""
        record = {
            "hello": connection.hello_host,
            "tls": connection.tls.version if connection.tls else "",
            "user": connection.user,
            "connection": connection.number,
            "sender": transaction.sender.mailbox,
            "mail": transaction.parameters,
            "to": {one.address.mailbox: one.parameters for one in transaction.recipients},
            "chunked": transaction.chunked,
            "xforward": connection.notes.get("xforward"),
        }
        transaction.header.add("X-Record", json.dumps(record))
