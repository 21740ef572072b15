"""Addresses and names that belong together."""

import sys
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.kit.related import last_two_labels, public_suffix_owner, same_network


class SameNetworkTests(SynchronousTestCase):
    """same_network."""

    def test_pairs(self):
        """/24 and /64 unless told otherwise; families never mix."""
        rows = [
            (True, "192.0.2.1", "192.0.2.255", {}),
            (False, "192.0.2.1", "192.0.3.1", {}),
            (True, "192.0.2.1", "192.0.3.1", {"bits4": 23}),
            (True, "2001:db8::1", "2001:db8::1:0:0:1", {}),
            (False, "2001:db8::1", "2001:db8:0:1::1", {}),
            (False, "2001:db8::1", "2001:db8::1:0:0:1", {"bits6": 96}),
            (True, "2001:db8::1", "2001:db8::ffff:ffff", {"bits6": 96}),
            (False, "0.0.0.1", "::1", {"bits4": 0, "bits6": 0}),
        ]
        for expected, one, other, bits in rows:
            self.assertIs(expected, same_network(one, other, **bits), (one, other, bits))
            self.assertIs(expected, same_network(other, one, **bits), (other, one, bits))


class OwnerTests(SynchronousTestCase):
    """What was registered."""

    def test_last_two_labels(self):
        """Two labels, whatever they are."""
        rows = {"mx.example.com": "example.com", "example.com": "example.com", "a.co.uk": "co.uk", "com": ""}
        self.assertEqual(rows, {name: last_two_labels(name) for name in rows})

    def test_public_suffixes(self):
        """One label more than the public suffix; a suffix alone belongs to nobody."""
        owner = public_suffix_owner()
        rows = {"mx.example.com": "example.com", "mx.example.co.uk": "example.co.uk", "co.uk": "", "com": ""}
        self.assertEqual(rows, {name: owner(name) for name in rows})

    def test_not_installed(self):
        """Without the package there is no such function."""
        with patch.dict(sys.modules, {"publicsuffixlist": None}):
            self.assertRaises(ImportError, public_suffix_owner)
