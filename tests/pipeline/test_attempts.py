"""Attempts belong to the key: neither a byte that does not matter nor a new workspace begins a new count."""

import json
import shutil
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from peft_assay.core.digest import sha256
from peft_assay.core.verdict import Outcome
from peft_assay.pipeline import attempts
from peft_assay.pipeline.candidates import take_in
from peft_assay.pipeline.deployment import Deployment, utc_now
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.sources import Located
from pipeline.bare_world import bare_world
from pipeline.certified_world import ZOO, World

LOCK = sha256(b"lock")


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    world = bare_world(tmp_path_factory.mktemp("bare"))
    for name in ("lora", "prompt"):
        shutil.copytree(ZOO / "adapters" / name, world.project / "adapters" / name)
    return world


@pytest.fixture
def world(bare, tmp_path):
    shutil.copytree(bare.root, tmp_path / "world", symlinks=True)
    return World(tmp_path / "world")


def tried(world, name="lora", *, outcome=Outcome.FAIL, reused=False, workspace=None, clock=utc_now):
    path = Path(world.adapter(name))
    with Deployment.open(Place(world.document, workspace, world.trust), create=True) as deployment:
        candidate = take_in(deployment, Located(str(path), path), name, clock)
        counted = attempts.begin(deployment, candidate, LOCK, clock())
        if outcome is not None:
            attempts.conclude(deployment, counted.id, outcome, reused=reused)
    return counted


def copied(world, name, edit):
    path = world.project / "adapters" / name
    shutil.copytree(world.project / "adapters" / "lora", path)
    edit(path)
    return name


def test_tries_that_did_not_pass_add_up(world):
    assert [tried(world).tries for _ in range(3)] == [1, 2, 3]
    assert [tried(world, outcome=outcome).tries for outcome in (Outcome.PASS, None, Outcome.INDETERMINATE)] == [4, 4, 5]
    assert tried(world, reused=True).tries == 6
    last = tried(world)
    assert (last.tries, last.number) == (6, 8)
    assert tried(world, "prompt").tries == 1, "another adapter from another place"


def test_a_new_workspace_begins_no_new_count(world, tmp_path):
    tried(world)
    assert tried(world, workspace=tmp_path / "fresh").tries == 2
    shutil.rmtree(world.project / ".peft-assay")
    assert tried(world, workspace=tmp_path / "fresher").tries == 3


def readme(path):
    (path / "README.md").write_text((path / "README.md").read_text() + " ")


def metadata(path):
    weights = path / "adapter_model.safetensors"
    save_file(load_file(weights), weights, metadata={"format": "pt", "note": "another"})


def permuted(path):
    """Ranks in another order: other bytes, the same update."""
    weights = path / "adapter_model.safetensors"
    tensors = load_file(weights)
    turned = {
        n: t[::-1].copy() if "lora_A" in n else t[:, ::-1].copy() if "lora_B" in n else t for n, t in tensors.items()
    }
    save_file(turned, weights, metadata={"format": "pt"})


def rotated(path):
    """Factors turned against each other and rescaled, rounded to float32: the digest of the function differs."""
    weights, rng = path / "adapter_model.safetensors", np.random.default_rng(3)
    tensors = load_file(weights)
    for name in [n for n in tensors if "lora_A" in n]:
        other = name.replace("lora_A", "lora_B")
        turn = np.linalg.qr(rng.standard_normal((tensors[name].shape[0],) * 2))[0] * 3
        tensors[name] = (turn @ tensors[name]).astype("float32")
        tensors[other] = (tensors[other] @ np.linalg.inv(turn)).astype("float32")
    save_file(tensors, weights, metadata={"format": "pt"})


def in_half_precision(path):
    weights = path / "adapter_model.safetensors"
    save_file({n: t.astype("float16") for n, t in load_file(weights).items()}, weights, metadata={"format": "pt"})


def stronger(path):
    """Positive control: half a per cent stronger is another function."""
    weights = path / "adapter_model.safetensors"
    turned = {n: t * np.float32(1.005) if "lora_B" in n else t for n, t in load_file(weights).items()}
    save_file(turned, weights, metadata={"format": "pt"})


def configuration(path):
    file = path / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()), indent=7))


@pytest.mark.parametrize("edit", [readme, metadata, permuted, rotated, in_half_precision, configuration])
def test_a_byte_that_does_not_matter_begins_no_new_count(world, edit):
    tried(world)
    with world.open() as deployment:
        before = deployment.workspace.admitted_from(world.adapter("lora"))
    counted = tried(world, copied(world, "elsewhere", edit))
    assert counted.tries == 2
    with world.open() as deployment:
        assert deployment.workspace.admitted_from(world.adapter("elsewhere")) != before, "control: it is other bytes"
        assert deployment.workspace.attempts(before[0]) == 0, "control: the workspace's own count knows nothing of it"


def test_another_strength_is_another_function(world):
    tried(world)
    assert tried(world, copied(world, "elsewhere", stronger)).tries == 1


def test_another_adapter_from_the_same_place_is_a_further_try(world):
    tried(world)
    shutil.rmtree(world.adapter("lora"))
    shutil.copytree(world.adapter("prompt"), world.adapter("lora"))
    assert tried(world).tries == 2


def test_what_is_long_ago_counts_no_more(world):
    tried(world)
    counted = tried(world, clock=lambda: utc_now() + attempts.WINDOW + timedelta(hours=1))
    assert (counted.tries, counted.number) == (1, 2)


def test_what_cannot_be_computed_counts_by_its_bytes(world):
    def broken(path):
        (path / "adapter_config.json").write_text('{"peft_type": "NEW"}')

    name = copied(world, "broken", broken)
    assert [tried(world, name).tries for _ in range(2)] == [1, 2]
