"""context.prompt_tokens, context.answer_tokens: the longest prompt and answer that the context declares."""

from collections.abc import Iterable

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject


class LengthsProbe:
    """The declared lengths; 0 where nothing is declared."""

    id = "lengths"
    version = "1"
    terms = ("context.prompt_tokens", "context.answer_tokens")

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Return two facts about the context; the adapter does not influence them."""
        declared = subject.context.lengths
        both = (0, 0) if declared is None else (declared.prompt, declared.answer)
        reason = None if declared else "context.lengths in peft-assay.yaml is not declared"
        return [
            ok(name, value, by=ObservedBy.INTAKE, reason=reason) for name, value in zip(self.terms, both, strict=True)
        ]
