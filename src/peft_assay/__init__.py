"""peft-assay: certify PEFT adapters in your own sandbox, against your own policy; let nothing uncertified be active.

The data goes one way: ``admit -> observe -> evaluate -> certify -> authorize -> activate`` (docs/concepts.md).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peft_assay.pipeline.activate import activate as activate
    from peft_assay.runtime.active import ActiveAdapter as ActiveAdapter

__version__ = "0.1.0"
__all__ = ["ActiveAdapter", "activate"]
_HOMES = {"activate": "peft_assay.pipeline.activate", "ActiveAdapter": "peft_assay.runtime.active"}


def __getattr__(name: str) -> Any:
    """The public names, imported when they are first used: the gate must stay light beside a serving engine."""
    if name not in _HOMES:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
