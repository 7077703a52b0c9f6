"""Suites as documents: a closed YAML header and JSONL cases, both read as hostile text.

A suite that cannot fail is refused: no cases, repeated ids or prompts, a scorer without what it compares with.
"""

from typing import Any, Literal, Self

import re2
from pydantic import BaseModel, ConfigDict, Field, model_validator

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import hex_of, sha256
from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json, parse_yaml, validate
from peft_assay.core.suite import Case, Measure, Scorer, ScorerKind, Suite

MAX_CASES = 100_000
MAX_PROMPT = 100_000
"""Characters."""
MAX_PATTERN = 1_000
"""Characters; RE2 is linear in the text, and its memory is bounded by the pattern."""


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Scorer(_Closed):
    kind: Literal["exact", "regex", "choice"]
    pattern: str | None = Field(default=None, max_length=MAX_PATTERN)

    @model_validator(mode="after")
    def _pattern_iff_regex(self) -> Self:
        if (self.kind == "regex") != (self.pattern is not None):
            raise ValueError("exactly a regex scorer has a pattern")
        return self


class SuiteDocument(_Closed):
    """suite.yaml."""

    apiVersion: Literal["peft-assay/v1"]
    kind: Literal["Suite"]
    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")
    version: str = Field(min_length=1, max_length=64)
    description: str = ""
    source: str
    period: str | None = None
    confidentiality: Literal["public", "internal", "confidential"]
    measure: Literal["generate", "choice"]
    scorer: _Scorer
    maxNewTokens: int = Field(default=32, ge=1, le=4096)
    stopAfterFailures: int | None = Field(default=None, ge=1)
    cases: str = "cases.jsonl"

    @model_validator(mode="after")
    def _choice_iff_choice(self) -> Self:
        if (self.measure == "choice") != (self.scorer.kind == "choice"):
            raise ValueError("measure choice goes with scorer choice, and only with it")
        return self


class _Case(_Closed):
    id: str = Field(min_length=1, max_length=200)
    prompt: str = Field(min_length=1, max_length=MAX_PROMPT)
    expected: str | None = Field(default=None, min_length=1)
    choices: list[str] = Field(default_factory=list, max_length=26)
    answer: int | None = Field(default=None, ge=0)


def read_document(content: bytes, *, where: str) -> SuiteDocument:
    """suite.yaml as a document; raises DocumentError with the field's path."""
    document = validate(SuiteDocument, parse_yaml(content, where=where), where=where)
    if document.scorer.pattern is not None:
        compile_pattern(document.scorer.pattern, where=f"{where}: scorer.pattern")
    return document


def compile_pattern(pattern: str, *, where: str) -> Any:
    """`pattern` compiled by RE2 (linear time, bounded memory); raises DocumentError."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 8 << 20
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        said = error.args[0] if error.args else ""
        reason = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        raise DocumentError(f"not a pattern that RE2 accepts: {reason}", where=where) from None


def read_suite(document_bytes: bytes, cases_bytes: bytes, *, where: str) -> Suite:
    """The suite that both files describe; `where` names suite.yaml. Raises DocumentError naming line and field."""
    document = read_document(document_bytes, where=where)
    cases_where = f"{where}: {document.cases}"
    cases = tuple(
        _read_case(line, document, f"{cases_where}: line {number}")
        for number, line in enumerate(cases_bytes.splitlines(), start=1)
        if line.strip()
    )
    if not 1 <= len(cases) <= MAX_CASES:
        raise DocumentError(f"{len(cases)} cases; a suite has 1 to {MAX_CASES}", where=cases_where)
    _refuse_repeats("id", [case.id for case in cases], cases_where)
    _refuse_repeats("prompt", [str(case.prompt) for case in cases], cases_where)
    digest = canonical_digest({"suite": hex_of(sha256(document_bytes)), "cases": hex_of(sha256(cases_bytes))})
    return Suite(
        id=document.id,
        version=document.version,
        digest=digest,
        measure=Measure(document.measure),
        scorer=Scorer(ScorerKind(document.scorer.kind), document.scorer.pattern),
        cases=cases,
        max_new_tokens=document.maxNewTokens,
        stop_after_failures=document.stopAfterFailures,
        confidentiality=document.confidentiality,
        source=document.source,
        period=document.period,
    )


def _read_case(line: bytes, document: SuiteDocument, where: str) -> Case:
    case = validate(_Case, parse_json(line, where=where), where=where)
    kind = document.scorer.kind
    wanted = {"exact": {"expected"}, "choice": {"choices", "answer"}, "regex": set[str]()}[kind]
    given = {name for name in ("expected", "choices", "answer") if getattr(case, name) not in (None, [])}
    if given != wanted:
        names = " and ".join(sorted(wanted)) or "neither expected nor choices nor answer"
        raise DocumentError(f"a case for scorer {kind} gives {names}, not {sorted(given) or 'nothing'}", where=where)
    if case.answer is not None:
        if len(case.choices) < 2 or len(set(case.choices)) != len(case.choices) or not all(case.choices):
            raise DocumentError("choices are at least two, not empty, each once", where=where)
        if case.answer >= len(case.choices):
            raise DocumentError(f"answer {case.answer} is not an index into {len(case.choices)} choices", where=where)
    return Case(case.id, case.prompt, case.expected, tuple(case.choices), case.answer)


def _refuse_repeats(field: str, values: list[str], where: str) -> None:
    seen: dict[str, int] = {}
    for number, value in enumerate(values, start=1):
        if value in seen:
            raise DocumentError(f"case {number} repeats the {field} of case {seen[value]}", where=where)
        seen[value] = number


def read_tokens(content: bytes, *, where: str) -> tuple[str, ...]:
    """The declared token set of a trigger scan: one token a line, none empty, none twice."""
    try:
        lines = content.decode("utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise DocumentError(f"not UTF-8 (byte {error.start})", where=where) from None
    tokens = [line.strip() for line in lines if line.strip()]
    if not tokens or len(tokens) > MAX_CASES:
        raise DocumentError(f"{len(tokens)} tokens; a scan has 1 to {MAX_CASES}", where=where)
    _refuse_repeats("token", tokens, where)
    return tuple(tokens)
