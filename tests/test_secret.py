"""Secrets: a password or verifiers, never both, never shown."""

import pickle
from base64 import b64decode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

import qpsmtpd
from qpsmtpd.secret import Secret

# RFC 7677 section 3: user "user", password "pencil".
SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
STORED = b64decode("WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=")
SERVER = b64decode("wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")
TEXT = (
    "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
    ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
)
PENCIL = Secret(salt=SALT, iterations=4096, stored_key=STORED, server_key=SERVER)


class SecretTests(SynchronousTestCase):
    def test_public(self) -> None:
        self.assertIs(qpsmtpd.Secret, Secret)

    def test_derived(self) -> None:
        """The keys are those that PostgreSQL has for the password of RFC 7677."""
        self.assertEqual(PENCIL, Secret.derive("pencil", SALT, 4096))

    def test_prepared(self) -> None:
        """RFC 5802 section 2.2: passwords are prepared."""
        self.assertEqual(Secret.derive("IX", SALT, 1), Secret.derive("I\u00adX", SALT, 1))
        self.assertEqual(32, len(Secret.derive("\udcff", SALT, 1).stored_key))

    def test_fresh_salt(self) -> None:
        """Each user has a salt of her own."""
        one, two = Secret.derive("x", iterations=1), Secret.derive("x", iterations=1)
        self.assertEqual(16, len(one.salt))
        self.assertNotEqual((one.salt, one.stored_key), (two.salt, two.stored_key))

    def test_text(self) -> None:
        self.assertEqual(PENCIL, Secret.parse(TEXT))
        self.assertEqual(TEXT, PENCIL.text)
        self.assertRaises(ValueError, lambda: Secret(password="x").text)

    def test_parse_refused(self) -> None:
        """What is no such text is refused without showing it."""
        for text in (
            "",
            "hush",
            TEXT + "\n",
            TEXT.replace("4096", "0"),
            TEXT.replace("4096", "-1"),
            TEXT.replace("4096", "999999999"),
            TEXT.replace("256", "1"),
            TEXT.replace("WG5d", ""),
            TEXT.replace("Q==", ""),
            TEXT.replace("$WG5d", "$\u0660G5d"),
        ):
            error = self.assertRaises(ValueError, Secret.parse, text)
            self.assertNotIn("hush", str(error))

    def test_one_of_two(self) -> None:
        """A secret is one or the other, and whole."""
        keys: dict[str, Any] = {"salt": SALT, "iterations": 1, "stored_key": STORED, "server_key": SERVER}
        bad = ({}, {"password": "x", **keys}, {"password": "x", "salt": SALT}, {**keys, "salt": b""})
        worse = ({**keys, "iterations": 0}, {**keys, "stored_key": b"x"}, {**keys, "server_key": b""})
        for arguments in (*bad, *worse):
            self.assertRaises(ValueError, Secret, **arguments)
        self.assertEqual("", Secret(password="").password)

    def test_hidden(self) -> None:
        """Neither a log line nor a traceback shows a secret."""
        self.assertEqual({"Secret()"}, {repr(Secret(password="hush")), str(PENCIL)})

    def test_value(self) -> None:
        """A process or thread may hand one over."""
        self.assertEqual(PENCIL, pickle.loads(pickle.dumps(PENCIL)))
