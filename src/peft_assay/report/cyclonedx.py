"""A bill of materials in CycloneDX 1.6 JSON (ECMA-424): adapters, bases, data, how they behaved, what was attested.

Written field by field from what is known: cyclonedx-python-lib has no model cards and would drop them. Its strict
validator judges the result in our tests. What a licence or a dataset is not known to be is left out, never guessed.
"""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.errors import UsageError
from peft_assay.report import sink
from peft_assay.report.cyclonedx_attested import declarations, standards
from peft_assay.report.cyclonedx_components import adapter_component, dependencies, lineage_components, reference_of
from peft_assay.report.interface import BillEntry

SPEC_VERSION = "1.6"


def render_cyclonedx(entries: Sequence[BillEntry], *, version: str) -> sink.Rendered:
    """One bill for the deployment that `entries` are judged in; `version` is peft-assay's.

    The same entries give the same bill, serial number included. Raises UsageError when there is nothing to list.
    """
    if not entries:
        raise UsageError("there is nothing to list", where="report", next_step="peft-assay certify")
    return sink.json_text(bill(entries, version=version))


def bill(entries: Sequence[BillEntry], *, version: str) -> dict[str, Any]:
    """The document; see `render_cyclonedx`."""
    first = entries[0].report
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {
            "timestamp": sink.instant(max(entry.report.generated_at for entry in entries)),
            "tools": {"components": [{"type": "application", "name": "peft-assay", "version": version}]},
            "component": {
                "type": "application",
                "bom-ref": "deployment",
                "name": first.context,
                "description": first.title,
            },
        },
        "components": list(_unique(entries)),
        "dependencies": list(_dependencies(entries)),
        "compositions": list(_compositions(entries)),
        "definitions": {"standards": list(standards(entries))},
        "declarations": declarations(entries, version=version),
    }
    serial = uuid.uuid5(uuid.NAMESPACE_URL, canonical_digest(document))
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "serialNumber": f"urn:uuid:{serial}",
        **document,
    }


def _unique(entries: Sequence[BillEntry]) -> Iterator[dict[str, Any]]:
    """Every component once: adapters share a base, and often data."""
    seen: set[str] = set()
    for entry in entries:
        for component in (adapter_component(entry), *lineage_components(entry)):
            if component["bom-ref"] not in seen:
                seen.add(component["bom-ref"])
                yield component


def _dependencies(entries: Sequence[BillEntry]) -> Iterator[dict[str, Any]]:
    needed: dict[str, set[str]] = {"deployment": {reference_of(entry, entry.lineage.nodes[0]) for entry in entries}}
    for entry in entries:
        for child, parent in dependencies(entry):
            needed.setdefault(child, set()).add(parent)
    for reference in sorted(needed):
        yield {"ref": reference, "dependsOn": sorted(needed[reference])}


def _compositions(entries: Sequence[BillEntry]) -> Iterator[dict[str, Any]]:
    """Parts that do not say what they were trained on: the bill is not all there is."""
    undisclosed = {
        reference_of(entry, node)
        for entry in entries
        for node in entry.lineage.nodes
        if node.key in entry.lineage.undisclosed
    }
    if undisclosed:
        yield {"aggregate": "incomplete", "assemblies": sorted(undisclosed)}
