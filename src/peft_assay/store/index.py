"""What the tables answer: an index over signed bytes and the ledger, for finding and messages; it decides nothing."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select

from peft_assay.core.digest import Digest, parse_digest, sha256
from peft_assay.core.errors import TrustError
from peft_assay.store import ledger
from peft_assay.store.ledger import Kind, spell
from peft_assay.store.schema import artifacts, certificates, observations, revocation_lists


def add_artifact(connection: Connection, digest: Digest, source: str, at: datetime, seq: int) -> None:
    """A row for one admission."""
    connection.execute(insert(artifacts).values(seq=seq, digest=digest, source=source, at=spell(at)))


def add_observations(connection: Connection, row: dict[str, Any], seq: int) -> None:
    """A row for one observation envelope."""
    connection.execute(insert(observations).values(row | {"seq": seq}))


def add_certificate(connection: Connection, row: dict[str, Any], seq: int) -> None:
    """A row for one certificate envelope."""
    connection.execute(insert(certificates).values(row | {"seq": seq}))


def add_revocation_list(connection: Connection, row: dict[str, Any], seq: int) -> None:
    """A row for one revocation list."""
    connection.execute(insert(revocation_lists).values(row | {"seq": seq}))


def count_attempts(connection: Connection, artifact: Digest, lock: Digest | None) -> int:
    """Attempts at `artifact` under `lock` (None: any), counted in the ledger itself, which no row can understate."""
    return sum(
        entry.happened.get("artifact") == artifact and lock in (None, entry.happened.get("lock"))
        for entry in ledger.entries(connection, Kind.ATTEMPT)
    )


def was_admitted(connection: Connection, digest: Digest) -> bool:
    """Whether there is an admission of this artifact."""
    query = select(artifacts.c.seq).where(artifacts.c.digest == digest).limit(1)
    return connection.execute(query).scalar_one_or_none() is not None


def admitted_from(connection: Connection, source: str) -> tuple[Digest, ...]:
    """Artifacts admitted from `source`, newest first, each once."""
    query = select(artifacts.c.digest).where(artifacts.c.source == source).order_by(artifacts.c.seq.desc())
    return tuple(dict.fromkeys(_digest(digest) for digest in connection.execute(query).scalars()))


def source_of(connection: Connection, digest: Digest) -> str | None:
    """Where `digest` was last admitted from, as the user named it; for messages only."""
    query = select(artifacts.c.source).where(artifacts.c.digest == digest).order_by(artifacts.c.seq.desc()).limit(1)
    return connection.execute(query).scalar_one_or_none()


def newest_observations(connection: Connection, artifact: Digest, conditions: Digest) -> Digest | None:
    """The envelope whose observations began last.

    Raises TrustError when the table and the ledger differ: a later observation must not vanish from before an earlier.
    """
    query = (
        select(observations.c.envelope, observations.c.observed_at)
        .where(observations.c.artifact == artifact, observations.c.conditions == conditions)
        .order_by(observations.c.seq)
    )
    found = [(str(began), _digest(envelope)) for envelope, began in connection.execute(query)]
    rows = [envelope for _, envelope in found]
    recorded = [
        entry.happened["envelope"]
        for entry in ledger.entries(connection, Kind.OBSERVED)
        if (entry.happened["artifact"], entry.happened["conditions"]) == (artifact, conditions)
    ]
    if rows != recorded:
        raise TrustError("observations and ledger differ", where="workspace")
    return max(enumerate(found), key=lambda row: (row[1][0], row[0]))[1][1] if found else None


def newest_of_each(connection: Connection) -> tuple[Digest, ...]:
    """The newest observation envelope of each artifact and conditions, in the order of recording; one pass over both.

    Raises TrustError when the table and the ledger differ.
    """
    query = select(
        observations.c.envelope, observations.c.artifact, observations.c.conditions, observations.c.observed_at
    ).order_by(observations.c.seq)
    rows = [tuple(map(str, row)) for row in connection.execute(query)]
    recorded = [
        tuple(str(entry.happened[name]) for name in ("envelope", "artifact", "conditions", "observed_at"))
        for entry in ledger.entries(connection, Kind.OBSERVED)
    ]
    if rows != recorded:
        raise TrustError("observations and ledger differ", where="workspace")
    newest: dict[tuple[str, str], tuple[str, int]] = {}
    for number, (_, artifact, conditions, began) in enumerate(rows):
        newest[artifact, conditions] = max(newest.get((artifact, conditions), ("", -1)), (began, number))
    return tuple(_digest(rows[number][0]) for number in sorted(number for _, number in newest.values()))


def sources(connection: Connection) -> dict[Digest, str]:
    """Artifact -> where it was last admitted from; for messages only."""
    query = select(artifacts.c.digest, artifacts.c.source).order_by(artifacts.c.seq)
    return {_digest(digest): str(source) for digest, source in connection.execute(query)}


def certificates_of(connection: Connection, artifact: Digest, lock: Digest) -> tuple[Digest, ...]:
    """Certificate envelopes for (artifact, lock), newest first.

    Raises TrustError when table and ledger differ: a withdrawn certificate must not vanish from beside its successors.
    """
    query = select(certificates.c.envelope).where(certificates.c.artifact == artifact, certificates.c.lock == lock)
    rows = list(connection.execute(query.order_by(certificates.c.seq.desc())).scalars())
    recorded = [
        entry.happened.get("envelope")
        for entry in ledger.entries(connection, Kind.CERTIFIED)
        if (entry.happened.get("artifact"), entry.happened.get("lock")) == (artifact, lock)
    ]
    if rows != recorded[::-1]:
        step = "see which decisions still hold: peft-assay verify --replay"
        raise TrustError("certificates and ledger differ", where="certificates", next_step=step)
    return tuple(_digest(row) for row in rows)


def certified_locks(connection: Connection, artifact: Digest) -> tuple[Digest, ...]:
    """Contexts for which there are certificates of `artifact`."""
    query = select(certificates.c.lock).where(certificates.c.artifact == artifact).distinct()
    return tuple(_digest(lock) for lock in connection.execute(query.order_by(certificates.c.lock)).scalars())


def certified_from(connection: Connection, source: str) -> tuple[Digest, ...]:
    """Certified artifacts that were admitted from `source`."""
    query = select(artifacts.c.digest).where(
        artifacts.c.source == source, artifacts.c.digest.in_(select(certificates.c.artifact))
    )
    found = connection.execute(query.distinct().order_by(artifacts.c.digest)).scalars()
    return tuple(_digest(digest) for digest in found)


def newest_revocation_list(connection: Connection) -> Digest | None:
    """The envelope with the highest sequence."""
    query = select(revocation_lists.c.envelope).order_by(revocation_lists.c.sequence.desc()).limit(1)
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else _digest(found)


def recorded(connection: Connection) -> dict[Kind, tuple[dict[str, Any], ...]]:
    """Return all rows by the kind of ledger entry that each must have, in the form of that entry."""
    tables = {Kind.OBSERVED: observations, Kind.CERTIFIED: certificates, Kind.REVOKED: revocation_lists}
    found = {
        kind: tuple(_but_seq(row) for row in connection.execute(select(table).order_by(table.c.seq)).mappings())
        for kind, table in tables.items()
    }
    admitted = connection.execute(select(artifacts.c.digest, artifacts.c.source).order_by(artifacts.c.seq))
    of_artifacts = tuple({"artifact": digest, "source": sha256(str(source).encode())} for digest, source in admitted)
    return {**found, Kind.ADMITTED: of_artifacts}


def _but_seq(row: RowMapping) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "seq"}


def _digest(value: object) -> Digest:
    """What a row holds as a digest; whoever owns the file can put anything there."""
    try:
        return parse_digest(str(value))
    except ValueError:
        raise TrustError("a row holds something else than a digest", where="workspace") from None
