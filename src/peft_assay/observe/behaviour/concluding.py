"""Probes that ask nothing of their own: they conclude from what others asked."""

from types import NoneType

from peft_assay.observe.behaviour.interface import Turn


class Concluding:
    """The half of a `BehaviourProbe` that such a probe has no use for."""

    kind = NoneType

    def ask(self, turn: Turn) -> None:
        """Nothing."""
