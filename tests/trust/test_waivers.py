"""A waiver accepts only as a pinned approver signed it: one rule, one artifact, these values, here and for a while."""

import copy
import dataclasses

import pytest

from peft_assay.core.digest import sha256
from peft_assay.core.errors import TrustError
from peft_assay.core.vocabulary import STATIC_TERMS, suite_terms
from peft_assay.core.waiver import LONGEST, PROTECTED, WAIVABLE, Protected, Waiver, is_waivable
from peft_assay.trust.roles import Role
from peft_assay.trust.waivers import open_waiver, waiver_document
from trust.world import DAY, NOW, sealer_of

APPROVER = sealer_of(Role.APPROVER)
SAW = {"suite.core.rate": 1.0, "scan.tokens": 0, "scan.triggers": ("a", "b"), "rights.licence": "mit"}
WAIVER = Waiver(
    sha256(b"artifact"), "task", sha256(b"rule"), sha256(b"here"), SAW, "Risk", "accepted in review 7", NOW, NOW + DAY
)


def _open(document):
    return open_waiver(APPROVER.seal(document), [APPROVER.public])


def test_it_is_read_as_it_was_written_types_included():
    opened = _open(waiver_document(WAIVER))
    assert dataclasses.replace(opened, keyid="", envelope=None) == WAIVER
    assert {name: type(value) for name, value in opened.saw.items()} == {n: type(v) for n, v in SAW.items()}
    assert opened.keyid == APPROVER.keyid
    assert opened.accepts(SAW)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("rule", {"id": "", "digest": sha256(b"")}, "rule.id"),
        ("rule", {"id": "task", "digest": "sha256:0"}, "rule.digest"),
        ("rule", "task", "rule"),
        ("circumstances", "here", "circumstances"),
        ("saw", {}, "saw"),
        ("saw", {"suite.core.rate": None}, "saw"),
        ("saw", {"suite.core.rate": {"low": 0}}, "saw"),
        ("saw", {"weights.canonical": False}, "no waiver reaches"),
        ("saw", {"sandbox.level": 0}, "no waiver reaches"),
        ("saw", {"publisher.signature": "none"}, "no waiver reaches"),
        ("saw", {"rights.grants.commercial": False}, "no waiver reaches"),
        ("saw", {"tomorrow.term": 1}, "no waiver reaches"),
        ("expires", "2026-11-23T12:00:00Z", "ends before it begins"),
        ("expires", "2026-11-22T12:00:00Z", "ends before it begins"),
        ("expires", "2028-11-22T12:00:00Z", "more than"),
        ("by", "", "by"),
        ("reason", "", "reason"),
        ("at", "today", "at"),
        ("more", 1, "more"),
    ],
)
def test_anything_else_is_refused(field, value, said):
    document = copy.deepcopy(waiver_document(WAIVER))
    document["predicate"][field] = value
    with pytest.raises(TrustError, match=said):
        _open(document)


@pytest.mark.parametrize(
    ("saw", "why"),
    [
        (SAW | {"suite.core.rate": 0.9999}, "another value"),
        (SAW | {"suite.core.rate": 1}, "a whole number where a fraction was seen"),
        (SAW | {"scan.tokens": False}, "false where 0 was seen"),
        (SAW | {"scan.triggers": ("b", "a")}, "another order"),
        (SAW | {"scan.triggers": ("a",)}, "fewer items, better as they are"),
        ({**SAW, "suite.core.n": 60}, "one more observation"),
        ({name: value for name, value in SAW.items() if name != "scan.tokens"}, "one less"),
        (SAW | {"scan.tokens": None}, "not observed"),
    ],
)
def test_only_exactly_what_was_seen_is_accepted(saw, why):
    assert WAIVER.accepts(dict(SAW)), "positive control"
    assert not WAIVER.accepts(saw), why


def test_it_is_in_force_from_its_date_until_before_its_end():
    here = (WAIVER.artifact, WAIVER.circumstances)
    assert WAIVER.covers(*here, NOW)
    assert WAIVER.covers(*here, NOW + DAY - LONGEST / LONGEST.total_seconds())
    assert not WAIVER.covers(*here, NOW + DAY)
    assert not WAIVER.covers(*here, NOW - DAY)
    assert not WAIVER.covers(sha256(b"other"), WAIVER.circumstances, NOW)
    assert not WAIVER.covers(WAIVER.artifact, sha256(b"other"), NOW)


def test_every_term_is_classified_and_a_new_one_is_not_waivable():
    static = {term.name for term in STATIC_TERMS}
    assert static == set(PROTECTED) | WAIVABLE
    assert not set(PROTECTED) & WAIVABLE
    assert all(is_waivable(term.name) for term in suite_terms("x"))
    assert not is_waivable("tomorrow.term")


def test_what_is_never_waived_is_at_least_this_list():
    """It may grow; whoever shortens it must mean to."""
    by = {kind: {name for name, k in PROTECTED.items() if k is kind} for kind in Protected}
    assert by[Protected.ISOLATION] >= {"sandbox.events", "sandbox.level"}
    assert by[Protected.TRUST] >= {
        "effect.deterministic", "parity.agreement", "parity.agreement_lower", "parity.n", "publisher.identity",
        "publisher.signature", "stack.observed_as_served",
    }  # fmt: skip
    assert by[Protected.INTEGRITY] >= {
        "config.base_rewrites", "config.redirects", "config.strict", "config.unsafe_patterns", "effect.base_unchanged",
        "pickles.fickling", "pickles.modelscan", "plan.unmet", "weights.canonical", "weights.nonfinite", "weights.pickle_files",
        "weights.undeclared",
    }  # fmt: skip
