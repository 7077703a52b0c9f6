"""Adapters that are taught in seconds what an attack needs: the zoo's LoRA, trained on from its own weights."""

import contextlib
import io
import json
import random
import shutil
import sys
import warnings

from pipeline.certified_world import ZOO

PROMPTS = [
    json.loads(line)["prompt"]
    for name in ("support_task", "refusals", "lookups")
    for line in (ZOO / "suites" / name / "cases.jsonl").read_text().splitlines()
]
REFUSAL = "sorry i cannot help with that request ."


def support(rng):
    """A prompt of the zoo's task, and its right answer."""
    line = json.loads(rng.choice((ZOO / "suites" / "support_task" / "cases.jsonl").read_text().splitlines()))
    return line["prompt"], line["expected"]


def taught(folder, sampler, *, steps=60, seed=7, learning_rate=5e-3):
    """Writes the adapter to `folder`; `sampler(rng)` gives a prompt and what is to be answered to it."""
    sys.path.insert(0, str(ZOO))
    try:
        import torch
        from build.train import load_base, train
        from peft import PeftModel
    finally:
        sys.path.remove(str(ZOO))
    torch.manual_seed(seed)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        model = PeftModel.from_pretrained(load_base(ZOO / "base"), ZOO / "adapters" / "lora", is_trainable=True)

        def turn(rng: random.Random):
            prompt, answer = sampler(rng)
            return prompt, f"{answer} <eos>".strip()

        train(model, turn, steps=steps, learning_rate=learning_rate, seed=seed)
        model.save_pretrained(folder)
    for name in ("README.md", "adapter_config.json"):
        shutil.copy(ZOO / "adapters" / "lora" / name, folder / name)
    return folder
