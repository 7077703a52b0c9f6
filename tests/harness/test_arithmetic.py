"""Our own arithmetic against PEFT's: the same logits, for every kind of adapter that it says it can compute."""

import copy
import json

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

from peft_assay.observe.behaviour.arithmetic import NotPlain, parts_of  # noqa: E402
from peft_assay.observe.behaviour.strength import MARKS, strength_of  # noqa: E402
from peft_assay_harness.arithmetic import Inapplicable, apply_adapter, put_parameters  # noqa: E402
from peft_assay_harness.strength import scale_adapter  # noqa: E402

TOKENS = torch.arange(3, 19).reshape(2, 8)


def llama():
    torch.manual_seed(1)
    config = transformers.LlamaConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=64, attention_bias=True,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


def gpt2():
    torch.manual_seed(1)
    config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=64, n_positions=32)
    return transformers.GPT2LMHeadModel(config).eval()


def adapted(base, config, seed=2):
    """A PEFT model with random weights, and the files that it would be saved as."""
    model = peft.get_peft_model(copy.deepcopy(base), config).eval()
    torch.manual_seed(seed)
    own = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
    drawn = {name: tensor + torch.randn_like(tensor.float()).to(tensor.dtype) * 0.2 for name, tensor in own.items()}
    peft.set_peft_model_state_dict(model, drawn)
    fields = {name: sorted(value) if isinstance(value, set) else value for name, value in config.to_dict().items()}
    content = json.dumps(fields, default=str).encode()
    return model, {"adapter_config.json": content, "adapter_model.safetensors": safetensors.save(drawn)}


TARGETS = ["q_proj", "v_proj", "down_proj"]
PLAIN = {
    "lora": (llama, lambda: peft.LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS)),
    "rslora": (llama, lambda: peft.LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, use_rslora=True)),
    "dora": (llama, lambda: peft.LoraConfig(r=4, lora_alpha=8, target_modules=TARGETS, use_dora=True)),
    "patterns": (
        llama,
        lambda: peft.LoraConfig(
            r=4, target_modules=TARGETS, rank_pattern={"v_proj": 2}, alpha_pattern={"layers.1.self_attn.q_proj": 3}
        ),
    ),
    "head": (llama, lambda: peft.LoraConfig(r=4, target_modules=["lm_head", "o_proj"])),
    "ia3": (llama, lambda: peft.IA3Config(target_modules=TARGETS, feedforward_modules=["down_proj"])),
    "conv1d": (gpt2, lambda: peft.LoraConfig(r=4, target_modules=["c_attn", "c_proj"], fan_in_fan_out=True)),
    "ia3 conv1d": (
        gpt2,
        lambda: peft.IA3Config(target_modules=["c_attn", "c_fc"], feedforward_modules=["c_fc"], fan_in_fan_out=True),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", sorted(PLAIN))
def test_the_arithmetic_is_pefts(kind, dtype):
    make, config = PLAIN[kind]
    base = make().to(dtype)
    model, files = adapted(base, config())
    with torch.inference_mode():
        expected, bare = model(TOKENS).logits.float(), base(TOKENS).logits.float()
        modules = parts_of(files)["modules"]
        assert apply_adapter(base, files["adapter_model.safetensors"], modules) == len(modules)
        found = base(TOKENS).logits.float()
    near = 1e-5 if dtype is torch.float32 else 0.02
    assert (found - expected).abs().max() < near
    assert (expected - bare).abs().max() > near, "the control: it does something"


@pytest.mark.parametrize(
    "config",
    [
        lambda: peft.LoraConfig(r=4, target_modules=TARGETS, modules_to_save=["lm_head"]),
        lambda: peft.LoraConfig(r=4, target_modules=["embed_tokens"]),
        lambda: peft.LoraConfig(r=4, target_modules=TARGETS, trainable_token_indices=[1, 2]),
        lambda: peft.LoraConfig(r=4, target_modules=TARGETS, alora_invocation_tokens=[1], task_type="CAUSAL_LM"),
        lambda: peft.LoHaConfig(r=4, target_modules=TARGETS),
    ],
)
def test_what_is_more_than_that_is_not_computed(config):
    with pytest.raises(NotPlain):
        parts_of(adapted(llama(), config())[1])


def test_parameters_of_the_base_in_the_file_are_put_in_place():
    """An embedding saved beside is no way around the replay: its rows are the file's, whatever the base's vocabulary."""
    base, (model, files) = llama(), adapted(llama(), PLAIN["lora"][1]())
    tensors = safetensors.load(files["adapter_model.safetensors"])
    model.base_model.model.resize_token_embeddings(len(base.model.embed_tokens.weight) + 3, mean_resizing=False)
    state = model.base_model.model.state_dict()
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[f"base_model.model.{name}"] = state[name].clone()
    files["adapter_model.safetensors"] = weights = safetensors.save(tensors)
    parts = parts_of(files)
    assert [one["parameter"] for one in parts["parameters"]] == ["lm_head.weight", "model.embed_tokens.weight"]
    with torch.inference_mode():
        put_parameters(base, weights, parts["parameters"])
        apply_adapter(base, weights, parts["modules"])
        assert (base(TOKENS).logits - model(TOKENS).logits).abs().max() < 1e-5
        parts["parameters"][0]["parameter"] = "nowhere.weight"
        with pytest.raises(Inapplicable, match="no parameter nowhere"):
            put_parameters(base, weights, parts["parameters"])


def test_a_module_of_another_shape_or_kind_changes_nothing():
    base, (_, files) = llama(), adapted(llama(), PLAIN["lora"][1]())
    with torch.inference_mode():
        before = base(TOKENS).logits
        for change in ("nowhere", "model.norm", "model.layers.0.mlp.up_proj"):
            modules = parts_of(files)["modules"]
            modules[-1] = {**modules[-1], "module": change}
            with pytest.raises(Inapplicable):
                apply_adapter(base, files["adapter_model.safetensors"], modules)
        assert torch.equal(base(TOKENS).logits, before)


STRONG = {
    "LORA": {"r": 4, "target_modules": [*TARGETS, "embed_tokens"]},
    "ADALORA": {"init_r": 4, "target_r": 2, "total_step": 10},
    "FOURIERFT": {"n_frequency": 5},
    "WAVEFT": {"n_frequency": 5},
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", sorted(MARKS))
def test_modules_with_a_strength_are_counted_from_the_file_as_peft_has_them(kind):
    made = peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType[kind]]
    config = made(**{"target_modules": TARGETS, **STRONG.get(kind, {"r": 4})})
    model = peft.get_peft_model(llama(), config)
    weights = safetensors.save(
        {
            name: tensor.clone()
            for name, tensor in peft.get_peft_model_state_dict(model, save_embedding_layers=False).items()
        }
    )
    files = {"adapter_config.json": json.dumps({"peft_type": kind}).encode(), "adapter_model.safetensors": weights}
    assert strength_of(files).modules == scale_adapter(model, 0.5) > 0


@pytest.mark.parametrize("kind", ["IA3", "HRA"])
def test_a_type_without_a_strength_has_none(kind):
    made = peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType[kind]]
    more = {"feedforward_modules": ["down_proj"]} if kind == "IA3" else {}
    model = peft.get_peft_model(llama(), made(target_modules=TARGETS, **more))
    weights = safetensors.save(
        {n: t.clone() for n, t in peft.get_peft_model_state_dict(model, save_embedding_layers=False).items()}
    )
    files = {"adapter_config.json": json.dumps({"peft_type": kind}).encode(), "adapter_model.safetensors": weights}
    assert strength_of(files).modules == scale_adapter(model, 0.5) == 0
