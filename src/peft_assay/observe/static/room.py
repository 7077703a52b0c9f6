"""prompt.room: positions of the base that are left for prompt and answer.

Soft prompts stand before every prompt and take positions like words do: 4,000 virtual tokens on a base of 4,096 leave
room for next to nothing, and a serving engine cuts the prompt or refuses it.
"""

from collections.abc import Iterable

from peft_assay.core.observation import Observation, ObservedBy, Status, ok
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.reading import Configuration, is_whole, read_configuration


def virtual_tokens(configuration: Configuration) -> int:
    """Positions that the adapter takes of every sequence; raises Unreadable when it does not say."""
    if not configuration.row.prompt_learning:
        return 0
    value = configuration.get("num_virtual_tokens")
    if value is None and configuration.peft_type == "CPT":
        value = len(configuration.get("cpt_token_ids") or ())
    if not is_whole(value) or value < 0:
        raise Unreadable("num_virtual_tokens is not a whole number")
    return int(value)


class RoomProbe:
    """prompt.room."""

    id = "room"
    version = "1"
    terms = ("prompt.room",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Not applicable without a base; raises Unreadable when the base or the adapter does not say its size."""
        base = subject.context.base
        if base is None:
            reason = "no base to compare with"
            yield Observation(self.terms[0], Status.NOT_APPLICABLE, None, ObservedBy.INTAKE, reason)
            return
        taken = virtual_tokens(read_configuration(subject))
        if base.positions is None:
            raise Unreadable("the base's config.json does not say how many positions it has")
        yield ok(self.terms[0], max(base.positions - taken, 0), by=ObservedBy.INTAKE)
