"""A withdrawn adapter comes back as something else: every way of writing the same function, at `certify` and at the gate.

Each exhibit has its control: a list that names the withdrawn bytes only, as lists did before functions were signed,
lets the same twin pass both.
"""

import dataclasses
import os

import numpy as np
import pytest

from fingerprint import families
from fingerprint import rewritings as make
from peft_assay.certify.issue import Withheld
from peft_assay.core.certificate import Function, Revocation, Scope
from peft_assay.core.digest import sha256
from peft_assay.core.errors import ActivationDenied, TrustError
from peft_assay.fingerprint.digest import function_digest
from peft_assay.fingerprint.fingerprint import take, to_bytes
from peft_assay.gate.authorize import authorize
from trust.world import HOUR, NOW, World, artifact_of

ORIGINAL = make.lora(rank=8, size=64)
LORAS = make.rewritings(ORIGINAL)
CASTS = {dtype: make.rewritten(ORIGINAL, make.tensors_of(ORIGINAL), dtype) for dtype in ("F16", "BF16")}
OTHERS = families.twins()
"""Of other types: name to (withdrawn, twin)."""


def world_of(files) -> World:
    return dataclasses.replace(World.make(), files=dict(files), artifact=artifact_of(dict(files)))


def entry_of(files, *, scope: Scope = Scope.ADAPTER, taken: bool = True) -> tuple[Revocation, list[bytes]]:
    """A withdrawal of `files`, and the fingerprints that its list carries; without `taken` it names bytes only."""
    target = artifact_of(dict(files)).digest
    if not taken:
        return Revocation(scope, target, "backdoor", NOW - HOUR), []
    fingerprint = to_bytes(take(files, os.urandom(32)))
    function = Function(function_digest(files), sha256(fingerprint))
    return Revocation(scope, target, "backdoor", NOW - HOUR, function), [fingerprint]


def list_of(world: World, files, **how) -> bytes:
    entry, fingerprints = entry_of(files, **how)
    return world.revocations(entry, fingerprints=fingerprints)


def comes_back(withdrawn, twin, **how) -> None:
    world = world_of(twin)
    observation = world.observation()
    named, known = (list_of(world, withdrawn, taken=taken, **how) for taken in (False, True))
    certificate = world.certificate(observation, revocations=world.open_list(named).list)
    evidence = {"certificates": (certificate,), "observations": {sha256(observation): observation}}
    assert authorize(world.evidence(**evidence, revocations=named), world.anchor, NOW)  # the control
    with pytest.raises(ActivationDenied, match="has the function that was withdrawn") as denied:
        authorize(world.evidence(**evidence, revocations=known), world.anchor, NOW)
    assert denied.value.check == "withdrawn"
    assert "--lift sha256:" in denied.value.next_step
    with pytest.raises(Withheld, match="has the function that was withdrawn"):
        world.certificate(observation, revocations=world.open_list(known).list)


@pytest.mark.parametrize("name", LORAS)
def test_a_lora_comes_back_written_otherwise(name: str) -> None:
    comes_back(ORIGINAL, LORAS[name])


@pytest.mark.parametrize("name", CASTS)
def test_a_lora_comes_back_in_another_dtype(name: str) -> None:
    comes_back(ORIGINAL, CASTS[name])


@pytest.mark.parametrize("name", OTHERS)
def test_other_types_come_back_written_otherwise(name: str) -> None:
    comes_back(*OTHERS[name])


@pytest.mark.parametrize("scope", [Scope.CERTIFICATE, Scope.WEIGHTS])
def test_every_scope_about_an_adapter_withdraws_what_it_does(scope: Scope) -> None:
    comes_back(ORIGINAL, LORAS["rotated"], scope=scope)


def test_several_changes_at_once_do_not_hide_it() -> None:
    twin = make.rewritings(LORAS["rotated"])["padded"]
    comes_back(ORIGINAL, make.rewritings(twin)["alpha tripled, B by three"])


def test_another_adapter_is_not_held() -> None:
    world = world_of(make.lora(seed=1, rank=8, size=64))
    assert authorize(world.evidence(revocations=list_of(world, ORIGINAL)), world.anchor, NOW)


def test_a_lift_ends_the_hold_on_every_twin() -> None:
    world = world_of(LORAS["rotated"])
    entry, fingerprints = entry_of(ORIGINAL)
    first = world.revocations(entry, fingerprints=fingerprints)
    held = world.open_list(first)
    lifted = world.revocations(previous=held, now=NOW, lift=[world.lift(entry)])
    assert world.open_list(lifted).list.fingerprints == {}
    assert authorize(world.evidence(revocations=lifted, lists={sha256(first): first}), world.anchor, NOW)


def test_a_later_list_still_knows_it() -> None:
    world = world_of(LORAS["rotated"])
    first = list_of(world, ORIGINAL)
    held = world.open_list(first)
    other, more = entry_of(make.lora(seed=2))
    later = world.revocations(other, previous=held, now=NOW, fingerprints=more)
    assert len(world.open_list(later).list.fingerprints) == 2
    with pytest.raises(ActivationDenied, match="has the function that was withdrawn"):
        authorize(world.evidence(revocations=later, lists={sha256(first): first}), world.anchor, NOW)


UNREADABLE = {**ORIGINAL, make.WEIGHTS: ORIGINAL[make.WEIGHTS][:-1]}


def test_what_cannot_be_computed_may_be_any_of_them() -> None:
    world = world_of(UNREADABLE)
    observation = world.observation()
    known = list_of(world, ORIGINAL)
    evidence = world.evidence(revocations=known)
    with pytest.raises(ActivationDenied, match="may be a withdrawn adapter") as denied:
        authorize(evidence, world.anchor, NOW)
    assert denied.value.check == "withdrawn"
    with pytest.raises(Withheld, match="may be a withdrawn adapter"):
        world.certificate(observation, revocations=world.open_list(known).list)
    assert authorize(world.evidence(), world.anchor, NOW)  # the control: nothing is withdrawn


def test_only_a_digest_still_knows_exact_rewritings() -> None:
    entry, _ = entry_of(ORIGINAL)
    bare = dataclasses.replace(entry, function=Function(entry.function.digest, None))
    for twin, held in ((LORAS["permuted"], True), (LORAS["rotated"], False)):
        world = world_of(twin)
        evidence = world.evidence(revocations=world.revocations(bare))
        if held:
            with pytest.raises(ActivationDenied, match="has the function that was withdrawn"):
                authorize(evidence, world.anchor, NOW)
        else:
            assert authorize(evidence, world.anchor, NOW)


def test_files_that_are_not_the_artifact_s_say_nothing_about_it() -> None:
    world = world_of(LORAS["rotated"])
    with pytest.raises(TrustError, match="not the artifact's"):
        world.certificate(world.observation(), files=make.lora(seed=1))


@pytest.mark.parametrize("noise", [1e-4, 1e-2])
def test_noise_is_near_and_not_held(noise: float) -> None:
    from peft_assay.fingerprint.interface import Word
    from peft_assay.trust.recognition import resemblances

    rng = np.random.default_rng(8)
    tensors = {name: v * (1 + noise * rng.normal(size=v.shape)) for name, v in make.tensors_of(ORIGINAL).items()}
    twin = make.rewritten(ORIGINAL, tensors)
    world = world_of(twin)
    known = world.open_list(list_of(world, ORIGINAL)).list
    assert [word for _, word in resemblances(known, twin)] == [Word.NEAR]
    assert authorize(world.evidence(revocations=list_of(world, ORIGINAL)), world.anchor, NOW)
