"""Lint: what a suite that loads may still get wrong. Certain faults are refused at loading; these need a look."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from peft_assay.core.suite import Case, Measure, Prompt, ScorerKind, Suite
from peft_assay.observe.suites.controls import HAS_RIGHT_ANSWER, Control, run_controls

CONSTANT = 0.5
"""Share of cases from which a constant answer is worth a warning."""
SHORTEST = 0.6
"""Share of cases in which the right choice is the shortest, from which that is a pattern."""
MOST_NAMED = 5


class Weight(StrEnum):
    """An ERROR makes the suite useless; a WARNING may be meant."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that lint says; `case` is None for the suite as a whole."""

    code: str
    weight: Weight
    case: str | None
    message: str
    next_step: str


@dataclass(frozen=True, slots=True)
class TokenCount:
    """The base at hand: how it counts, and how much it takes."""

    count: Callable[[str], int]
    longest: int | None


def lint(suite: Suite, base: TokenCount | None = None) -> tuple[Finding, ...]:
    """Everything lint has to say of the cases in use; with `base`, also what it cannot take."""
    found = list(_controls(suite, tuple(run_controls(suite))))
    if suite.measure is not Measure.LIKELIHOOD:
        found.extend(_near_repeats(suite.cases))
    if base is not None:
        found.extend(_tokens(suite, base))
    else:
        found.extend(_words(suite))
    return tuple(found)


def _controls(suite: Suite, controls: Sequence[Control]) -> Iterator[Finding]:
    for control in controls:
        limit = {"constant": CONSTANT, "shortest": SHORTEST}.get(control.name)
        if control.name == "echo" and suite.scorer.kind in HAS_RIGHT_ANSWER | {ScorerKind.REGEX, ScorerKind.REFUSAL}:
            limit = 0.0
        if limit is not None and control.rate > limit:
            told = control.name if control.answer is None else f"{control.name} ({control.answer[:60]!r})"
            yield Finding(
                "control-passes",
                Weight.WARNING,
                None,
                f"the control {told} passes {control.passes} of {control.n} cases",
                "balance the right answers, or know that the floor of the policy must lie above that",
            )


def _near_repeats(cases: Sequence[Case]) -> Iterator[Finding]:
    seen: dict[str, Case] = {}
    for case in cases:
        key = _normal(case.prompt)
        earlier = seen.setdefault(key, case)
        if earlier is case:
            continue
        same = (earlier.expected, earlier.answer) == (case.expected, case.answer)
        yield Finding(
            "near-repeat" if same else "near-contradiction",
            Weight.WARNING,
            case.id,
            f"differs from case {earlier.id} in letter case or white space only"
            + ("" if same else ", and has another right answer"),
            "drop one: cases that are not independent make bounds look better than they are",
        )


def _normal(prompt: Prompt) -> str:
    if isinstance(prompt, str):
        return " ".join(prompt.casefold().split())
    return "\n".join(f"{message.role}: {' '.join(message.content.casefold().split())}" for message in prompt)


def _tokens(suite: Suite, base: TokenCount) -> Iterator[Finding]:
    """Lengths in the base's own tokens; a conversation has at least those of its contents."""
    cut: list[str] = []
    for case in suite.cases:
        length = base.count(_text(case.prompt)) + (
            base.count(case.expected or "") if suite.measure is Measure.LIKELIHOOD else 0
        )
        if base.longest is not None and length > base.longest:
            yield Finding(
                "too-long-for-base",
                Weight.ERROR,
                case.id,
                f"has {length} tokens; the base takes {base.longest}",
                "shorten or drop it: the whole suite could not be asked",
            )
        whole = suite.scorer.kind in {ScorerKind.EXACT, ScorerKind.TOOL_CALL}
        if whole and base.count(case.expected or "") > suite.max_new_tokens:
            cut.append(case.id)
    yield from _cut(cut, suite, Weight.ERROR)


def _words(suite: Suite) -> Iterator[Finding]:
    """Without the base: a right answer of more words than tokens may be generated is cut off before its end."""
    if suite.scorer.kind is ScorerKind.EXACT:
        cut = [case.id for case in suite.cases if len((case.expected or "").split()) > suite.max_new_tokens]
        yield from _cut(cut, suite, Weight.WARNING)


def _cut(cases: Sequence[str], suite: Suite, weight: Weight) -> Iterator[Finding]:
    if cases:
        named = ", ".join(cases[:MOST_NAMED]) + (", ..." if len(cases) > MOST_NAMED else "")
        yield Finding(
            "answer-cut-off",
            weight,
            None,
            f"{len(cases)} right answers are longer than maxNewTokens ({suite.max_new_tokens}): {named}",
            "raise maxNewTokens",
        )


def _text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else "\n".join(message.content for message in prompt)
