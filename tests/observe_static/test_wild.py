"""Adapters as people really published them: nothing crashes, and what is ordinary stays ordinary."""

import csv
import json
import os
from functools import cache
from pathlib import Path

import pytest

from observe_static.static_support import CONTEXT
from peft_assay.core.observation import Status
from peft_assay.intake.admit import admit
from peft_assay.observe.catalogue import PROBES, observe_static
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.kind import classify
from peft_assay.observe.static.kinds import Kind
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
        assert kind in {Kind.MLX_ADAPTER, Kind.FOREIGN_CONFIG}
        assert found["config.strict"].value is False
        return
    assert kind in {Kind.PEFT_ADAPTER, Kind.PEFT_CONFIG_ONLY, Kind.PEFT_UNFETCHED, Kind.PEFT_EMPTY}
    assert found["config.strict"].value is ("alpha" not in row["unknown_keys"].split("|")), found[
        "config.strict"
    ].reason
    assert found["bounds.exceeded"].value == ()
    assert found["config.base_rewrites"].value == ()
    in_full = any(told.startswith("saves-in-full") for told in found["config.unusual"].value)
    assert in_full == (row["modules_to_save"] != ""), "heads of the declared task among them"
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


GOLDEN = Path(__file__).with_name("wild_golden.json")
FIGURES = (
    "publisher.", "bounds.max_rank", "delta.", "rights.commercial_use", "rights.base_licence_commercial", "context.",
    "rights.grants.", "rights.lineage_conflicts", "rights.obligations", "rights.undisclosed", "rights.unknown_nodes",
    "rights.unpinned", "rights.use_restrictions", "rights.candidates", "stack.locked", "stack.resolves", "stack.unmet", "prompt.", "withdrawn.",
    "pickles.",
)  # fmt: skip
"""What is not an oddity: figures, what the test's own context says, and rights, which test_wild_rights has."""


def golden_row(name: str) -> dict[str, object]:
    """What is told of one folder: everything that was found or could not be, with its reason."""
    kind, found = _observe(name)
    told: dict[str, object] = {"kind": kind.value}
    for term, observation in found.items():
        value = observation.value
        if term.startswith(FIGURES) or value is True or value == () or (value == 0 and value is not False):
            continue
        told[term] = observation.value if observation.reason is None else f"{observation.value}: {observation.reason}"
    return told


@needs_wild
@pytest.mark.parametrize("name", NAMES or ["absent"])
def test_what_is_told_of_each_is_what_was_reviewed(name):
    golden = json.loads(GOLDEN.read_text())
    assert json.loads(json.dumps(golden_row(name))) == golden[name]


NAMED_BY: dict[str, tuple[str, str]] = {
    "no_revision": ("base.claims", "no-revision"),
    "card_template_unfilled": ("card.gaps", "unfilled"),
    "trainer_card_more_information_needed": ("card.gaps", "unfilled"),
    "no_card": ("card.gaps", "no-card"),
    "card_no_yaml": ("card.gaps", "no-metadata"),
    "card_licence_key_misspelt_placeholder": ("card.gaps", "licence-misspelt"),
    "licence_other_or_list": ("card.gaps", "licence-placeholder"),
    "model_index": ("card.gaps", "claims-results"),
    "null_base": ("base.claims", "named"),
    "experiment_config_no_base": ("base.claims", "named"),
    "local_base": ("base.claims", "local-path"),
    "kaggle_path_base": ("base.claims", "local-path"),
    "quantised_or_reupload_base": ("base.claims", "quantised-or-reuploaded"),
    "unsloth_base": ("base.claims", "quantised-or-reuploaded"),
    "card_base_local_path": ("base.claims", "card-local-path"),
    "card_base_differs": ("base.claims", "card-differs"),
    "no_weight_file": ("weights.canonical", "there is no adapter_model.safetensors"),
    "empty_weight_file": ("weights.canonical", "is empty"),
    "lfs_pointer": ("weights.canonical", "Git LFS pointer"),
    "alpha_over_r_ge4": ("config.unusual", "scaling"),
    "alpha_over_r_le_half": ("config.unusual", "scaling"),
    "auto_mapping": ("config.unusual", "auto_mapping"),
    "peft_le_0.5_config": ("config.unusual", "old-configuration"),
    "modules_to_save": ("config.unusual", "saves-in-full"),
    "unknown_keys": ("config.unusual", ""),
    "alpha_key_ignored_by_peft": ("config.strict", "alpha"),
    "no_peft_type": ("config.strict", "peft_type"),
    "mlx_not_peft": ("config.strict", "peft_type"),
    "peft_load_fails": ("config.strict", ""),
    "model_max_length_1e30": ("artifact.companions", "no-length-limit"),
    "chat_template_inline": ("artifact.companions", "chat-template-inside"),
    "tokenizer_auto_map": ("artifact.companions", "code-by-reference"),
    "regex_or_string_targets": ("config.unusual", "target-expression"),
    "targets_embeddings_or_head": ("config.unusual", "targets-embeddings-or-head"),
    "use_rslora": ("config.unusual", "use_rslora"),
    "fan_in_fan_out": ("config.unusual", "fan_in_fan_out"),
    "huge_rank": ("config.unusual", "large-rank"),
    "crlf_config": ("config.unusual", "crlf"),
    "half_precision_weights": ("config.unusual", "stored-as"),
    "full_head_tensors_in_weights": ("reach.head", ""),
    "no_licence_anywhere": ("card.gaps", ""),
}
ABOUT_FILES_THAT_WERE_NOT_COPIED = {
    "py_files", "notebooks", "training_args_pickle", "optimizer_state_pickles", "pickle_weights", "two_weight_files",
    "other_lfs_pointers", "full_model_weights_beside", "chat_template_file", "trainer_checkpoint",
}  # fmt: skip
"""Named where the file is there (test_oddities.py shows each); SOURCE.json lists these, the folder has not got them."""
NOT_OF_THE_FILES = {
    "adapter_at_repo_root": "where in a repository it lay", "base_withdrawn_from_hub": "the Hub's state, not a file",
    "qlora_hint": "words in a card's prose", "licence_conflict_with_base": "needs the base's licence: the rights graph",
    "private_path_leak": "in card or config; config.unusual names those in the configuration",
}  # fmt: skip


@needs_wild
@pytest.mark.parametrize("name", NAMES or ["absent"])
def test_every_oddity_of_its_index_row_is_named(name):
    _, found = _observe(name)
    row = _index()[name]
    for oddity in filter(None, (part.split(":")[0] for part in row["oddities"].split(";"))):
        if oddity in ABOUT_FILES_THAT_WERE_NOT_COPIED or oddity in NOT_OF_THE_FILES:
            continue
        term, words = NAMED_BY[oddity]
        copied = {path.name for path in (WILD / name).iterdir()}
        if (oddity == "lfs_pointer" and "adapter_model.safetensors" not in copied) or (
            term == "card.gaps" and oddity != "no_card" and "README.md" not in copied
        ):
            continue  # about a file that was not copied
        told = f"{found[term].value} {found[term].reason}"
        if row["peft_type"] in {"MLX", ""} and found[term].status is Status.FAILED:
            assert "peft_type" in str(found[term].reason)  # what cannot be read is told as that
            continue
        assert found[term].value not in (True, ()), (oddity, told)
        assert words in told, (oddity, told)
