"""Which static facts forbid instantiating an adapter at all, even in the sandbox.

Loading is not a neutral act: in PEFT it can overwrite the base, allocate without bound or unpickle
(docs/threat-model.md).
Anything that was not positively established counts against it.
"""

from collections.abc import Iterable

from peft_assay.core.observation import Observation, Status

_MUST_BE_EMPTY = (
    "weights.pickle_files",
    "weights.undeclared",
    "config.redirects",
    "config.base_rewrites",
    "config.unsafe_patterns",
    "bounds.exceeded",
)
_MUST_BE_TRUE = ("weights.canonical", "config.strict")


def why_unsafe(observations: Iterable[Observation]) -> str | None:
    """The first fact that forbids instantiation, in one line; None when every one of them was shown to be harmless."""
    by_name = {observation.name: observation for observation in observations}
    for name, wanted in (
        *((n, ()) for n in _MUST_BE_EMPTY),
        *((n, True) for n in _MUST_BE_TRUE),
        ("weights.nonfinite", 0),
    ):
        observation = by_name.get(name)
        if observation is None or observation.status is not Status.OK:
            return f"{name} is not established"
        if type(observation.value) is not type(wanted) or observation.value != wanted:
            return f"{name}: {observation.reason or _spelt(observation.value)}"
    return None


def _spelt(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
