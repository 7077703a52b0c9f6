"""JSON Schemas of our predicates, from the models that read them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from peft_assay.core.statement import ANSWERS, CERTIFICATION, OBSERVATION, REVOCATIONS, SUITE, VSA
from peft_assay.trust import (
    answers,
    certification,
    checkpoints,
    clearances,
    observations,
    resource_uri,
    revocations,
    snapshots,
    suites,
    times,
    waivers,
)
from peft_assay.trust.roles import CHECKPOINT, CLEARANCE, LIFT, SNAPSHOT, WAIVER

HEX = "^[0-9a-f]{64}$"
DIGEST = "^sha256:[0-9a-f]{64}$"
FORMS = {
    "sha256": HEX,
    "dirHash": HEX,
    "omsRoot": HEX,
    "keyid": HEX,
    "digest": DIGEST,
    "document": DIGEST,
    "cases": DIGEST,
    "evidence": DIGEST,
    "previous": DIGEST,
    "lineage": DIGEST,
    "snapshot": DIGEST,
    "circumstances": DIGEST,
    "resourceUri": f"^{resource_uri._FORM.pattern}$",  # noqa: SLF001 - the grammar itself
}
"""Fields whose text the models check by a function, which a JSON Schema cannot say otherwise."""
INSTANT = f"^{times._FORM.pattern}$"  # noqa: SLF001 - the grammar itself

PREDICATES: Mapping[str, tuple[str, type[BaseModel], str]] = {
    "certification": (VSA, certification._Summary, "Predicate of our SLSA verification summary"),  # noqa: SLF001
    "certification-extension": (CERTIFICATION, certification._Notes, "Informative extension inside it"),  # noqa: SLF001
    "behavioural-observation": (OBSERVATION, observations._Record, "Predicate of a behavioural observation"),  # noqa: SLF001
    "answers": (ANSWERS, answers._Answers, "Predicate of kept answers"),  # noqa: SLF001
    "revocations": (REVOCATIONS, revocations._List, "Predicate of a revocation list"),  # noqa: SLF001
    "rights-clearance": (CLEARANCE, clearances._Clearance, "Predicate of a rights clearance"),  # noqa: SLF001
    "suite": (SUITE, suites._Suite, "Predicate of an owner's signature over a suite"),  # noqa: SLF001
    "waiver": (WAIVER, waivers._Waiver, "Predicate of a waiver"),  # noqa: SLF001
    "ledger-checkpoint": (CHECKPOINT, checkpoints._Checkpoint, "Predicate of a ledger's checkpoint"),  # noqa: SLF001
    "rights-snapshot": (SNAPSHOT, snapshots._Snapshot, "Predicate of an adopted rights snapshot"),  # noqa: SLF001
    "lift": (LIFT, revocations._LiftPredicate, "Predicate of an approver's lift"),  # noqa: SLF001
}


def schemas() -> dict[str, dict[str, Any]]:
    """File name without suffix -> JSON Schema (2020-12)."""
    return {name: _schema(*described) for name, described in PREDICATES.items()}


def _schema(predicate_type: str, model: type[BaseModel], title: str) -> dict[str, Any]:
    generated = _clean(model.model_json_schema(by_alias=True))
    generated.pop("description", None)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": f"{title} ({predicate_type})"}
    return {**head, **generated}


def _clean(node: Any, name: str | None = None) -> Any:
    """Without the models' private names, and with the forms that text must have."""
    if isinstance(node, list):
        return [_clean(item, name) for item in node]
    if not isinstance(node, dict):
        return node.replace("/$defs/_", "/$defs/") if isinstance(node, str) else node
    if node.get("type") == "string" and node.get("format") == "date-time":
        return {"type": "string", "pattern": INSTANT}
    cleaned: dict[str, Any] = {}
    for key, value in node.items():
        if key in ("properties", "$defs"):
            cleaned[key] = {child.lstrip("_"): _clean(item, child) for child, item in value.items()}
        elif key != "title" and not (key == "description" and "enum" not in node):
            cleaned[key] = _clean(value, name)
    if cleaned.get("type") == "string" and name in FORMS and "pattern" not in cleaned:
        cleaned["pattern"] = FORMS[name]
    return cleaned
