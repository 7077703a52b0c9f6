"""Metamorphic variation: the same question, put in a way that should not change what the answer is.

No right answer has to be known for a relation between two answers to be known (Chen, Cheung, Yiu: "Metamorphic
testing", 1998). Variations are made here, outside the sandbox, and which of several a case gets derives from what it
asks: an adapter's author cannot choose it, and base and adapter are asked the same.

What is varied is what the user said last. In a conversation that is a message. A text prompt may have more around it
(``user : ... assistant :``); only the consumer knows what, so it is declared (`Exercises.opening` and `closing`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import hex_of
from peft_assay.core.exercises import Exercises, Variation
from peft_assay.core.suite import Case, Message, Prompt, Suite, content_of, last_user_text, with_user_text

WORDED = (Variation.FRAMING, Variation.LENGTH, Variation.TURNS, Variation.DATE)
"""Variations of what is asked; the others are variations of how it is answered."""
DATED = "Today is {date}. {question}"
FIRST_DAY, DAYS = date(2024, 1, 1), 12 * 365
"""Dates are drawn from these days on: before and after whatever an adapter's author may have waited for."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """Something that was said before: another case of the suite, and what the base answered it."""

    question: str
    answer: str


def seed_of(*parts: object) -> int:
    """A number below 2**32 that derives from `parts` (digests and plain values) alone."""
    return int(hex_of(canonical_digest(list(parts)))[:8], 16)


def varied_suite(
    suite: Suite, cases: Sequence[Case], variation: Variation, exercises: Exercises, answers: Mapping[str, str]
) -> Suite:
    """`suite` with those of `cases` that `variation` applies to, varied; possibly with none.

    `answers` are the base's, by case id: what an earlier turn of a conversation holds.
    """
    varied = []
    for at, case in enumerate(cases):
        other = cases[at - 1] if len(cases) > 1 else None
        earlier = None
        if other is not None and answers.get(other.id):
            earlier = Earlier(last_user_text(other.prompt), answers[other.id])
        prompt = vary(suite, case, variation, exercises, earlier)
        if prompt is not None:
            varied.append(replace(case, prompt=prompt))
    return replace(suite, cases=tuple(varied), stop_after_failures=None)


def vary(
    suite: Suite, case: Case, variation: Variation, exercises: Exercises, earlier: Earlier | None
) -> Prompt | None:
    """The prompt of `case` under `variation`; None where that does not apply to this prompt, or is none of `WORDED`."""
    seed = seed_of(content_of(case, "peft-assay/variation/v2")[0], variation.value)
    match variation:
        case Variation.FRAMING:
            frame = exercises.frames[seed % len(exercises.frames)]
            return _reworded(case.prompt, exercises, frame)
        case Variation.LENGTH:
            joint = " " if isinstance(case.prompt, str) else "\n\n"
            return _reworded(case.prompt, exercises, "{}" + joint + "{}")
        case Variation.TURNS:
            return _later(case.prompt, earlier)
        case Variation.DATE:
            return _dated(suite, case.prompt, exercises, FIRST_DAY + timedelta(days=seed % DAYS))
        case _:
            return None


def _reworded(prompt: Prompt, exercises: Exercises, frame: str) -> Prompt | None:
    """`prompt` with the user's words put into `frame`; None for a text without its declared opening and closing."""
    text = last_user_text(prompt)
    opening, closing = ("", "") if not isinstance(prompt, str) else (exercises.opening, exercises.closing)
    inner = text[len(opening) : len(text) - len(closing)].strip()
    if not (text.startswith(opening) and text.endswith(closing) and inner):
        return None
    varied = frame.replace("{}", inner)
    return with_user_text(prompt, " ".join(part for part in (opening, varied, closing) if part))


def _later(prompt: Prompt, earlier: Earlier | None) -> Prompt | None:
    """A conversation in which something else was asked and answered first; None for a text."""
    if isinstance(prompt, str) or earlier is None:
        return None
    start = next((at for at, message in enumerate(prompt) if message.role != "system"), len(prompt))
    before = (Message("user", earlier.question), Message("assistant", earlier.answer))
    return (*prompt[:start], *before, *prompt[start:])


def _dated(suite: Suite, prompt: Prompt, exercises: Exercises, day: date) -> Prompt | None:
    """The date where a deployment would tell it: in the system prompt, or before the question."""
    told = f"Today is {day.isoformat()}."
    if isinstance(prompt, str):
        return _reworded(prompt, exercises, DATED.format(date=day.isoformat(), question="{}"))
    if prompt[0].role == "system":
        return (Message("system", f"{prompt[0].content}\n{told}"), *prompt[1:])
    if suite.system_prompt is not None:
        return (Message("system", f"{suite.system_prompt}\n{told}"), *prompt)
    return _reworded(prompt, exercises, DATED.format(date=day.isoformat(), question="{}"))


def unknown_words(text: str, known: frozenset[str] | None) -> tuple[str, ...]:
    """Words of `text` that a tokenizer of whole words does not have; `known` is None for every other tokenizer."""
    return () if known is None else tuple(word for word in text.replace("{}", " ").split() if word not in known)
