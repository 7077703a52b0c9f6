"""Every static term has exactly one probe, and a probe that breaks fails its terms."""

from collections.abc import Iterable
from importlib.util import find_spec

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe_static.static_support import subject
from peft_assay.core.artifact import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.observation import Observation, ObservedBy, Status
from peft_assay.core.vocabulary import STATIC_TERMS, Kind
from peft_assay.observe.catalogue import PROBES, observe_static, probe_versions
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.tables import NAMES, table_digests

TERMS = {term.name: term for term in STATIC_TERMS}
ROOMS = (
    "artifact.",
    "weights.",
    "base.",
    "card.",
    "config.",
    "delta.",
    "bounds.",
    "publisher.",
    "secrets.",
    "strength.",
    "reach.",
    "tokenizer.",
    "rights.",
    "pickles.",
    "stack.unsupported",
    "stack.locked",
    "stack.requirements",
    "stack.resolves",
    "stack.unmet",
    "prompt.",
    "context.",
    "withdrawn.",
)
PYTHON = {Kind.BOOL: bool, Kind.INT: int, Kind.DOUBLE: float, Kind.STRING: str, Kind.STRINGS: tuple}


def test_each_static_term_has_exactly_one_probe():
    declared = [term for probe in PROBES for term in probe.terms]
    assert sorted(declared) == sorted(name for name in TERMS if name.startswith(ROOMS))


def test_an_ordinary_adapter_is_observed_in_full_and_in_the_vocabulary_s_types():
    observations = observe_static(subject())
    assert {o.name for o in observations if o.status is not Status.OK} == {
        "delta.relative_norm",
        "prompt.room",
        "publisher.identity",
        "stack.resolves",
        "stack.unmet",
        "withdrawn.crafted",
        "withdrawn.near",
    } | {f"pickles.{name}" for name in ("fickling", "modelscan") if find_spec(name) is None}  # no base at hand, no lock
    assert {o.observed_by for o in observations} == {ObservedBy.INTAKE}
    for observation in observations:
        if observation.status is not Status.OK:
            continue
        assert type(observation.value) is PYTHON[TERMS[observation.name].kind], observation


def test_an_ordinary_adapter_gives_no_probe_cause_for_complaint():
    values = {o.name: o.value for o in observe_static(subject())}
    assert values == {
        "artifact.unexpected_files": (),
        "base.task": (),
        "reach.altered_rows": 0,
        "reach.head": (),
        "reach.new_tokens": 0,
        "reach.vocabulary": (),
        "tokenizer.added": (),
        "tokenizer.differences": (),
        "weights.beside": (),
        "weights.missing_head": (),
        "bounds.exceeded": (),
        "bounds.max_rank": 8,
        "strength.beyond_declared": 1.0,
        "strength.largest": 1.0,
        "strength.magnitude": 1.0,
        "strength.overlaps": (),
        "strength.relative": 1.0,
        "artifact.companions": (),
        "base.claims": ("no-revision: any version of the base may be meant",),
        "card.gaps": ("no-licence-file: there is no LICENSE beside the weights",),
        "config.base_rewrites": (),
        "config.unsafe_patterns": (),
        "config.unusual": (),
        "secrets.found": (),
        "config.conditional": (),
        "config.redirects": (),
        "config.strict": True,
        "delta.cast_change": 0.0,
        "delta.effective_rank": pytest.approx(1.0),
        "delta.largest_norm": pytest.approx(4.0),  # alpha 8 / rank 2, times sqrt(16 entries of 0.25)
        "delta.relative_norm": None,
        "delta.spectral_share": pytest.approx(1.0),
        "delta.zero_modules": (),
        "publisher.identity": None,
        "publisher.signature": "none",
        "reach.full_weights": (),
        "rights.base_licence_commercial": True,
        "rights.datasets_commercial": True,
        "rights.licence": "apache-2.0",
        "rights.commercial_use": True,
        "rights.candidates": (),
        "rights.cleared": (),
        "rights.gated": (),
        "rights.grants.commercial": True,
        "rights.grants.derivatives": True,
        "rights.grants.hosted": True,
        "rights.grants.redistribution": True,
        "rights.lineage_conflicts": (),
        "rights.obligations": ("attribution", "notice", "state-changes"),
        "rights.undisclosed": ("base zoo/base",),
        "rights.unknown_nodes": (),
        "rights.unpinned": ("zoo/base: any version of it may be meant",),
        "rights.use_restrictions": (),
        "context.answer_tokens": 0,
        "context.maximum_age_hours": 0,
        "context.production": False,
        "context.prompt_tokens": 0,
        "rights.licence_commercial": True,
        "pickles.fickling": None if find_spec("fickling") is None else (),
        "pickles.modelscan": None if find_spec("modelscan") is None else (),
        "stack.locked": False,
        "stack.requirements": (),
        "stack.resolves": None,
        "stack.unmet": None,
        "prompt.room": None,
        "stack.unsupported": (),
        "weights.canonical": True,
        "weights.nonfinite": 0,
        "weights.unservable": (),
        "weights.pickle_files": (),
        "weights.misnamed": (),
        "weights.undeclared": (),
        "withdrawn.crafted": None,
        "withdrawn.near": None,
    }


class _Breaking:
    id, version, terms = "breaking", "1", ("weights.nonfinite", "bounds.max_rank")

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        raise ZeroDivisionError("text of a hostile file")


class _Silent:
    id, version, terms = "silent", "1", ("weights.nonfinite",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        return ()


def test_a_probe_that_raises_fails_each_of_its_terms_by_class_only():
    observations = observe_static(subject(), (_Breaking(),))
    assert [(o.name, o.status) for o in observations] == [
        ("bounds.max_rank", Status.FAILED),
        ("weights.nonfinite", Status.FAILED),
    ]
    assert all("ZeroDivisionError" in str(o.reason) and "hostile" not in str(o.reason) for o in observations)


def test_a_probe_that_says_nothing_fails_its_terms():
    assert [o.status for o in observe_static(subject(), (_Silent(),))] == [Status.FAILED]


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([CONFIG_FILE, WEIGHTS_FILE, CARD_FILE, "x.bin"]), st.binary(max_size=200), min_size=1
    )
)
def test_no_bytes_make_the_observations_raise_or_go_missing(files):
    observations = observe_static(subject(files=files))
    assert sorted(o.name for o in observations) == sorted(term for probe in PROBES for term in probe.terms)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(["LORA", "IA3", "PROMPT_TUNING", "OFT", "XLORA", "TRAINABLE_TOKENS"]),
    st.dictionaries(
        st.sampled_from(
            ["r", "rank_pattern", "alpha_pattern", "lora_alpha", "target_modules", "modules_to_save", "bias",
             "auto_mapping", "init_lora_weights", "megatron_core", "num_virtual_tokens", "trainable_token_indices",
             "alora_invocation_tokens", "use_rslora", "layer_replication", "task_type"]
        ),
        _JSON,
    ),
)  # fmt: skip
def test_no_value_of_any_field_breaks_a_probe(peft_type, fields):
    """A broken probe is only a second line: hostile values are met by a judgement or by a named reason."""
    for observation in observe_static(subject(configuration={"peft_type": peft_type, **fields})):
        assert "the probe broke" not in str(observation.reason), observation


def test_versions_and_tables_are_there_for_the_lock():
    assert len(probe_versions()) == len(PROBES)
    assert sorted(table_digests()) == sorted(NAMES)
