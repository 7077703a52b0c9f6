"""What is said about suites on a screen: findings, controls, numbers of cases, and files that were written."""

from collections.abc import Mapping, Sequence
from typing import Any

from peft_assay.report import sink

Document = Mapping[str, Any]


def lint_text(documents: Sequence[Document]) -> sink.Rendered:
    """Suite by suite: what it is, what knows nothing and passes, what the policy needs, and what is wrong."""
    lines: list[sink.Rendered] = []
    errors = 0
    for document in documents:
        lines.extend(_suite(document))
        errors += sum(finding["weight"] == "error" for finding in document["findings"])
    warnings = sum(len(document["findings"]) for document in documents) - errors
    suites = sink.counted(len(documents), "suite")
    lines.append(sink.phrase("{}: {}, {}", suites, sink.counted(errors, "error"), sink.counted(warnings, "warning")))
    return _joined(lines)


def _suite(document: Document) -> list[sink.Rendered]:
    held = sink.phrase(", {} held back", document["heldBack"]) if document["heldBack"] else ""
    head = sink.phrase(
        "{}: scorer {}, {}", document["suite"], document["scorer"], sink.counted(document["cases"], "case")
    )
    lines = [sink.Rendered(f"{head}{held}")]
    for control in document["controls"]:
        answer = "" if control["answer"] is None else sink.phrase(" {}", _short(control["answer"]))
        share = sink.phrase("passes {} of {}", control["passes"], control["cases"])
        lines.append(sink.Rendered(f"  control {control['control']:<10} {share}{answer}"))
    for need in document["needs"]:
        needed = "no number of cases" if need["needed"] is None else f"n >= {need['needed']}"
        mark = "  " if need["enough"] else "! "
        lines.append(sink.phrase("  {}rule {} needs {}", mark, need["rule"], needed))
    for finding in document["findings"]:
        where = "" if finding["case"] is None else sink.phrase(" case {}", finding["case"])
        told = sink.phrase("  {} {}", finding["weight"], finding["code"])
        lines.append(sink.Rendered(f"{told}{where}"))
        lines.append(sink.phrase("    {}", finding["message"]))
        lines.append(sink.phrase("    next: {}", finding["nextStep"]))
    if not document["countedInTokens"]:
        lines.append(sink.phrase("  lengths were not counted in tokens: no base at hand"))
    return lines


def _short(text: str) -> str:
    return "(nothing)" if not text else repr(text if len(text) <= 60 else text[:59] + "…")


def written_text(paths: Sequence[str], next_step: str) -> sink.Rendered:
    """Files that were just written, and what comes next."""
    lines = [sink.phrase("wrote {}", path) for path in paths]
    return _joined([*lines, sink.phrase("next: {}", next_step)])


def signed_text(path: str, suite: str, keyid: str) -> sink.Rendered:
    """A signature that was just made."""
    return _joined(
        [
            sink.phrase("signed {} with key {}", suite, keyid),
            sink.phrase("wrote {}", path),
            sink.phrase(
                "next: ask for it in peft-assay.yaml: suites: [{{path: ..., owner: NAME}}], owners: {{NAME: KEY.pub}}"
            ),
        ]
    )


def imported_text(document: Document) -> sink.Rendered:
    """What an import took, left out and changed."""
    lines = [sink.phrase("wrote {}", path) for path in document["written"]]
    lines.append(sink.phrase("{} cases of {}", document["cases"], document["from"]))
    lines.extend(sink.phrase("  {}", note) for note in document["notes"])
    lines.append(sink.phrase("next: {}", document["nextStep"]))
    return _joined(lines)


def _joined(lines: Sequence[sink.Rendered]) -> sink.Rendered:
    return sink.Rendered("".join(f"{line}\n" for line in lines))
