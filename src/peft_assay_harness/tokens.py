"""Tokens that an adapter adds to the base's tokenizer: the supervisor's list, and nothing of the adapter's files."""

import copy
import json
from typing import Any

from peft_assay_loading.errors import LoadingError

ADDED_TOKENS = "added_tokens"
"""Name among a job's files; the supervisor compared the tokenizers and made it (`observe.static.tokenizer`)."""
FLAGS = ("special", "lstrip", "rstrip", "single_word", "normalized")


def extended(tokenizer: Any, content: bytes) -> Any:
    """Return a copy of the base's `tokenizer` with the tokens appended; raises LoadingError for another id."""
    import tokenizers

    longer = copy.deepcopy(tokenizer)
    for one in json.loads(content):
        token = tokenizers.AddedToken(one["content"], **{flag: one[flag] for flag in FLAGS})
        longer.add_tokens([token], special_tokens=one["special"])
        if longer.convert_tokens_to_ids(one["content"]) != one["id"]:
            raise LoadingError(f"tokenizer.json: token {one['id']} of the adapter gets another id on this base")
    return longer
