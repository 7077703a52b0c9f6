"""Which parts of a report are evidence relevant to which controls: read from a data file that auditors may edit."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_yaml, validate
from peft_assay.core.vocabulary import STATIC_TERMS
from peft_assay.report import sink
from peft_assay.report.figures import suite_results
from peft_assay.report.interface import CertificationReport

OBSERVATION = "observation."
Id = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,40}$")]
Prose = Annotated[str, Field(min_length=1, max_length=1000)]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class EvidenceRow(_Closed):
    """One kind of evidence as written."""

    id: Id
    what: Prose
    fields: list[str] = Field(min_length=1, max_length=50)
    """Names of FIELDS, or ``observation.`` and a term of the vocabulary."""
    elsewhere: Prose = ""
    """Where more of it stands than in the certification itself."""
    relevant: dict[Id, list[Annotated[str, Field(min_length=1, max_length=60)]]] = Field(min_length=1)
    """Framework to controls."""


class ControlMap(_Closed):
    """The whole document as written."""

    apiVersion: Literal["peft-assay/v1"]
    kind: Literal["ControlMap"]
    version: str = Field(min_length=1, max_length=60)
    note: Prose
    frameworks: dict[Id, Prose] = Field(min_length=1)
    evidence: list[EvidenceRow] = Field(min_length=1, max_length=200)


@dataclass(frozen=True, slots=True)
class Given:
    """One row of a map, for one report."""

    row: EvidenceRow
    values: Mapping[str, str | None]
    """Field -> what the report has there, in a few words; None where it has nothing."""


def read_control_map(content: bytes | None, where: str) -> ControlMap:
    """The map in `content`, or the one that comes with the package; raises DocumentError naming every problem."""
    content = (
        files("peft_assay.report").joinpath("controls", "controls.yaml").read_bytes() if content is None else content
    )
    document = validate(ControlMap, parse_yaml(content, where=where), where=where)
    problems = list(_problems(document))
    if problems:
        raise DocumentError("; ".join(problems), where=where)
    return document


def _problems(document: ControlMap) -> Iterator[str]:
    terms = {term.name for term in STATIC_TERMS}
    seen: set[str] = set()
    for index, row in enumerate(document.evidence):
        if row.id in seen:
            yield f"evidence.{index}.id: {row.id} appears twice"
        seen.add(row.id)
        for field in row.fields:
            if field not in FIELDS and not (field.startswith(OBSERVATION) and field.removeprefix(OBSERVATION) in terms):
                yield f"evidence.{index}.fields: a report has no {field!r}"
        for framework in row.relevant:
            if framework not in document.frameworks:
                yield f"evidence.{index}.relevant: {framework} is not among frameworks"


def evidence_given(controls: ControlMap, report: CertificationReport) -> tuple[Given, ...]:
    """Every row of `controls` with what `report` has for it."""
    return tuple(Given(row, {field: _value(field, report) for field in row.fields}) for row in controls.evidence)


def _value(field: str, report: CertificationReport) -> str | None:
    if field.startswith(OBSERVATION):
        found = None if report.observations is None else report.observations.get(field.removeprefix(OBSERVATION))
        return None if found is None or found.value is None else sink.plain(found.value)
    value = FIELDS[field](report)
    return None if value is None or value == "" else value


def _in_lock(*path: str) -> Callable[[CertificationReport], str | None]:
    def look(report: CertificationReport) -> str | None:
        value: Any = None if report.lock is None else report.lock.document
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, Mapping):
            return ", ".join(f"{name}: {part}" for name, part in value.items())
        return None if value is None else str(value)

    return look


def _suites(report: CertificationReport) -> str:
    results = () if report.observations is None else suite_results(report.observations)
    return "; ".join(
        f"{suite.suite}: {suite.passes} of {suite.n}, at least {suite.lower:.3f} (95 %)"
        for suite in results
        if suite.n is not None and suite.lower is not None
    )


def _rules(report: CertificationReport) -> str:
    results: Sequence[Any] = () if report.verdict is None else report.verdict.results
    counts: dict[str, int] = {}
    for result in results:
        counts[result.outcome.value] = counts.get(result.outcome.value, 0) + 1
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.items())


def _waivers(report: CertificationReport) -> str:
    said = [f"{w.rule} by {w.by} until {sink.plain(w.expires)}" for w in report.waivers]
    return "; ".join(said) if said or report.verdict is None else "none"


FIELDS: Mapping[str, Callable[[CertificationReport], str | None]] = {
    "artifact.digest": lambda report: None if report.artifact is None else report.artifact.digest,
    "attempts": lambda report: str(report.attempts),
    "certificate.envelope": lambda report: None if report.certificate is None else report.certificate.envelope,
    "certificate.issuedAt": lambda report: (
        None if report.certificate is None else sink.plain(report.certificate.issued_at)
    ),
    "certificate.keyid": lambda report: None if report.certificate is None else report.certificate.keyid,
    "certificate.notAfter": lambda report: (
        None if report.certificate is None else sink.plain(report.certificate.not_after)
    ),
    "isolation": lambda report: report.isolation,
    "lock.base.files": _in_lock("conditions", "base", "files"),
    "lock.base.state": _in_lock("conditions", "base", "state"),
    "lock.context.name": _in_lock("context", "name"),
    "lock.context.purpose": _in_lock("context", "purpose"),
    "lock.digest": lambda report: None if report.lock is None else report.lock.digest,
    "lock.labels": _in_lock("labels"),
    "observations.envelopes": lambda report: (
        None if report.certificate is None else ", ".join(report.certificate.observations)
    ),
    "observations.observedAt": lambda report: (
        None if report.observations is None else sink.plain(report.observations.observed_at)
    ),
    "outcome": lambda report: report.outcome.value,
    "policy.digest": lambda report: None if report.verdict is None else report.verdict.policy,
    "rules": _rules,
    "suites": _suites,
    "waivers": _waivers,
}
"""What a map may name, and where a report has it."""
