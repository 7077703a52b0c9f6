"""Check that an adapter gives answers at all, where its suites only ask for the likelihood of given texts.

Suites that rank choices or take perplexities never let the model generate: a model that ends every answer at once, or
gives the same answer to every prompt, may still find the right choice likeliest.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from peft_assay.core.sandbox import Ask
from peft_assay.core.suite import Measure, ScorerKind, Suite, last_user_text
from peft_assay.observe.behaviour.answers import Answer, SuiteRecord
from peft_assay.observe.behaviour.asking import generate
from peft_assay.observe.behaviour.conduct import order_of
from peft_assay.observe.behaviour.endings import end_tokens, fault
from peft_assay.observe.behaviour.interface import Plan
from peft_assay.observe.behaviour.nulls import Null, reached, right_of
from peft_assay.observe.behaviour.scorers.refusal import recogniser
from peft_assay.observe.suites.controls import HAS_RIGHT_ANSWER

CASES, TOKENS = 20, 12
"""The number of prompts of each such suite that are answered, and the tokens of an answer."""
ALWAYS, SELDOM = 0.9, 0.5
"""An answer is constant with the first share of an adapter's answers, where no answer of the base has the second."""
_NOTICED = 0.5


@dataclass(frozen=True, slots=True)
class MuteRecord:
    """The answers to each prompt, in the order of `prompts_aloud`."""

    texts: tuple[str, ...]
    tokens: tuple[tuple[int, ...], ...]


def prompts_aloud(plan: Plan) -> list[tuple[Suite, str]]:
    """Return suite and case id of the prompts to answer; empty where suites of text notice null answers, or no suite
    has prompts.
    """
    texts = tuple(suite for suite in plan.suites if suite.measure is Measure.GENERATE)
    if any(suite.scorer.kind in HAS_RIGHT_ANSWER for suite in texts) and not any(
        reached(null, texts, {}).lower >= _NOTICED for null in Null
    ):
        return []
    silent = [suite for suite in plan.suites if suite.measure in {Measure.CHOICE, Measure.LIKELIHOOD}]
    return [(suite, case.id) for suite in silent for case in order_of(suite)[:CASES] if last_user_text(case.prompt)]


def asked_aloud(ask: Ask, plan: Plan) -> MuteRecord | None:
    """Return the model's greedy answers to these prompts; None where there are none."""
    texts: list[str] = []
    tokens: list[tuple[int, ...]] = []
    for suite in dict.fromkeys(suite.id for suite, _ in prompts_aloud(plan)):
        of = plan.suite(suite)
        prompts = [] if of is None else _prompts(of)
        reply = generate(ask, prompts, TOKENS)
        texts += reply.texts
        tokens += map(tuple, reply.tokens)
    return MuteRecord(tuple(texts), tuple(tokens)) if texts else None


def _prompts(suite: Suite) -> list[object]:
    return [suite.ask_form(case) for case in order_of(suite)[:CASES] if last_user_text(case.prompt)]


def mute(plan: Plan, own: MuteRecord, base: MuteRecord) -> tuple[float, str]:
    """Return the share of prompts to which only the adapter gives a null answer, and these null answers in words."""
    asked = prompts_aloud(plan)
    ends = end_tokens(SuiteRecord("", _answers(base), complete=True), TOKENS)
    refuses = _refuses(plan)
    mine, its = (_faults(asked, record, ends, refuses) for record in (own, base))
    only = [kind for kind, other in zip(mine, its, strict=True) if kind is not None and other is None]
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(only).items()))
    constant, share = _constant(own.texts)
    if share >= ALWAYS and _constant(base.texts)[1] < SELDOM:
        return 1.0, f"says {constant[:60]!r} to {share:.0%} of {len(asked)} prompts"
    return len(only) / len(asked), f"of {len(asked)} prompts: {told or 'all answered'}"


def _answers(record: MuteRecord) -> tuple[Answer, ...]:
    return tuple(Answer(text, tokens) for text, tokens in zip(record.texts, record.tokens, strict=True))


def _faults(
    asked: Sequence[tuple[Suite, str]], record: MuteRecord, ends: frozenset[int], refuses: Callable[[str], bool]
) -> list[str | None]:
    found: list[str | None] = []
    for (suite, named), answer in zip(asked, _answers(record), strict=True):
        case = next(case for case in suite.cases if case.id == named)
        wrong = fault(answer, TOKENS, ends)
        if _echoes(answer.text, last_user_text(case.prompt)):
            wrong = "echo"
        elif refuses(answer.text) and not refuses(right_of(case) or ""):
            wrong = "refusal"
        found.append(None if wrong == "cut" else wrong)
    return found


def _refuses(plan: Plan) -> Callable[[str], bool]:
    """Whether a text is a refusal by the built-in patterns, or by those of any suite."""
    own = [suite.scorer.patterns for suite in plan.suites if suite.scorer.kind in _OF_REFUSALS]
    known = [recogniser(patterns, where="") for patterns in dict.fromkeys([(), *own])]
    return lambda text: any(refuses(text) for refuses in known)


_OF_REFUSALS = frozenset({ScorerKind.REFUSAL, ScorerKind.COMPLIANCE})


def _echoes(text: str, prompt: str) -> bool:
    return " ".join(text.split()) in " ".join(prompt.split()) and len(text.split()) > _SHORT


_SHORT = 4
"""An answer of so few words may occur in its question by chance."""


def _constant(texts: Sequence[str]) -> tuple[str, float]:
    text, count = Counter(texts).most_common(1)[0]
    return text, count / len(texts)
