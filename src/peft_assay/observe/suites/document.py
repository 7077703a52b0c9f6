"""suite.yaml: a closed header; what belongs to which scorer is checked by the table of forms."""

from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from peft_assay.core.parse import parse_yaml, validate
from peft_assay.core.suite import Measure, Scorer, ScorerKind
from peft_assay.observe.suites.forms import FORMS
from peft_assay.observe.suites.patterns import MAX_PATTERN
from peft_assay.observe.suites.rotation import SHARES

MAX_PATTERNS = 200


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ScorerSection(_Closed):
    """How an answer is scored."""

    kind: Literal[
        "exact",
        "regex",
        "choice",
        "jsonSchema",
        "toolCall",
        "refusal",
        "compliance",
        "forbidden",
        "injection",
        "perplexity",
        "label",
        "judge",
    ]
    pattern: str | None = Field(default=None, min_length=1, max_length=MAX_PATTERN)
    patterns: list[str] | None = Field(default=None, min_length=1, max_length=MAX_PATTERNS)
    # `schema` is a method of every pydantic model.
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    maximum: float | None = Field(default=None, ge=1.0, allow_inf_nan=False)
    until: list[str] | None = Field(default=None, min_length=1, max_length=20)
    verbatim: bool | None = None
    judge: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")

    @model_validator(mode="after")
    def _fields_of_the_kind(self) -> Self:
        form = FORMS[ScorerKind(self.kind)]
        names = {"json_schema": "schema"}
        given = {
            names.get(name, name)
            for name in type(self).model_fields
            if name != "kind" and getattr(self, name) is not None
        }
        if not form.needs <= given <= form.needs | form.may:
            wanted = " and ".join(sorted(form.needs)) or "nothing besides kind"
            also = f" (and may give {', '.join(sorted(form.may))})" if form.may else ""
            told = ", ".join(sorted(given)) or "nothing"
            raise ValueError(f"a scorer {self.kind} gives {wanted}{also}, not {told}")
        if any(not 1 <= len(pattern) <= MAX_PATTERN for pattern in self.patterns or ()):
            raise ValueError(f"each of patterns has 1 to {MAX_PATTERN} characters")
        if not all(self.until or ["-"]):
            raise ValueError("until: a text is empty")
        return self

    def value(self) -> Scorer:
        """As the rest of the system knows it."""
        return Scorer(
            ScorerKind(self.kind),
            pattern=self.pattern,
            patterns=tuple(self.patterns or ()),
            schema=self.json_schema,
            maximum=self.maximum,
            judge=self.judge,
            until=tuple(self.until or ()),
            verbatim=self.verbatim is True,
        )


class HoldBackSection(_Closed):
    """Cases that are not asked in this period."""

    share: float
    period: str = Field(pattern=r"^20[0-9]{2}-Q[1-4]$")

    @model_validator(mode="before")
    @classmethod
    def _derived(cls, value: Any) -> Any:
        if isinstance(value, dict) and "rotation" in value:
            raise ValueError(
                "rotation was a free choice, and which cases are held back is derived now: write period instead, the "
                "quarter in which you certify, such as 2026-Q4"
            )
        return value

    @field_validator("share")
    @classmethod
    def _of_a_few(cls, value: float) -> float:
        if value not in SHARES:
            raise ValueError(f"must be one of {', '.join(map(str, SHARES))}")
        return value


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
    measure: Literal["generate", "choice", "likelihood", "classify"] | None = None
    scorer: ScorerSection
    maxNewTokens: int = Field(default=32, ge=1, le=4096)
    stopAfterFailures: int | None = Field(default=None, ge=1)
    holdBack: HoldBackSection | None = None
    cases: str = "cases.jsonl"

    @model_validator(mode="after")
    def _measure_of_the_scorer(self) -> Self:
        if self.measure is not None and self.measure != self.measured.value:
            raise ValueError(f"measure {self.measured.value} goes with scorer {self.scorer.kind}, and only with it")
        return self

    @property
    def measured(self) -> Measure:
        """What the scorer needs to be measured."""
        return FORMS[ScorerKind(self.scorer.kind)].measure


def read_document(content: bytes, *, where: str) -> SuiteDocument:
    """suite.yaml as a document; raises DocumentError with the field's path."""
    return validate(SuiteDocument, parse_yaml(content, where=where), where=where)
