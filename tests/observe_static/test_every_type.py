"""For each PEFT type: what PEFT itself saves is canonical, strict, within bounds, and wholly declared."""

import importlib.util
import warnings
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from observe_static.static_support import CONTEXT
from peft_assay.intake.admit import admit
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.tables import peft_table
from peft_assay.observe.static.weights import watch_weights

pytestmark = pytest.mark.model
TOOL = Path(__file__).parents[2] / "tools" / "generate_peft_table.py"
CONDITIONAL = {"MULTITASK_PROMPT_TUNING", "POLY"}


@cache
def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_peft_table", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", sorted(set(peft_table().types) - {"XLORA"}))
def test_what_peft_saves_is_unobjectionable(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    peft = pytest.importorskip("peft")
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    for number, setting in enumerate(_tool().SETTINGS.get(kind, [{"target_modules": _tool().TARGETS}])):
        folder = tmp_path / str(number)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                config = PEFT_TYPE_TO_CONFIG_MAPPING[kind](task_type="CAUSAL_LM", **setting)
                model = peft.get_peft_model(_tool().tiny_model(), config)
            except ImportError as absent:
                pytest.skip(str(absent))
            model.save_pretrained(folder, save_embedding_layers=False)
        admitted = admit(folder, watch=watch_weights)
        found = {
            o.name: o
            for o in observe_static(StaticSubject(admitted.artifact, admitted.contents, CONTEXT, admitted.sightings))
        }
        assert found["weights.canonical"].reason is None
        assert found["weights.undeclared"].value == ()
        assert found["weights.misnamed"].value == ()
        assert found["config.strict"].reason is None
        assert found["config.redirects"].value == ()
        assert found["bounds.exceeded"].value == ()
        assert found["config.base_rewrites"].value == ()
        assert (found["config.conditional"].value != ()) == (kind in CONDITIONAL)
