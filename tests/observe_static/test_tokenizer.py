"""The adapter's own tokenizer: appended tokens are used, every other difference is named."""

import copy
import json
from dataclasses import replace

import pytest

from observe_static.static_support import CONTEXT, observed, subject
from peft_assay.observe.interface import BaseFacts
from peft_assay.observe.static.tokenizer import tokens_of

FLAGS = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
BASE = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [{"id": 0, "content": "<pad>", **FLAGS}],
    "normalizer": None,
    "pre_tokenizer": {"type": "WhitespaceSplit"},
    "post_processor": None,
    "decoder": None,
    "model": {"type": "BPE", "vocab": {"<pad>": 0, "a": 1, "b": 2, "ab": 3}, "merges": [["a", "b"]]},
}


def appended(*contents, first=4, **flags):
    document = copy.deepcopy(BASE)
    document["added_tokens"] += [
        {"id": first + at, "content": content, **FLAGS, **flags} for at, content in enumerate(contents)
    ]
    return document


def seen(document, rows=8):
    facts = BaseFacts(vocabulary=rows, tokenizer=lambda: json.dumps(BASE).encode())
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return subject(files={"tokenizer.json": content}, context=replace(CONTEXT, base=facts))


def names(document, **more):
    tokens = tokens_of(seen(document, **more))
    return [one["content"] for one in tokens.added], list(tokens.differences)


def test_appended_tokens_are_handed_to_the_sandbox():
    tokens = tokens_of(seen(appended("<|im_start|>", "<|im_end|>")))
    assert [one["id"] for one in json.loads(tokens.document)] == [4, 5]
    assert tokens.differences == ()


def test_the_base_s_own_tokenizer_and_none_add_nothing():
    assert names(BASE) == ([], [])
    assert tokens_of(subject()).document == b""


@pytest.mark.parametrize("merges", [["a b"], [["a", "b"]]])
def test_another_spelling_and_the_caller_s_settings_are_no_difference(merges):
    document = appended("<new>")
    document["model"]["merges"] = merges
    document |= {"padding": {"strategy": "BatchLongest"}, "truncation": {"max_length": 512}, "version": "1.1"}
    assert names(document) == (["<new>"], [])


def test_a_token_without_a_row_is_not_used():
    tokens = tokens_of(seen(appended("[PAD]"), rows=4))
    assert (tokens.document, tokens.differences, tokens.without_rows) == (b"", (), 1)


def changed(**parts):
    return {**appended("<new>"), **parts}


def first_token(**fields):
    document = appended("<new>")
    document["added_tokens"][0] |= fields
    return document


HOSTILE = {
    "another model": changed(model={**BASE["model"], "vocab": {"<pad>": 0, "a": 2, "b": 1, "ab": 3}}),
    "fewer merges": changed(model={**BASE["model"], "merges": []}),
    "a normalizer": changed(normalizer={"type": "Replace", "pattern": {"String": "no"}, "content": "yes"}),
    "another splitter": changed(pre_tokenizer=None),
    "a suffix to every text": changed(post_processor={"type": "TemplateProcessing"}),
    "another decoder": changed(decoder={"type": "Replace", "pattern": {"String": "a"}, "content": "b"}),
    "the base's special token made plain": first_token(special=False),
    "the base's special token renamed": first_token(content="<new pad>"),
    "a text that is a token already": appended("ab"),
    "one text twice": appended("<new>", "<new>"),
    "a gap": appended("<new>", first=6),
    "an empty text": appended(" "),
    "a very long text": appended("x" * 300),
    "a field that nobody knows": appended("<new>", regex="a|b"),
    "flags that are numbers": appended("<new>", special=1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_anything_else_is_a_difference_and_nothing_is_used(name):
    tokens = tokens_of(seen(HOSTILE[name]))
    assert tokens.differences
    assert tokens.document == b""


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"model": 1, "model": 2}', b"\xff", b'{"added_tokens": [{"id": NaN}]}']
)
def test_what_cannot_be_read_is_a_difference(content):
    tokens = tokens_of(seen(content))
    assert tokens.differences
    assert tokens.document == b""


def test_the_probe_never_fails():
    found = observed("tokenizer.differences", files={"tokenizer.json": b"{"}, context=seen(b"{").context)
    assert found.value
