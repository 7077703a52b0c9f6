"""The base's own way of counting tokens, where its tokenizer can be read without the sandbox's libraries."""

import json
from pathlib import Path

from peft_assay.observe.suites.lint import TokenCount


def token_count(base: Path) -> TokenCount | None:
    """How the base in this folder counts; None where `tokenizers` is not installed or reads no tokenizer there."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return None
    file = base / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        tokenizer = Tokenizer.from_file(str(file))
        longest = json.loads((base / "config.json").read_bytes()).get("max_position_embeddings")
    except Exception:  # noqa: BLE001 - the library raises bare Exception for what it cannot read
        return None
    return TokenCount(lambda text: len(tokenizer.encode(text).ids), longest if isinstance(longest, int) else None)
