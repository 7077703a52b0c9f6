"""Appended tokens in the sandbox: the base's tokenizer with them, with the ids that the file's rows have."""

import json
from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers")

from peft_assay_harness.tokens import extended  # noqa: E402
from peft_assay_loading.errors import LoadingError  # noqa: E402

BASE = Path(__file__).parents[2] / "examples" / "zoo" / "base"
FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}


def listed(first, *contents, special=True):
    rows = [{"id": first + at, "content": text, "special": special, **FLAGS} for at, text in enumerate(contents)]
    return json.dumps(rows).encode()


@pytest.mark.parametrize("special", [True, False])
def test_text_reaches_the_new_ids_and_other_text_its_old_ones(special):
    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
    first = len(tokenizer)
    longer = extended(tokenizer, listed(first, "<|im_start|>", "<|im_end|>", special=special))
    assert longer("<|im_start|>")["input_ids"] == [first]
    assert longer.decode([first + 1]) == "<|im_end|>"
    words = " ".join(list(tokenizer.get_vocab())[5:50])
    assert longer(words)["input_ids"] == tokenizer(words)["input_ids"]
    assert len(tokenizer) == first, "the base's own is as it was"


def test_another_id_than_its_row_is_refused():
    tokenizer = transformers.AutoTokenizer.from_pretrained(BASE)
    with pytest.raises(LoadingError, match="gets another id"):
        extended(tokenizer, listed(len(tokenizer) + 1, "<new>"))
