"""Receive mail in an application of your own: hooks are functions, there is no configuration directory."""

import sys
from typing import Any

from twisted.internet import defer, endpoints, task

from qpsmtpd import DENY, OK, Outcome, Recipient, Transaction
from qpsmtpd.factory import SMTPFactory


def rcpt(recipient: Recipient) -> Outcome:
    return OK if recipient.address.domain == "example.org" else DENY("we have no such domain")


def queue(transaction: Transaction) -> Outcome:
    print(f"from {transaction.sender} to {transaction.recipients}: {transaction.size} octets", flush=True)
    return OK("Queued! Thank you")


async def main(reactor: Any, port: str = "2525") -> None:
    factory = SMTPFactory(reactor, hooks={"rcpt": rcpt, "queue": queue}, config={"me": "mail.example.org"})
    await endpoints.serverFromString(reactor, f"tcp:{port}:interface=127.0.0.1").listen(factory)
    await defer.Deferred()  # for ever


if __name__ == "__main__":
    task.react(main, sys.argv[1:])
