"""Suites are hostile documents: every refusal with its message and its place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peft_assay.core.errors import DocumentError
from peft_assay.core.suite import Measure, ScorerKind
from peft_assay.observe.suites.patterns import compile_pattern
from peft_assay.observe.suites.read import read_suite
from peft_assay.observe.suites.tokens import read_tokens

HEADER = {
    "apiVersion": "peft-assay/v1",
    "kind": "Suite",
    "id": "task",
    "version": "1",
    "source": "tests",
    "confidentiality": "internal",
    "measure": "generate",
    "scorer": {"kind": "exact"},
}
CASES = [{"id": "a", "prompt": "one", "expected": "1"}, {"id": "b", "prompt": "two", "expected": "2"}]
CHOICE = {"measure": "choice", "scorer": {"kind": "choice"}}
CHOICES = {"id": "a", "prompt": "one", "choices": ["x", "y"], "answer": 1}
REGEX = {"scorer": {"kind": "regex", "pattern": "^sorry"}}


def lines(cases):
    return b"".join(json.dumps(case).encode() + b"\n" for case in cases)


def read(header=None, cases=None, content=None):
    document = json.dumps({**HEADER, **(header or {})}).encode()
    return read_suite(
        document, lines(CASES if cases is None else cases) if content is None else content, where="s/suite.yaml"
    )


def test_a_suite_is_read_whole():
    suite = read({"stopAfterFailures": 3, "maxNewTokens": 5, "period": "2026-Q1"})
    assert (suite.id, suite.version, suite.measure, suite.scorer.kind) == (
        "task",
        "1",
        Measure.GENERATE,
        ScorerKind.EXACT,
    )
    assert [(case.id, case.prompt, case.expected) for case in suite.cases] == [("a", "one", "1"), ("b", "two", "2")]
    assert (suite.stop_after_failures, suite.max_new_tokens, suite.confidentiality) == (3, 5, "internal")
    chosen = read(CHOICE, [CHOICES]).cases[0]
    assert (chosen.choices, chosen.answer) == (("x", "y"), 1)
    assert read(REGEX, [{"id": "a", "prompt": "p"}]).scorer.pattern == "^sorry"


@pytest.mark.parametrize(
    ("header", "field", "why"),
    [
        ({"apiVersion": "peft-assay/v2"}, "apiVersion", "must be 'peft-assay/v1'"),
        ({"kind": "Policy"}, "kind", "must be 'Suite'"),
        ({"id": "Task"}, "id", "must match"),
        ({"id": "a.b"}, "id", "must match"),
        ({"id": ""}, "id", "must match"),
        ({"version": 1}, "version", "must be text"),
        ({"confidentiality": "secret"}, "confidentiality", "must be"),
        ({"measure": "vibes"}, "measure", "must be"),
        (
            {"scorer": {"kind": "exact", "pattern": "x"}},
            "scorer",
            "a scorer exact gives nothing besides kind (and may give until, verbatim), not pattern",
        ),
        ({"scorer": {"kind": "regex"}}, "scorer", "a scorer regex gives pattern (and may give until), not nothing"),
        ({"scorer": {"kind": "python", "code": "1"}}, "scorer.kind", "must be"),
        ({"scorer": {"kind": "regex", "pattern": "x" * 1001}}, "scorer.pattern", "at most 1000"),
        ({"scorer": {"kind": "regex", "pattern": "(unclosed"}}, "scorer.pattern", "not a pattern that RE2 accepts"),
        ({"scorer": {"kind": "regex", "pattern": r"(a)\1"}}, "scorer.pattern", "not a pattern that RE2 accepts"),
        ({"measure": "generate", "scorer": {"kind": "choice"}}, "", "measure choice goes with scorer choice"),
        ({"measure": "choice"}, "", "measure generate goes with scorer exact"),
        ({"maxNewTokens": 0}, "maxNewTokens", "must be at least 1"),
        ({"maxNewTokens": True}, "maxNewTokens", "must be a whole number"),
        ({"stopAfterFailures": 0}, "stopAfterFailures", "must be at least 1"),
        ({"script": "x.py"}, "script", "is not known here"),
    ],
)
def test_a_bad_header_names_its_field(header, field, why):
    with pytest.raises(DocumentError) as caught:
        read(header)
    assert why in str(caught.value)
    assert field in str(caught.value)
    assert caught.value.where.startswith("s/suite.yaml")


@pytest.mark.parametrize(
    ("header", "cases", "why"),
    [
        ({}, [], "0 cases; a suite has 1 to 100000"),
        ({}, [*CASES, {"id": "a", "prompt": "three", "expected": "3"}], "case 3 repeats the id of case 1"),
        (
            {},
            [*CASES, {"id": "c", "prompt": "two", "expected": "3"}],
            "case 3 contradicts: another right answer to the prompt of case 2",
        ),
        ({}, [{"id": "a", "prompt": "one"}], "line 1: a case for scorer exact gives expected, not nothing"),
        (
            {},
            [CASES[0], {**CHOICES, "id": "z", "prompt": "z"}],
            "line 2: a case for scorer exact gives expected, not ['answer', 'choices']",
        ),
        (
            {},
            [{**CASES[0], "choices": ["x", "y"], "answer": 0}],
            "gives expected, not ['answer', 'choices', 'expected']",
        ),
        ({}, [{**CASES[0], "expected": ""}], "expected: is blank"),
        ({}, [{**CASES[0], "prompt": ""}], "prompt: is empty"),
        ({}, [{**CASES[0], "id": ""}], "id: is empty"),
        ({}, [{**CASES[0], "prompt": "x" * 100_001}], "prompt: must have at most 100000"),
        ({}, [{**CASES[0], "note": 1}], "note: is not known here"),
        ({}, ["text"], "(document)"),
        (REGEX, [CASES[0]], "case 1: expected: the expected answer fails the suite's own scorer regex"),
        (REGEX, [CHOICES], "a case for scorer regex gives no more than a prompt (and may give expected)"),
        (CHOICE, [{"id": "a", "prompt": "one"}], "a case for scorer choice gives answer and choices, not nothing"),
        (CHOICE, [{**CHOICES, "choices": ["x"]}], "choices are at least two"),
        (CHOICE, [{**CHOICES, "choices": ["x", "x"]}], "choices are at least two, not empty, each once"),
        (CHOICE, [{**CHOICES, "choices": ["x", ""]}], "choices are at least two, not empty, each once"),
        (CHOICE, [{**CHOICES, "answer": 2}], "answer 2 is not an index into 2 choices"),
        (CHOICE, [{**CHOICES, "answer": -1}], "answer: must be at least 0"),
        (CHOICE, [{**CHOICES, "choices": [str(n) for n in range(27)]}], "at most 26 entries"),
    ],
)
def test_a_suite_that_could_not_fail_is_refused(header, cases, why):
    with pytest.raises(DocumentError) as caught:
        read(header, cases)
    assert why in str(caught.value)
    assert "s/suite.yaml: cases.jsonl" in caught.value.where


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"id": "a", "id": "b", "prompt": "p", "expected": "x"}', "line 1: key 'id' appears twice"),
        (b'\n\n{"id": }', "line 3: not valid JSON"),
        (b'{"id": "a", "prompt": "\xff", "expected": "x"}', "line 1: not UTF-8"),
        (b" \n\n", "0 cases"),
    ],
)
def test_cases_are_read_as_hostile_text(content, why):
    with pytest.raises(DocumentError) as caught:
        read(content=content)
    assert why in str(caught.value)


def test_the_digest_covers_header_and_cases():
    digests = {
        read().digest,
        read({"version": "2"}).digest,
        read(cases=[*CASES, {"id": "c", "prompt": "three", "expected": "3"}]).digest,
        read(cases=list(reversed(CASES))).digest,
    }
    assert len(digests) == 4
    assert read().digest == read().digest


def test_patterns_are_matched_by_re2_which_is_linear():
    pattern = compile_pattern(r"^(ab|cd)+$", where="x")
    assert type(pattern).__module__.split(".")[0] in ("re2", "_re2")
    assert pattern.search("ab" * 25_000 + "b") is None
    assert pattern.search("ab" * 25_000) is not None


@given(st.text(max_size=30))
def test_any_pattern_compiles_or_is_a_document_error(text):
    try:
        compile_pattern(text, where="x").search("some answer")
    except DocumentError as error:
        assert error.where == "x"


def test_tokens_are_one_a_line_none_twice():
    assert read_tokens(b"\nalpha\n  beta \r\n\ngamma", where="t") == ("alpha", "beta", "gamma")
    for content, why in (
        (b"", "0 tokens"),
        (b" \n", "0 tokens"),
        (b"a\nb\na\n", "token 3 repeats token 1"),
        (b"\xff", "not UTF-8 (byte 0)"),
    ):
        with pytest.raises(DocumentError) as caught:
            read_tokens(content, where="t")
        assert why in str(caught.value)


def test_texts_may_stand_alone_where_their_perplexity_is_taken():
    texts = [{"id": "a", "prompt": "", "expected": "one"}, {"id": "b", "prompt": "", "expected": "two"}]
    perplexity = {"measure": "likelihood", "scorer": {"kind": "perplexity", "maximum": 20.0}}
    assert [case.expected for case in read(perplexity, texts).cases] == ["one", "two"]
    with pytest.raises(DocumentError, match="case 3 repeats the prompt of case 1"):
        read(perplexity, [*texts, {"id": "c", "prompt": "", "expected": "one"}])
