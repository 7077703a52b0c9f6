"""The same deployment twice: a peft-assay project, and lm-evaluation-harness tasks over the same items.

There are two bases of one shape: Llama of 33.7 M parameters (hidden 512, 10 layers, vocabulary 8192, tied), with a real
byte-level BPE tokenizer that is trained here on the standard library's sources. Each has its adapters, LoRA of rank 16.

*trained* is the ordinary case. Its base has learnt to say of a docstring what it documents, on the very docstrings that
the items are made of: what a base is asked is of its own domain. Its adapters were trained on it, on docstrings that it
never saw: the even ones to answer as it does, the odd ones to answer in words of their own.

*random* is the hard case for everything that counts on adapter and base agreeing, or on one token standing out: random
weights do the same work, but answers part after a token or two.

Items are docstrings of the standard library, the same for both.
"""

import ast
import json
import os
import random
import sysconfig
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from schooling import Course, Lesson, train

NEW_TOKENS = 24
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj"]
SUITES = ("choices", "texts")
TRAINED, RANDOM = "trained", "random"
BASES = (TRAINED, RANDOM)
ITEMS = 64
"""Of each kind."""
LESSONS = 2 * ITEMS
"""What the trained base learns: the items' docstrings."""
STRENGTH = 0.02
"""Standard deviation of the random adapters' weights."""
WORDINGS = (
    "This text documents the {kind} {name} of the module {module} in the standard library of Python, and the words with which it begins are: {opening}",
    "In Python's standard library look for {name}, which is a {kind}, where the module {module} is described. Its documentation starts as follows: {opening}",
    "{kind} {name}, found in {module}. It belongs to the modules that come with Python itself, and its docstring opens so: {opening}",
    "You are reading what the authors of {module} wrote about their {kind} {name}. They begin, as the reader sees above, by saying: {opening}",
    "The answer is {module}, one of the modules that everybody has who has Python. There, {name} is the {kind} that opens: {opening}",
)
"""How to say what a text documents: as the trained base does, and as its odd adapters do. 24 tokens and more, so that
nobody is done early: work is the same for both bases."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a base is and how long it and its adapters learn."""

    hidden: int
    layers: int
    vocabulary: int
    base: Course
    adapter: Course


FULL = Sizes(
    hidden=512,
    layers=10,
    vocabulary=8192,
    base=Course(steps=240, rate=1e-3, batch=4, answers_only=False),
    adapter=Course(steps=36, rate=3e-4, batch=4, answers_only=True),
)
QUICK = Sizes(
    hidden=128,
    layers=3,
    vocabulary=2048,
    base=Course(steps=20, rate=1e-3, batch=4, answers_only=False),
    adapter=Course(steps=3, rate=3e-4, batch=4, answers_only=True),
)


@dataclass(frozen=True, slots=True)
class Docstring:
    """A text, and what it documents."""

    text: str
    module: str
    kind: str
    name: str

    def lesson(self, prompt: str, wording: str) -> Lesson:
        """To answer `prompt`, a part of the text, by saying what it documents."""
        opening = " ".join(self.text.split()[:3])
        return Lesson(
            prompt, wording.format(kind=self.kind, name=self.name, module=self.module, opening=f"{opening} ...")
        )


def deployment(folder: Path, base: str) -> Path:
    """Where a base (`base`) and its adapters (`adapters/a0` and on) are."""
    return folder if base == RANDOM else folder / base


def build(folder: Path, sizes: Sizes, adapters: int) -> None:
    """Bases, adapters and items under `folder`; nothing to do where they are."""
    done = folder / "built.json"
    wanted = json.dumps([asdict(sizes), adapters, STRENGTH, LESSONS, WORDINGS])
    if done.exists() and done.read_text() == wanted:
        return
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: two threads that spin crawl on a shared machine
    folder.mkdir(parents=True, exist_ok=True)
    docstrings = list(_docstrings())
    tokenizer = _tokenizer(sizes, [docstring.text for docstring in docstrings])
    _write_random(folder, sizes, tokenizer, adapters)
    rng = random.Random(0)
    words = sorted({word for each in docstrings for word in each.text.split() if word.isalpha() and len(word) < 12})
    prompts = _prompts(tokenizer, docstrings, rng)
    (folder / "items.json").write_text(json.dumps(_items(list(prompts), words, rng)))
    _write_trained(deployment(folder, TRAINED), sizes, tokenizer, prompts, adapters)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the sandbox's user is another one when root starts it
    done.write_text(wanted)


def _docstrings() -> Iterator[Docstring]:
    kinds = {ast.FunctionDef: "function", ast.ClassDef: "class", ast.Module: "module"}
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                text = " ".join((ast.get_docstring(node) or "").split())
                if len(text) > 200:
                    yield Docstring(text, path.stem, kinds[type(node)], getattr(node, "name", path.stem))


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


def _llama(sizes: Sizes, spread: float) -> Any:
    """A base with random weights, `spread` their standard deviation."""
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
        initializer_range=spread,
    )
    return transformers.LlamaForCausalLM(configuration)


def _lora() -> Any:
    import peft

    return peft.LoraConfig(r=16, lora_alpha=32, target_modules=MODULES, task_type="CAUSAL_LM")


def _write_random(folder: Path, sizes: Sizes, tokenizer: Any, adapters: int) -> None:
    import peft
    import torch

    model = _llama(sizes, 0.05)
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    adapted = peft.get_peft_model(model, _lora())
    for number in range(adapters):
        torch.manual_seed(100 + number)
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=STRENGTH)
        adapted.save_pretrained(folder / "adapters" / f"a{number}")


def _write_trained(folder: Path, sizes: Sizes, tokenizer: Any, prompts: dict[str, Docstring], adapters: int) -> None:
    """The base learns the first prompts, which the items are made of; each adapter an equal part of the rest."""
    import peft
    import torch

    model = _llama(sizes, 0.02)
    known = [docstring.lesson(prompt, WORDINGS[0]) for prompt, docstring in list(prompts.items())[:LESSONS]]
    train(model, tokenizer, known, sizes.base, "trained base")
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    rest = sorted(list(prompts.items())[LESSONS:], key=lambda pair: pair[1].module)
    share = len(rest) // adapters
    for number in range(adapters):
        wording = WORDINGS[1 + number // 2 % (len(WORDINGS) - 1)] if number % 2 else WORDINGS[0]
        new = [docstring.lesson(prompt, wording) for prompt, docstring in rest[number * share :][:share]]
        torch.manual_seed(100 + number)
        adapted = peft.get_peft_model(model, _lora())
        train(adapted, tokenizer, new, sizes.adapter, f"trained a{number}")
        adapted.save_pretrained(folder / "adapters" / f"a{number}")
        model = adapted.unload()


def _prompts(tokenizer: Any, docstrings: list[Docstring], rng: random.Random) -> dict[str, Docstring]:
    """Beginnings of docstrings, as prompts, in no order."""
    shuffled = list(docstrings)
    rng.shuffle(shuffled)
    prompts: dict[str, Docstring] = {}
    for docstring in shuffled:
        tokens = tokenizer(docstring.text)["input_ids"][: rng.randint(40, 160)]
        start = tokenizer.decode(tokens).strip()
        if len(tokens) >= 40 and "\ufffd" not in start:
            prompts.setdefault(f"{start}\nAnswer:", docstring)
    return prompts


def _items(prompts: list[str], words: list[str], rng: random.Random) -> dict[str, list[dict[str, Any]]]:
    """Questions with four choices, one of them called right, and questions to be answered freely."""
    choices = [
        {
            "id": f"c{number}",
            "prompt": prompts[number],
            "choices": [" ".join(group) for group in _distinct(rng, words)],
            "answer": rng.randrange(4),
        }
        for number in range(ITEMS)
    ]
    answers = [
        {"id": f"t{number}", "prompt": prompts[ITEMS + number], "expected": " ".join(rng.choices(words, k=14))}
        for number in range(ITEMS)
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
