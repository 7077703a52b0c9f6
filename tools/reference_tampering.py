# ruff: noqa: E501 - prose and table rows stand on one line, as they do in the page
"""The page of every tampering with a workspace that is tried, by an attacker who can write it and holds no key."""

import sys
from pathlib import Path

from reference_tables import table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from attacks.workspace.tampering import ON_FIRST_USE, TAMPERINGS, UNNOTICED

FACTS = (
    ("certificates", "signed by the authority", "gate, report"),
    (
        "observations",
        "signed by the sandbox, about the artifact and conditions that they are filed under",
        "rules, gate, bank",
    ),
    (
        "kept answers",
        "signed by the sandbox, about the model and conditions that they are filed under; scored anew",
        "observing",
    ),
    (
        "waivers and clearances",
        "signed by an approver, about the artifact that they are filed under",
        "rules, lock, gate",
    ),
    ("that a waiver or clearance was withdrawn", "the ledger's signed checkpoint", "rules, lock, gate"),
    (
        "revocations, lifts, reversals",
        "the list is signed by the authority and continues the one that was seen; lifts are signed by an approver",
        "issuing, gate, bank",
    ),
    (
        "rights snapshots",
        "adopted by the sandbox's signature, the last one by its signed time; bytes by digest. Unsigned ones of earlier versions: by a certificate's signed lock",
        "rights rules, lock",
    ),
    (
        "where an adapter came from (`certified_origin`)",
        "the lock document, by the digest that a certificate signs; the lock is computed again and compared",
        "lock, gate",
    ),
    (
        "the origin of `rights show DIGEST`",
        "the lock document that the last attempt names; nothing is decided from it but which declaration is shown",
        "`rights show`, `rights clear`",
    ),
    (
        "lock, policy and manifest documents",
        "their digest, in signed statements or in entries under the ledger's signed checkpoint",
        "replay, report",
    ),
    ("weights, answers behind observations", "their digest, in a signed manifest or observation", "report, replay"),
    (
        "the bank of certified adapters",
        "certificates and their observations, each verified; adapters that a list names are left out",
        "rules about outliers",
    ),
    (
        "verdicts and denials in the ledger",
        "the ledger's signed checkpoint; no rule and no check of the gate reads them",
        "report, replay",
    ),
    ("attempts", "the record of the authority key, outside the workspace", "certificates, rules"),
    ("admissions, refusals, activations", "nothing: no decision rests on them", "messages"),
    ("columns of tables", "compared with the ledger's entries, all of them, before anything is read", "finding"),
)
"""Every fact that a rule, a lock, the gate or a report reads from a workspace, what it rests on, and who reads it."""


def tampering() -> str:
    """Return docs/reference/tampering.md."""
    return (
        "# Tampering with a workspace\n\n"
        "An attacker who can write the workspace owns its database and its blobs, and can drop the triggers that make tables append-only. "
        "Changes without a key are noticed alike by `verify`, `activate`, `report` (and `policy explain`, `revoke --list`, "
        "`rights show`) and `verify --replay`, with exit code 11: all of them begin with one check. It recomputes the "
        "ledger from its bytes, holds it against all columns of the tables, hashes every document that an entry names, opens the signed "
        "checkpoint of the last entry, and compares all of it with the marks of this host ([ADR 0025](../adr/0025-signed-ledger.md)). The kept "
        "files of the adapter in question are hashed too; the weights of other adapters are hashed when these are read.\n\n"
        "Each line is a test of `tests/attacks/workspace`. Its control: an untouched copy passes every door, and the database's own "
        "integrity check finds nothing wrong after the tampering. *First use*: also noticed on a host that never saw the workspace.\n\n"
        + table(
            ["tampering", "how", "aim of the attack", "first use"],
            [[f"`{t.name}`", t.how, t.aim, "yes" if t.name in ON_FIRST_USE else "not tried"] for t in TAMPERINGS],
        )
        + "\n## Changes that are not noticed\n\n"
        "Entries that may be written without a key, because no decision rests on them:\n\n"
        + table(["entry", "how", "why it does not matter"], [[f"`{kind}`", how, why] for kind, how, why in UNNOTICED])
        + "\nOn first use, with no mark and no record of the key, an older copy of the whole workspace is accepted: its "
        "entries are signed, but nothing shows whether it is the newest.\n\n"
        "## Evidence for each fact\n\n" + table(["fact", "rests on", "read by"], [list(fact) for fact in FACTS])
    )
