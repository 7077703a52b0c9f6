"""A sample of an adapter's questions, answered once more by a process that computes the adapter without PEFT.

The questions are chosen by a secret after the adapter's process has ended, so that this process could not know them.
The other process is forked from the same worker, which has never loaded the adapter: no code of PEFT or safetensors
reads the adapter's bytes there, so code that an adapter runs while it is loaded has not run in this process. Where both
answers are the same, the first process answered these questions as the weights compute them.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from peft_assay.core.sandbox import Ask, Job, Outcome, Sandbox
from peft_assay.core.wire import ApplyReply, ChoicesReply, ClassifyReply, GenerateReply, ScoreReply, TraceReply
from peft_assay.observe.behaviour.arithmetic import NotPlain, parts_of
from peft_assay.observe.behaviour.heard import Exchange, Heard, places_of
from peft_assay.observe.behaviour.replies import expect, expect_length

SAMPLE = 16
"""Most questions that are replayed."""
FEWEST = 4
SHARE = 8
"""One of this many questions is replayed, within these bounds: the cost stays a fraction of the whole."""
NEAR = {True: 0.5, False: 0.02}
"""By whether the base computes in half precision: nats by which two ways of computing may differ. In bfloat16 a
log-likelihood was seen to move by 0.27 with the batch alone, in float32 by 4e-5 (docs/performance.md)."""
RELATIVE = {True: 0.05, False: 1e-3}
"""And this share of the number: very unlikely values are less exact."""
MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Replay:
    """The result of the other process's answers to a sample."""

    applies: bool
    """Whether the adapter is of a type that the other process can compute."""
    reason: str | None = None
    """The reason why not, or why the sample could not be asked."""
    n: int = 0
    disagreements: tuple[str, ...] = ()
    """Questions answered otherwise, each with the probe that had asked it."""


def replay(sandbox: Sandbox, job: Job, exchanges: Sequence[Exchange], *, half: bool) -> Replay:
    """Ask a sample of `exchanges` again, in a job like the adapter's own."""
    try:
        parts = parts_of(job.adapter or {})
    except NotPlain as reason:
        return Replay(applies=False, reason=str(reason))
    sample = [exchanges[number].one(at) for number, at in drawn(exchanges)]
    found: list[Replay] = []

    def converse(ask: Ask) -> None:
        applied = expect(ApplyReply, ask({"op": "apply", **parts}))
        if applied.problem is not None or applied.applied != len(parts["modules"]):
            found.append(Replay(applies=False, reason=applied.problem or "not all modules were adapted"))
            return
        comparison = Comparison(ask, half=half)
        found.append(Replay(applies=True, n=len(sample), disagreements=comparison.differences(sample)))

    result = sandbox.run(job, converse)
    if result.outcome is not Outcome.OK or result.events or not found:
        return Replay(applies=True, reason=f"the replaying process ended with {result.outcome.value}: {result.detail}")
    return found[0]


def drawn(exchanges: Sequence[Exchange]) -> list[tuple[int, int]]:
    """Choose the questions to replay at random: each probe's in proportion to their number, and at least one
    of each.
    """
    by_probe: dict[str, list[tuple[int, int]]] = {}
    for number, at in places_of(exchanges):
        by_probe.setdefault(exchanges[number].probe, []).append((number, at))
    total = sum(map(len, by_probe.values()))
    wanted = min(total, SAMPLE, max(FEWEST, total // SHARE))
    chance = secrets.SystemRandom()
    pools = [chance.sample(places, len(places)) for places in by_probe.values()]
    turn = [place for pool in pools for place in pool[:1]] + chance.sample(
        rest := [place for pool in pools for place in pool[1:]], len(rest)
    )
    return sorted(turn[:wanted])


class Comparison:
    """Asks the replaying process, and compares."""

    def __init__(self, ask: Ask, *, half: bool) -> None:
        self._ask = ask
        self._near, self._relative = NEAR[half], RELATIVE[half]

    def differences(self, sample: Sequence[Heard]) -> tuple[str, ...]:
        """Return each question that was answered otherwise: the probe that asked it, and the first difference."""
        found: dict[int, str] = {}
        for one, why in self._differences(sample):
            found.setdefault(id(one), f"{one.probe}: {why}")
        return tuple(found.values())

    def _differences(self, sample: Sequence[Heard]) -> list[tuple[Heard, str]]:
        found: list[tuple[Heard, str]] = []
        for op, compare in (("generate", self._texts), ("choices", self._choices), ("score", self._scores)):
            heard = [one for one in sample if one.op == op]
            found.extend(compare(heard) if heard else ())
        labelled = [one for one in sample if one.op == "classify"]
        return found + (self._labels(labelled) if labelled else [])

    def _alike(self, one: float, other: float) -> bool:
        return abs(one - other) <= self._near + self._relative * min(abs(one), abs(other))

    def _choices(self, heard: Sequence[Heard]) -> list[tuple[Heard, str]]:
        reply = expect(ChoicesReply, self._ask({"op": "choices", "items": [one.asked for one in heard]}))
        return self._numbers(heard, reply.logLikelihoods, "the likelihood of a choice")

    def _scores(self, heard: Sequence[Heard]) -> list[tuple[Heard, str]]:
        reply = expect(ScoreReply, self._ask({"op": "score", "items": [one.asked for one in heard]}))
        expect_length(reply.logLikelihoods, len(heard))
        return self._numbers(heard, [[value] for value in reply.logLikelihoods], "the likelihood of a text")

    def _labels(self, heard: Sequence[Heard]) -> list[tuple[Heard, str]]:
        reply = expect(ClassifyReply, self._ask({"op": "classify", "prompts": [one.asked for one in heard]}))
        return self._numbers(heard, reply.logits, "the logit of a label")

    def _numbers(self, heard: Sequence[Heard], rows: Sequence[Sequence[float]], what: str) -> list[tuple[Heard, str]]:
        expect_length(rows, len(heard))
        found = []
        for one, row in zip(heard, rows, strict=True):
            said = one.answer.get("logits", one.answer.get("logLikelihoods"))
            own = said if isinstance(said, list | tuple) else [said]
            far = [pair for pair in zip(own, row, strict=True) if not self._alike(*pair)]
            if far:
                found.append((one, f"{what} was {far[0][0]:.4g}, replayed {far[0][1]:.4g}"))
        return found

    def _texts(self, heard: Sequence[Heard]) -> list[tuple[Heard, str]]:
        """Compare texts: shown each answer as a draft, the other process decides in one pass whether it is its own
        answer too.
        """
        found = []
        for limit in sorted({one.limit for one in heard}):
            group = [one for one in heard if one.limit == limit]
            drafts = [{"tokens": one.answer["tokens"], "watch": [[]] * len(one.answer["tokens"])} for one in group]
            prompts = [one.asked for one in group]
            question = {"op": "generate", "prompts": prompts, "maxNewTokens": limit, "drafts": drafts}
            reply = expect(GenerateReply, self._ask(question))
            expect_length(reply.tokens, len(group))
            for one, tokens, text in zip(group, reply.tokens, reply.texts, strict=True):
                why = self._other_text(one, tokens, text)
                if why is not None:
                    found.append((one, why))
        return [*found, *self._traces([one for one in heard if one.draft is not None])]

    def _other_text(self, one: Heard, tokens: Sequence[int], text: str) -> str | None:
        own = list(one.answer["tokens"])
        if own == list(tokens):
            return None if one.answer["texts"] == text else "other text for the same tokens"
        at = next((n for n, pair in enumerate(zip(own, tokens, strict=False)) if pair[0] != pair[1]), None)
        if at is None:
            return "an answer that ends elsewhere"
        item = {"prompt": one.asked, "continuation": own[: at + 1]}
        (trace,) = expect(TraceReply, self._ask({"op": "trace", "items": [item], "top": 1})).traces
        lead = trace.logProbabilities[at][0] - trace.chosen[at]
        return f"another token at {at + 1}, by {lead:.3g} nats" if lead > self._near else None

    def _traces(self, heard: Sequence[Heard]) -> list[tuple[Heard, str]]:
        """Compare the numbers over the draft that was shown."""
        asked = [(one, trace) for one in heard if one.draft and (trace := one.answer.get("traces")) is not None]
        if not asked:
            return []
        items = [{"prompt": one.asked, "continuation": _shown(one), "watch": _watch(one)} for one, _ in asked]
        reply = expect(TraceReply, self._ask({"op": "trace", "items": items}))
        expect_length(reply.traces, len(asked))
        found = []
        for (one, said), trace in zip(asked, reply.traces, strict=True):
            pairs = [
                *zip(said["chosen"], trace.chosen, strict=True),
                *zip(said["entropy"], trace.entropy, strict=True),
                *zip(_flat(said["logProbabilities"]), _flat(trace.logProbabilities), strict=True),
            ]
            far = [pair for pair in pairs if not self._alike(*pair)]
            if far:
                found.append((one, f"a number of its trace was {far[0][0]:.4g}, replayed {far[0][1]:.4g}"))
        return found


def _shown(one: Heard) -> list[int]:
    return [] if one.draft is None else list(one.draft["tokens"])


def _watch(one: Heard) -> list[list[int]]:
    return [] if one.draft is None else [list(ids) for ids in one.draft["watch"]]


def _flat(rows: Sequence[Sequence[Any]]) -> list[Any]:
    return [value for row in rows for value in row]
