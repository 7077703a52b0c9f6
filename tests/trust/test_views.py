"""Statements and their views: what is written is read back, and what contradicts itself is refused."""

import base64
import dataclasses
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peft_assay.core.certificate import Revocation, Scope
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import TrustError, UsageError
from peft_assay.core.observation import Observation, ObservedBy, Status, failed, ok, sort_observations
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.core.statement import OBSERVATION, REVOCATIONS, VSA, Statement
from peft_assay.trust.certification import Certification, certificate_of, certification_document, notes_of
from peft_assay.trust.envelope import open_envelope
from peft_assay.trust.observations import ObservationAct, observation_document, observation_record_of
from peft_assay.trust.resource_uri import Resource, format_resource, parse_resource
from peft_assay.trust.revocations import (
    check_target,
    lift_document,
    open_lift,
    revocation_id,
    revocation_record_of,
    revocations_document,
)
from peft_assay.trust.roles import LIFT, Role
from peft_assay.trust.succession import check_successor
from peft_assay.trust.times import format_time, parse_time, whole_seconds
from trust.world import DAY, HOUR, NOW, POLICY, World, artifact_of, named, sealer_of

instants = st.datetimes(
    datetime(1, 1, 2),
    datetime(9999, 12, 30),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(timedelta(hours=-11))]),
)
digests = st.binary(max_size=8).map(sha256)


@pytest.fixture
def world() -> World:
    return World.make()


@settings(deadline=None)
@given(instants)
def test_times_have_one_spelling(instant: datetime) -> None:
    text = format_time(instant)
    assert parse_time(text) == whole_seconds(instant)
    assert format_time(parse_time(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23T09:30:00+00:00", "2026-11-23T09:30:00.0Z", "2026-11-23 09:30:00Z", "2026-11-23T09:30Z", "",
        "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-11-23T09:30:00z", "2026-11-23T23:59:60Z", " 2026-11-23T09:30:00Z",
        "２０２６-11-23T09:30:00Z",
    ],
)  # fmt: skip
def test_other_spellings_of_times_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_time(text)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(UsageError):
        whole_seconds(NOW.replace(tzinfo=None))


@settings(deadline=None)
@given(digests, instants, st.timedeltas(timedelta(seconds=1), timedelta(days=4000)))
def test_resource_uris_round_trip(lock: Digest, observed_at: datetime, age: timedelta) -> None:
    start = whole_seconds(observed_at)
    end = min(start, datetime(5000, 1, 1, tzinfo=UTC)) + age.__class__(seconds=int(age.total_seconds()))
    resource = Resource(lock, min(start, datetime(5000, 1, 1, tzinfo=UTC)), end)
    text = format_resource(resource)
    assert parse_resource(text) == resource
    assert format_resource(parse_resource(text)) == text


@settings(deadline=None)
@given(st.text(max_size=60))
def test_nothing_else_is_a_resource_uri(text: str) -> None:
    good = format_resource(Resource(named("lock"), NOW, NOW + DAY))
    for wrong in (text, good + text, text + good):
        if wrong != good:
            with pytest.raises(ValueError):
                parse_resource(wrong)


def test_a_period_ends_after_it_begins() -> None:
    for end in (NOW, NOW - DAY):
        with pytest.raises(ValueError, match="before it begins"):
            parse_resource(format_resource(Resource(named("lock"), NOW, end)))


def said(world: World) -> Certification:
    return Certification(
        artifact=world.artifact.digest,
        lock=world.lock.digest,
        policy_id="my policy/é",
        policy=POLICY.digest,
        observations=(named("o1"), named("o2")),
        observed_at=NOW - HOUR,
        issued_at=NOW,
        not_after=NOW + DAY,
        attempts=3,
        outcomes={"a": "PASS"},
    )


def test_a_certification_is_read_back_as_written(world: World) -> None:
    envelope = world.authority.seal(certification_document(said(world), keyid=world.authority.keyid))
    statement = open_envelope(envelope, [world.authority.public], predicate_type=VSA)
    certificate = certificate_of(statement)
    assert dataclasses.asdict(certificate) == {
        "envelope": sha256(envelope),
        "artifact": world.artifact.digest,
        "lock": world.lock.digest,
        "policy": POLICY.digest,
        "observations": (named("o1"), named("o2")),
        "observed_at": NOW - HOUR,
        "issued_at": NOW,
        "not_after": NOW + DAY,
        "keyid": world.authority.keyid,
        "waivers": {},
    }
    notes = notes_of(statement)
    assert (notes.attempts, notes.observed_at, notes.outcomes) == (3, NOW - HOUR, {"a": "PASS"})
    assert statement.predicate["policy"]["uri"] == "peft-assay:policy:my%20policy%2F%C3%A9"


def view(document: dict, predicate_type: str, keyid: str) -> Statement:
    """The statement as if these fields had been signed by `keyid`."""
    subject = Digest("sha256:" + document["subject"][0]["digest"]["sha256"])
    return Statement(b"", named("envelope"), predicate_type, subject, document["predicate"], (keyid,))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"issued_at": NOW - 2 * HOUR}, "outside its own validity"),
        ({"issued_at": NOW + DAY}, "outside its own validity"),
        ({"observations": ()}, "inputAttestations"),
        ({"attempts": 0}, "attempts"),
        ({"policy_id": ""}, "policy.uri"),
    ],
)
def test_certifications_that_contradict_themselves(world: World, changes: dict, says: str) -> None:
    keyid = world.authority.keyid
    certificate_of(view(certification_document(said(world), keyid=keyid), VSA, keyid))
    document = certification_document(dataclasses.replace(said(world), **changes), keyid=keyid)
    with pytest.raises(TrustError, match=says):
        certificate_of(view(document, VSA, keyid))


def test_a_certification_names_the_key_that_signed(world: World) -> None:
    document = certification_document(said(world), keyid=world.authority.keyid)
    with pytest.raises(TrustError, match="not the key that signed"):
        certificate_of(view(document, VSA, world.sandbox.keyid))
    document["predicate"]["verifier"]["id"] = world.authority.keyid
    with pytest.raises(TrustError, match="not the key that signed"):
        certificate_of(view(document, VSA, world.authority.keyid))
    with pytest.raises(TrustError, match="not a verification summary"):
        certificate_of(view(document, OBSERVATION, world.authority.keyid))


finite = st.floats(allow_nan=False, allow_infinity=False)
values = (
    st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | finite
    | st.text()
    | st.lists(st.text(), max_size=3).map(tuple)
)


@st.composite
def observations(draw) -> tuple[Observation, ...]:
    names = draw(
        st.sets(
            st.sampled_from(["plan.unmet", "suite.core.rate", "scan.tokens", "free.name", "a", "suite.x.n.y"]),
            min_size=1,
        )
    )
    made = []
    for name in sorted(names):
        match draw(st.sampled_from(Status)):
            case Status.OK:
                value = (
                    draw(finite)
                    if name == "suite.core.rate"
                    else draw(values.filter(lambda v: not isinstance(v, float)))
                )
                made.append(ok(name, value, by=draw(st.sampled_from(ObservedBy)), evidence=draw(st.none() | digests)))
            case Status.FAILED:
                made.append(failed(name, draw(st.text()), by=ObservedBy.CHILD))
            case status:
                made.append(Observation(name, status, None, ObservedBy.INTAKE, "does not apply"))
    return sort_observations(made)


WORLD = World.make()


@settings(deadline=None)
@given(observations())
def test_observations_are_read_back_as_written(facts: tuple[Observation, ...]) -> None:
    try:
        envelope = WORLD.observation(observations=facts, attestation={"level": 25, "more": ["x"]}, attempt=4)
    except TrustError:
        assert any("\ud800" <= c <= "\udfff" for f in facts for c in f"{f.reason}{f.value}")
        return
    record = WORLD.record(envelope)
    assert record.observations.observations == facts
    assert [type(f.value) for f in record.observations.observations] == [type(f.value) for f in facts]
    assert record.envelope == sha256(envelope)
    assert record.artifact == WORLD.artifact
    assert record.observations.artifact == WORLD.artifact.digest
    assert record.observations.conditions == WORLD.lock.conditions
    assert (record.level, record.attempt, record.keyid) == (IsolationLevel.NAMESPACE_CGROUP, 4, WORLD.sandbox.keyid)
    assert (record.started_at, record.finished_at) == (NOW - HOUR, NOW - HOUR / 2)
    assert record.observations.observed_at == NOW - HOUR


def act(world: World) -> ObservationAct:
    facts = (ok("a", True, by=ObservedBy.CHILD), ok("b", 1, by=ObservedBy.CHILD))
    return ObservationAct(world.artifact, {"c": 1}, {"level": 20}, NOW, NOW, 1, facts)


def put(*path: object) -> Callable[[dict], None]:
    *way, last, value = path

    def change(document: dict) -> None:
        place = document["predicate"]
        for step in way:
            place = place[step]
        place[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("artifact", "manifest", {"files": []}), "at least one file"),
        (put("artifact", "manifest", "files", 0, "size", 1), "not the subject's"),
        (put("artifact", "dirHash", "0" * 64), "dirHash"),
        (put("artifact", "omsRoot", "0" * 64), "omsRoot"),
        (put("conditions", "document", {}), "conditions.digest"),
        (put("conditions", "digest", "sha256:short"), "conditions.digest"),
        (put("observer", "keyid", "0" * 64), "not the key that signed"),
        (put("observer", "attestation", {}), "level is not a number"),
        (put("observer", "attestation", {"level": True}), "level is not a number"),
        (put("observer", "attestation", {"level": "20"}), "level is not a number"),
        (put("observer", "attestation", {"level": 21}), "21"),
        (put("startedAt", "2026-11-24T00:00:00Z"), "finished before"),
        (put("startedAt", 7), "a time is text"),
        (put("finishedAt", "yesterday"), "not a UTC time"),
        (put("attempt", 0), "attempt"),
        (put("attempt", True), "attempt"),
        (put("observations", []), "observations"),
        (put("observations", 0, "name", "z"), "sorted by name"),
        (put("observations", 0, "name", "b"), "sorted by name"),
        (put("observations", 0, "value", None), "exactly an ok observation"),
        (put("observations", 0, "value", {}), "observations.0.value"),
        (put("observations", 0, "value", float("nan")), "not finite"),
        (put("observations", 0, "status", "fine"), "status"),
        (put("observations", 0, "observedBy", "me"), "observedBy"),
        (put("observations", 0, "evidence", "sha256:"), "evidence"),
        (put("observations", 0, "surprise", 1), "surprise"),
        (put("surprise", 1), "surprise"),
    ],
)
def test_observations_that_contradict_themselves(world: World, change, says: str) -> None:
    keyid = world.sandbox.keyid
    document = observation_document(act(world), keyid=keyid)
    observation_record_of(view(document, OBSERVATION, keyid))
    change(document)
    with pytest.raises(TrustError, match=says):
        observation_record_of(view(document, OBSERVATION, keyid))


def test_removing_any_field_of_an_observation_refuses_it(world: World) -> None:
    keyid = world.sandbox.keyid
    predicate = observation_document(act(world), keyid=keyid)["predicate"]
    places = [(), ("artifact",), ("conditions",), ("observer",), ("observations", 0)]
    for way in places:
        fields = list(_at(predicate, way))
        for name in fields:
            document = observation_document(act(world), keyid=keyid)
            del _at(document["predicate"], way)[name]
            with pytest.raises(TrustError):
                observation_record_of(view(document, OBSERVATION, keyid))
    with pytest.raises(TrustError, match="not an observation"):
        observation_record_of(view(observation_document(act(world), keyid=keyid), VSA, keyid))


def _at(value, way):
    for step in way:
        value = value[step]
    return value


HOLD = Revocation(Scope.ADAPTER, named("adapter"), "it leaks", NOW - HOUR)
OTHER = Revocation(Scope.KEY, "0" * 64, "stolen", NOW - HOUR)


def test_a_list_is_read_back_as_written(world: World) -> None:
    first_bytes = world.revocations(HOLD, OTHER)
    first = world.open_list(first_bytes)
    assert first.list.revocations == first.entries == (HOLD, OTHER)
    assert (first.list.sequence, first.previous, first.lifts, first.lifted) == (1, None, (), ())
    assert first.list.envelope == sha256(first_bytes)
    assert first.list.issued_at == NOW - HOUR
    assert first.list.not_after == NOW - HOUR + 7 * DAY
    lift = world.lift(HOLD)
    second = world.open_list(world.revocations(previous=first, lift=[lift]))
    assert second.list.revocations == (OTHER,)
    assert (second.entries, second.lifts, second.lifted) == ((HOLD, OTHER), (lift,), (HOLD,))
    assert second.previous == first.list.envelope
    check_successor(first, second)


def test_a_lift_lifts_one_entry_not_its_repetition(world: World) -> None:
    first = world.open_list(world.revocations(HOLD))
    again = dataclasses.replace(HOLD, at=NOW)
    second = world.open_list(world.revocations(again, previous=first, lift=[world.lift(HOLD)], now=NOW))
    assert second.list.revocations == (again,)
    assert revocation_id(again) != revocation_id(HOLD)


def test_lifts_that_do_not_count(world: World) -> None:
    def in_force(lift: bytes, *entries: Revocation) -> tuple[Revocation, ...]:
        document = revocations_document(
            sequence=1, issued_at=NOW, not_after=NOW + DAY, previous=None, entries=entries, lifts=[lift]
        )
        return world.open_list(world.authority.seal(document)).list.revocations

    assert in_force(world.lift(HOLD), HOLD) == ()
    stranger = sealer_of(Role.APPROVER)
    assert in_force(world.lift(HOLD, sealer=stranger), HOLD) == (HOLD,)
    assert in_force(b"{}", HOLD) == (HOLD,)
    assert in_force(world.lift(dataclasses.replace(HOLD, reason="other")), HOLD) == (HOLD,)
    withdrawn = dataclasses.replace(OTHER, target=world.approver.keyid)
    assert in_force(world.lift(HOLD), HOLD, withdrawn) == (HOLD, withdrawn)
    assert in_force(world.lift(withdrawn), withdrawn) == (withdrawn,)


def test_a_lift_s_subject_is_its_entry(world: World) -> None:
    document = lift_document(HOLD, reason="fine again", at=NOW)
    assert open_lift(world.approver.seal(document), [world.approver.public]) == (HOLD, world.approver.keyid)
    document["subject"][0]["digest"]["sha256"] = "0" * 64
    with pytest.raises(TrustError, match="not the entry it carries"):
        open_lift(world.approver.seal(document), [world.approver.public])
    assert document["predicateType"] == LIFT


def listed(world: World, **changes: object) -> dict:
    return revocations_document(
        **{
            "sequence": 1,
            "issued_at": NOW,
            "not_after": NOW + DAY,
            "previous": None,
            "entries": [HOLD],
            "lifts": [],
            **changes,
        }
    )


def resubject(document: dict) -> dict:
    """The document with the subject that its predicate, as it is now, asks for."""
    from peft_assay.core.canonical import canonical_digest

    document["subject"][0]["digest"]["sha256"] = canonical_digest(document["predicate"]).removeprefix("sha256:")
    return document


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (put("sequence", 0), "sequence"),
        (put("sequence", "1"), "sequence"),
        (put("notAfter", "2026-11-23T12:00:00Z"), "ends before it begins"),
        (put("previous", "sha256:0"), "previous"),
        (put("revocations", 0, "scope", "everything"), "scope"),
        (put("revocations", 0, "target", "sha256:abc"), "full sha256"),
        (put("revocations", 0, "target", "0" * 64), "full sha256"),
        (put("revocations", 0, "reason", ""), "reason"),
        (put("revocations", 0, "at", "now"), "UTC"),
        (put("lifts", [{"envelope": "*"}]), "base64"),
        (put("lifts", ["AAAA"]), "lifts"),
        (put("revocations", None), "revocations"),
        (put("surprise", 1), "surprise"),
    ],
)
def test_lists_that_are_none(world: World, change, says: str) -> None:
    keys, keyid = [world.approver.public], world.authority.keyid
    document = listed(world)
    revocation_record_of(view(document, REVOCATIONS, keyid), keys)
    change(document)
    with pytest.raises(TrustError, match=says):
        revocation_record_of(view(resubject(document), REVOCATIONS, keyid), keys)


def test_a_list_s_subject_is_its_own_digest(world: World) -> None:
    document = listed(world)
    document["predicate"]["sequence"] = 2
    with pytest.raises(TrustError, match="own digest"):
        revocation_record_of(view(document, REVOCATIONS, world.authority.keyid), [])
    with pytest.raises(TrustError, match="not a revocation list"):
        revocation_record_of(view(document, VSA, world.authority.keyid), [])


def test_successors_keep_the_history(world: World) -> None:
    first = world.open_list(world.revocations(HOLD))
    lifted = world.open_list(world.revocations(previous=first, lift=[world.lift(HOLD)]))
    check_successor(first, lifted)

    def after(before, **changes: object):
        fields = {
            "sequence": before.list.sequence + 1,
            "previous": before.list.envelope,
            "entries": before.entries,
            "lifts": before.lifts,
            **changes,
        }
        return world.open_list(world.authority.seal(listed(world, **fields)))

    check_successor(lifted, after(lifted))
    for changes, says in (
        ({"sequence": 5}, "does not follow"),
        ({"previous": None}, "does not follow"),
        ({"previous": named("other")}, "does not follow"),
        ({"issued_at": NOW - 2 * HOUR}, "older"),
        ({"entries": []}, "dropped"),
        ({"entries": [OTHER, HOLD]}, "dropped"),
        ({"lifts": []}, "dropped"),
    ):
        with pytest.raises(TrustError, match=says):
            check_successor(lifted, after(lifted, **changes))


def test_targets_are_named_in_full() -> None:
    check_target(HOLD)
    check_target(OTHER)
    for scope, target in ((Scope.KEY, named("x")), (Scope.ADAPTER, "0" * 64), (Scope.BASE, "gpt2")):
        with pytest.raises(ValueError):
            check_target(Revocation(scope, target, "r", NOW))


def test_others_can_read_what_is_signed(world: World) -> None:
    """The payload is plain in-toto: its own bindings read the subject and the type."""
    from google.protobuf import json_format
    from in_toto_attestation.v1 import statement_pb2

    payload = base64.b64decode(json.loads(world.certificate(world.observation()))["payload"])
    message = json_format.Parse(payload, statement_pb2.Statement())
    assert message.predicate_type == VSA
    assert "sha256:" + message.subject[0].digest["sha256"] == world.artifact.digest
    assert artifact_of(world.files) == world.artifact
