"""What an adapter's file must hold, by its configuration and the base, and what it holds instead."""

from dataclasses import dataclass

from peft_assay_loading.errors import LoadingError


@dataclass(frozen=True, slots=True)
class Plan:
    """Tensor names of the weights file against what configuration and base require."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    mismatched: tuple[str, ...]
    """Present in both, with different shapes."""
    cause: str = ""
    """What all of it comes from, where the names tell."""

    @property
    def met(self) -> bool:
        """Whether the file holds exactly the tensors required."""
        return not (self.missing or self.extra or self.mismatched)


class PlanUnmet(LoadingError):
    """The weights file does not hold exactly the tensors that configuration and base require; `plan` names them."""

    def __init__(self, plan: Plan) -> None:
        parts = [f"{name} {', '.join(tensors[:3])}" for name, tensors in _parts(plan) if tensors]
        found = "the tensors are not those that configuration and base require: " + "; ".join(parts)
        super().__init__(plan.cause or found)
        self.plan = plan


def _parts(plan: Plan) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("missing", plan.missing), ("undeclared", plan.extra), ("of another shape", plan.mismatched)
