"""From observations to findings: what to know about an adapter, by weight, each with its place and next step."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from peft_assay.core.artifact import Artifact
from peft_assay.core.observation import Observation, Status
from peft_assay.report.inspection_rules import CHECKS, Check, Suspect, check_for, is_suspicious
from peft_assay.report.inspection_scale import scale_of
from peft_assay.report.interface import Finding, InspectionReport, Severity, Spot

KIND = "source.kind"
"""Rule of the finding that a source is no adapter that PEFT reads."""
UNEXPECTED, COMPANIONS = "artifact.unexpected_files", "artifact.companions"
_ORDER = tuple(Severity)
_RANK = {name: at for at, name in enumerate(CHECKS)}


@dataclass(frozen=True, slots=True)
class Examination:
    """All findings of one source, and how much was looked at."""

    findings: tuple[Finding, ...]
    """By severity, then by rule."""
    clean: tuple[str, ...]
    """Names whose value was measured, and could have been a finding."""
    left_out: tuple[str, ...]
    """Names that only a project can answer."""

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of that weight."""
        return tuple(finding for finding in self.findings if finding.severity is severity)

    def reaches(self, severity: Severity) -> bool:
        """Whether some finding weighs that much or more."""
        limit = _ORDER.index(severity)
        return any(_ORDER.index(finding.severity) <= limit for finding in self.findings)


def examine(report: InspectionReport) -> Examination:
    """The findings of `report`; every observation is in exactly one of findings, clean, left out and plain measures."""
    readings = [_Reading(o, check_for(o.name, o.value)) for o in report.observations]
    left_out = tuple(r.name for r in readings if _asks_project(r, report))
    asked = [r for r in readings if r.name not in left_out]
    found = [finding for r in asked if r.suspicious for finding in _seen(r, report)]
    causes = {r.observation.reason: r.name for r in asked if r.suspicious and r.observation.reason}
    reasons = {reason: at for reason, name in causes.items() for at, f in enumerate(found) if f.rule == name}
    for reason, group in _unseen(asked, report).items():
        if reason in reasons:  # one cause, one finding
            at = reasons[reason]
            found[at] = replace(found[at], implied=tuple(r.name for r in group))
        else:
            found.append(_unmeasured(reason, group, report))
    if report.obstacle:
        found = _with_obstacle(found, report)
    found.sort(key=lambda finding: (_ORDER.index(finding.severity), finding.rule != KIND, finding.rule))
    clean = [
        r.name
        for r in asked
        if r.observation.status is Status.OK and r.check.suspect is not Suspect.NEVER and not r.suspicious
    ]
    return Examination(tuple(found), tuple(clean), left_out)


@dataclass(frozen=True, slots=True)
class _Reading:
    observation: Observation
    check: Check

    @property
    def name(self) -> str:
        return self.observation.name

    @property
    def suspicious(self) -> bool:
        value = self.observation.value
        return value is not None and is_suspicious(self.check, value)

    def items(self) -> Mapping[Severity, Sequence[str]]:
        """Items of a list by their weight, without those that another name tells."""
        groups: dict[Severity, list[str]] = {}
        value = self.observation.value
        for item in value if isinstance(value, tuple) else ():
            severity = self.check.codes.get(item.partition(":")[0], self.check.severity)
            if severity is not None:
                groups.setdefault(severity, []).append(item)
        return groups


def _asks_project(reading: _Reading, report: InspectionReport) -> bool:
    if reading.name == "rights.datasets_commercial":  # the card names them, and only a register knows their licences
        return reading.observation.status is Status.FAILED and bool(report.declared.datasets)
    return reading.check.asks_project


def _unseen(readings: Iterable[_Reading], report: InspectionReport) -> Mapping[str, list[_Reading]]:
    """Readings that failed, by their reason without the name of the probe."""
    groups: dict[str, list[_Reading]] = {}
    for reading in readings:
        if reading.observation.status is Status.FAILED:
            reason = reading.observation.reason or "no reason was given"
            page = report.pages.get(reading.name)
            groups.setdefault(reason.removeprefix(f"{page}: "), []).append(reading)
    return groups


def _with_obstacle(found: list[Finding], report: InspectionReport) -> list[Finding]:
    """That it is no adapter which PEFT reads, with what follows from that instead of it."""
    follows = {"weights.canonical"} if report.declared.peft_type else {"weights.canonical", "config.strict"}
    implied = [name for f in found if f.rule in follows for name in (f.rule, *f.implied)]
    rest = [finding for finding in found if finding.rule not in follows]
    return [Finding(KIND, Severity.BLOCK, report.obstacle, (), report.remedy, tuple(sorted(implied))), *rest]


def _seen(reading: _Reading, report: InspectionReport) -> Iterator[Finding]:
    observation, check = reading.observation, reading.check
    sentence = check.sentence + scale_of(reading.name, observation.value, report.declared)
    message = sentence if not observation.reason else f"{sentence}: {observation.reason}"
    step = _next(reading, report)
    if not isinstance(observation.value, tuple):
        yield Finding(reading.name, check.severity, message, tuple(_spots((), check, report.artifact)), step)
    for severity, items in reading.items().items():
        told = _told_by_companions(report) if reading.name == UNEXPECTED else frozenset[str]()
        spots = tuple(_spots([item for item in items if item not in told], check, report.artifact))
        if spots:
            yield Finding(reading.name, severity, message, spots, step)


def _told_by_companions(report: InspectionReport) -> frozenset[str]:
    """Files of which is said what they are: that they are unexpected is no news then."""
    values = [o.value for o in report.observations if o.name == COMPANIONS]
    return frozenset(item.rpartition(": ")[0] for value in values if isinstance(value, tuple) for item in value)


def _unmeasured(reason: str, group: list[_Reading], report: InspectionReport) -> Finding:
    first = min(group, key=lambda r: (_ORDER.index(r.check.unseen), _RANK.get(r.name, len(_RANK))))
    spots = tuple(_spots((), first.check, report.artifact))
    message = f"{first.check.unseen_sentence}: {reason}"
    others = tuple(r.name for r in group if r is not first)
    return Finding(first.name, first.check.unseen, message, spots, _next(first, report), others)


def _spots(items: Sequence[str], check: Check, artifact: Artifact) -> Iterator[Spot]:
    """A place for each item: an item that is, or begins with, a file of the adapter is in that file."""
    paths = {file.path for file in artifact.files}
    for item in items:
        path, _, rest = item.partition(": ")
        if item in paths:
            yield Spot(item)
        elif path in paths:
            yield Spot(path, rest)
        else:
            yield Spot(check.file, item)
    if not items and check.file in paths:
        yield Spot(check.file)


def _next(reading: _Reading, report: InspectionReport) -> str:
    page = f"docs/probes/{report.pages.get(reading.name, 'README')}.md"
    step = reading.check.next_step or "see what it is about: {page}"
    return step.replace("{page}", page).replace("{source}", shlex.quote(report.source))
