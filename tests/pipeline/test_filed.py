"""What is signed and lies in another one's place is altered evidence, and never silence."""

import shutil
from datetime import timedelta

import pytest

from peft_assay.core.digest import sha256
from peft_assay.core.errors import TrustError
from peft_assay.core.rights import Answer, Clearance
from peft_assay.core.waiver import Waiver
from peft_assay.pipeline.adoption import adopt, adopted_snapshot
from peft_assay.pipeline.answers import DEPENDS_ON, AnswerBook
from peft_assay.pipeline.deployment import utc_now
from peft_assay.pipeline.standing import clearances_of
from peft_assay.pipeline.waivers import waivers_of
from peft_assay.trust.answers import KeptAnswers, answers_document
from peft_assay.trust.clearances import clearance_document
from peft_assay.trust.roles import Role
from peft_assay.trust.snapshots import AdoptedSnapshot, snapshot_statement
from peft_assay.trust.waivers import waiver_document
from pipeline.bare_world import bare_world
from pipeline.certified_world import World
from trust.world import World as Signed

MINE, OTHER, LOCK = (sha256(name.encode()) for name in ("mine", "other", "lock"))
MATCH = "filed under another"


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    return bare_world(tmp_path_factory.mktemp("bare"))


@pytest.fixture
def deployment(bare, tmp_path):
    shutil.copytree(bare.root, tmp_path / "world", symlinks=True)
    with World(tmp_path / "world").open() as deployment:
        yield deployment


def test_kept_answers(deployment):
    book = AnswerBook(deployment, {"isolation": 20, **dict.fromkeys(DEPENDS_ON, "x")})
    now = utc_now()
    sealer = deployment.sealer(Role.SANDBOX)
    envelope = sealer.seal(answers_document(KeptAnswers(MINE, book.conditions, now, {}), keyid=sealer.keyid))
    from peft_assay.core.canonical import canonical_digest

    conditions = canonical_digest(book.conditions)
    for subject in (MINE, OTHER):
        deployment.workspace.keep_answers(envelope, subject=subject, conditions=conditions, at=now)
    assert book.recall(MINE, now).since == now
    with pytest.raises(TrustError, match=MATCH):
        book.recall(OTHER, now)
    assert book.recall(LOCK, now).since is None


def test_observations(deployment):
    signed, sealer, now = Signed.make(), deployment.sealer(Role.SANDBOX), utc_now()
    envelope = signed.observation(sealer=sealer)
    record = deployment.record_of(envelope)
    mine, conditions = record.artifact.digest, record.observations.conditions
    keep = deployment.workspace.add_observations
    keep(envelope, artifact=mine, conditions=conditions, observed_at=now, at=now)
    assert deployment.observed(mine, conditions) == record
    assert deployment.observed(OTHER, conditions) is None
    moved = signed.observation(sealer=sealer, attempt=2)
    keep(moved, artifact=OTHER, conditions=conditions, observed_at=now, at=now)
    with pytest.raises(TrustError, match=MATCH):
        deployment.observed(OTHER, conditions)


def test_clearances(deployment):
    now = utc_now()
    clearance = Clearance(MINE, "commercial", Answer.UNKNOWN, LOCK, None, "Ada", "read", now, now + timedelta(9))
    envelope = deployment.sealer(Role.APPROVER).seal(clearance_document(clearance))
    for artifact in (MINE, OTHER):
        deployment.workspace.add_clearance(envelope, artifact=artifact, at=now)
    assert [found.artifact for found in clearances_of(deployment, MINE)] == [MINE]
    with pytest.raises(TrustError, match=MATCH):
        clearances_of(deployment, OTHER)


def test_waivers(deployment):
    now = utc_now()
    waiver = Waiver(MINE, "rule", LOCK, LOCK, {"suite.x.rate": 0.5}, "Ada", "seen", now, now + timedelta(9))
    envelope = deployment.sealer(Role.APPROVER).seal(waiver_document(waiver))
    for artifact in (MINE, OTHER):
        deployment.workspace.add_waiver(envelope, artifact=artifact, at=now)
    assert [found.artifact for found in waivers_of(deployment, MINE)] == [MINE]
    with pytest.raises(TrustError, match=MATCH):
        waivers_of(deployment, OTHER)


def test_rights_snapshots(deployment):
    now = utc_now()
    documents = [b"{}", b"[]"]
    for number, document in enumerate(documents):
        adopt(deployment, document, AdoptedSnapshot(MINE, sha256(document), now + timedelta(seconds=number)))
    assert adopted_snapshot(deployment, MINE) == sha256(b"[]")
    assert adopted_snapshot(deployment, OTHER) is None
    sealer = deployment.sealer(Role.SANDBOX)
    first = sealer.seal(snapshot_statement(AdoptedSnapshot(MINE, sha256(b"{}"), now)))
    deployment.workspace.adopt_rights(b"{}", first, artifact=MINE, at=now)
    assert adopted_snapshot(deployment, MINE) == sha256(b"[]"), "an older adoption that is filed again is still older"
    deployment.workspace.adopt_rights(b"{}", first, artifact=OTHER, at=now)
    with pytest.raises(TrustError, match=MATCH):
        adopted_snapshot(deployment, OTHER)


def test_a_snapshot_that_nobody_signed_licenses_nothing(deployment):
    """As earlier versions wrote them, and as whoever can write the workspace can."""
    from peft_assay.store.ledger import Kind

    digest = deployment.workspace.blobs.put(b"{}")
    deployment.workspace._record(Kind.RIGHTS, utc_now(), {"artifact": MINE, "snapshot": digest})
    assert deployment.workspace.rights_snapshots(MINE) == (digest,)
    assert adopted_snapshot(deployment, MINE) is None
    stranger = Signed.make().sandbox
    envelope = stranger.seal(snapshot_statement(AdoptedSnapshot(MINE, digest, utc_now())))
    deployment.workspace.adopt_rights(b"{}", envelope, artifact=MINE, at=utc_now())
    with pytest.raises(TrustError, match="not pinned"):
        adopted_snapshot(deployment, MINE)
