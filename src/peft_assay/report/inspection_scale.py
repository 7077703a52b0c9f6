"""The scale of a finding: how many of the adapter's tensors or modules it is about, out of all there are."""

from peft_assay.core.observation import Value
from peft_assay.report.interface import Declared

_TENSORS = ("weights.nonfinite", "weights.undeclared")
_MODULES = ("delta.zero_modules",)


def scale_of(name: str, value: Value | None, declared: Declared) -> str:
    """Return ``(3 of 32 modules)`` for a finding that counts or lists some; empty where that is not known."""
    count = len(value) if isinstance(value, tuple) else value
    whole, unit = (declared.tensors, "tensors") if name in _TENSORS else (declared.modules, "modules")
    if name not in (*_TENSORS, *_MODULES) or not isinstance(count, int) or whole is None or not 0 < count <= whole:
        return ""
    return f" (all {whole} {unit})" if count == whole else f" ({count} of {whole} {unit})"
