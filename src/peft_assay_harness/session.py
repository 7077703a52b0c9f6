"""What a child knows while it answers: the engine, the adapter's bytes, and whether they are loaded."""

from dataclasses import dataclass
from typing import Any

from peft_assay_harness.engine import Engine
from peft_assay_harness.zygote import Files


@dataclass(slots=True)
class Session:
    """One child's state. `files` is None for a job on the bare base."""

    engine: Engine
    base: Any
    """The bare base model, which PEFT wraps in place."""
    files: Files | None
    loaded: bool = False

    def exercised(self) -> Engine:
        """The engine with the adapter on; raises RuntimeError rather than answer with the bare base instead."""
        if self.files is not None and not self.loaded:
            raise RuntimeError("the adapter is not loaded")
        return self.engine
