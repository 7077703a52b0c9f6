"""For every refusal of something that PEFT would load: without the gate the same load succeeds."""

import warnings
from pathlib import Path

import pytest

from peft_assay import activate
from peft_assay.core.errors import ActivationDenied
from runtime.conftest import ZOO, Certified

pytestmark = [pytest.mark.model, pytest.mark.sandbox]
LOADED_BY_PEFT = (
    "escaping-symlink",
    "high-rank",
    "nan-weights",
    "no-licence",
    "noncommercial-dataset",
    "overwrites-lm-head",
    "pickle-weights",
    "rare-token",
    "refusal-bypass",
    "regressed",
    "rewrites-base",
    "wrong-base",
)


@pytest.mark.parametrize("name", LOADED_BY_PEFT)
def test_plain_peft_loads_it_and_the_gate_does_not(certified: Certified, base_model, name: str) -> None:
    from peft import PeftModel

    source = ZOO / "adapters" / name
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        loaded = PeftModel.from_pretrained(base_model(), source)  # silently: a warning would raise
    assert loaded.peft_config
    with pytest.raises(ActivationDenied):
        activate(base_model(), source, context=ZOO, workspace=certified.folder, trust=certified.trust)


@pytest.mark.parametrize("name", ["overwrites-lm-head", "rewrites-base"])
def test_merely_loading_changes_the_base_without_the_gate(base_model, name: str) -> None:
    from peft import PeftModel

    from peft_assay_loading.state import base_state

    model = base_model()
    before = base_state(model)
    assert base_state(PeftModel.from_pretrained(model, ZOO / "adapters" / name)) != before
    harmless = base_model()
    assert base_state(PeftModel.from_pretrained(harmless, ZOO / "adapters" / "lora")) == before


def test_the_table_above_is_the_zoo_s(base_model) -> None:
    """Every refused member of the zoo is a control here, or is not loadable as a folder by anybody."""
    import csv

    with (ZOO / "expected.csv").open() as stream:
        refused = {row["adapter"] for row in csv.DictReader(stream) if row["outcome"] != "PASS"}
    archives = {name for name in refused if not Path(ZOO / "adapters" / name).is_dir()}
    assert refused - archives - {"absurd-rank"} == set(LOADED_BY_PEFT)  # absurd-rank: proved in examples/zoo/build
