"""Run one target with atheris: ``atheris_run.py NAME CORPUS -atheris_runs=N -seed=N``.

CORPUS is a directory to make; other options are those of libFuzzer.
"""

import sys
from pathlib import Path

import atheris

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
with atheris.instrument_imports(include=["qpsmtpd.smtp", "qpsmtpd.header", "atheris_targets"]):
    from atheris_targets import SAMPLES, TARGETS

name, corpus = sys.argv.pop(1), Path(sys.argv[1])
corpus.mkdir()
for number, sample in enumerate(SAMPLES[name]):
    (corpus / str(number)).write_bytes(sample)
atheris.Setup(sys.argv, TARGETS[name])
atheris.Fuzz()
