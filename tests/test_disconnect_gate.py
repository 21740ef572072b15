"""The disconnect gate: every dialogue, ended at every moment, leaves nothing behind."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.testing import load, play_disconnects

DIALOGUES = Path(__file__).parent / "dialogues"


class GateTests(SynchronousTestCase):
    """One test a file; a new dialogue joins by being there."""


def _add(path: Path) -> None:
    def test(self: GateTests) -> None:
        self.assertGreater(play_disconnects(load(path)), 0)

    name = str(path.relative_to(DIALOGUES).with_suffix(""))
    setattr(GateTests, "test_" + name.replace("/", "_"), test)


for path in sorted(DIALOGUES.rglob("*.smtp")):
    _add(path)
