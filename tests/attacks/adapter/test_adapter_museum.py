"""Every exhibit of the museum: not admitted, or told and never read; and what a plain loader does with it."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from attacks.adapter import museum
from attacks.adapter.museum import ACTIVATION, CONFIG, INTAKE, TOLD, UNREAD, WEIGHTS, Exhibit
from attacks.adapter.museum_catalogue import ALSO, EXHIBITS, ROWS
from evaluation.evaluate_support import default_policy, good_values, judge, observed
from peft_assay.core.context import Engine
from peft_assay.core.errors import IntakeError
from peft_assay.core.observation import Observation, Status
from peft_assay.core.verdict import Outcome, Verdict
from peft_assay.intake.admit import admit
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.interface import BaseFacts, StaticContext, StaticSubject
from peft_assay.observe.static.weights import watch_weights
from peft_assay.observe.unsafe import why_unsafe
from peft_assay_loading.config import parse_config
from peft_assay_loading.errors import LoadingError
from peft_assay_loading.fitting import plan, shapes_of

pytestmark = pytest.mark.model
CONTEXT = StaticContext(
    Engine("peft", "float32", 32), datasets={"zoo/dialogues": "cc-by-4.0"}, base_licence="mit",
    locked={"peft": "0.21.2", "transformers": "5.23.0"},
)  # fmt: skip
ADMITTED = (UNREAD, TOLD, ACTIVATION)


@pytest.fixture
def folder(tmp_path, tmp_path_factory, monkeypatch) -> Path:
    """The ordinary adapter in a folder of its own; nothing can be fetched."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    kept = _kept(tmp_path_factory)
    at = tmp_path / "adapter"
    at.mkdir()
    for name, content in museum.ordinary_files(str(kept)).items():
        (at / name).write_bytes(content)
    return at


def _kept(factory: Any, made: list[Path] = []) -> Path:  # noqa: B006 - one folder for all tests of a process
    if not made:
        made.append(factory.mktemp("ordinary"))
    return made[0]


@cache
def _context() -> StaticContext:
    """With the norms of the tiny base."""
    norms = {name: float(tensor.norm()) for name, tensor in museum.base().state_dict().items()}
    return replace(CONTEXT, base=BaseFacts(norms))


def _observed(folder: Path) -> dict[str, Observation]:
    """What is observed of it: the static facts, and whether its tensors are those that the base asks for."""
    admitted = admit(folder, watch=watch_weights)
    found = observe_static(StaticSubject(admitted.artifact, admitted.contents, _context(), admitted.sightings))
    return {observation.name: observation for observation in found}


def _plan(folder: Path) -> tuple[str, ...] | str:
    try:
        unmet = plan(
            museum.base(), parse_config((folder / CONFIG).read_bytes()), shapes_of((folder / WEIGHTS).read_bytes())
        )
    except LoadingError as error:
        return str(error)
    return (*unmet.missing, *unmet.extra, *unmet.mismatched)


def _verdict(found: dict[str, Observation], unmet: tuple[str, ...] | str | None) -> Verdict:
    """What the default policy says when all that is not observed here is as good as it can be."""
    values = good_values() | {name: o.value for name, o in found.items() if o.status is Status.OK}
    unseen = {name: str(o.reason) for name, o in found.items() if o.status is Status.FAILED}
    if unmet is None or isinstance(unmet, str):
        unseen["plan.unmet"] = unmet or "never instantiated"
    else:
        values["plan.unmet"] = unmet
    return judge(default_policy(), observed({n: v for n, v in values.items() if n not in unseen}, unseen))


def test_negative_control_the_ordinary_adapter_is_admitted(folder):
    found = _observed(folder)
    assert why_unsafe(found.values()) is None
    assert _verdict(found, _plan(folder)).outcome is Outcome.PASS
    assert museum.load_plainly(folder)[1] == []


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_it_is_not_admitted_or_not_read(exhibit: Exhibit, folder):
    exhibit.build(folder)
    if exhibit.answer == INTAKE:
        with pytest.raises(IntakeError, match=exhibit.seen["refusal"]) as refusal:
            admit(folder)
        assert refusal.value.where
        assert refusal.value.next_step
        return
    found = _observed(folder)
    unmet = _plan(folder) if why_unsafe(found.values()) is None else None
    for term, expected in exhibit.seen.items():
        value, reason = (unmet, "") if term == "plan.unmet" else (found[term].value, found[term].reason)
        if isinstance(expected, str):
            assert expected in f"{value} {reason}", term
        else:
            assert value == expected, term
    verdict = _verdict(found, unmet)
    if exhibit.answer in ADMITTED:
        assert verdict.outcome is Outcome.PASS
        assert exhibit.ours or exhibit.seen  # told, or shown to make no difference
    else:
        assert verdict.outcome in {Outcome.FAIL, Outcome.INDETERMINATE}
        assert verdict.deciding is not None
        assert verdict.deciding.rule == exhibit.answer
        assert verdict.deciding.explanation
    if exhibit.ours is not None:
        exhibit.ours(folder)


@pytest.mark.parametrize("exhibit", [e for e in EXHIBITS if e.control], ids=lambda exhibit: exhibit.name)
def test_positive_control_what_a_plain_loader_does(exhibit: Exhibit, folder):
    assert exhibit.control is not None
    exhibit.build(folder)
    exhibit.control(folder)


def test_every_row_has_its_exhibit_and_every_silent_one_its_control():
    names = [exhibit.name for exhibit in EXHIBITS]
    assert len(names) == len(set(names))
    assert {exhibit.row for exhibit in EXHIBITS} | set(ALSO) == set(ROWS)
    assert {name for also in ALSO.values() for name in also} <= set(names)
    assert [exhibit.name for exhibit in EXHIBITS if exhibit.silent and exhibit.control is None] == []


TYPES = {
    "ADALORA": {"target_modules": ["q_proj"], "total_step": 10},
    "ADAPTION_PROMPT": {"adapter_len": 2, "adapter_layers": 1},
    "IA3": {"target_modules": ["q_proj"], "feedforward_modules": []},
    "LN_TUNING": {"target_modules": ["input_layernorm"]},
    "LOHA": {"target_modules": ["q_proj"], "r": 2},
    "LORA": {"target_modules": ["q_proj"], "r": 2, "use_dora": True},
    "OFT": {"target_modules": ["q_proj"], "oft_block_size": 4, "r": 0},
    "PREFIX_TUNING": {"num_virtual_tokens": 2},
    "PROMPT_TUNING": {"num_virtual_tokens": 2},
    "P_TUNING": {"num_virtual_tokens": 2},
    "VERA": {"target_modules": ["q_proj"], "r": 2},
}
"""Types beside plain LoRA whose files were seen to overwrite the base, and settings for the tiny one."""


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_a_base_tensor_comes_in_with_every_type(kind, folder):
    import torch
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    for path in folder.iterdir():
        path.unlink()
    museum.save(folder, PEFT_TYPE_TO_CONFIG_MAPPING[kind](task_type="CAUSAL_LM", **TYPES[kind]))
    assert _observed(folder)["weights.undeclared"].value == ()
    model, before = museum.load_plainly(folder)
    name = next(name for name in model.state_dict() if name.endswith("lm_head.weight"))
    museum.edit_tensors(folder, lambda tensors: tensors.update({name: torch.ones(32, 16)}))
    model, said = museum.load_plainly(folder)
    assert said == before
    assert torch.equal(model.state_dict()[name], torch.ones(32, 16))
    assert _observed(folder)["weights.undeclared"].value == (name,)
