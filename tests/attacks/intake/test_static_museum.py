"""Attacks inside the files, each with its positive control: plain PEFT takes the adapter without a word."""

import json
import warnings
from pathlib import Path

import pytest

from peft_assay.core.context import Engine
from peft_assay.intake.admit import admit
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.interface import StaticContext, StaticSubject
from peft_assay.observe.static.weights import watch_weights

pytestmark = pytest.mark.model
LM_HEAD = "base_model.model.lm_head.weight"


def _base():
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=32, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=32,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


@pytest.fixture
def adapter(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    peft = pytest.importorskip("peft")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
        peft.get_peft_model(_base(), config).save_pretrained(tmp_path / "a")
    return tmp_path / "a"


def _load(folder: Path, base=None):
    import peft

    base = base or _base()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = peft.PeftModel.from_pretrained(base, folder)
    # transformers' own deprecations are not about the adapter; everything else would be PEFT speaking up
    return model, [str(w.message) for w in caught if not issubclass(w.category, FutureWarning | DeprecationWarning)]


def _found(folder: Path, term: str):
    admitted = admit(folder, watch=watch_weights)
    subject = StaticSubject(
        admitted.artifact, admitted.contents, StaticContext(Engine("peft", "float32", 32)), admitted.sightings
    )
    return next(o for o in observe_static(subject) if o.name == term).value


def _edit_config(folder: Path, **fields):
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **fields}), "utf-8")


def _edit_tensors(folder: Path, change):
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def test_negative_control_what_peft_saves_is_unobjectionable(adapter):
    assert _found(adapter, "weights.undeclared") == ()
    assert _found(adapter, "weights.canonical") is True
    assert _found(adapter, "config.strict") is True


def test_a_base_tensor_in_the_adapter_s_file(adapter):
    import torch

    _edit_tensors(adapter, lambda tensors: tensors.update({LM_HEAD: torch.ones(32, 16)}))
    model, complaints = _load(adapter)
    assert complaints == []
    assert torch.equal(model.base_model.model.lm_head.weight, torch.ones(32, 16))
    assert _found(adapter, "weights.undeclared") == (LM_HEAD,)


def test_a_tensor_that_names_another_adapter(adapter):
    import torch

    key = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.good.weight"
    model, _ = _load(adapter)
    model.add_adapter("good", model.peft_config["default"])
    _edit_tensors(adapter, lambda tensors: tensors.update({key: torch.full((4, 16), 7.0)}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.load_adapter(adapter, "other")
    assert torch.equal(model.state_dict()[key], torch.full((4, 16), 7.0))
    assert _found(adapter, "weights.undeclared") == (key,)


def test_an_initialisation_that_rewrites_the_base(adapter):
    import torch

    _edit_config(adapter, init_lora_weights="pissa")
    base = _base()
    before = base.model.layers[0].self_attn.q_proj.weight.detach().clone()
    model, complaints = _load(adapter, base)
    after = model.base_model.model.model.layers[0].self_attn.q_proj.base_layer.weight
    assert complaints == []
    assert not torch.equal(before, after)
    assert _found(adapter, "config.base_rewrites") == ("init_lora_weights=pissa",)


def test_weights_that_are_not_numbers(adapter):
    def put_nan(tensors):
        next(iter(tensors.values()))[0, 0] = float("nan")

    _edit_tensors(adapter, put_nan)
    _, complaints = _load(adapter)
    assert complaints == []
    assert _found(adapter, "weights.nonfinite") == 1


def test_a_configuration_that_says_a_thing_twice(adapter):
    path = adapter / "adapter_config.json"
    path.write_text(path.read_text("utf-8").rstrip()[:-1] + ', "lora_alpha": 800}', "utf-8")
    model, complaints = _load(adapter)
    assert complaints == []
    assert model.peft_config["default"].lora_alpha == 800
    assert _found(adapter, "config.strict") is False
    assert _found(adapter, "bounds.exceeded") is None


def test_an_alpha_out_of_all_proportion(adapter):
    _edit_config(adapter, lora_alpha=10**30)
    _, complaints = _load(adapter)
    assert complaints == []
    assert _found(adapter, "bounds.exceeded") == ("lora_alpha: alpha over rank is not in (0, 1024]",)
