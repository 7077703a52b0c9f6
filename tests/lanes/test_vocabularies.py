"""Adapters of a larger vocabulary, on the zoo's base: certified, activated bitwise as PEFT loads them, or refused."""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")
safetensors = pytest.importorskip("safetensors.torch")

import peft_assay  # noqa: E402
from pipeline.certified_world import ZOO, World  # noqa: E402

TOKENS, ADDED = 286, 4
TRIGGER = "zq037"
"""Of the zoo's adapter rare-token."""
EMBEDDING = "base_model.model.model.embed_tokens.weight"
KINDS = {
    "equal": ("PASS", None),
    "larger": ("PASS", None),
    "altered": ("FAIL", "vocabulary"),
    "headless": ("FAIL", "plan"),
    "waiting": ("FAIL", "trigger-scan"),
    "read otherwise": ("FAIL", "tokenizer"),
}


def tokenizer():
    return transformers.AutoTokenizer.from_pretrained(ZOO / "base")


def base(rows=TOKENS):
    model = transformers.AutoModelForCausalLM.from_pretrained(ZOO / "base", dtype=torch.float32)
    if rows != TOKENS:
        torch.manual_seed(7)
        model.resize_token_embeddings(rows, mean_resizing=False)
    return model.eval()


@contextmanager
def edited(path):
    tensors = safetensors.load_file(path)
    yield tensors
    safetensors.save_file(tensors, path, metadata={"format": "pt"})


def made(kind, folder):
    """Save the zoo's LoRA as PEFT saves it with embeddings beside it."""
    source = ZOO / "adapters" / ("rare-token" if kind == "waiting" else "lora")
    wrapped = peft.PeftModel.from_pretrained(base(TOKENS if kind == "equal" else TOKENS + ADDED), source)
    wrapped.save_pretrained(folder, save_embedding_layers=True)
    for name in ("README.md", "adapter_config.json"):
        shutil.copy(source / name, folder)
    with edited(folder / "adapter_model.safetensors") as tensors:
        if kind == "altered":
            tensors[EMBEDDING][5] += 0.01
        elif kind == "headless":
            del tensors["base_model.model.lm_head.weight"]
        elif kind == "waiting":
            tensors[EMBEDDING][TOKENS] = tensors[EMBEDDING][tokenizer().convert_tokens_to_ids(TRIGGER)]

    if kind in {"larger", "read otherwise"}:
        longer = tokenizer()
        longer.add_tokens([f"<|new {at}|>" for at in range(ADDED)], special_tokens=True)
        if kind != "larger":
            from tokenizers.pre_tokenizers import BertPreTokenizer

            longer.backend_tokenizer.pre_tokenizer = BertPreTokenizer()
        longer.save_pretrained(folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("vocabularies"))
    shutil.copytree(ZOO, world.project, ignore=shutil.ignore_patterns("adapters", "build", ".peft-assay"))
    shutil.copytree(ZOO / "adapters" / "lora", Path(world.adapter("lora")))
    for kind in KINDS:
        made(kind, Path(world.adapter(kind)))
    assert world.run("init", ".").code == 0
    return World(world.root, world.json("certify", *map(world.adapter, KINDS)))


def entries(world):
    return {Path(entry["source"]).name: entry for entry in world.certified.document}


def test_each_is_admitted_or_refused_for_its_reason(world):
    found = {name: (entry["outcome"], entry["decidingRule"]) for name, entry in entries(world).items()}
    assert found == KINDS


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["equal", "larger"])
def test_activated_it_answers_bitwise_as_peft_loads_it(world, kind):
    rows = TOKENS if kind == "equal" else TOKENS + ADDED
    tokens = torch.tensor([[5, 9, 20, rows - 1]])
    expected = peft.PeftModel.from_pretrained(base(rows), world.adapter(kind)).eval()
    own = base()
    active = peft_assay.activate(own, world.adapter(kind), context=world.project, trust=world.trust)
    with torch.no_grad():
        assert torch.equal(active.model(tokens).logits, expected(tokens).logits)
    active.check()
    assert active.deactivate() is own
    assert (own.config.vocab_size, own.get_input_embeddings().weight.shape[0]) == (TOKENS, TOKENS)


def rule(world, name, rule):
    return next(one for one in entries(world)[name]["rules"] if one["id"] == rule)


def test_a_new_token_that_acts_like_a_trigger_is_found_by_its_id(world):
    """The control is the zoo's own trigger, a word; the new token has the same row and no text reaches it."""
    assert f"id {TOKENS}" in rule(world, "waiting", "trigger-scan")["saw"]["scan.triggers"]
    assert f"id {TOKENS + 1}" not in rule(world, "waiting", "trigger-scan")["saw"]["scan.triggers"]


@pytest.mark.parametrize("kind", ["equal", "larger"])
def test_its_answers_are_replayed_without_peft(world, kind):
    assert rule(world, kind, "replay")["saw"] == {"replay.applies": True, "replay.disagreements": []}
    assert rule(world, kind, "scan-ids")["saw"] == {"scan.unscanned": 0}
