"""What the adapter costs: time for a token, memory, length of answers, and answers that never end."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from statistics import median

from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.core.sandbox import Usage
from peft_assay.core.suite import Measure, Suite
from peft_assay.observe.behaviour.asking import generate
from peft_assay.observe.behaviour.conduct import order_of
from peft_assay.observe.behaviour.endings import end_tokens, has_ended
from peft_assay.observe.behaviour.interface import Plan, Seen, Turn
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.terms import not_applicable, unanswered

TERMS = ("resources.latency_ratio", "resources.peak_bytes", "resources.length_ratio", "resources.unended")
ROUNDS = 3
PROMPTS = 2
TOKENS = 8
"""Generated for each prompt at most, so that a round costs little."""


@dataclass(frozen=True, slots=True)
class ResourcesRecord:
    """Rounds of the same generation: seconds by the supervisor's clock, and tokens that came."""

    seconds: tuple[float, ...]
    tokens: tuple[int, ...]

    def seconds_per_token(self) -> float | None:
        """Median over rounds that gave any token; None when none did."""
        each = [took / count for took, count in zip(self.seconds, self.tokens, strict=True) if count]
        return median(each) if each else None


class ResourcesProbe:
    """Times a few generations; the rest follows from the answers to suites and from the supervisor's own readings."""

    id = "resources"
    version = "2"
    kind = ResourcesRecord

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """Four; what is about generated text does not apply to a context that has none."""
        return TERMS

    def ask(self, turn: Turn) -> ResourcesRecord | None:
        """If declared: prompts of the first suite of generated text, without a draft, as a deployment would ask."""
        suite = next((suite for suite in turn.plan.suites if suite.measure is Measure.GENERATE), None)
        if suite is None or not turn.plan.exercises.latency:
            return None
        prompts = [suite.ask_form(case) for case in order_of(suite)[:PROMPTS]]
        seconds, tokens = [], []
        for _ in range(ROUNDS):
            began = time.monotonic()
            reply = generate(turn.ask, prompts, min(TOKENS, suite.max_new_tokens))
            seconds.append(time.monotonic() - began)
            tokens.append(sum(len(row) for row in reply.tokens))
        return ResourcesRecord(tuple(seconds), tuple(tokens))

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """Return ratios to the base: memory and clock as the supervisor measured them, numbers of tokens as the child
        stated them.
        """
        own, base = seen.own.of(SuitesRecord), seen.base.of(SuitesRecord)
        if own is None or base is None:
            return unanswered(TERMS)
        generated = [suite for suite in seen.plan.suites if suite.measure is Measure.GENERATE]
        if not generated:
            about = [name for name in TERMS if name != "resources.peak_bytes"]
            return [_memory(seen), *not_applicable(about, "no suite of generated text")]
        return [_latency(seen), _memory(seen), *_lengths(generated, own, base)]


def _latency(seen: Seen) -> Observation:
    if not seen.plan.exercises.latency:
        return failed(TERMS[0], "not timed: the context does not declare behaviour.latency", by=ObservedBy.SUPERVISOR)
    own, base = seen.own.of(ResourcesRecord), seen.base.of(ResourcesRecord)
    mine = None if own is None else own.seconds_per_token()
    its = None if base is None else base.seconds_per_token()
    if not mine or not its:
        return failed(TERMS[0], "no token was generated", by=ObservedBy.SUPERVISOR)
    told = f"median of {ROUNDS} rounds of {PROMPTS} prompts, {mine * 1000:.2f} ms per token; base {its * 1000:.2f} ms"
    return ok(TERMS[0], mine / its, by=ObservedBy.ANSWERS, reason=told)


def _memory(seen: Seen) -> Observation:
    usage = seen.own.of(Usage)
    if usage is None or usage.peak_bytes is None:
        return failed(TERMS[1], "the supervisor could not read it", by=ObservedBy.SUPERVISOR)
    return ok(TERMS[1], usage.peak_bytes, by=ObservedBy.SUPERVISOR)


def _lengths(suites: Iterable[Suite], own: SuitesRecord, base: SuitesRecord) -> Iterator[Observation]:
    mine = its = unended = 0
    for suite in suites:
        before, ends = base.suites[suite.id].by_case(), end_tokens(base.suites[suite.id], suite.max_new_tokens)
        for answer in own.suites[suite.id].answers:
            if answer.case not in before:  # the base's suite ended with its judge
                continue
            theirs = before[answer.case]
            mine, its = mine + len(answer.tokens), its + len(theirs.tokens)
            ended = has_ended(answer, suite.max_new_tokens, ends)
            unended += not ended and has_ended(theirs, suite.max_new_tokens, ends)
    told = f"{mine} tokens, the base {its}"
    if its == 0:
        yield failed(TERMS[2], "the base generated no token", by=ObservedBy.SUPERVISOR)
    else:
        yield ok(TERMS[2], mine / its, by=ObservedBy.ANSWERS, reason=told)
    yield ok(TERMS[3], unended, by=ObservedBy.ANSWERS)
