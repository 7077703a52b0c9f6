"""The same deployment twice: a peft-assay project, and lm-evaluation-harness tasks over the same items.

The base is a Llama of 33.7 M parameters (hidden 512, 10 layers, vocabulary 8192, tied) with random weights and a real
byte-level BPE tokenizer, trained here on the standard library's sources; adapters are LoRA of rank 16 with random
weights. Random weights do the same work as trained ones, and are the hard case for everything that counts on adapter
and base agreeing: their answers part after a token or two. As many adapters more have weights a tenth of that, and
answer nearly as the base does. Items are docstrings of the standard library.
"""

import ast
import json
import random
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NEW_TOKENS = 24
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj"]
SUITES = ("choices", "texts")
FAR, NEAR = "a", "n"
"""How adapters are named: those that part from the base's answers at once, and those that mostly keep to them."""
STRENGTHS = {FAR: 0.02, NEAR: 0.002}
"""Standard deviation of their weights."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the base is; the full one unless somebody is developing."""

    hidden: int = 512
    layers: int = 10
    vocabulary: int = 8192


QUICK = Sizes(hidden=128, layers=3, vocabulary=2048)


def build(folder: Path, sizes: Sizes, adapters: int) -> None:
    """Base, adapters and items under `folder`; nothing to do where they are."""
    done = folder / "built.json"
    wanted = json.dumps([sizes.hidden, sizes.layers, sizes.vocabulary, adapters, STRENGTHS])
    if done.exists() and done.read_text() == wanted:
        return
    folder.mkdir(parents=True, exist_ok=True)
    texts = list(_docstrings())
    tokenizer = _tokenizer(sizes, texts)
    _write_models(folder, sizes, tokenizer, adapters)
    items = _items(tokenizer, texts)
    (folder / "items.json").write_text(json.dumps(items))
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the sandbox's user is another one when root starts it
    done.write_text(wanted)


def _docstrings() -> Iterator[str]:
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                text = " ".join((ast.get_docstring(node) or "").split())
                if len(text) > 200:
                    yield text


def _tokenizer(sizes: Sizes, texts: list[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    sources = [
        path.read_text("utf-8", "replace") for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    ]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    trainer = trainers.BpeTrainer(
        vocab_size=sizes.vocabulary,
        special_tokens=list(special.values()),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    pieces.train_from_iterator([*texts, *sources], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=pieces, padding_side="left", **special)


def _write_models(folder: Path, sizes: Sizes, tokenizer: Any, adapters: int) -> None:
    import peft
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    configuration = transformers.LlamaConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        intermediate_size=sizes.hidden * 11 // 4,
        num_hidden_layers=sizes.layers,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        initializer_range=0.05,
    )
    model = transformers.LlamaForCausalLM(configuration)
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    lora = peft.LoraConfig(r=16, lora_alpha=32, target_modules=MODULES, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, lora)
    for kind, strength in STRENGTHS.items():
        for number in range(adapters):
            torch.manual_seed(100 + number)
            for name, parameter in adapted.named_parameters():
                if "lora_" in name:
                    torch.nn.init.normal_(parameter, std=strength)
            adapted.save_pretrained(folder / "adapters" / f"{kind}{number}")


def _items(tokenizer: Any, texts: list[str]) -> dict[str, list[dict[str, Any]]]:
    """64 questions with four choices, one of them called right, and 64 to be answered freely."""
    rng = random.Random(0)
    words = sorted({word for text in texts for word in text.split() if word.isalpha() and len(word) < 12})
    rng.shuffle(texts)
    starts = []
    for text in texts:
        tokens = tokenizer(text)["input_ids"][: rng.randint(40, 160)]
        start = tokenizer.decode(tokens).strip()
        if len(tokens) >= 40 and "\ufffd" not in start:
            starts.append(f"{start}\nAnswer:")
    starts = list(dict.fromkeys(starts))
    choices = [
        {
            "id": f"c{number}",
            "prompt": starts[number],
            "choices": [" ".join(group) for group in _distinct(rng, words)],
            "answer": rng.randrange(4),
        }
        for number in range(64)
    ]
    answers = [
        {"id": f"t{number}", "prompt": starts[64 + number], "expected": " ".join(rng.choices(words, k=14))}
        for number in range(64)
    ]
    return {"choices": choices, "texts": answers}


def _distinct(rng: random.Random, words: list[str]) -> list[list[str]]:
    drawn = rng.sample(words, 16)
    return [drawn[at * 4 : at * 4 + rng.randint(1, 4)] for at in range(4)]


# The same items, as either side takes them.

SUITE = """apiVersion: peft-assay/v1
kind: Suite
id: {id}
version: "1"
description: {id} of the benchmark
source: "the standard library's docstrings"
confidentiality: public
measure: {measure}
scorer: {{kind: {scorer}}}
maxNewTokens: {tokens}
cases: cases.jsonl
"""
PROJECT = """apiVersion: peft-assay/v1
kind: Assay
context:
  name: bench
  purpose: measures what certifying costs
  base:
    path: {base}
    licence: apache-2.0
  engine:
    name: peft
    dtype: {dtype}
policy: ./policy.yaml
suites: [./choices/suite.yaml, ./texts/suite.yaml]
"""
POLICY = """apiVersion: peft-assay/v1
kind: Policy
id: bench
description: Admits whatever was observed whole, so that certificates are really issued.
rules:
  - id: observed
    assert: size(plan.unmet) == 0 && effect.base_unchanged && sandbox.events == 0
    why: It was not observed whole.
    next: "see why: peft-assay report {source}"
  - id: asked
    assert: suite.*.complete && suite.*.n >= params.least
    why: Not every case was asked.
    next: "see why: peft-assay report {source}"
params:
  least: 1
"""
TASK = """task: assay_{id}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: {kind}
doc_to_text: "{{{{prompt}}}}"
{rest}
"""
TASK_REST = {
    "choices": """doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}""",
    "texts": f"""doc_to_target: "{{{{expected}}}}"
generation_kwargs: {{until: [], max_gen_toks: {NEW_TOKENS}, do_sample: false}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true}}""",
}


def write_project(folder: Path, base: Path, items: dict[str, list[dict[str, Any]]], dtype: str) -> Path:
    """A peft-assay project over `items`, without a workspace."""
    folder.mkdir(parents=True)
    (folder / "peft-assay.yaml").write_text(PROJECT.format(base=base, dtype=dtype))
    (folder / "policy.yaml").write_text(POLICY)
    for name, (measure, scorer) in {"choices": ("choice", "choice"), "texts": ("generate", "exact")}.items():
        (folder / name).mkdir()
        text = SUITE.format(id=name, measure=measure, scorer=scorer, tokens=NEW_TOKENS)
        (folder / name / "suite.yaml").write_text(text)
        (folder / name / "cases.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items[name]))
    return folder


def write_tasks(folder: Path, items: dict[str, list[dict[str, Any]]]) -> Path:
    """lm-evaluation-harness tasks over `items`, with local data."""
    folder.mkdir(parents=True)
    for name, kind in {"choices": "multiple_choice", "texts": "generate_until"}.items():
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(item) + "\n" for item in items[name]))
        text = TASK.format(id=name, file=data, kind=kind, rest=TASK_REST[name])
        (folder / f"{name}.yaml").write_text(text)
    return folder


def items_of(folder: Path, count: int) -> dict[str, list[dict[str, Any]]]:
    """The first `count` items of each kind."""
    items: dict[str, list[dict[str, Any]]] = json.loads((folder / "items.json").read_text())
    return {name: cases[:count] for name, cases in items.items()}
