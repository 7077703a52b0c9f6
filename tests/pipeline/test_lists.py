"""The revocation list belongs to the authority's key: in force in every workspace of it, whatever a workspace holds."""

import multiprocessing
import shutil
from datetime import timedelta

import pytest

from peft_assay.certify.revoke import next_list
from peft_assay.core.digest import sha256
from peft_assay.core.errors import Door, TrustError
from peft_assay.pipeline.deployment import utc_now
from peft_assay.trust.revocations import revocations_document
from peft_assay.trust.roles import Role
from pipeline.bare_world import SECOND, bare_world, state, without_records
from pipeline.certified_world import World

TARGETS = [sha256(name.encode()) for name in ("one", "two", "three")]


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    return bare_world(tmp_path_factory.mktemp("bare"))


@pytest.fixture
def world(bare, tmp_path):
    shutil.copytree(bare.root, tmp_path / "world", symlinks=True)
    return World(tmp_path / "world")


def revoked(world, target, *place):
    done = world.run("revoke", target, "--reason", "incident", "--yes", *place)
    assert done.code == 0, done.err


def listed(world, *place):
    done = world.json("revoke", "--list", *place)
    return done.code, [entry["target"] for entry in done.document["revocations"]] if done.code == 0 else done.out


@pytest.fixture
def apart(world):
    """Two workspaces of one key whose lists began on their own, as earlier versions made them."""
    revoked(world, TARGETS[0])
    without_records(world)
    for target in TARGETS[1:]:
        revoked(world, target, *SECOND)
    without_records(world)
    return world


def test_what_one_workspace_withdraws_holds_in_all(world):
    revoked(world, TARGETS[0])
    assert listed(world, *SECOND) == (0, TARGETS[:1])
    revoked(world, TARGETS[1], *SECOND)
    assert listed(world) == listed(world, *SECOND) == (0, TARGETS[:2])
    assert world.run("revoke", "--lift", TARGETS[0], "--reason", "unfounded", *SECOND).code == 0
    assert listed(world) == (0, TARGETS[1:2])
    with world.open() as deployment:
        assert len(deployment.revocations().merged) == 0
        assert deployment.workspace.newest_revocation_list() is not None


def test_a_workspace_that_is_gone_takes_no_withdrawal_with_it(world):
    revoked(world, TARGETS[0], *SECOND)
    shutil.rmtree(world.project / "elsewhere")
    assert listed(world) == (0, TARGETS[:1])
    revoked(world, TARGETS[1])
    assert listed(world) == (0, TARGETS[:2])


def test_a_workspace_carries_the_whole_list_to_another_host(world):
    """Another host has its own state: it finds every list in the workspace, and checks each step."""
    revoked(world, TARGETS[0])
    revoked(world, TARGETS[1], *SECOND)
    shutil.rmtree(state(world))
    assert listed(world, *SECOND) == (0, TARGETS[:2])
    assert world.run("revoke", "--refresh", *SECOND).code == 0


def test_an_old_workspace_is_taken_over_without_loss(world):
    for target in TARGETS[:2]:
        revoked(world, target)
    without_records(world)
    assert listed(world) == (0, TARGETS[:2])
    revoked(world, TARGETS[2])
    assert listed(world) == (0, TARGETS)


def test_two_old_workspaces_are_merged_by_the_authority_and_refused_until_then(apart):
    assert listed(apart) == (0, TARGETS[:1]), "positive control: the first one alone is in order"
    with apart.open() as deployment:
        deployment.raise_mark(utc_now())
    code, says = listed(apart, *SECOND)
    assert code == Door.TRUST
    assert "does not continue" in says
    assert "peft-assay revoke" in says and "--refresh" in says
    assert apart.run("revoke", "--refresh", *SECOND).code == 0
    assert sorted(listed(apart)[1]) == sorted(listed(apart, *SECOND)[1]) == sorted(TARGETS)


@pytest.mark.parametrize("place", [(), SECOND])
def test_each_act_of_the_authority_merges(apart, place):
    with apart.open() as deployment:
        deployment.raise_mark(utc_now())
    revoked(apart, sha256(b"four"), *place)
    revoked(apart, sha256(b"five"), *SECOND)
    for where in ((), SECOND):
        assert sorted(listed(apart, *where)[1]) == sorted([*TARGETS, sha256(b"four"), sha256(b"five")])


def test_a_second_old_workspace_that_says_nothing_more_needs_no_merge(world):
    """Most keys have several workspaces in which nothing was ever withdrawn."""
    revoked(world, TARGETS[0])
    assert listed(world, *SECOND) == (0, TARGETS[:1])
    revoked(world, TARGETS[1], *SECOND)
    assert listed(world) == (0, TARGETS[:2])


def signed_by_the_authority(world, how):
    """Puts a list there that the authority signed, and that leaves out what was withdrawn."""
    with world.open() as deployment:
        record = deployment.revocations()
        now = utc_now()
        number, previous, entries = {
            "dropped": (record.list.sequence + 1, record.list.envelope, ()),
            "forked": (record.list.sequence + 1, record.previous, record.entries[:1]),
            "same number": (record.list.sequence, record.previous, record.entries[:1]),
            "skipped": (record.list.sequence + 3, sha256(b"never seen"), record.entries),
            "begun anew": (record.list.sequence + 1, None, ()),
        }[how]
        document = revocations_document(
            sequence=number, issued_at=now, not_after=now + timedelta(7), previous=previous, entries=entries, lifts=[]
        )
        envelope = deployment.sealer(Role.AUTHORITY).seal(document)
        if how == "same number":
            from attacks.store.test_store_attacks import tamper

            tamper(deployment.workspace, "delete from revocation_lists where sequence = ?", number)
        deployment.workspace.add_revocation_list(envelope, sequence=number, issued_at=now, at=now)


@pytest.mark.parametrize("how", ["dropped", "forked", "same number", "skipped", "begun anew"])
def test_a_list_that_leaves_a_withdrawal_out_is_refused_whoever_signed_it(world, how):
    """Without the check it is the newest list, fresh, signed by the pinned key: nothing else speaks against it."""
    for target in TARGETS[:2]:
        revoked(world, target)
    signed_by_the_authority(world, how)
    with world.open() as deployment:
        newest = deployment.workspace.newest_revocation_list()
        assert newest is not None
        with pytest.raises(TrustError, match=r"dropped|does not continue|does not follow"):
            deployment.raise_mark(utc_now())
    assert listed(world)[0] == Door.TRUST
    assert listed(world, *SECOND) == (0, TARGETS[:2]), "the key's list stands beside the anchor"


def test_publishing_asks_too(world):
    revoked(world, TARGETS[0])
    with world.open() as deployment:
        sealer = deployment.sealer(Role.AUTHORITY)
        with pytest.raises(TrustError, match="does not follow"):
            deployment.publish(lambda *_: next_list(None, now=utc_now(), sealer=sealer), utc_now())
        assert [entry.target for entry in deployment.revocations().entries] == TARGETS[:1]


def _revoke(root, target):
    revoked(World(root), target)


def test_two_processes_that_withdraw_at_once_lose_nothing(world):
    revoked(world, TARGETS[0])
    targets = [sha256(str(number).encode()) for number in range(4)]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_revoke, args=(world.root, target)) for target in targets]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert sorted(listed(world)[1]) == sorted([TARGETS[0], *targets])


def test_a_key_pinned_beside_the_old_one_continues_its_list(world, tmp_path):
    """Rotation: both keys have a record from then on, and the old one can be unpinned without losing a withdrawal."""
    from peft_assay.trust.anchor import create_development_anchor

    revoked(world, TARGETS[0])
    new = create_development_anchor(tmp_path / "new").read_text()
    mine = (world.trust / "trust.yaml").read_text()
    import yaml

    pinned, other = yaml.safe_load(mine), yaml.safe_load(new)
    old = pinned["keys"]["authority"]
    pinned["keys"]["authority"] = [*old, *other["keys"]["authority"]]
    (world.trust / "trust.yaml").write_text(yaml.safe_dump(pinned))
    shutil.copy(tmp_path / "new/keys/authority.pem", world.trust / "keys/authority.pem")
    revoked(world, TARGETS[1], *SECOND)
    pinned["keys"]["authority"] = other["keys"]["authority"]
    (world.trust / "trust.yaml").write_text(yaml.safe_dump(pinned))
    assert listed(world) == (0, TARGETS[:2])
    revoked(world, TARGETS[2], *SECOND)
    assert listed(world) == (0, TARGETS)


def test_a_record_that_names_a_list_that_nobody_has(world):
    revoked(world, TARGETS[0], *SECOND)
    shutil.rmtree(state(world) / "authority" / "lists")
    with world.open() as deployment, pytest.raises(TrustError, match="not at hand") as error:
        deployment.revocations()
    assert "back from a copy" in (error.value.next_step or "")
    assert listed(world, *SECOND) == (0, TARGETS[:1]), "that workspace has it"
