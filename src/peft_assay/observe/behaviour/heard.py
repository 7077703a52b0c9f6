"""Questions that a child answered, one by one, as they could be put to another process."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PARTS = {"generate": "prompts", "choices": "items", "score": "items", "classify": "prompts"}
"""Operations that can be replayed, and the field with their questions."""
_ANSWERS = {
    "generate": ("texts", "tokens", "traces"),
    "choices": ("logLikelihoods",),
    "score": ("logLikelihoods", "counts"),
    "classify": ("logits",),
}


@dataclass(frozen=True, slots=True)
class Heard:
    """One question and its answer."""

    probe: str
    """Id of the probe that asked."""
    op: str
    asked: Any
    """The prompt or item."""
    limit: int
    """`maxNewTokens`; 0 where nothing is generated."""
    draft: Mapping[str, Any] | None
    answer: Mapping[str, Any]
    """The parts of the reply that belong to the question, by field."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its reply."""

    probe: str
    request: Mapping[str, Any]
    reply: Mapping[str, Any]

    def __len__(self) -> int:
        """Return the number of questions in the exchange."""
        return len(self.request[PARTS[self.request["op"]]])

    def one(self, at: int) -> Heard:
        """Return one of the questions."""
        op = self.request["op"]
        drafts = self.request.get("drafts")
        answer = {name: values[at] for name in _ANSWERS[op] if (values := self.reply.get(name)) is not None}
        draft = None if drafts is None else drafts[at]
        limit = int(self.request.get("maxNewTokens", 0))
        return Heard(self.probe, op, self.request[PARTS[op]][at], limit, draft, answer)


def can_be_replayed(request: Mapping[str, Any]) -> bool:
    """Return whether another process can be expected to answer alike: not for drawn answers, nor where a copy is
    needed.
    """
    return request["op"] in PARTS and "sampling" not in request and not request.get("precise")


def places_of(exchanges: Sequence[Exchange]) -> Iterator[tuple[int, int]]:
    """Return the place of each question: exchange and index in it."""
    return ((number, at) for number, exchange in enumerate(exchanges) for at in range(len(exchange)))
