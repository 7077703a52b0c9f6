"""Functions and fingerprints in revocation lists: how they are written, read and refused."""

import dataclasses
import os

import pytest

from fingerprint import rewritings as make
from peft_assay.core.certificate import Function, Revocation, Scope
from peft_assay.core.digest import sha256
from peft_assay.core.errors import TrustError
from peft_assay.fingerprint.digest import function_digest
from peft_assay.fingerprint.fingerprint import take, to_bytes
from peft_assay.fingerprint.interface import Uncomputable, Word
from peft_assay.trust.recognition import recognised, resemblances
from peft_assay.trust.revocations import revocation_id
from peft_assay.trust.succession import check_successor
from trust.world import HOUR, NOW, World, named

ORIGINAL = make.lora()
ROTATED = make.rewritings(ORIGINAL)["rotated"]
PRINT = to_bytes(take(ORIGINAL, os.urandom(32)))
BARE = Revocation(Scope.ADAPTER, named("adapter"), "it leaks", NOW - HOUR)
ENTRY = dataclasses.replace(BARE, function=Function(function_digest(ORIGINAL), sha256(PRINT)))


@pytest.fixture
def world() -> World:
    return World.make()


def test_an_entry_with_a_function_comes_back_as_it_was(world: World) -> None:
    first = world.open_list(world.revocations(ENTRY, fingerprints=[PRINT]))
    assert first.entries == (ENTRY,)
    assert first.list.fingerprints == {sha256(PRINT): PRINT}
    second = world.open_list(world.revocations(BARE, previous=first, now=NOW))
    assert second.list.fingerprints == first.list.fingerprints
    check_successor(first, second)
    assert revocation_id(BARE) != revocation_id(ENTRY)


def test_a_list_without_a_fingerprint_that_it_names_is_refused(world: World) -> None:
    with pytest.raises(TrustError, match="does not carry"):
        world.open_list(world.revocations(ENTRY))
    with pytest.raises(TrustError, match="does not carry"):
        world.open_list(world.revocations(ENTRY, fingerprints=[PRINT + b" "]))


def test_what_no_entry_names_is_not_carried_on(world: World) -> None:
    assert world.open_list(world.revocations(BARE, fingerprints=[PRINT])).list.fingerprints == {}


def test_what_is_signed_and_no_fingerprint_is_no_answer(world: World) -> None:
    content = b'{"nonce":"00"}'
    entry = dataclasses.replace(ENTRY, function=Function(named("other"), sha256(content)))
    found = world.open_list(world.revocations(entry, fingerprints=[content])).list
    for ask in (recognised, resemblances):
        with pytest.raises(TrustError, match="fingerprint"):
            ask(found, ORIGINAL)


def test_words_are_given_for_what_is_not_another_adapter(world: World) -> None:
    found = world.open_list(world.revocations(BARE, ENTRY, fingerprints=[PRINT])).list
    assert resemblances(found, ROTATED) == ((ENTRY, Word.EQUAL),)
    assert resemblances(found, make.lora(seed=1)) == ()
    assert recognised(found, make.lora(seed=1)) == ()
    halves = make.rewritten(ROTATED, make.tensors_of(ROTATED), "BF16")
    assert resemblances(found, halves) == ((ENTRY, Word.NEAR),)
    assert recognised(found, halves) == ()


def test_a_function_without_fingerprint_is_known_by_its_digest(world: World) -> None:
    entry = dataclasses.replace(ENTRY, function=Function(function_digest(ORIGINAL), None))
    found = world.open_list(world.revocations(entry)).list
    for ask in (recognised, resemblances):
        assert len(ask(found, ORIGINAL)) == 1
        assert ask(found, ROTATED) == ()


def test_nothing_is_computed_where_nothing_asks_for_it(world: World) -> None:
    found = world.open_list(world.revocations(BARE)).list
    assert recognised(found, {}) == resemblances(found, {}) == ()
    with pytest.raises(Uncomputable):
        recognised(world.open_list(world.revocations(ENTRY, fingerprints=[PRINT])).list, {})
