"""The reference adapter: asked when a worker starts and again later, it shows that the worker is still the same.

A child cannot write the worker's memory, by several walls. Were all of them to fail, later children would be forked
from what it wrote; then the answers to these questions would hardly stay what they were.
"""

from collections.abc import Mapping
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest
from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import Ask, Job, Limits, Outcome
from peft_assay.sandbox.conversation import Conversation
from peft_assay.sandbox.replies import ReadReply
from peft_assay.sandbox.worker import Worker

PROMPT = "a b c"
LANGUAGE: tuple[Mapping[str, Any], ...] = (
    {"op": "score", "items": [{"prompt": PROMPT, "continuation": [1, 2, 3]}]},
    {"op": "generate", "prompts": [PROMPT], "maxNewTokens": 4},
)
CLASSES: tuple[Mapping[str, Any], ...] = ({"op": "classify", "prompts": [PROMPT, f"{PROMPT} {PROMPT}"]},)


def questions(task: str) -> tuple[Mapping[str, Any], ...]:
    """What a base of this kind (`SandboxConfiguration.task`) can be asked."""
    return CLASSES if task == "seq-cls" else LANGUAGE


def ask_reference(worker: Worker, task: str, limits: Limits, read: ReadReply) -> Digest:
    """Digest of the reference adapter's answers, from a child like any other.

    Raises ObservationError when it does not answer, or anything is seen while it does.
    """
    replies: list[Mapping[str, Any]] = []

    def converse(ask: Ask) -> None:
        loaded = ask({"op": "load"})
        replies.append(loaded)
        replies.extend(ask(question) for question in questions(task))

    job = Job(None, limits)
    result = Conversation(worker, job, limits, read, reference=True).converse(converse)
    if result.outcome is not Outcome.OK or result.events:
        seen = ", ".join(event.detail for event in result.events)
        raise ObservationError(
            f"the worker's own reference adapter does not run in this sandbox: {result.detail or seen}",
            next_step="run peft-assay doctor",
        )
    return canonical_digest(replies)
