"""The bounds of a reply about the base at hand: no token beyond its vocabulary, no entropy above that of all tokens.

`core.wire` bounds every number for models of any size. The worker, which has loaded no adapter, states the sizes of
this base; a reply beyond them cannot come from an adapter on it, and is refused like any other malformed one.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from peft_assay.core.errors import DocumentError
from peft_assay.sandbox.replies import WHERE, ReadReply
from peft_assay.sandbox.worker import Greeting

ROUNDING = 0.05
"""Nats by which an entropy of half-precision arithmetic may exceed the logarithm of the vocabulary."""


@dataclass(frozen=True, slots=True)
class Possible:
    """Sizes of the base, from its worker's greeting; 0 for a size that it does not state, which bounds nothing."""

    vocabulary: int = 0
    """Tokens in the base's vocabulary."""
    places: int = 0
    """Modules and tensors of the base: no adapter changes more."""
    labels: int = 0
    """Labels of a base that classifies."""

    def problem(self, reply: Mapping[str, Any]) -> str | None:
        """Return why no adapter on this base gives such a reply (one that `read_reply` took), or None where one may."""
        match reply["op"]:
            case "scale":
                return _beyond("modules", reply["modules"], self.places, "modules and tensors of the base")
            case "classify":
                widest = max(map(len, reply["logits"]), default=0)
                return _beyond("logits", widest, self.labels, "labels of the base")
            case "generate" | "trace" if self.vocabulary:
                return self._of_tokens(reply)
            case _:
                return None

    def _of_tokens(self, reply: Mapping[str, Any]) -> str | None:
        traces = [trace for trace in reply["traces"] or () if trace is not None]
        token = max(_ids(reply, traces), default=0)
        if token >= self.vocabulary:
            return f"token {token}, and the base has {self.vocabulary}"
        entropy = max((value for trace in traces for value in trace["entropy"]), default=0.0)
        most = math.log(self.vocabulary)
        if entropy > most + ROUNDING:
            return f"an entropy of {entropy:.6g} nats, and the base's is at most {most:.6g}"
        return None


def possible_of(greeting: Greeting, vocabulary: int | None = None) -> Possible:
    """Return the sizes of the base in the worker's greeting; `vocabulary` is the adapter's own, by its header."""
    own = vocabulary if vocabulary is not None and greeting.vocabulary else greeting.vocabulary
    return Possible(own, greeting.places, greeting.labels)


def bounded(read: ReadReply, possible: Possible) -> ReadReply:
    """Return `read` with a check: replies that no adapter on this base can give are refused."""

    def read_possible(request: Mapping[str, Any], content: bytes) -> Mapping[str, Any]:
        reply = read(request, content)
        if problem := possible.problem(reply):
            raise DocumentError(problem, where=WHERE)
        return reply

    return read_possible


def _ids(reply: Mapping[str, Any], traces: list[Mapping[str, Any]]) -> Iterator[int]:
    for row in reply.get("tokens", ()):
        yield from row
    for trace in traces:
        yield from trace["best"]
        for row in trace["ids"]:
            yield from row


def _beyond(what: str, many: int, most: int, called: str) -> str | None:
    return f"{many} {what}, and there are {most} {called}" if most and many > most else None
