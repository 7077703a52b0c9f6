"""Secrets out of texts that are about to be stored: the forms that the secrets probe knows, each as its kind."""

from functools import cache
from typing import Any

from peft_assay.observe.static import linear
from peft_assay.observe.static.secrets import FORMS

_BLOCK = r"-----BEGIN (?:[A-Z]{1,20} ){0,3}PRIVATE KEY-----[^-]*(?:-----END (?:[A-Z]{1,20} ){0,3}PRIVATE KEY-----)?"
"""The probe looks for the first line; what must go is the key."""


def redacted(text: str) -> tuple[str, int]:
    """`text` with every secret replaced by ``[its kind]``, and how many that were."""
    found = 0
    for kind, form in _compiled().items():
        text, count = form.subn(f"[{kind}]", text)
        found += count
    return text, found


@cache
def _compiled() -> dict[str, Any]:
    """Whole tokens: what follows a recognised beginning without a break is part of it."""
    forms = {kind: f"(?:{form})[A-Za-z0-9_-]*" for kind, form in FORMS.items()} | {"private-key": _BLOCK}
    return {kind: linear.compile_linear(form) for kind, form in forms.items()}
