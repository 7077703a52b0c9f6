"""Older layouts that PEFT converts are loaded as PEFT loads them; what PEFT would leave out is refused and named."""

import json
import warnings

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

import safetensors.torch  # noqa: E402

from loading.layouts import EXPERTS, PREFIX, fused_base, of_language_model, per_expert, vision_base  # noqa: E402
from peft_assay_loading.config import parse_config  # noqa: E402
from peft_assay_loading.conversions import renamed  # noqa: E402
from peft_assay_loading.errors import LoadingError  # noqa: E402
from peft_assay_loading.load import attach, conversions_of, detach  # noqa: E402
from peft_assay_loading.names import misnamed  # noqa: E402
from peft_assay_loading.plans import PlanUnmet  # noqa: E402
from peft_assay_loading.state import base_state  # noqa: E402

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]


def peft_loads(base, config, weights, folder):
    """What plain PEFT answers with the same files, and what it says of missing tensors."""
    import peft

    (folder / "adapter_config.json").write_bytes(config)
    (folder / "adapter_model.safetensors").write_bytes(weights)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = peft.PeftModel.from_pretrained(base, folder).eval()
    return model, [str(warning.message) for warning in said if "missing adapter keys" in str(warning.message)]


def same_as_peft(make, config, weights, folder, logits):
    """What was converted; asserts that answers are PEFT's, that they are not the base's, and that the base stays."""
    theirs, missing = peft_loads(make(), config, weights, folder)
    assert missing == []
    base = make()
    bare, state = logits(base), base_state(base)
    ours = attach(base, config, weights)
    assert torch.equal(logits(ours), logits(theirs))
    assert not torch.equal(logits(ours), bare)
    assert base_state(ours) == state
    converted = conversions_of(ours)
    assert torch.equal(logits(detach(ours)), bare)
    return converted


@pytest.mark.parametrize("kind", EXPERTS)
def test_experts_of_transformers_4_are_fused_as_peft_fuses_them(kind, tmp_path, logits):
    converted = same_as_peft(lambda: fused_base(kind), *per_expert(kind), tmp_path, logits)
    block, layers = EXPERTS[kind]
    assert (
        f"{PREFIX}model.layers.#.{block}.experts.#.{layers[0]}.lora_A.weight is fused with others of its kind"
        in converted
    )
    assert any(line.startswith("target_modules ") and "gate_up_proj of fused experts" in line for line in converted)


def test_the_fused_form_itself_is_converted_by_nothing(tmp_path, logits):
    import peft

    targets = {"target_modules": ["q_proj"], "target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}
    config = peft.LoraConfig(r=4, task_type="CAUSAL_LM", init_lora_weights=False, **targets)
    peft.get_peft_model(fused_base("mixtral"), config).save_pretrained(tmp_path)
    pair = (tmp_path / "adapter_config.json").read_bytes(), (tmp_path / "adapter_model.safetensors").read_bytes()
    assert same_as_peft(lambda: fused_base("mixtral"), *pair, tmp_path, logits) == ()


def test_modules_that_are_called_otherwise_now_are_renamed_as_peft_renames_them(tmp_path, logits):
    older, now = of_language_model(f"{PREFIX}language_model.model.layers"), f"{PREFIX}model.language_model.layers"
    assert same_as_peft(vision_base, *older, tmp_path, logits) == (
        "base_model.model.language_model.model.* is read as base_model.model.model.language_model.*",
    )
    assert same_as_peft(vision_base, *of_language_model(now), tmp_path, logits) == ()


@pytest.mark.parametrize(
    ("without", "match"),
    [(("w3",), "require"), (("2",), "require"), (("w1", "w3"), "require"), (("w2",), "missing")],
    ids=["half-of-a-pair", "an-expert", "both-of-a-pair", "the-other-layer"],
)
def test_experts_that_are_not_all_there_are_refused(without, match):
    base = fused_base("mixtral")
    state = base_state(base)
    with pytest.raises(PlanUnmet, match=match):
        attach(base, *per_expert("mixtral", without=without))
    assert base_state(base) == state


def test_half_of_a_fused_pair_in_the_configuration_is_refused_in_pefts_words():
    config, weights = per_expert("mixtral", without=("w3",))
    config = json.dumps(json.loads(config) | {"target_modules": ["q_proj", "w1", "w2"]}).encode()
    with pytest.raises(LoadingError, match="w1 without also targeting w3"):
        attach(fused_base("mixtral"), config, weights)


def test_tensors_that_would_be_loaded_in_one_place_are_refused():
    """A second tensor for the same place would be left out: what was examined would not be what is loaded."""
    config, weights = per_expert("mixtral")
    tensors = safetensors.torch.load(weights)
    old = next(name for name in tensors if ".experts.0.w1.lora_A" in name)
    twice = {**tensors, old.replace("block_sparse_moe", "mlp"): torch.ones_like(tensors[old])}
    with pytest.raises(LoadingError):
        attach(fused_base("mixtral"), config, safetensors.torch.save(twice))
    left = {**tensors, old.replace(PREFIX, "", 1): torch.ones_like(tensors[old])}
    with pytest.raises(LoadingError):
        attach(fused_base("mixtral"), config, safetensors.torch.save(left))


@pytest.mark.parametrize("change", [("lora_magnitude_vector", "lora_magnitude_vector.weight")], ids=["magnitude"])
def test_magnitudes_under_their_other_name_are_read(change, adapter, base_in, tmp_path, logits):
    config, weights = adapter("dora")
    tensors = {name.replace(*change): tensor for name, tensor in safetensors.torch.load(weights).items()}
    pair = config, safetensors.torch.save(tensors)
    lines = same_as_peft(base_in, *pair, tmp_path, logits)
    assert lines
    assert all(line.endswith("lora_magnitude_vector.weight is read under another name") for line in lines)
    theirs, _ = peft_loads(base_in(), config, weights, tmp_path)
    assert torch.equal(logits(attach(base_in(), *pair)), logits(theirs)), "and it is the same adapter"


def test_both_names_of_a_magnitude_are_one_too_many(adapter, base):
    config, weights = adapter("dora")
    tensors = safetensors.torch.load(weights)
    name = next(name for name in tensors if name.endswith("lora_magnitude_vector"))
    with pytest.raises(LoadingError, match="undeclared"):
        attach(base, config, safetensors.torch.save({**tensors, f"{name}.weight": tensors[name] * 2}))


def test_the_adapters_name_left_in_the_names_is_read_as_peft_reads_it(adapter, base_in, base, tmp_path, logits):
    config, weights = adapter("lora")
    tensors = safetensors.torch.load(weights)
    named = {name.replace(".weight", ".default.weight"): tensor for name, tensor in tensors.items()}
    same_as_peft(base_in, config, safetensors.torch.save(named), tmp_path, logits)
    both = {**tensors, **{name: tensor * 2 for name, tensor in named.items()}}
    with pytest.raises(LoadingError, match="undeclared"):
        attach(base, config, safetensors.torch.save(both))


def test_names_that_the_bases_class_maps_are_mapped_as_peft_maps_them(adapter, base_in, tmp_path, logits, monkeypatch):
    config, weights = adapter("lora")
    older = {name.replace("model.layers", "older.layers"): t for name, t in safetensors.torch.load(weights).items()}

    mapping = {"^older": "model"}
    monkeypatch.setattr(type(base_in()), "_checkpoint_conversion_mapping", mapping, raising=False)
    (line, *_) = same_as_peft(base_in, config, safetensors.torch.save(older), tmp_path, logits)
    assert line == "base_model.model.older.* is read as base_model.model.model.*"
    mapped = parse_config(config)
    with pytest.raises(LoadingError, match="two tensors"):
        renamed(base_in(), mapped, {f"{PREFIX}older.a": torch.ones(1), f"{PREFIX}model.a": torch.ones(1)})
    with pytest.raises(LoadingError, match="does not begin with"):
        renamed(base_in(), mapped, {"older.a": torch.ones(1)})


WRONG = {
    "compiled": (PREFIX, f"_orig_mod.{PREFIX}", "torch.compile's"),
    "compiled-inside": (PREFIX, f"{PREFIX}_orig_mod.", "torch.compile's"),
    "distributed": (PREFIX, f"{PREFIX}module.", "DistributedDataParallel's"),
    "bare": (PREFIX, "", "without PEFT's own prefix"),
    "vision": (f"{PREFIX}model.layers.", f"{PREFIX}model.language_model.layers.", "vision-language"),
    "headless": (f"{PREFIX}model.layers.", f"{PREFIX}layers.", "AutoModel"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_beginning_that_no_name_has_is_said_with_the_change_that_mends_it(case, adapter, base_in, tmp_path, logits):
    right, wrong, meaning = WRONG[case]
    config, weights = adapter("lora")
    tensors = {name.replace(right, wrong, 1): tensor for name, tensor in safetensors.torch.load(weights).items()}
    pair = config, safetensors.torch.save(tensors)
    theirs, missing = peft_loads(base_in(), *pair, tmp_path)
    assert missing, "the control: PEFT warns,"
    assert torch.equal(logits(theirs), logits(base_in())), "and serves the base"
    with pytest.raises(PlanUnmet, match="every tensor's name begins with") as caught:
        attach(base_in(), *pair)
    assert meaning in str(caught.value)
    old, new = str(caught.value).rsplit("rename ", 1)[1].split("* to ")
    assert {new[:-1] + name.removeprefix(old) for name in tensors} == safetensors.torch.load(weights).keys()


def test_some_names_that_begin_wrongly_are_counted(adapter, base):
    config, weights = adapter("lora")
    tensors = safetensors.torch.load(weights)
    some = {name.replace("model.model.", "model._orig_mod.model.", 1) if "layers.1." in name else name: tensor
            for name, tensor in tensors.items()}  # fmt: skip
    with pytest.raises(PlanUnmet, match=f"{len(tensors) // 4} of {len(tensors)} tensors' names begin"):
        attach(base, config, safetensors.torch.save(some))


@pytest.mark.parametrize(
    ("missing", "extra"),
    [([], ["a.b"]), (["a.b"], []), (["a.b"], ["c.d"]), (["a.x.w", "b.x.w"], ["c.x.w", "d.y.w"]), (["a"], ["a."])],
)
def test_names_that_no_one_change_mends_have_no_cause(missing, extra):
    assert misnamed(missing, extra, len(extra)) == ""
