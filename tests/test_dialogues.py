"""Every dialogue in tests/dialogues, whole, split at every place, and octet by octet."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from qpsmtpd.testing import load, play, whole_and_split

DIALOGUES = sorted((Path(__file__).parent / "dialogues").rglob("*.smtp"))


class DialogueTests(SynchronousTestCase):
    """One test a file."""


def _add(path: Path) -> None:
    def test(self: DialogueTests) -> None:
        dialogue = load(path)
        for cut in whole_and_split(dialogue):
            play(dialogue, cut)

    name = str(path.relative_to(Path(__file__).parent / "dialogues").with_suffix(""))
    setattr(DialogueTests, "test_" + name.replace("/", "_"), test)


for path in DIALOGUES:
    _add(path)
