"""Who may say what: one role per kind of statement, and never one key in two roles."""

from enum import StrEnum

from peft_assay.core.statement import ANSWERS, OBSERVATION, REVOCATIONS, VSA

LIFT = "https://w3id.org/peft-assay/lift/v1"
"""Predicate of an approver's lift of one revocation."""

CLEARANCE = "https://w3id.org/peft-assay/rights-clearance/v1"
"""Predicate of an approver's clearance of one grant for one artifact."""

WAIVER = "https://w3id.org/peft-assay/waiver/v1"
"""Predicate of an approver's waiver of one rule for one artifact."""

CHECKPOINT = "https://w3id.org/peft-assay/ledger-checkpoint/v1"
"""Predicate of the size and root of a workspace's ledger; each key holder that writes an entry signs it."""

SNAPSHOT = "https://w3id.org/peft-assay/rights-snapshot/v1"
"""Predicate of the Hub's answer about an artifact's lineage: an observation, so a sandbox key signs it."""


class Role(StrEnum):
    """What a pinned key is trusted for."""

    SANDBOX = "sandbox"
    AUTHORITY = "authority"
    APPROVER = "approver"


ROLE_OF_PREDICATE = {
    OBSERVATION: Role.SANDBOX,
    ANSWERS: Role.SANDBOX,
    VSA: Role.AUTHORITY,
    REVOCATIONS: Role.AUTHORITY,
    LIFT: Role.APPROVER,
    CLEARANCE: Role.APPROVER,
    WAIVER: Role.APPROVER,
    SNAPSHOT: Role.SANDBOX,
}
EVERY_ROLE = frozenset({CHECKPOINT})
"""Predicates that a key of any role signs: they describe the content of a ledger, and permit nothing."""
