"""Ask early for the gate's answer, while this can still save work.

The gate's checks of anchor and context run before anything else, because no adapter could change their results. Its
checks of a certificate run before the certificate is recorded, so that PASS is not printed where the gate would refuse.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from peft_assay.certify.issue import Withheld
from peft_assay.core.artifact import Artifact
from peft_assay.core.certificate import Revocation, Scope
from peft_assay.core.context import Lock
from peft_assay.core.digest import sha256
from peft_assay.core.errors import AssayError, DocumentError, ObservationError, TrustError, Unsatisfiable
from peft_assay.core.sandbox import IsolationLevel, Sandbox
from peft_assay.gate.authorize import explain
from peft_assay.gate.checks import Failed, ask_keys
from peft_assay.gate.interface import Evidence, State
from peft_assay.observe.suites.rotation import periods_in_force
from peft_assay.pipeline.deployment import Deployment, pinned_sealer, process_id
from peft_assay.pipeline.evidence import renewed
from peft_assay.pipeline.foresight import unserved
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.project import Observed, Project, build_lock
from peft_assay.pipeline.suites.judges import with_judges
from peft_assay.store.workspace import DATABASE, FOLDER
from peft_assay.trust.anchor import TrustAnchor, TrustAnchorLocation, find_anchor, load_anchor
from peft_assay.trust.observations import ObservationRecord
from peft_assay.trust.roles import Role
from peft_assay.trust.times import format_time
from peft_assay.trust.withdrawals import Certifiable, touching

SIGNERS = (Role.SANDBOX, Role.AUTHORITY)
"""Roles whose keys `certify` signs with."""
_UNKNOWN = sha256(b"")
_OF_THE_PROJECT = frozenset({Scope.POLICY, Scope.SUITE, Scope.BASE})
_LATER = frozenset({"bytes"})
"""Checks of the gate about files that are at hand only at activation."""


@dataclass(frozen=True, slots=True)
class Stand:
    """The state that is known before anything runs."""

    project: Project
    location: TrustAnchorLocation
    anchor: TrustAnchor
    in_force: Sequence[Revocation]
    """Withdrawals of the newest verified list."""
    now: datetime


def stand_of(deployment: Deployment, now: datetime) -> Stand:
    """Return the state of an opened deployment; raises TrustError for a list that cannot be trusted."""
    record = deployment.revocations()
    in_force = () if record is None else record.list.revocations
    return Stand(deployment.project, deployment.location, deployment.anchor, in_force, now)


def stand_at(place: Place, project: Project, now: datetime) -> Stand:
    """Return the state at `place` without making anything there; raises TrustError, StorageError."""
    holder = (place.workspace or project.path.parent).absolute()
    if (holder / FOLDER / DATABASE).is_file():
        with Deployment.open(place) as deployment:
            return stand_of(deployment, now)
    location = find_anchor(place.trust, judged=project.path.parent)
    return Stand(project, location, load_anchor(location), (), now)


def check_stand(stand: Stand) -> None:
    """Raise the first of `refusals`."""
    for refusal in refusals(stand):
        raise refusal


def refusals(stand: Stand) -> Iterator[AssayError]:
    """Yield the reasons for which the gate, or the policy, would refuse every adapter here."""
    try:
        ask_keys(stand.anchor, stand.project.context)
    except Failed as no:
        yield TrustError(no.message, where=str(stand.location.folder), next_step=no.next_step)
    for role in SIGNERS:
        yield from _signing(stand, role)
    yield from _withdrawn(stand)
    try:
        with_judges(stand.project.suites, stand.anchor)
    except AssayError as error:
        yield error
    yield from _out_of_period(stand)
    yield from _not_served(stand.project)


def _signing(stand: Stand, role: Role) -> Iterator[AssayError]:
    """Yield a refusal where the signing key is absent, not pinned, or withdrawn."""
    try:
        keyid = pinned_sealer(stand.location, stand.anchor, role).keyid
    except TrustError as error:
        yield error
        return
    for entry in stand.in_force:
        if entry.scope is Scope.KEY and entry.target == keyid:
            yield TrustError(
                f"the key of role {role.value} is withdrawn since {format_time(entry.at)}: {entry.reason}",
                where=f"key {keyid}",
                next_step=f"pin another key of role {role.value} in {stand.location.folder / 'trust.yaml'}",
            )


def _withdrawn(stand: Stand) -> Iterator[AssayError]:
    """Yield a refusal for each withdrawn part of every lock of this project: policy, suites, base files."""
    document = dict(build_lock(stand.project, Observed(_UNKNOWN, {}, _UNKNOWN), _UNKNOWN).document)
    policy = stand.project.policy.policy.digest
    every = Certifiable(stand.project.base, Lock(document), policy, frozenset(), frozenset())
    here = [entry for entry in stand.in_force if entry.scope in _OF_THE_PROJECT]
    for entry in touching(here, every):
        target = f"{entry.target} --scope {entry.scope.value}"
        yield TrustError(
            f"{entry.scope.value} {entry.target} is withdrawn since {format_time(entry.at)}: {entry.reason}",
            where=str(stand.project.path),
            next_step=f"use another {entry.scope.value}; only an approver ends this: peft-assay revoke --lift {target}",
        )


def _out_of_period(stand: Stand) -> Iterator[AssayError]:
    """Yield a refusal for a suite that holds cases back by another quarter than this one, which cannot be chosen."""
    allowed = periods_in_force(stand.now)
    for suite in stand.project.suites:
        if suite.held_back_in is not None and suite.held_back_in not in allowed:
            yield DocumentError(
                f"suite {suite.id} holds cases back for {suite.held_back_in}, and it is {allowed[0]}",
                where=f"{stand.project.path}: suites: {suite.id}: holdBack.period",
                next_step=f"write period: {allowed[0]} in its suite.yaml, then certify again",
            )


def _not_served(project: Project) -> Iterator[AssayError]:
    """Yield a refusal where the context's engine cannot be observed here, and a rule of the policy asks for it."""
    found = unserved(project)
    if found is not None:
        rule, why = found
        yield Unsatisfiable(
            f"no adapter can pass rule {rule} here: {why}",
            where=f"{project.path}: context",
            next_step="serve with the engine and versions that observe here, and declare them (context.engine, "
            "context.stack); other open points: peft-assay certify --plan",
        )


def remarks(stand: Stand) -> Iterator[str]:
    """Yield differences between context and trust anchor that refuse no adapter."""
    declared, allowed = stand.project.context.maximum_age, stand.anchor.maximum_age
    if declared > allowed:
        yield (
            f"context.maximumAge is {_spelt(declared)}, and the trust anchor allows {_spelt(allowed)}: certificates "
            f"live {_spelt(allowed)}; set context.maximumAge to that"
        )


def _spelt(span: timedelta) -> str:
    """Return a duration as documents write it."""
    seconds = int(span.total_seconds())
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def check_level(sandbox: Sandbox, stand: Stand) -> None:
    """Raise ObservationError where the sandbox's level is weaker than the gate accepts.

    Running without a sandbox, for development of peft-assay, must be asked for by name; its observations are never
    certified.
    """
    level = sandbox.probe().level
    least = max(int(stand.anchor.minimum_isolation), stand.project.context.minimum_isolation)
    if IsolationLevel.NONE < level < least:
        raise ObservationError(
            f"the sandbox reaches isolation level {int(level)} ({level.name.lower()}), and the gate accepts {least} or "
            "above",
            where=f"minimumIsolation of {stand.location.folder / 'trust.yaml'} and {stand.project.path}",
            next_step="peft-assay doctor names the requirements of a higher level here",
        )


def check_admitted(
    deployment: Deployment,
    envelope: bytes,
    artifact: Artifact,
    lock: Lock,
    record: ObservationRecord,
    now: datetime,
) -> None:
    """Raise Withheld where the gate would refuse the certificate `envelope` at once, on the observed base."""
    blobs = deployment.workspace.blobs
    evidence = Evidence(
        artifact=artifact,
        files={},
        lock=lock,
        context=deployment.project.context,
        base_state=lock.document["conditions"]["base"]["state"],
        certificates=(envelope,),
        observations={record.envelope: blobs.get(record.envelope)},
        revocations=None,
        mark=None,
        process_id=process_id(),
    )
    for check in explain(renewed(deployment, evidence), deployment.anchor, now):
        if check.state is State.FAILED and check.name not in _LATER:
            why = f"the gate would refuse it at once: {check.name}: {check.message}"
            raise Withheld(why, next_step=check.next_step)
