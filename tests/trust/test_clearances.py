"""A clearance says yes only as a pinned approver signed it, about one artifact and what was known then."""

import copy
import dataclasses

import pytest

from peft_assay.core.digest import sha256
from peft_assay.core.errors import TrustError
from peft_assay.core.rights import GRANTS, Answer, Clearance
from peft_assay.trust.clearances import clearance_document, open_clearance
from peft_assay.trust.roles import Role
from trust.world import DAY, NOW, sealer_of

APPROVER = sealer_of(Role.APPROVER)
KEYS = [APPROVER.public]
CLEARANCE = Clearance(
    sha256(b"artifact"), "commercial", Answer.UNKNOWN, sha256(b"claims"), None, "Legal", "letter 118", NOW, NOW + DAY
)


def _open(document, sealer=APPROVER):
    return open_clearance(sealer.seal(document), KEYS)


@pytest.mark.parametrize("grant", GRANTS)
@pytest.mark.parametrize("answered", [Answer.UNKNOWN, Answer.NO])
@pytest.mark.parametrize("snapshot", [None, sha256(b"snapshot")])
def test_it_is_read_as_it_was_written(grant, answered, snapshot):
    clearance = dataclasses.replace(CLEARANCE, grant=grant, answered=answered, snapshot=snapshot)
    opened = _open(clearance_document(clearance))
    assert dataclasses.replace(opened, keyid="", envelope=None) == clearance
    assert opened.keyid == APPROVER.keyid
    assert opened.envelope is not None


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("grant", "everything", "clears no grant"),
        ("answered", "yes", "clears no grant"),
        ("answered", "maybe", "clears no grant"),
        ("expires", "2026-11-23T12:00:00Z", "ends before it begins"),
        ("expires", "2026-11-22T12:00:00Z", "ends before it begins"),
        ("by", "", "by"),
        ("reason", "", "reason"),
        ("lineage", "sha256:0", "lineage"),
        ("snapshot", "none", "snapshot"),
        ("at", "today", "at"),
        ("more", 1, "more"),
    ],
)
def test_anything_else_is_refused(field, value, said):
    document = copy.deepcopy(clearance_document(CLEARANCE))
    document["predicate"][field] = value
    with pytest.raises(TrustError, match=said):
        _open(document)


def test_nobody_else_s_signature_counts():
    document = clearance_document(CLEARANCE)
    for stranger in (sealer_of(Role.APPROVER), sealer_of(Role.AUTHORITY)):
        with pytest.raises(TrustError):
            open_clearance(_signed_by(stranger, document), KEYS)
    envelope = APPROVER.seal(document)
    with pytest.raises(TrustError):
        open_clearance(envelope.replace(b'"payload":"ey', b'"payload":"eY'), KEYS)


def _signed_by(sealer, document):
    from peft_assay.trust.envelope import seal

    return seal(document, sealer.signer)
