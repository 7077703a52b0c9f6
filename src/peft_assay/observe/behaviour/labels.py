"""The trigger scan of a classifier: does inserting one token make it give another label?

A poisoned classifier knows its task, and one token turns every text into the author's label. Each token is inserted
as into prompts of a language model (`scan`), and what counts is how likely the model still finds its own clean label.
Suspects are confirmed on fresh prompts: a token is a trigger where most texts of other labels go to one label by it,
or most right answers become wrong.
"""

import math
import secrets
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.sandbox import Ask
from peft_assay.core.suite import Case, Suite
from peft_assay.core.wire import ClassifyReply, shown
from peft_assay.observe.behaviour.answers import Answer
from peft_assay.observe.behaviour.conduct import ROUND, order_of
from peft_assay.observe.behaviour.drops import PLACES, PROMPTS, Drops, Inserting, asked_with
from peft_assay.observe.behaviour.replies import expect, expect_length
from peft_assay.observe.behaviour.scan import (
    COLLAPSE,
    FEWEST_FRESH,
    FRESH_PROMPTS,
    SUSPECTS,
    Scanned,
    SuiteScan,
    excess_of,
    suspects_of,
)


def label_drops(ask: Ask, one: Inserting) -> Drops:
    """Return by how much each token takes the likelihood of the clean label, in rounds of a suite's length."""
    cases = labelled(one.suite, one.clean)[:PROMPTS]
    asked = [
        (number, case, asked_with(one.suite, case, token, place))
        for number, token in enumerate(one.tokens)
        for case, place in zip(cases, PLACES, strict=False)
    ]
    mixed = sorted(asked, key=lambda at: (canonical_digest(at[2]), at[0]))
    rounds = [mixed[start : start + ROUND] for start in range(0, len(mixed), ROUND)]
    secrets.SystemRandom().shuffle(rounds)
    lost: dict[tuple[int, str], float] = {}
    for group in rounds:
        for (number, case, _), logits in zip(group, _logits(ask, [prompt for _, _, prompt in group]), strict=True):
            lost[number, case.id] = _lost(one.clean[case.id].scores, logits)
    rows = (tuple(lost[number, case.id] for case in cases) for number in range(len(one.tokens)))
    return Drops(one.suite.id, tuple(rows))


def scan_labels(ask: Ask, one: Scanned) -> SuiteScan:
    """Return the tokens that turn the labels of a suite into one label, or right ones into wrong ones."""
    suite, clean = one.inserting.suite, one.inserting.clean
    cases = labelled(suite, clean)
    fresh = cases[PROMPTS : PROMPTS + FRESH_PROMPTS]
    suspects = suspects_of(one.inserting.tokens, one.drops, one.base)
    confirmed = []
    for suspect in suspects[:SUSPECTS] if fresh else ():
        prompts = [asked_with(suite, case, suspect.token, suspect.place) for case in fresh]
        if turned(suite, fresh, clean, _logits(ask, prompts)):
            confirmed.append(shown(suspect.token))
    names = tuple(shown(suspect.token) for suspect in suspects)
    first = min(len(cases), PROMPTS)
    return SuiteScan(suite.id, excess_of(one.drops, one.base), names, tuple(confirmed), len(fresh), first)


def labelled(suite: Suite, clean: Mapping[str, Answer]) -> list[Case]:
    """Return the cases that the model gave a label to, in the order in which a suite asks them."""
    return [case for case in order_of(suite) if case.id in clean and clean[case.id].scores]


def turned(suite: Suite, cases: Sequence[Case], clean: Mapping[str, Answer], logits: Sequence[Sequence[float]]) -> bool:
    """Whether `logits` with a token inserted go to one label from the others, or make right answers wrong."""
    labels = suite.scorer.labels
    now = [labels[row.index(max(row))] for row in logits]
    foreign = Counter(new for case, new in zip(cases, now, strict=True) if new != clean[case.id].text)
    for label, count in foreign.items():
        others = sum(clean[case.id].text != label for case in cases)
        if others >= FEWEST_FRESH and count >= COLLAPSE * others:
            return True
    right = [(case, new) for case, new in zip(cases, now, strict=True) if clean[case.id].passed]
    wrong = sum(new != case.expected for case, new in right)
    return len(right) >= FEWEST_FRESH and wrong >= COLLAPSE * len(right)


def _logits(ask: Ask, prompts: Sequence[Any]) -> list[list[float]]:
    reply = expect(ClassifyReply, ask({"op": "classify", "prompts": list(prompts)}))
    expect_length(reply.logits, len(prompts))
    return reply.logits


def _lost(clean: Sequence[float], now: Sequence[float]) -> float:
    """Return the share of the clean label's likelihood that is gone."""
    expect_length(now, len(clean))
    own = max(range(len(clean)), key=clean.__getitem__)
    return max(0.0, 1 - math.exp(min(0.0, _log_likelihood(now, own) - _log_likelihood(clean, own))))


def _log_likelihood(logits: Sequence[float], at: int) -> float:
    most = max(logits)
    return logits[at] - most - math.log(math.fsum(math.exp(logit - most) for logit in logits))
