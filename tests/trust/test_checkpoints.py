"""Signed checkpoints of a ledger and signed adoptions of snapshots: what they say, and who may say it."""

import pytest

from peft_assay.core.errors import TrustError
from peft_assay.trust.checkpoints import Checkpoint, checkpoint_document, open_checkpoint
from peft_assay.trust.roles import Role
from peft_assay.trust.snapshots import AdoptedSnapshot, open_snapshot, snapshot_statement
from trust.world import NOW, World, named, sealer_of

CHECKPOINT = Checkpoint("0123456789abcdef" * 2, 7, named("root"))
ADOPTED = AdoptedSnapshot(named("artifact"), named("snapshot"), NOW)


@pytest.mark.parametrize("role", list(Role))
def test_a_key_of_each_role_signs_what_the_ledger_is(role: Role) -> None:
    sealer = sealer_of(role)
    envelope = sealer.seal(checkpoint_document(CHECKPOINT))
    assert open_checkpoint(envelope, [sealer.public]) == CHECKPOINT
    with pytest.raises(TrustError, match="not pinned"):
        open_checkpoint(envelope, [sealer_of(role).public])


def test_checkpoints_that_are_none() -> None:
    sealer = sealer_of(Role.SANDBOX)
    for change, says in (({"size": 8}, "own digest"), ({"size": 0}, "size"), ({"workspace": "x"}, "workspace")):
        document = checkpoint_document(CHECKPOINT)
        document["predicate"].update(change)
        with pytest.raises(TrustError, match=says):
            open_checkpoint(sealer.seal(document), [sealer.public])


def test_a_snapshot_is_adopted_by_a_sandbox_key_only() -> None:
    world = World.make()
    envelope = world.sandbox.seal(snapshot_statement(ADOPTED))
    assert open_snapshot(envelope, [world.sandbox.public]) == ADOPTED
    for sealer in (world.authority, world.approver):
        with pytest.raises(TrustError, match="does not sign"):
            sealer.seal(snapshot_statement(ADOPTED))
    with pytest.raises(TrustError, match="not pinned"):
        open_snapshot(envelope, [sealer_of(Role.SANDBOX).public])
