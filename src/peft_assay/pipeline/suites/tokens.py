"""The base's own way with texts, where its tokenizer can be read without the sandbox's libraries."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peft_assay.observe.suites.lint import TokenCount

Encode = Callable[[str], Sequence[int]]


def token_count(base: Path) -> TokenCount | None:
    """How the base in this folder counts; None where `tokenizers` is not installed or reads no tokenizer there."""
    tokenizer = tokenizer_of(base)
    if tokenizer is None:
        return None
    try:
        longest = json.loads((base / "config.json").read_bytes()).get("max_position_embeddings")
    except (OSError, ValueError, AttributeError):
        return None
    return TokenCount(lambda text: len(tokenizer.encode(text).ids), longest if isinstance(longest, int) else None)


def unknown_id(base: Path) -> tuple[Encode, int] | None:
    """How the base encodes a text, and its token for what it does not know; None where it has none or none is known."""
    tokenizer = tokenizer_of(base)
    if tokenizer is None:
        return None
    model = json.loads(tokenizer.to_str()).get("model", {})
    number, text = model.get("unk_id"), model.get("unk_token")
    unknown = number if isinstance(number, int) else tokenizer.token_to_id(text) if isinstance(text, str) else None
    return None if unknown is None else (lambda said: tokenizer.encode(said, add_special_tokens=False).ids, unknown)


def tokenizer_of(base: Path) -> Any:
    """Return the tokenizer in the folder `base`; None where there is none that can be read here."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    file = base / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        return Tokenizer.from_file(str(file))
    except Exception:  # noqa: BLE001 - the library raises bare Exception for what it cannot read
        return None
