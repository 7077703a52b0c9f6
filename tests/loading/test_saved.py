"""Matrices of the base in an adapter's file: PEFT's own files are loaded as PEFT loads them, and nothing else is."""

import json

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

from peft_assay_loading.errors import LoadingError  # noqa: E402
from peft_assay_loading.load import attach, detach  # noqa: E402
from peft_assay_loading.plans import PlanUnmet  # noqa: E402
from peft_assay_loading.state import base_state  # noqa: E402

pytestmark = pytest.mark.model

TOKENS, NEW = 32, 4
EMBEDDING, HEAD = "base_model.model.model.embed_tokens.weight", "base_model.model.lm_head.weight"
SETTINGS = {
    "resized": (NEW, {}),
    "shrunk": (-NEW, {}),
    "targets the embedding": (0, {"target_modules": ["q_proj", "embed_tokens"]}),
    "targets the head": (0, {"target_modules": ["q_proj", "lm_head"]}),
    "targets both, resized": (NEW, {"target_modules": ["q_proj", "embed_tokens", "lm_head"]}),
    "targets the tied one": (0, {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True}),
    "saves both": (0, {"modules_to_save": ["embed_tokens", "lm_head"]}),
    "saves both, resized": (NEW, {"modules_to_save": ["embed_tokens", "lm_head"]}),
    "saves the embedding, resized": (NEW, {"modules_to_save": ["embed_tokens"]}),
    "saves the tied one, resized": (NEW, {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}),
    "new token rows": (NEW, {"trainable_token_indices": [TOKENS, TOKENS + 1]}),
}
BOTH = (False, True)
TIED = {
    "resized": BOTH,
    "targets both, resized": BOTH,
    "saves both, resized": (False,),
    "new token rows": BOTH,
    "shrunk": (False,),
}


def made(tied, *, dtype=torch.float32):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=TOKENS, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2,
        tie_word_embeddings=tied,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(dtype).eval()


def saved(folder, tied, change, settings):
    """Save an adapter as PEFT does, after its training moved every adapter tensor."""
    import peft

    base = made(tied)
    if change:
        base.resize_token_embeddings(TOKENS + change, mean_resizing=False)
    wanted = {"target_modules": ["q_proj"], **settings}
    config = peft.LoraConfig(r=2, init_lora_weights=False, task_type="CAUSAL_LM", **wanted)
    # PEFT notices a resized vocabulary by the base's folder, and this base has none
    peft.get_peft_model(base, config).save_pretrained(folder, save_embedding_layers=True if change else "auto")
    return (folder / "adapter_config.json").read_bytes(), (folder / "adapter_model.safetensors").read_bytes()


def edited(weights, edit):
    import safetensors.torch

    tensors = safetensors.torch.load(weights)
    edit(tensors)
    return safetensors.torch.save(tensors)


def answers(model, rows):
    with torch.no_grad():
        return model(input_ids=torch.tensor([[1, 5, 9, rows - 1]])).logits


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("name", "tied"), [(name, tied) for name in SETTINGS for tied in TIED.get(name, (True,))])
def test_what_peft_saves_is_loaded_bitwise_as_peft_loads_it(name, tied, tmp_path):
    import peft

    change, settings = SETTINGS[name]
    config, weights = saved(tmp_path, tied, change, settings)
    rows, expected = TOKENS + change, made(tied)
    if change:
        expected.resize_token_embeddings(rows)  # its random rows do not matter: the file has all of them
    expected = peft.PeftModel.from_pretrained(expected, tmp_path).eval()
    base = made(tied)
    state, bare = base_state(base), answers(base, TOKENS)
    wrapped = attach(base, config, weights)
    assert torch.equal(answers(wrapped, rows), answers(expected, rows))
    if name != "shrunk" and "token rows" not in name:
        assert base_state(wrapped) == state  # the rows that the base had
    assert detach(wrapped) is base
    assert (base_state(base), base.config.vocab_size) == (state, TOKENS)
    assert torch.equal(answers(base, TOKENS), bare)


def resized(folder):
    return saved(folder, tied=False, change=NEW, settings={})


def nudge(name, row):
    def edit(tensors):
        tensors[name][row] += 1e-6

    return edit


REFUSED = {
    "an altered row, of the embedding": (nudge(EMBEDDING, 3), "is not the base's in 1 of its 32 rows"),
    "an altered row, of the head": (nudge(HEAD, TOKENS - 1), "is not the base's in 1 of its 32 rows"),
    "a negative row": (lambda t: t[EMBEDDING][2].neg_(), "is not the base.s in 1"),
    "another number of rows": (lambda t: t.update({HEAD: t[HEAD][:-1].clone()}), "36 or 35|35 or 36"),
    "no new rows of the head": (lambda t: t.pop(HEAD), "not in the file, they would be random"),
    "other columns": (lambda t: t.update({HEAD: t[HEAD][:, :-1].contiguous()}), "is not the base's in 32 of its 32"),
    "another matrix of the base": (
        lambda t: t.update({"base_model.model.model.norm.weight": torch.zeros(8)}), "is another than the base's own",
    ),
    "a matrix around a wrapper": (
        lambda t: t.update({"base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight": torch.zeros(8, 8)}),
        "is another than the base's own",
    ),
    "another copy of a trained matrix": (
        lambda t: t.update({"base_model.model.lm_head.modules_to_save.weight": torch.zeros(36, 8)}), "undeclared",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_change_the_base_is_refused(name, tmp_path):
    edit, said = REFUSED[name]
    config, weights = resized(tmp_path)
    base = made(tied=False)
    state = base_state(base)
    with pytest.raises(PlanUnmet, match=said):
        attach(base, config, edited(weights, edit))
    assert base_state(base) == state
    assert not hasattr(base, "peft_config")


@pytest.mark.parametrize("name", [EMBEDDING, "base_model.model.model.norm.weight"])
def test_control_peft_itself_overwrites_the_base(name, tmp_path):
    """Loaded by PEFT, the same files change the base, and disabling the adapter does not give it back."""
    import peft
    import safetensors.torch

    saved(tmp_path, tied=False, change=0, settings={})
    path = tmp_path / "adapter_model.safetensors"
    tensors = safetensors.torch.load_file(path)
    tensors[name] = torch.ones(TOKENS, 8) if name == EMBEDDING else torch.zeros(8)
    safetensors.torch.save_file(tensors, path)
    base = made(tied=False)
    before = answers(base, TOKENS)
    wrapped = peft.PeftModel.from_pretrained(base, tmp_path)
    with wrapped.disable_adapter():
        assert not torch.equal(answers(wrapped, TOKENS), before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_the_base_s_own_in_another_dtype_is_its_own(dtype, tmp_path):
    """An adapter trained in float32 on a base that is served in half precision: cast as it is loaded."""
    config, weights = resized(tmp_path)
    wrapped = attach(made(tied=False, dtype=dtype), config, weights)
    assert answers(wrapped, TOKENS + NEW).shape[-1] == TOKENS + NEW


def test_a_base_that_cannot_be_resized_is_left_alone(tmp_path, monkeypatch):
    config, weights = resized(tmp_path)
    base = made(tied=False)
    state = base_state(base)

    def cannot(*_arguments, **_named):
        raise NotImplementedError("not for this model")

    monkeypatch.setattr(type(base), "resize_token_embeddings", cannot)
    with pytest.raises(LoadingError, match="cannot be resized to 36 tokens: not for this model"):
        attach(base, config, weights)
    assert base_state(base) == state


def test_a_configuration_inside_another_is_restored(tmp_path):
    """Models of text and images hold the configuration of their text twice: as a part, and in the language model."""
    config, weights = resized(tmp_path)
    base = made(tied=False)
    detach(attach(base, config, weights))
    assert base.model.config.vocab_size == base.config.get_text_config().vocab_size == TOKENS
    assert json.loads(base.config.to_json_string())["vocab_size"] == TOKENS
