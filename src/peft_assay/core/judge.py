"""Judges: programs of the consumer's that decide whether a free text is right. What they see and say is untrusted."""

from collections.abc import Mapping
from typing import Any, Protocol

from peft_assay.core.digest import Digest
from peft_assay.core.errors import ObservationError


class JudgeFailed(ObservationError):
    """The judge itself gave no usable reply: nothing is known about the answer."""


class Judge(Protocol):
    """Decides one answer at a time."""

    @property
    def name(self) -> str:
        """As the suite and the trust anchor call it."""

    @property
    def digest(self) -> Digest:
        """Of everything that it is made of: part of the observation conditions."""

    def passes(self, question: Mapping[str, Any]) -> bool:
        """Whether the answer passes. `question` has suite, case, prompt, expected and answer.

        Raises JudgeFailed when the judge does not reply in time, in size or in form.
        """
