"""What a child knows while it answers: the engine, the adapter's bytes, and whether they are loaded."""

from dataclasses import dataclass, field
from typing import Any

from peft_assay_harness.engines.interface import Engine
from peft_assay_harness.tokens import ADDED_TOKENS, extended
from peft_assay_harness.zygote import Files
from peft_assay_loading.fitting import Fit


@dataclass(slots=True)
class Session:
    """One child's state. `files` is None for a job on the bare base."""

    engine: Engine
    base: Any
    """The bare base model, which PEFT wraps in place."""
    files: Files | None
    loaded: bool = False
    factor: float = 1.0
    """How strong the adapter acts, in its own strength."""
    fit: Fit | None = None
    """What was found where the adapter fits the base; found once, when it is first loaded."""
    blank: Any = None
    """A copy of the base without memory, for finding them; it was made before the fork, and is good for one use."""
    plain: Any = None
    """The base's tokenizer."""
    _longer: Any = None
    _precise: Engine | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self.plain = self.engine.tokenizer

    @property
    def tokenizer(self) -> Any:
        """The tokenizer that the adapter is asked with: the base's, with the tokens that the adapter appends.

        Raises LoadingError where they do not fit.
        """
        content = (self.files or {}).get(ADDED_TOKENS)
        if self._longer is None:
            self._longer = self.plain if content is None else extended(self.plain, content)
        return self._longer

    def exercised(self, *, precise: bool = False) -> Engine:
        """The engine with the adapter on; raises RuntimeError rather than answer with the bare base instead.

        `precise`: in float32 and one row at a time, on a copy that is made when it is first needed.
        """
        if self.files is not None and not self.loaded:
            raise RuntimeError("the adapter is not loaded")
        if not precise:
            return self.engine
        if self._precise is None:
            self._precise = self.engine.precise()
        return self._precise

    def changed(self) -> None:
        """The model is no longer what a precise copy was made of."""
        self._precise = None
