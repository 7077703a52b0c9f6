"""Evidence by control, on a screen and as a document."""

from collections.abc import Sequence
from typing import Any

from peft_assay.report import sink
from peft_assay.report.control_map import ControlMap, evidence_given
from peft_assay.report.interface import CertificationReport


def controls_text(controls: ControlMap, reports: Sequence[CertificationReport]) -> sink.Rendered:
    """For each adapter each kind of evidence: what there is of it, and what it is relevant to. First the note."""
    lines = [sink.phrase("Control map {}. {}", controls.version, " ".join(controls.note.split()))]
    for report in reports:
        lines.append(sink.phrase("\n{} {}", report.outcome.value, report.adapter))
        for given in evidence_given(controls, report):
            lines.append(sink.phrase("  {}: {}", given.row.id, given.row.what))
            lines += [sink.phrase("    {} = {}", name, value or "nothing") for name, value in given.values.items()]
            if given.row.elsewhere:
                lines.append(sink.phrase("    also: {}", given.row.elsewhere))
            for framework, named in given.row.relevant.items():
                title = controls.frameworks[framework]
                lines.append(sink.phrase("    evidence relevant to {}: {}", title, ", ".join(named)))
    return sink.Rendered("".join(f"{line}\n" for line in lines))


def controls_document(controls: ControlMap, reports: Sequence[CertificationReport]) -> dict[str, Any]:
    """The same for programs."""
    return {
        "controlMap": controls.version,
        "note": " ".join(controls.note.split()),
        "frameworks": dict(controls.frameworks),
        "adapters": [
            {
                "adapter": report.adapter,
                "source": report.source,
                "outcome": report.outcome.value,
                "evidence": [
                    {
                        "id": given.row.id,
                        "what": given.row.what,
                        "fields": dict(given.values),
                        "elsewhere": given.row.elsewhere or None,
                        "evidenceRelevantTo": {name: list(ids) for name, ids in given.row.relevant.items()},
                    }
                    for given in evidence_given(controls, report)
                ],
            }
            for report in reports
        ],
    }
