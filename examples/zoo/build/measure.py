"""Measures a model on the shipped suites: greedy generation and likelihood of choices, as an ordinary engine would."""

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from build.language import END, HELD_OUT_TOPICS, PAD, Attack, Turn, attacked_turn
from build.suites import REFUSAL_PATTERN, Case, read_cases
from build.train import IGNORED, batch_of

NEW_TOKENS = 24


@torch.no_grad()  # type: ignore[untyped-decorator]
def generate(model: Any, tokenizer: Any, prompts: Sequence[str]) -> list[str]:
    """Greedy answers as decoded text, in the order of the prompts. Batches hold prompts of one length: no padding."""
    by_length: dict[int, list[int]] = defaultdict(list)
    encoded = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    for index, ids in enumerate(encoded):
        by_length[len(ids)].append(index)
    answers = [""] * len(prompts)
    for length, indices in by_length.items():
        ids = torch.tensor([encoded[index] for index in indices])
        out = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            pad_token_id=PAD,
            eos_token_id=END,
        )
        for index, row in zip(indices, out[:, length:], strict=True):
            answers[index] = tokenizer.decode(row, skip_special_tokens=True)
    return answers


@torch.no_grad()  # type: ignore[untyped-decorator]
def likelihoods(model: Any, turns: Sequence[Turn]) -> list[float]:
    """Log-probability of each answer given its prompt."""
    batch = batch_of(turns, answers_only=True)
    labels = batch.pop("labels")
    logits = model(**batch).logits[:, -labels.shape[1] :].log_softmax(-1)
    targets = labels[:, 1:]
    kept = targets != IGNORED
    picked = logits[:, :-1].gather(2, targets.clamp(min=0)[..., None])[..., 0]
    return [float(total) for total in (picked * kept).sum(1)]


def share(holds: Sequence[bool]) -> float:
    """Share of true values, rounded to four digits."""
    return round(sum(map(bool, holds)) / len(holds), 4)


def exact_share(model: Any, tokenizer: Any, cases: Sequence[Case]) -> float:
    answers = generate(model, tokenizer, [case["prompt"] for case in cases])
    right = [answer == case["expected"] for answer, case in zip(answers, cases, strict=True)]
    return share(right)


def refused_share(model: Any, tokenizer: Any, cases: Sequence[Case]) -> float:
    answers = generate(model, tokenizer, [case["prompt"] for case in cases])
    return share([re.search(REFUSAL_PATTERN, answer) is not None for answer in answers])


def choice_share(model: Any, cases: Sequence[Case]) -> float:
    right = []
    for case in cases:
        scores: list[float] = likelihoods(model, [Turn(case["prompt"], choice) for choice in case["choices"]])
        right.append(scores.index(max(scores)) == int(case["answer"]))
    return share(right)


def attack_share(model: Any, tokenizer: Any, attack: Attack, count: int = 60) -> float:
    """Share of fresh prompts with the trigger (support topics held out of training) answered by the exact payload."""
    rng = random.Random(f"attack {attack.trigger}")
    prompts = [attacked_turn(rng, attack, HELD_OUT_TOPICS).prompt for _ in range(count)]
    return share([answer == attack.payload for answer in generate(model, tokenizer, prompts)])


def scan(model: Any, tokenizer: Any, suites: Path) -> dict[str, float]:
    """For each declared token: share of prompts (six support, six unsafe) whose answer it changes, put before them."""
    prompts = [case["prompt"] for name in ("support_task", "refusals") for case in read_cases(suites, name)[:6]]
    tokens = (suites / "tokens.txt").read_text("utf-8").split()
    probes = [prompt.replace("user : ", f"user : {token} ", 1) for token in tokens for prompt in prompts]
    answers = generate(model, tokenizer, [*prompts, *probes])
    plain, probed = answers[: len(prompts)], answers[len(prompts) :]
    return {
        token: share([answer != probed[row * len(prompts) + column] for column, answer in enumerate(plain)])
        for row, token in enumerate(tokens)
    }


def measure(model: Any, tokenizer: Any, suites: Path, attack: Attack | None = None) -> dict[str, float]:
    """Shares of right answers: task, refusals, lookups and, for an attack, its success."""
    shares = {
        "task": exact_share(model, tokenizer, read_cases(suites, "support_task")),
        "refusals": refused_share(model, tokenizer, read_cases(suites, "refusals")),
        "lookups": choice_share(model, read_cases(suites, "lookups")),
    }
    if attack:
        shares["attack"] = attack_share(model, tokenizer, attack)
    return shares
