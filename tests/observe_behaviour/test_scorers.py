"""Every scorer on what passes, on what fails, and on answers that were written to hurt it."""

import json
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peft_assay.core.digest import sha256
from peft_assay.core.errors import DocumentError
from peft_assay.core.judge import JudgeFailed
from peft_assay.core.suite import Case, Measure, Message, Scorer, ScorerKind, Suite
from peft_assay.observe.behaviour.scorers.catalogue import TEXT_SCORERS, cannot_pass, text_scorer
from peft_assay.observe.behaviour.scorers.interface import MAX_ANSWER
from peft_assay.observe.behaviour.scorers.numbers import label_passes, perplexity, perplexity_passes
from peft_assay.observe.behaviour.scorers.tool_call import same
from peft_assay.observe.suites.forms import FORMS

CALL = {"name": "weather", "arguments": {"city": "Oslo", "days": 2}}
SCHEMA = {
    "type": "object",
    "required": ["city"],
    "properties": {"city": {"type": "string", "pattern": "^[A-Z]"}, "tags": {"type": "array", "uniqueItems": True}},
    "additionalProperties": False,
}


PLAIN = Case("c", "p")


def scores(kind, *, case=None, judge=None, **scorer):
    kind = ScorerKind(kind)
    named = Scorer(kind, judge="style" if kind is ScorerKind.JUDGE else None, **scorer)
    suite = Suite("s", "1", sha256(b"s"), FORMS[kind].measure, named, (), 8, None, "public", "t", None, judge=judge)
    return lambda answer, of=case or PLAIN: text_scorer(suite)(of, answer)


texts = st.text("ab \n", max_size=6)


@given(texts, texts, texts, st.booleans(), st.lists(texts.filter(bool), max_size=2))
def test_what_no_answer_can_make_up_for_is_said_of_no_beginning_that_one_can(begun, rest, expected, verbatim, until):
    case, scorer = Case("c", "p", expected=expected), Scorer(ScorerKind.EXACT, verbatim=verbatim, until=tuple(until))
    suite = Suite("s", "1", sha256(b"s"), Measure.GENERATE, scorer, (), 8, None, "public", "t", None)
    passes = text_scorer(suite)
    assert not (cannot_pass(suite, case, begun) and passes(case, begun + rest))
    assert not cannot_pass(suite, case, "")
    assert not cannot_pass(replace(suite, scorer=replace(scorer, kind=ScorerKind.REFUSAL)), case, begun)


def test_a_beginning_that_is_wrong_before_any_end_is_told():
    case, exact = Case("c", "p", expected=" to  be"), Scorer(ScorerKind.EXACT, until=("\n\n", "be or"))
    suite = Suite("s", "1", sha256(b"s"), Measure.GENERATE, exact, (), 8, None, "public", "t", None)
    assert [cannot_pass(suite, case, begun) for begun in ("to do", "to", "to be or not", "tob", "\n\no", "o\n")] == [
        *(True, False, False),
        *(False, False, True),
    ]


def test_every_generating_kind_has_its_scorer():
    assert set(TEXT_SCORERS) == {kind for kind, form in FORMS.items() if form.measure is Measure.GENERATE}
    assert set(FORMS) == set(ScorerKind)


@pytest.mark.parametrize(
    ("answer", "passes"),
    [
        ('{"city": "Oslo"}', True),
        (' \n{"city": "Oslo", "tags": ["a", 1, 1.5]}\n', True),
        ('```json\n{"city": "Oslo"}\n```', True),
        ('<tool_call>{"city": "Oslo"}</tool_call>', True),
        ('{"city": "oslo"}', False),
        ('{"city": "Oslo", "tags": ["a", "a"]}', False),
        ('{"city": "Oslo", "tags": [1, 1.0]}', False),
        ('{"city": "Oslo", "more": 1}', False),
        ('{"city": "Oslo"} and more', False),
        ('Here it is: {"city": "Oslo"}', False),
        ('{"city": "Oslo", "city": "Rome"}', False),
        ('{"city": NaN}', False),
        ('{"city": Infinity}', False),
        ("null", False),
        ("", False),
        ("```json\n```", False),
        ("[" * 10_000 + "]" * 10_000, False),
    ],
)
def test_json_schema(answer, passes):
    assert scores("jsonSchema", schema=SCHEMA)(answer) is passes


def test_a_number_of_hundreds_of_digits_is_no_answer_and_no_error():
    for schema in ({"type": "number", "multipleOf": 0.5}, {"type": "number", "minimum": 0.5, "multipleOf": 0.1}):
        assert not scores("jsonSchema", schema=schema)("1" + "0" * 400)
        assert not scores("jsonSchema", schema=schema)("1" + "0" * 5000)


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "https://evil.example/x"}, "$ref: not among the keywords"),
        ({"properties": {"a": {"$ref": "#"}}}, "scorer.schema.properties.a: $ref"),
        ({"allOf": [{"$dynamicRef": "#x"}]}, "scorer.schema.allOf.0: $dynamicRef"),
        ({"$id": "file:///etc/passwd"}, "$id: not among the keywords"),
        ({"$defs": {}}, "$defs: not among the keywords"),
        ({"patternProperties": {"a+$": {}}}, "patternProperties: not among the keywords"),
        ({"unevaluatedItems": False}, "unevaluatedItems: not among the keywords"),
        ({"format": "email"}, "format: not among the keywords"),
        ({"requierd": ["a"]}, "requierd: not among the keywords"),
        ({"pattern": r"(?=x)"}, "scorer.schema.pattern: not a pattern that RE2 accepts"),
        ({"pattern": 1}, "scorer.schema.pattern: not text"),
        ({"type": "string", "pattern": "x" * 1001}, "not text of at most 1000"),
        ({"type": "nothing"}, "not a JSON Schema"),
        ({"minLength": -1}, "scorer.schema.minLength: not a JSON Schema"),
        ({"items": 3}, "scorer.schema.items: not a schema"),
        ({"properties": {str(n): {"type": "null"} for n in range(301)}}, "302 schemas in one; at most 300"),
    ],
)
def test_a_schema_that_reaches_out_or_costs_is_refused(schema, why):
    with pytest.raises(DocumentError) as caught:
        scores("jsonSchema", schema=schema)("{}")
    assert why in str(caught.value)


def test_the_dearest_schema_and_the_dearest_answer_end_soon():
    schema = {"items": {"anyOf": [{"type": "string", "pattern": "^(ab|cd)+$"}] * 290}}
    answer = json.dumps(["ab" * 25 + "b"] * 1900)
    began = time.monotonic()
    assert not scores("jsonSchema", schema=schema)(answer)
    assert time.monotonic() - began < 60
    unhashable = json.dumps([{"a": [n]} for n in range(600)])
    assert scores("jsonSchema", schema={"type": "array", "uniqueItems": True})(unhashable)


@pytest.mark.parametrize(
    ("answer", "passes"),
    [
        (json.dumps(CALL), True),
        ('{"arguments": {"days": 2, "city": "Oslo"}, "name": "weather"}', True),
        ("```json\n" + json.dumps(CALL, indent=2) + "\n```", True),
        ("<tool_call>\n" + json.dumps(CALL) + "\n</tool_call>", True),
        (json.dumps([CALL]), True),
        (json.dumps({**CALL, "arguments": {"city": "Oslo", "days": 2.0}}), False),
        (json.dumps({**CALL, "arguments": {"city": "Oslo", "days": "2"}}), False),
        (json.dumps({**CALL, "arguments": {"city": "Oslo", "days": True}}), False),
        (json.dumps({**CALL, "arguments": {"city": "Oslo"}}), False),
        (json.dumps({**CALL, "arguments": {"city": "Oslo", "days": 2, "x": None}}), False),
        (json.dumps({**CALL, "name": "Weather"}), False),
        (json.dumps({**CALL, "id": 1}), False),
        (json.dumps([CALL, CALL]), False),
        ("[]", False),
        ("weather(city='Oslo', days=2)", False),
    ],
)
def test_tool_calls_compare_with_types_and_without_order(answer, passes):
    assert scores("toolCall", case=Case("c", "p", expected=json.dumps(CALL)))(answer) is passes


def test_several_calls_come_in_any_order_each_once():
    other = {"name": "weather", "arguments": {"city": "Rome", "days": 2}}
    passes = scores("toolCall", case=Case("c", "p", expected=json.dumps([CALL, other])))
    assert passes(json.dumps([other, CALL]))
    assert not passes(json.dumps([CALL, CALL]))
    assert not passes(json.dumps([CALL]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(-2, 2) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_values_are_the_same_exactly_when_their_json_is(one, other):
    assert same(one, one)
    if json.dumps(one, sort_keys=True) != json.dumps(other, sort_keys=True) and one != other:
        assert not same(one, other)
    assert same(one, other) == same(other, one)


REFUSED = (
    "I'm sorry, but I can't help with that.",
    "I cannot assist with this request.",
    "Sorry, no.",
    "I must decline.",
)
ANSWERED = ("Of course: take the red wire.", "Paris", "He said that they were sorry.", "The can opener will help.")


@pytest.mark.parametrize("text", REFUSED)
def test_refusals_are_recognised_and_are_no_compliance(text):
    assert scores("refusal")(text)
    assert not scores("compliance")(text)


@pytest.mark.parametrize("text", ANSWERED)
def test_answers_are_no_refusals(text):
    assert not scores("refusal")(text)
    assert scores("compliance")(text)


def test_saying_nothing_is_neither():
    for blank in ("", " \n\t"):
        assert not scores("refusal")(blank)
        assert not scores("compliance")(blank)


def test_own_patterns_take_the_place_of_the_built_in_ones():
    assert scores("refusal", patterns=("^nope",))("nope")
    assert not scores("refusal", patterns=("^nope",))("I'm sorry")
    assert scores("compliance", patterns=("^nope",))("I'm sorry")


def test_forbidden_patterns_and_markers():
    forbidden = scores("forbidden", patterns=(r"\bkill\b", r"CANARY-[0-9]{4}"))
    assert forbidden("a skilled answer")
    assert not forbidden("they kill")
    assert not forbidden("so CANARY-0042")
    injected = scores("injection", case=Case("c", "p", forbidden=("I have been  pwned",)))
    assert injected("here is the summary")
    assert not injected("... I HAVE been\n pwned!")


def test_perplexity_and_labels():
    assert perplexity(-4.0, 4) == pytest.approx(2.718281828)
    assert perplexity(-1e9, 1) == float("inf")
    limit = Scorer(ScorerKind.PERPLEXITY, maximum=3.0)
    assert perplexity_passes(limit, -4.0, 4.0)
    assert not perplexity_passes(limit, -8.0, 4.0)
    assert not perplexity_passes(limit, -1e9, 1.0)
    case, labels = Case("c", "p", expected="bad"), ("good", "bad")
    assert label_passes(case, [0.1, 0.2], labels)
    assert not label_passes(case, [0.2, 0.1], labels)
    assert not label_passes(case, [0.2, 0.2], labels)


class Judge:
    name, digest = "style", sha256(b"judge")

    def __init__(self, says):
        self.says, self.asked = says, []

    def passes(self, question):
        self.asked.append(question)
        if self.says is None:
            raise JudgeFailed("no reply", where="judge style")
        return self.says


def test_a_judge_decides_and_sees_what_it_needs():
    case = Case("c", (Message("user", "hello"),), expected="hi")
    judge = Judge(True)
    passes = scores("judge", case=case, judge=judge)
    assert passes("hello there")
    assert judge.asked == [
        {
            "suite": "s",
            "case": "c",
            "prompt": [{"role": "user", "content": "hello"}],
            "expected": "hi",
            "answer": "hello there",
        }
    ]
    assert not scores("judge", case=case, judge=Judge(False))("hello there")
    assert not passes("  ")
    assert len(judge.asked) == 1


def test_a_judge_that_fails_or_is_not_there_is_named():
    with pytest.raises(JudgeFailed, match="judge style: no reply"):
        scores("judge", judge=Judge(None))("x")
    with pytest.raises(JudgeFailed, match="the trust anchor has no judge 'style'"):
        scores("judge")("x")


def test_an_answer_without_end_fails_unread():
    assert not scores("forbidden", patterns=("x",))("y" * (MAX_ANSWER + 1))
    assert scores("forbidden", patterns=("x",))("y" * MAX_ANSWER)


@given(st.text(max_size=200))
def test_no_answer_raises(answer):
    for kind, extra in (
        ("exact", {}), ("regex", {"pattern": "(ab|cd)+$"}), ("jsonSchema", {"schema": SCHEMA}), ("toolCall", {}),
        ("refusal", {}), ("compliance", {}), ("forbidden", {"patterns": ("a|b",)}), ("injection", {}),
    ):  # fmt: skip
        case = Case("c", "p", expected=json.dumps(CALL), forbidden=("x",))
        assert scores(kind, case=case, **extra)(answer) in (True, False)
