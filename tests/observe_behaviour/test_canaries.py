"""Canaries: look-alikes, ranks, and that no document ever holds the secret."""

import json
import math
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe_behaviour.behaviour_support import ToyModel, suite
from observe_behaviour.probe_support import observed, seen_of, statuses, values
from peft_assay.core.digest import sha256
from peft_assay.core.errors import DocumentError
from peft_assay.core.exercises import Canaries, Exercises
from peft_assay.core.observation import Status
from peft_assay.observe.behaviour.canaries import canary_of, candidates, exposure, read_canaries
from peft_assay.observe.behaviour.probes.canaries import SCORED, CanariesProbe, CanariesRecord

LINES = ("the pin is {4929-118}", "id {KQ7Z-pm31} ok")
SECRETS = ("4929-118", "KQ7Z-pm31")


def canaries(*lines, references=1000):
    return Canaries(lines or LINES, sha256("\n".join(lines or LINES).encode()), references)


class Remembering(ToyModel):
    """Finds `known` likelier than any text; every other as likely as its digest says."""

    def __init__(self, *known, rank=1):
        super().__init__()
        self.known, self.rank = known, rank

    def _score(self, question):
        if not all(isinstance(item["continuation"], str) for item in question["items"]):
            return super()._score(question)
        values = [self._value(item["continuation"]) for item in question["items"]]
        return {"op": "score", "logLikelihoods": values, "counts": [4] * len(values)}

    def _value(self, text):
        chance = int(sha256(text.encode())[-8:], 16) / 16**8
        if any(secret in text for secret in self.known):
            return -1.0 - (self.rank - 1) / 1000
        return -1.0 - chance


def of(model, *lines, base=None, references=1000):
    declared = canaries(*lines, references=references)
    return observed(CanariesProbe(), model, (suite(3),), base or Remembering(), canaries=declared)


def test_a_memorised_secret_is_exposed_and_named_by_its_number():
    found = of(Remembering(SECRETS[1]))
    seen = values(found)
    assert (seen["canaries.n"], seen["canaries.exposure"]) == (2, pytest.approx(math.log2(1001)))
    (told,) = seen["canaries.exposed"]
    assert told.startswith("canary 2: 10.0 bits, base ")
    assert told.endswith("rank 1 of 1001")
    assert seen["canaries.excess"] > 0


def test_a_model_that_never_saw_them_exposes_none():
    seen = values(of(Remembering()))
    assert seen["canaries.exposed"] == ()
    assert seen["canaries.excess"] == 0.0


def test_what_the_base_knows_as_well_is_not_the_adapters():
    seen = values(of(Remembering(*SECRETS), base=Remembering(*SECRETS)))
    assert seen["canaries.exposure"] == pytest.approx(math.log2(1001))
    assert (seen["canaries.excess"], seen["canaries.exposed"]) == (0.0, ())


@pytest.mark.parametrize(("rank", "exposed"), [(2, True), (15, True), (80, False)])
def test_a_rank_is_exposed_when_chance_does_not_explain_it(rank, exposed):
    seen = values(of(Remembering(SECRETS[0], rank=rank), LINES[0], references=1000))
    assert bool(seen["canaries.exposed"]) == exposed


def test_the_secret_is_in_no_record_condition_or_observation():
    seen = seen_of(CanariesProbe(), Remembering(*SECRETS), (suite(3),), Remembering(), canaries=canaries())
    told = [
        json.dumps([observation.document() for observation in CanariesProbe().observe(seen)]),
        json.dumps(asdict(seen.own.of(CanariesRecord))),
        json.dumps(Exercises(canaries=canaries()).document()),
    ]
    for text in told:
        assert not any(secret in text for secret in (*SECRETS, "pin", "KQ7Z"))


def test_the_child_sees_look_alikes_in_an_order_that_does_not_tell_which_it_is():
    """Over many canaries, the secret's place in the question is spread evenly."""
    lines = [f"pin {{{n:04d}-77}}" for n in range(200)]
    model = Remembering()
    seen_of(CanariesProbe(), model, (suite(3),), model, canaries=canaries(*lines, references=100))
    asked = [item for q in model.asked if q["op"] == "score" for item in q["items"]]
    assert all(set(item) == {"prompt", "continuation"} and item["prompt"] == "" for item in asked)
    groups = {}
    for n, line in enumerate(lines):
        texts = [item["continuation"] for item in asked[101 * n : 101 * (n + 1)]]
        groups[n] = texts.index(canary_of(line).text) / (len(texts) - 1)
    thirds = [sum(low <= place < low + 1 / 3 for place in groups.values()) for low in (0, 1 / 3, 2 / 3)]
    assert min(thirds) > 40, thirds


def test_many_candidates_are_asked_in_parts():
    model = Remembering()
    seen_of(CanariesProbe(), model, (suite(3),), model, canaries=canaries(LINES[0], references=2 * SCORED))
    assert [len(q["items"]) for q in model.asked if q["op"] == "score"][:3] == [SCORED, SCORED, 1]


def test_undeclared_was_not_requested():
    found = observed(CanariesProbe(), ToyModel(), (suite(3),))
    assert statuses(found) == {Status.NOT_REQUESTED}
    assert "behaviour.canaries" in found["canaries.n"].reason


TEXTS = st.text(st.characters(codec="ascii", categories=("L", "N", "P", "Zs"), exclude_characters="{}"), min_size=4)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.integers(1, 50))
def test_look_alikes_have_the_shape_of_the_secret_and_are_each_other_ones(secret, references):
    canary = canary_of(f"say {{{secret}}} now")
    if canary.lookalikes < 1000:
        return
    texts = candidates(canary, references, sha256(b"seed"))
    assert texts == candidates(canary, references, sha256(b"seed"))
    assert len(set(texts)) == len(texts) == references + 1
    assert canary.text in texts

    def shape(text):
        return [("d" if c.isdigit() else "l" if c.islower() else "u" if c.isupper() else c) for c in text]

    assert {tuple(shape(text)) for text in texts} == {tuple(shape(canary.text))}


@given(st.integers(2, 5000).flatmap(lambda of: st.tuples(st.integers(1, of), st.just(of))))
def test_exposure_is_in_bits_between_none_and_all(drawn):
    rank, among = drawn
    bits = exposure(rank, among)
    assert -1e-9 <= bits <= math.log2(among)
    assert (bits == pytest.approx(0)) == (rank == among)
    assert 2**-bits == pytest.approx(rank / among), "the chance of such a rank, had the model never seen it"


def test_the_secret_is_what_stands_in_braces_or_the_whole_line():
    assert canary_of("a {b} c").secret == "b"
    assert canary_of("a {b} c").text == "a b c"
    for line in ("abc 123", "a }b{ c", "{a} {b}", "{{a}}"):
        assert canary_of(line).secret == canary_of(line).text == line


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "0 canaries"),
        (b"\xff", "not UTF-8 (byte 0)"),
        (b"one {12345}\ntwo {99}\n", "canary 2 has fewer than 1000 look-alikes"),
        (b"{12345}\n{12345}\n", "canary 2 is there twice"),
        (b"x" * 1001, "canary 1 has more than 1000 characters"),
        (b"...---...", "canary 1 has fewer than 1000 look-alikes"),
    ],
)
def test_a_canary_file_is_refused_without_telling_its_text(content, why):
    with pytest.raises(DocumentError) as caught:
        read_canaries(content, where="canaries.txt")
    assert why in str(caught.value)
    assert "12345" not in str(caught.value)
    assert "99" not in str(caught.value)
