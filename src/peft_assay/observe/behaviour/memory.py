"""Answers that one model gave before, so that it is not asked again."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from peft_assay.core.digest import Digest
from peft_assay.observe.behaviour.answers import Given


@dataclass(frozen=True, slots=True)
class Memory:
    """Answers of one model under one set of conditions, by `key_of`."""

    kept: Mapping[Digest, Given] = field(default_factory=dict)
    """Answers of earlier conversations, which are not asked again."""
    fresh: dict[Digest, Given] = field(default_factory=dict)
    """Answers of this conversation; filled while suites are conducted."""
