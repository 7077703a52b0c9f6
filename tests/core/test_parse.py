"""Strict parsing: one meaning per document, or a DocumentError; never anything else."""

import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import MAX_DEPTH, parse_json, parse_yaml, validate

WORDS = (
    "a b : - ? ! !! !!int !!float !!bool !!timestamp !!binary !!set !!omap !!python/object:os.system & * &x *x << = ~ "
    "| > % @ ` ' \" [ ] { } , # 0x_ 0b_ 1:61 1_0 .inf .nan 2001-01-01 true no null \\ud800"
)
YAML_PIECES = st.lists(
    st.sampled_from(
        [
            *WORDS.split(),
            "\n",
            "\n  ",
            " ",
            "\t",
            ": ",
            "- ",
            "---\n",
            "...\n",
            "\x00",
            "\x85",
            "\u202e",
            "\ufeff",
            '"\\ud800"',
            "é",
        ]
    ),
    max_size=14,
).map("".join)


def refused(parse, content, **limits):
    with pytest.raises(DocumentError) as caught:
        parse(content, where="some.file", **limits)
    assert caught.value.where == "some.file"
    return caught.value.message


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"a": 1, "a": 1}', "'a' appears twice"),
        (b'{"x": {"a": 1, "b": 2, "a": 3}}', "'a' appears twice"),
        (b'{"a": 1, "\\u0061": 2}', "'a' appears twice"),
        (b'{"a": NaN}', "NaN is not a JSON number"),
        (b"[Infinity]", "Infinity is not a JSON number"),
        (b"[-Infinity]", "-Infinity is not a JSON number"),
        (b"[1e999]", "0: a number is not finite"),
        (b'{"a": 1} {"a": 2}', "not valid JSON"),
        (b'{"a": 1,}', "not valid JSON"),
        (b"", "not valid JSON"),
        (b"\xff\xfe{}", "not UTF-8 (byte 0)"),
        (b'"ab\xe9"', "not UTF-8 (byte 3)"),
        (b"[" * 100_000, "not valid JSON"),
        (b'["\\ud800"]', "half a surrogate pair"),
        (b'{"\\udc00": 1}', "half a surrogate pair"),
        (b"[" + b"9" * 5000 + b"]", "not valid JSON"),
    ],
)
def test_json_with_no_or_two_meanings_is_refused(content, why):
    assert why in refused(parse_json, content)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a: 1\na: 2\n", "line 2: key 'a' appears twice"),
        (b"x: {a: 1, 'a': 2}\n", "key 'a' appears twice"),
        (b"a: &x [1]\nb: *x\n", "line 2: aliases are not allowed"),
        (b"a: &x {b: 1}\nc:\n  <<: *x\n", "aliases are not allowed"),
        (b"a:\n  <<: {b: 1}\n", "not valid YAML"),
        (b"!!python/object/apply:os.system ['true']\n", "line 1: tags are not allowed"),
        (b"a: !!timestamp nonsense\n", "line 1: tags are not allowed"),
        (b"a: !!bool maybe\n", "tags are not allowed"),
        (b"a: !!int ''\n", "tags are not allowed"),
        (b"a: !own 1\n", "tags are not allowed"),
        (b"!!set {a, b}\n", "tags are not allowed"),
        (b"1: a\n", "line 1: key 1 is not text"),
        (b"true: a\n", "key True is not text"),
        (b"on: a\n", "key True is not text"),
        (b"~: a\n", "key None is not text"),
        (b"[a, b]: c\n", "is not text"),
        (b"a: .nan\n", "a: a number is not finite"),
        (b"a: -.inf\n", "not finite"),
        (b"a: 1\n---\nb: 2\n", "not valid YAML"),
        (b"a: [1\n", "not valid YAML"),
        (b"a: \x07\n", "not valid YAML"),
        (b"a: '\xff'\n", "not UTF-8 (byte 4)"),
        (b"[" * 5000, "not valid YAML"),
        (b'a: "\\ud800"\n', "half a surrogate pair"),
    ],
)
def test_yaml_with_no_or_two_meanings_is_refused(content, why):
    assert why in refused(parse_yaml, content)


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
def test_depth_is_bounded_exactly(parse):
    deepest = b"[" * MAX_DEPTH + b"1" + b"]" * MAX_DEPTH
    assert parse(deepest, where="x") is not None
    assert f"more than {MAX_DEPTH} deep" in refused(parse, b"[" + deepest + b"]")


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
def test_size_is_bounded_exactly(parse):
    assert parse(b'"12345678"', where="x", max_bytes=10) == "12345678"
    assert refused(parse, b'"123456789"', max_bytes=10) == "11 bytes, more than the 10 allowed"


@pytest.mark.parametrize("parse", [parse_json, parse_yaml])
def test_a_byte_order_mark_changes_nothing(parse):
    assert parse(b'\xef\xbb\xbf{"a": 1}', where="x") == {"a": 1}


def test_yaml_dates_stay_text():
    assert parse_yaml(b"a: 2001-01-01\nb: 2001-12-14t21:59:43.10-05:00\n", where="x") == {
        "a": "2001-01-01",
        "b": "2001-12-14t21:59:43.10-05:00",
    }


def test_yaml_nested_structures_are_read_whole():
    content = b"a:\n  - {b: [1, 2.5, true, null, x]}\nc: ''\n"
    assert parse_yaml(content, where="x") == {"a": [{"b": [1, 2.5, True, None, "x"]}], "c": ""}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_document_error(content):
    for parse in (parse_json, parse_yaml):
        try:
            parse(content, where="x")
        except DocumentError as error:
            assert error.where == "x"


@given(YAML_PIECES)
def test_anything_like_yaml_is_a_value_or_a_document_error(text):
    try:
        value = parse_yaml(text.encode(), where="x")
    except DocumentError:
        return
    json.dumps(value, allow_nan=False).encode()


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@given(VALUES)
def test_what_json_says_is_what_is_read(value):
    assert parse_json(json.dumps(value).encode(), where="x") == value


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    count: int
    inner: dict[str, int] = {}


@pytest.mark.parametrize(
    ("value", "messages"),
    [
        ({"name": "a"}, ["count: is missing"]),
        ({"name": 1, "count": "1"}, ["name: must be text", "count: must be a whole number"]),
        ({"name": "a", "count": True}, ["count: must be a whole number"]),
        ({"name": "a", "count": 1, "inner": {"k": "v"}}, ["inner.k: must be a whole number"]),
        ({"name": "a", "count": 1, "nmae": 1}, ["nmae: is not known here"]),
        ([], ["(document): must be a mapping"]),
        (None, ["(document): must be a mapping"]),
    ],
)
def test_validation_lists_every_problem_with_its_path(value, messages):
    with pytest.raises(DocumentError) as caught:
        validate(Strict, value, where="some.file")
    assert caught.value.where == "some.file"
    for message in messages:
        assert message in caught.value.message


class Bounded(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    mode: Literal["a", "b"] = "a"
    flag: bool = False
    share: float = Field(default=0.5, gt=0, le=1)
    n: int = Field(default=1, ge=1, lt=9)
    name: str = Field(default="xx", min_length=2, max_length=3, pattern="^x")
    some: list[int] = Field(default=[], min_length=0, max_length=1)
    texts: list[str] = Field(default=["x"], min_length=1)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"mode": "c"}, "mode: must be 'a' or 'b'"),
        ({"flag": 1}, "flag: must be true or false"),
        ({"share": "x"}, "share: must be a number"),
        ({"share": 0}, "share: must be more than 0"),
        ({"share": 2}, "share: must be at most 1"),
        ({"n": 0}, "n: must be at least 1"),
        ({"n": 9}, "n: must be less than 9"),
        ({"name": "x"}, "name: must have at least 2 characters"),
        ({"name": "xxxx"}, "name: must have at most 3 characters"),
        ({"name": "yy"}, "name: must match ^x"),
        ({"some": "x"}, "some: must be a list"),
        ({"some": [1, 2]}, "some: must have at most 1 entries"),
        ({"texts": []}, "texts: is empty"),
    ],
)
def test_what_is_wrong_is_said_in_the_writer_s_words(value, message):
    with pytest.raises(DocumentError) as caught:
        validate(Bounded, value, where="some.file")
    assert caught.value.message == message


@pytest.mark.parametrize(
    ("content", "place"),
    [(b"a: {b: [1, .nan]}\n", "a.b.1"), (b"- {x: .inf}\n", "0.x"), (b".nan", "(document)")],
)
def test_a_number_that_is_not_finite_is_found(content, place):
    with pytest.raises(DocumentError, match="is not finite") as caught:
        parse_yaml(content, where="x")
    assert caught.value.message.startswith(f"{place}: ")
