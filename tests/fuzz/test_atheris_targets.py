"""What atheris is told to look for holds for its samples, those that failed once among them."""

import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

sys.path.insert(0, str(Path(__file__).parent))
from atheris_targets import SAMPLES, TARGETS  # trial loads this directory file by file


class TargetTests(SynchronousTestCase):
    """One test for all targets."""

    def test_samples(self) -> None:
        """Every target has samples, and takes them whole and cut short."""
        self.assertEqual(TARGETS.keys(), SAMPLES.keys())
        for name, samples in SAMPLES.items():
            for sample in samples:
                for end in range(len(sample) + 1):
                    TARGETS[name](sample[:end])
