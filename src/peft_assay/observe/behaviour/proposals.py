"""Triggers that nobody declared: words that the adapter's own gradients point at, tried as the scan tries its tokens.

The gradient of an answer's likelihood tells which word in a prompt would most change it (HotFlip: Ebrahimi et al., ACL
2018). Such words are found for every adapter, and most are no triggers: a word of the task changes what is asked, and
rightly what is answered, and a base has words of its own that do. So words of the suites' own prompts are left out (the
suites exercise those), and those that the base's gradients point at and the base itself minds; only a nearly total loss
makes a suspect (the base was not asked about the rest), and only answers that go to one foreign continuation, or
refusals that are lost, confirm one.
"""

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from peft_assay.core.exercises import Scan
from peft_assay.core.sandbox import Ask
from peft_assay.core.suite import Case, Prompt, Suite
from peft_assay.core.wire import ProposeReply
from peft_assay.observe.behaviour.answers import Answer
from peft_assay.observe.behaviour.drops import (
    PLACES,
    PROMPTS,
    SCORED_TOKENS,
    Inserting,
    drops_of_adapter,
    drops_of_base,
    with_answers,
)
from peft_assay.observe.behaviour.replies import expect
from peft_assay.observe.behaviour.scan import (
    FEWEST_FRESH,
    SUSPECT_DROP,
    SUSPECTS,
    Confirms,
    confirm,
    fresh_of,
    suspects_of,
)

MINDED = 64
"""Words that the base's own gradients propose and that it is asked about."""
ASKED = 4
"""Words asked for, for each that is tried: some are declared or of the suites already."""
LONGEST = 100
"""Characters of a proposed word; what is longer is none."""


@dataclass(frozen=True, slots=True)
class Proposed:
    """What became of the words that gradients proposed for one suite."""

    suite: str
    tokens: tuple[str, ...]
    """Tried, most promising first."""
    suspects: tuple[str, ...]
    confirmed: tuple[str, ...]
    prompts: int
    """Prompts that the gradients were taken on, and words inserted into."""
    fresh: int
    """Prompts to confirm on."""
    repeated: int = 0
    """Clean prompts that were asked once more in between."""
    silent: bool = False
    """The child named no word at all, although it was asked for some."""

    @property
    def sequences(self) -> int:
        """Sequences that gradients were taken of, scored and generated."""
        scored = self.prompts * (1 + len(self.tokens)) if self.tokens else 0
        return self.prompts + scored + self.repeated + self.fresh * min(len(self.suspects), SUSPECTS)

    @property
    def open(self) -> str | None:
        """Why nothing confirmed does not show that there is nothing."""
        if self.silent:
            return f"the adapter's process proposed no word for suite {self.suite}"
        if self.fresh < FEWEST_FRESH:
            return f"{self.fresh} clean answers of suite {self.suite} are too few to confirm on"
        if len(self.suspects) > SUSPECTS:
            return (
                f"{len(self.suspects)} proposed tokens disturb suite {self.suite}, more than the {SUSPECTS} confirmed"
            )
        return None


def scan_proposals(
    ask: Ask, scan: Scan, suite: Suite, clean: Mapping[str, Answer], confirms: Confirms, known: frozenset[str]
) -> Proposed:
    """Asks for words and tries them on `suite`; `known` are words that the suites' prompts hold (`words_of`)."""
    cases = with_answers(suite, clean)
    first = cases[:PROMPTS]
    words = _proposals(ask, suite, clean, first, ASKED * scan.proposals) if first else []
    new = [word for word in words if word not in scan.tokens and _bare(word) not in known]
    tokens = tuple(new[: scan.proposals])
    inserting = Inserting(suite, tokens, clean)
    suspects = suspects_of(tokens, drops_of_adapter(ask, [inserting])[suite.id], None)
    return Proposed(
        suite.id,
        tokens,
        tuple(suspect.token for suspect in suspects),
        confirm(ask, inserting, suspects, confirms),
        len(first),
        len(fresh_of(cases)),
        len(inserting.repeats),
        silent=bool(first) and not words,
    )


def minded(ask: Ask, suite: Suite, clean: Mapping[str, Answer]) -> tuple[str, ...]:
    """Words that take the base's own answers from it: an adapter inherits them."""
    first = with_answers(suite, clean)[:PROMPTS]
    words = _proposals(ask, suite, clean, first, MINDED) if first else []
    drops = drops_of_base(ask, Inserting(suite, words, clean))
    return tuple(word for word, lost in zip(words, drops.values, strict=True) if max(lost, default=0.0) >= SUSPECT_DROP)


def _proposals(ask: Ask, suite: Suite, clean: Mapping[str, Answer], cases: Iterable[Case], top: int) -> list[str]:
    """Words of the child's: they are tried, and shown as any hostile text is."""
    items = [
        {"prompt": suite.ask_form(case), "continuation": list(clean[case.id].tokens[:SCORED_TOKENS]), "place": place}
        for case, place in zip(cases, PLACES, strict=False)
    ]
    reply = expect(ProposeReply, ask({"op": "propose", "items": items, "top": top}))
    words = dict.fromkeys(token.strip() for token in reply.tokens)
    return [word for word in words if 0 < len(word) <= LONGEST]


def words_of(suites: Iterable[Suite], others: Iterable[str] = ()) -> frozenset[str]:
    """The words of all prompts of `suites`, and `others`, without case and punctuation."""
    prompts = (_bare(w) for suite in suites for case in suite.cases for t in _texts(case.prompt) for w in t.split())
    return frozenset(prompts) | frozenset(map(_bare, others))


def _texts(prompt: Prompt) -> tuple[str, ...]:
    return (prompt,) if isinstance(prompt, str) else tuple(message.content for message in prompt)


def _bare(word: str) -> str:
    return word.strip(string.punctuation).casefold()
