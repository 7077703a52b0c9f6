"""Whoever can write the workspace and holds no key changes nothing that `verify`, `activate`, `report` or a replay
does not notice."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from attacks.workspace.tampering import NOTHING, ON_FIRST_USE, TAMPERINGS, UNNOTICED, Tampering, Target
from peft_assay.core.digest import parse_digest
from peft_assay.core.errors import ActivationDenied, Door, TrustError
from peft_assay.intake.admit import admit
from peft_assay.intake.interface import WHOLE
from peft_assay.pipeline.activate import _Gate
from peft_assay.pipeline.deployment import utc_now
from peft_assay.pipeline.policy.replay import replay
from peft_assay.pipeline.reporting import recorded
from peft_assay.pipeline.sources import Located
from peft_assay.pipeline.verify import verify
from pipeline.certified_world import World, certified_world, copy_of

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="session")
def pristine():
    return certified_world()


@pytest.fixture
def world(pristine, tmp_path):
    return copy_of(pristine, tmp_path / "world")


def target(world: World) -> Target:
    done = next(entry for entry in certified_world().certified.document if entry["adapter"] == "lora")
    return Target(world.project / ".peft-assay", done["artifact"]["digest"])


def source(world: World) -> Located:
    return Located(world.adapter("lora"), Path(world.adapter("lora")))


def door_of_verify(world: World) -> None:
    with world.open() as deployment:
        (found,) = verify(deployment, [source(world)], clock=utc_now)
    if found.door is Door.TRUST:
        raise TrustError("a check of the gate fails for trust")
    assert found.door is Door.PASSED, found.checks


def door_of_activate(world: World) -> None:
    """As `activate` does, without a model: the base's state is the certified one."""
    with world.open() as deployment:
        deployment.look(utc_now())
        admitted = admit(source(world).found(), hold=WHOLE)
        (lock,) = deployment.workspace.certified_locks(admitted.artifact.digest)
        (envelope,) = deployment.workspace.certificates(admitted.artifact.digest, lock)
        from peft_assay.pipeline.evidence import records_under

        ((record, _),) = records_under(deployment, envelope)
        state = parse_digest(record.conditions["base"]["state"])
        _Gate(deployment, admitted, "lora", utc_now).authorize(admitted.files, state)


def door_of_report(world: World) -> None:
    with world.open() as deployment:
        recorded(deployment, [source(world)])


def door_of_replay(world: World) -> None:
    with world.open() as deployment:
        assert not replay(deployment).unlike


DOORS = {
    "verify": door_of_verify,
    "activate": door_of_activate,
    "report": door_of_report,
    "verify --replay": door_of_replay,
}


def test_untouched_every_door_opens(world: World) -> None:
    """The positive control of all that follows; twice, for a look must not change what the next one sees."""
    for _ in range(2):
        for look in DOORS.values():
            look(world)


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=[tampering.name for tampering in TAMPERINGS])
def test_every_door_notices(world: World, tampering: Tampering) -> None:
    tampering.do(target(world))
    with closing(sqlite3.connect(world.project / ".peft-assay" / "assay.db")) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)], "the database itself sees nothing"
    for name, look in DOORS.items():
        with pytest.raises(TrustError):
            look(world)
            pytest.fail(f"{name} does not notice")


@pytest.mark.parametrize("name", ON_FIRST_USE)
def test_also_where_no_mark_is_left(world: World, name: str) -> None:
    """On a host that never saw the workspace: what is appended, rewritten or reordered contradicts a signature."""
    shutil.rmtree(world.trust / "state")
    next(each for each in TAMPERINGS if each.name == name).do(target(world))
    for look in DOORS.values():
        with pytest.raises(TrustError):
            look(world)


@pytest.mark.parametrize("kind", [kind for kind, _, _ in UNNOTICED])
def test_what_is_not_noticed_decides_nothing(world: World, kind: str) -> None:
    what = {
        "activated": {"artifact": NOTHING, "certificate": NOTHING, "lock": NOTHING, "notAfter": "x", "process": 1},
        "admitted": {"artifact": target(world).adapter, "source": NOTHING},
        "attempt": {"artifact": target(world).adapter, "lock": NOTHING, "conditions": NOTHING, "policy": NOTHING},
        "refused": {"source": NOTHING, "code": "intake"},
    }[kind]
    if kind == "admitted":
        from peft_assay.core.digest import sha256

        what = {**what, "source": sha256(b"elsewhere")}
        seq = len(target(world).entries()) + 1
        target(world).append(kind, **what)
        target(world).sql(
            ("insert into artifacts values (?, ?, 'elsewhere', '2026-12-01T00:00:00Z')", seq, target(world).adapter)
        )
    else:
        target(world).append(kind, **what)
    for look in DOORS.values():
        look(world)


def test_an_appended_denial_of_service_is_told_as_tampering(world: World) -> None:
    """The ledger's verdict FAIL is no verdict: the adapter is not called denied, the workspace is called altered."""
    target(world).append("verdict", **{**target(world).verdict(), "outcome": "FAIL"})
    done = world.run("verify", world.adapter("lora"))
    assert done.code == Door.TRUST
    assert "is not signed" in done.err
    with pytest.raises(TrustError):
        door_of_activate(world)
    assert not issubclass(TrustError, ActivationDenied)


def _an_entry(workspace) -> None:
    """Written by a run that goes on: it has the key, and its checkpoint signs all that stands before it."""
    workspace.refuse(source="elsewhere", code="intake", at=utc_now())


WHILE_IT_RUNS = {
    "appended": lambda it: it.append("verdict", **{**it.verdict(), "outcome": "FAIL"}),
    "behind what decides nothing": lambda it: (
        it.append("waived", artifact=it.adapter, envelope=it.observation()),
        it.append("refused", source=NOTHING, code="intake"),
    ),
    "without any checkpoint": lambda it: (
        it.append("verdict", **{**it.verdict(), "outcome": "FAIL"}),
        it.sql(("update ledger set checkpoint = null",)),
    ),
    "beside an older checkpoint": lambda it: (
        it.append("verdict", **{**it.verdict(), "outcome": "FAIL"}),
        it.sql(
            (
                "update ledger set checkpoint = (select checkpoint from ledger where seq = 2) where seq = ?",
                len(it.entries()),
            )
        ),
    ),
}


@pytest.mark.parametrize("how", WHILE_IT_RUNS)
def test_a_run_signs_nothing_that_another_writer_appended_meanwhile(world: World, how: str) -> None:
    with world.open() as deployment:
        deployment.look(utc_now())
        WHILE_IT_RUNS[how](target(world))
        with pytest.raises(TrustError):
            _an_entry(deployment.workspace)


def test_without_the_witness_the_run_would_sign_it(world: World) -> None:
    """The positive control: the unsigned verdict gets a signature that all take who do not decide again."""
    with world.open() as deployment:
        deployment.look(utc_now())
        WHILE_IT_RUNS["appended"](target(world))
        _an_entry(replace(deployment.workspace, witness=None))
    for look in (door_of_verify, door_of_activate, door_of_report):
        look(world)
    with pytest.raises(AssertionError):
        door_of_replay(world)


def test_a_trigger_of_another_writer_appends_nothing_to_what_a_run_writes(world: World) -> None:
    said = target(world).entries()[-1]
    with closing(sqlite3.connect(target(world).folder / "assay.db")) as connection:
        connection.execute(
            "create trigger more after insert on ledger when new.kind = 'refused' begin insert into ledger "
            f"select new.seq + 1, at, kind, body, leaf, null from ledger where seq = {said[0]}; end"
        )
    with world.open() as deployment:
        deployment.look(utc_now())
        with pytest.raises(TrustError):
            _an_entry(deployment.workspace)
    with closing(sqlite3.connect(target(world).folder / "assay.db")) as connection:
        connection.execute("drop trigger more")
    for look in DOORS.values():
        look(world)


def test_a_run_misses_what_it_wrote_itself(world: World) -> None:
    """An entry of this run is dropped, and a mark has not seen it yet."""
    with world.open() as deployment:
        deployment.look(utc_now())
        _an_entry(deployment.workspace)
        target(world).sql(("delete from ledger where seq = ?", len(target(world).entries())))
        with pytest.raises(TrustError, match="while this ran"):
            _an_entry(deployment.workspace)


def test_two_runs_that_hold_the_key_write_in_turn(world: World) -> None:
    with world.open() as one, world.open() as other:
        one.look(utc_now())
        other.look(utc_now())
        for _ in range(2):
            _an_entry(one.workspace)
            _an_entry(other.workspace)
        target(world).append("refused", source=NOTHING, code="intake")
        _an_entry(one.workspace)
    for look in DOORS.values():
        look(world)


def test_unsigned_entries_that_say_nothing_stop_no_withdrawal(world: World) -> None:
    it = target(world)
    certificate = it.last("certified", artifact=it.adapter)["envelope"]
    for what in ({}, {"certificate": certificate}, {"certificate": certificate, "notAfter": "x"}, {"certificate": 1}):
        it.append("activated", **what)
    it.append("attempt")
    it.append("attempt", artifact=it.adapter)
    assert world.run("rights", "show", it.adapter).code == Door.PASSED
    assert world.run("revoke", world.adapter("lora"), "--reason", "backdoor", "--yes").code == Door.PASSED
    assert world.run("verify", world.adapter("lora")).code == Door.DENIED
