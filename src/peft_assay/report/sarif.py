"""Findings as SARIF 2.1.0 for code scanning and editors (OASIS, Static Analysis Results Interchange Format, errata 01).

One run for all sources, since code scanning takes one run per tool. A result is one finding in one file; which of its
fields are meant stands in the logical locations. Text from artifacts is made visible by `core.display`, then escaped as
section 3.11 wants it: ``[a](b)`` would be a link and ``{0}`` a placeholder.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

from peft_assay.core.artifact import CONFIG_FILE, Artifact
from peft_assay.core.digest import hex_of, sha256
from peft_assay.core.display import visible
from peft_assay.core.vocabulary import STATIC_TERMS
from peft_assay.report import sink
from peft_assay.report.inspection_findings import KIND, examine
from peft_assay.report.inspection_rules import check_for
from peft_assay.report.interface import Finding, Inspected, InspectionReport, Refused, Severity

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
PAGES = "https://w3id.org/peft-assay/docs/probes/"
"""Where help is; the page of the same name lies in docs/probes."""
REFUSED = "source.refused"
LEVELS: Mapping[Severity, str] = {Severity.BLOCK: "error", Severity.LOOK: "warning", Severity.UNSTATED: "note"}
MAX_TEXT = 2_000
"""Characters of one message."""
MAX_FIELDS = 100
"""Logical locations of one result; JSON output has all of them."""
_OURS = {
    KIND: ("what was named is an adapter that PEFT reads", "name the folder of one adapter"),
    REFUSED: ("the source can become one immutable artifact", "see the message"),
}
_MEANT = re.compile(r"([\[\]\\])")


def inspection(reports: Sequence[Inspected], *, version: str) -> sink.Rendered:
    """The SARIF log of `reports`, made by this `version` of peft-assay."""
    pages = {
        term: page for report in reports if isinstance(report, InspectionReport) for term, page in report.pages.items()
    }
    rules = _rules(pages)
    index = {rule["id"]: at for at, rule in enumerate(rules)}
    results = [result for report in reports for result in _results(report, index)]
    driver = {"name": "peft-assay", "semanticVersion": version, "version": version, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": not any(isinstance(report, Refused) for report in reports)}],
        "artifacts": [entry for report in reports for entry in _artifacts(report)],
        "results": results,
    }
    return sink.json_text({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]})


def _rules(pages: Mapping[str, str]) -> list[dict[str, Any]]:
    """One rule per name of the vocabulary that was observed, and our own."""
    meanings = {term.name: term.meaning for term in STATIC_TERMS}
    rules = [_rule(name, summary, step, Severity.BLOCK, "README") for name, (summary, step) in _OURS.items()]
    for name, page in sorted(pages.items()):
        check = check_for(name, None)
        step = check.next_step.replace("{page}", f"docs/probes/{page}.md").replace("{source}", "SOURCE")
        rules.append(_rule(name, meanings.get(name, name), step or "see its page", check.severity, page))
    return rules


def _rule(name: str, summary: str, step: str, severity: Severity, page: str) -> dict[str, Any]:
    return {
        "id": name,
        "shortDescription": {"text": _text(summary)},
        "help": {"text": _text(step)},
        "helpUri": f"{PAGES}{quote(page)}.md",
        "defaultConfiguration": {"level": LEVELS[severity]},
        "properties": {"page": f"docs/probes/{page}.md"},
    }


def _artifacts(report: Inspected) -> Iterator[dict[str, Any]]:
    if isinstance(report, Refused) or report.archive:
        return
    for file in report.artifact.files:
        yield {
            "location": {"uri": _uri(report.source, file.path)},
            "length": file.size,
            "hashes": {"sha-256": hex_of(file.sha256)},
        }


def _results(report: Inspected, index: Mapping[str, int]) -> Iterator[dict[str, Any]]:
    if isinstance(report, Refused):
        refusal = report.refusal
        where = refusal.where or report.source
        place = where if where.startswith(report.source) else f"{report.source}: {where}"
        message = f"{place}: {refusal.message}. Next: {refusal.next_step}"
        yield _result(REFUSED, Severity.BLOCK, message, _uri(report.source, ""), (), index)
        return
    for finding in examine(report).findings:
        for file, fields in _by_file(finding, report.artifact).items():
            where = _uri(report.source, "" if report.archive else file)
            inside = [f"{file}: {field}" if field else file for field in fields] if report.archive else fields
            yield _result(finding.rule, finding.severity, _message(finding, fields), where, inside, index)


def _message(finding: Finding, fields: Sequence[str]) -> str:
    named = [field for field in fields if field]
    more = f" and {len(named) - sink.LISTED} more" if len(named) > sink.LISTED else ""
    parts = [finding.message, f" ({', '.join(named[: sink.LISTED])}{more})" if named else "", "."]
    if finding.implied:
        parts.append(f" The same goes for: {', '.join(finding.implied)}.")
    return "".join([*parts, f" Next: {finding.next_step}" if finding.next_step else ""])


def _by_file(finding: Finding, artifact: Artifact) -> Mapping[str, list[str]]:
    """Fields by file; a finding about what is not there is shown in the configuration, or in the first file."""
    groups: dict[str, list[str]] = {}
    paths = {file.path for file in artifact.files}
    for spot in finding.spots:
        file = spot.file if spot.file in paths else ""
        groups.setdefault(file or _stand_in(artifact), []).append(spot.field)
    return groups or {_stand_in(artifact): [""]}


def _stand_in(artifact: Artifact) -> str:
    return CONFIG_FILE if artifact.file(CONFIG_FILE) is not None else artifact.files[0].path


def _result(
    rule: str, severity: Severity, message: str, uri: str, inside: Sequence[str], index: Mapping[str, int]
) -> dict[str, Any]:
    location: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": uri}}}
    named = [visible(name, limit=MAX_TEXT) for name in inside if name]
    if named:
        location["logicalLocations"] = [{"fullyQualifiedName": name} for name in named[:MAX_FIELDS]]
    print_of = "\0".join([rule, uri, *named])
    return {
        "ruleId": rule,
        "ruleIndex": index[rule],
        "level": LEVELS[severity],
        "message": {"text": _text(message)},
        "locations": [location],
        "partialFingerprints": {"peftAssayFinding/v1": hex_of(sha256(print_of.encode()))},
        "properties": {"severity": severity.value},
    }


def _text(text: str) -> str:
    """`text` as plain SARIF text: nothing invisible, no links, no placeholders."""
    shown = visible(text, limit=MAX_TEXT)
    return _MEANT.sub(r"\\\1", shown).replace("{", "{{").replace("}", "}}")


def _uri(source: str, path: str) -> str:
    """`path` in `source` as a URI reference: relative as the user named it, a file: URI, or the remote's own."""
    if "://" in source:
        return quote(f"{source.rstrip('/')}/{path}".rstrip("/"), safe=":/@", errors="surrogateescape")
    whole = PurePath(source, path).as_posix()
    encoded = quote(whole, safe="/", errors="surrogateescape")
    return f"file://{encoded}" if whole.startswith("/") else encoded
