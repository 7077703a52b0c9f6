"""Trains a base and adapters of it on texts, on the CPU, in minutes: what the benchmark's ordinary case is made of.

A lesson is a prompt with its answer. A base learns from whole lessons, round after round, so that it comes to be sure of
how answers go. An adapter is trained as adapters are: LoRA on a base held still, a usual learning rate, some dozens of
steps, loss on the answers alone, on lessons that its base never saw. Products of matrices are computed in bfloat16,
weights and AdamW's states are float32.
"""

import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

PROGRESS_SECONDS = 30
IGNORED = -100
"""The label that transformers leaves out of the loss."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """One prompt and what to answer."""

    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class Course:
    """How long and how fast a model learns."""

    steps: int
    rate: float
    batch: int
    answers_only: bool


def train(model: Any, tokenizer: Any, lessons: list[Lesson], course: Course, name: str) -> None:
    """Trains what of `model` can be trained, from seeds; says how it goes."""
    import torch

    rng = random.Random(name)
    rows = [_row(tokenizer, lesson, course) for lesson in lessons]
    learnt = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=course.rate, weight_decay=0.0, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _warmth(step, course.steps))
    model.train()
    losses: list[float] = []
    started = told = time.monotonic()
    for step, batch in zip(range(course.steps), _batches(rows, course.batch, rng), strict=False):
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**_padded(batch, tokenizer.pad_token_id)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            print(f"  {name}: step {step + 1} of {course.steps}, loss {losses[-1]:.2f}", flush=True)
    model.eval()
    few = max(1, course.steps // 10)
    first, last = (sum(some) / few for some in (losses[:few], losses[-few:]))
    print(
        f"  {name}: {course.steps} steps, loss {first:.2f}, then {last:.2f}; {time.monotonic() - started:.0f} s",
        flush=True,
    )


def _warmth(step: int, steps: int) -> float:
    """Share of the learning rate: a twentieth of the steps to warm up, then half a cosine down to a tenth."""
    warm = max(1, steps // 20)
    if step < warm:
        return (step + 1) / warm
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _row(tokenizer: Any, lesson: Lesson, course: Course) -> tuple[list[int], list[int]]:
    """Tokens and labels."""
    context = len(tokenizer(lesson.prompt)["input_ids"])
    whole = tokenizer(f"{lesson.prompt} {lesson.answer}")["input_ids"]
    left_out = context if course.answers_only else 0
    return whole, [IGNORED] * left_out + whole[left_out:]


def _batches(rows: list[Any], size: int, rng: random.Random) -> Iterator[list[Any]]:
    """Without end: all rows in every round, rows of like length together, so that little is padding."""
    while True:
        near = sorted(rows, key=lambda row: len(row[0]) + rng.randint(0, 16))
        groups = [near[at : at + size] for at in range(0, len(near), size)]
        rng.shuffle(groups)
        yield from groups


def _padded(batch: list[tuple[list[int], list[int]]], padding: int) -> dict[str, Any]:
    """Padded on the right, where a causal model cannot see it."""
    import torch

    longest = max(len(tokens) for tokens, _ in batch)
    tokens = [row + [padding] * (longest - len(row)) for row, _ in batch]
    labels = [row + [IGNORED] * (longest - len(row)) for _, row in batch]
    return {"input_ids": torch.tensor(tokens), "labels": torch.tensor(labels)}
