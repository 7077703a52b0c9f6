"""How long the suites' prompts are for this base: what it cannot take is the suite's fault, and said first."""

from collections.abc import Mapping
from dataclasses import dataclass

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import Ask
from peft_assay.core.suite import Measure, Suite
from peft_assay.core.wire import MeasureReply
from peft_assay.observe.behaviour.conduct import order_of
from peft_assay.observe.behaviour.replies import expect, expect_length


@dataclass(frozen=True, slots=True)
class LengthsRecord:
    """Least and most tokens of a suite's prompts, by suite id."""

    prompts: Mapping[str, tuple[int, int]]


def measure_prompts(ask: Ask, suites: tuple[Suite, ...]) -> LengthsRecord:
    """Asks the base alone how long every prompt is.

    Raises ObservationError naming the first case whose prompt has no tokens, or leaves no room for its answer.
    """
    return LengthsRecord({suite.id: _measured(ask, suite) for suite in suites})


def _measured(ask: Ask, suite: Suite) -> tuple[int, int]:
    cases = order_of(suite)
    reply = expect(MeasureReply, ask({"op": "measure", "prompts": [suite.ask_form(case) for case in cases]}))
    expect_length(reply.lengths, len(cases))
    answer = suite.max_new_tokens if suite.measure is Measure.GENERATE else 0
    known = []
    for case, length in zip(cases, reply.lengths, strict=True):
        where = f"suite {suite.id}: case {case.id}"
        if length is None:
            raise ObservationError("the base's tokenizer makes nothing of its prompt", where=where, next_step=_NEXT)
        if reply.longest is not None and length + answer > reply.longest:
            room = f" with {answer} for the answer" if answer else ""
            said = f"its prompt has {length} tokens{room}, and the base takes {reply.longest}"
            raise ObservationError(said, where=where, next_step=_NEXT)
        known.append(length)
    return min(known), max(known)


_NEXT = "shorten or remove the case, then see what else hinders: peft-assay suite lint"
