"""Inputs on which a reader once broke, and the sound ones that fuzzing starts from: replayed on every run."""

import importlib.util
from pathlib import Path

import pytest

HERE = Path(__file__).parent
_spec = importlib.util.spec_from_file_location("peft_assay_fuzz", HERE / "fuzz.py")
assert _spec is not None
assert _spec.loader is not None
fuzz = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fuzz)

SEEDS = [(path.parent.name, path.name) for path in sorted((HERE / "seeds").glob("*/*"))]


@pytest.mark.parametrize(("target", "seed"), SEEDS)
def test_what_once_broke_a_reader(target, seed):
    fuzz.TARGETS[target]((HERE / "seeds" / target / seed).read_bytes())


@pytest.mark.model  # compares with the safetensors library
@pytest.mark.parametrize("target", sorted(fuzz.TARGETS))
def test_every_target_takes_its_beginnings_and_their_neighbours(target):
    for sound in fuzz.beginnings(target):
        fuzz.TARGETS[target](sound)
        for at in range(0, len(sound), max(1, len(sound) // 60)):
            fuzz.TARGETS[target](sound[:at])
            fuzz.TARGETS[target](sound[:at] + bytes([sound[at] ^ 0x41]) + sound[at + 1 :])
