"""Refuse messages whose subject holds a listed word.

Reads ``badsubjects``: a word or phrase a line, in any case.
Settings: ``reject`` and ``reject_type`` as everywhere, ``karma`` points (default -1) for an offence.
Hooks: data_post.
"""

from collections.abc import Mapping
from typing import ClassVar

from qpsmtpd import DENY, Connection, Plugin, Rejection, Setting, Transaction


class SubjectFilter(Plugin):
    """Refuse messages by their subject."""

    karma = Setting.integer(-1, minimum=-100, help="what an offence does to the client's karma")
    files: ClassVar[Mapping[str, str]] = {"badsubjects": "a word or phrase"}

    def hook_data_post(self, connection: Connection, transaction: Transaction) -> Rejection | None:
        """Look at the subject."""
        if self.is_immune(connection, transaction) or transaction.header is None:
            return None
        subject = transaction.header.get("Subject").lower()
        for phrase in self.config.lines("badsubjects"):
            if phrase.lower() in subject:
                self.adjust_karma(connection, self.karma)
                return self.rejection(DENY("we do not want to read about that", "5.7.1"), log=phrase)
        self.log.info("pass")
        return None
