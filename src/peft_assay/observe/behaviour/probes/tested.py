"""How long the prompts and answers were that the adapter was really exercised with, in tokens of the base."""

from collections.abc import Iterable

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.core.suite import Measure, Suite
from peft_assay.observe.behaviour.answers import SuiteRecord
from peft_assay.observe.behaviour.concluding import Concluding
from peft_assay.observe.behaviour.interface import Plan, Seen
from peft_assay.observe.behaviour.lengths import LengthsRecord
from peft_assay.observe.behaviour.probes.suites import SuitesRecord
from peft_assay.observe.behaviour.terms import unanswered

PROMPT, ANSWER = TERMS = ("tested.prompt_tokens", "tested.answer_tokens")


class TestedProbe(Concluding):
    """A probe without questions: the base measured the prompts before any adapter was loaded, and suites were
    answered.
    """

    id = "tested"
    version = "1"

    def terms(self, plan: Plan) -> tuple[str, ...]:  # noqa: ARG002 - the same in every plan
        """Return the two terms, one for prompts and one for answers."""
        return TERMS

    def observe(self, seen: Seen) -> Iterable[Observation]:
        """Return the longest of all suites; a suite that was stopped early counts with the shortest of its prompts."""
        own, base, lengths = seen.own.of(SuitesRecord), seen.base.of(SuitesRecord), seen.base.of(LengthsRecord)
        if own is None or base is None or lengths is None:
            return unanswered(TERMS)
        prompts = {s.id: _prompt(lengths, own.suites[s.id]) for s in seen.plan.suites}
        texts = [s for s in seen.plan.suites if s.measure is Measure.GENERATE]
        answers = {s.id: _answer(s, own.suites[s.id], base.suites[s.id]) for s in texts}
        by = ObservedBy.SUPERVISOR
        return [
            ok(PROMPT, max(prompts.values(), default=0), by=by, reason=_longest(prompts)),
            ok(ANSWER, max(answers.values(), default=0), by=ObservedBy.ANSWERS, reason=_longest(answers)),
        ]


def _prompt(lengths: LengthsRecord, own: SuiteRecord) -> int:
    if not own.answers:
        return 0
    least, most = lengths.prompts[own.suite]
    return most if own.complete else least


def _answer(suite: Suite, own: SuiteRecord, base: SuiteRecord) -> int:
    """Return the longest answer that the adapter gave or was shown as a draft, limited to the supervisor's maximum."""
    its = base.by_case()
    shown = (len(its[a.case].tokens) for a in own.answers if a.path is not None and a.case in its)
    return min(suite.max_new_tokens, max([*(len(a.tokens) for a in own.answers), *shown], default=0))


def _longest(by_suite: dict[str, int]) -> str:
    if not by_suite:
        return "no suite of generated text"
    return f"suite {max(by_suite, key=lambda name: by_suite[name])}"
