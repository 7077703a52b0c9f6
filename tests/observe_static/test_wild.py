"""Adapters as people really published them: nothing crashes, and what is ordinary stays ordinary."""

import csv
import os
from functools import cache
from pathlib import Path

import pytest

from observe_static.static_support import CONTEXT
from peft_assay.core.observation import Status
from peft_assay.intake.admit import admit
from peft_assay.observe.catalogue import PROBES, observe_static
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.kind import Kind, classify
from peft_assay.observe.static.weights import watch_weights

WILD = Path(os.environ.get("PEFT_ASSAY_WILD") or Path(__file__).parents[3] / "shared" / "wild")
NAMES = sorted(path.name for path in WILD.iterdir() if path.is_dir()) if WILD.is_dir() else []
needs_wild = pytest.mark.skipif(not NAMES, reason="the wild set of published adapters is absent (PEFT_ASSAY_WILD)")


@cache
def _index() -> dict[str, dict[str, str]]:
    with (WILD / "INDEX.csv").open(encoding="utf-8", newline="") as table:
        return {row["folder"]: row for row in csv.DictReader(table)}


def _observe(name: str):
    admitted = admit(WILD / name, watch=watch_weights)
    observations = observe_static(StaticSubject(admitted.artifact, admitted.contents, CONTEXT, admitted.sightings))
    return classify(admitted.contents).kind, {o.name: o for o in observations}


@needs_wild
@pytest.mark.parametrize("name", NAMES or ["absent"])
def test_each_is_admitted_and_observed_as_its_index_row_says(name):
    kind, found = _observe(name)
    row = _index()[name]
    assert sorted(found) == sorted(term for probe in PROBES for term in probe.terms)
    assert not [o for o in found.values() if "the probe broke" in str(o.reason)]
    if row["peft_type"] in {"MLX", ""}:
        assert kind in {Kind.MLX_ADAPTER, Kind.UNKNOWN}
        assert found["config.strict"].value is False
        return
    assert kind in {Kind.PEFT_ADAPTER, Kind.PEFT_CONFIG_ONLY, Kind.PEFT_UNFETCHED}
    assert found["config.strict"].value is (row["unknown_keys"] == ""), found["config.strict"].reason
    assert found["bounds.exceeded"].value == ()
    assert found["config.base_rewrites"].value == ()
    assert (found["reach.full_weights"].value != ()) == (row["modules_to_save"] != "")
    if row["weights"] == "present":
        assert found["weights.canonical"].value is True, found["weights.canonical"].reason
        assert found["weights.nonfinite"].value == 0
        assert found["weights.undeclared"].value == ()
    if row["weights"] in {"lfs-pointer", "empty-file", "absent"}:
        assert found["weights.canonical"].value is False
        assert found["weights.undeclared"].status is Status.FAILED


@needs_wild
def test_no_licence_in_most_cards_is_seen_as_unknown_and_never_as_permission():
    for name in NAMES:
        _, found = _observe(name)
        if _index()[name]["card_licence"] == "":
            assert found["rights.licence"].status is Status.FAILED, name
            assert found["rights.licence_commercial"].status is Status.FAILED, name
