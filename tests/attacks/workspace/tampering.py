"""Every way to tamper with a workspace that is tried here: the attacker owns its files, and holds no key.

docs/reference/tampering.md is generated from this module.
"""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.digest import sha256
from peft_assay.store.merkle import leaf_hash

AT = "2026-12-01T00:00:00Z"
NOTHING = sha256(b"")


class Target:
    """A workspace that belongs to the attacker."""

    def __init__(self, folder: Path, adapter: str) -> None:
        self.folder = folder
        self.adapter = adapter
        """Digest of an adapter that is certified in it."""

    def sql(self, *statements: tuple) -> None:
        """Runs statements with all triggers dropped; each must change something."""
        with closing(sqlite3.connect(self.folder / "assay.db")) as connection:
            for (name,) in connection.execute("select name from sqlite_master where type = 'trigger'").fetchall():
                connection.execute(f"drop trigger {name}")
            for statement, *values in statements:
                assert connection.execute(statement, values).rowcount > 0, statement
            connection.commit()

    def rows(self, query: str) -> list[tuple]:
        with closing(sqlite3.connect(self.folder / "assay.db")) as connection:
            return connection.execute(query).fetchall()

    def entries(self) -> list[tuple[int, str, dict]]:
        return [(seq, kind, json.loads(body)) for seq, kind, body in self.rows("select seq, kind, body from ledger")]

    def last(self, kind: str, **said: str) -> dict:
        """What the last entry of `kind` says."""
        found = [body["what"] for _, name, body in self.entries() if name == kind]
        return [what for what in found if said.items() <= what.items()][-1]

    def append(self, kind: str, **what: object) -> None:
        """An entry in the ledger's own form, with its leaf."""
        seq = len(self.entries()) + 1
        body = canonical_bytes({"seq": seq, "at": AT, "kind": kind, "what": what})
        self.sql(("insert into ledger values (?, ?, ?, ?, ?, null)", seq, AT, kind, body, leaf_hash(body)))

    def rewrite(self, seq: int, document: dict) -> None:
        body = canonical_bytes(document)
        self.sql(("update ledger set body = ?, leaf = ? where seq = ?", body, leaf_hash(body), seq))

    def blob(self, digest: str) -> Path:
        name = digest.removeprefix("sha256:")
        return self.folder / "blobs" / "sha256" / name[:2] / name

    def alter(self, digest: str) -> None:
        path = self.blob(digest)
        path.chmod(0o600)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)

    def put(self, content: bytes) -> str:
        digest = sha256(content)
        self.blob(digest).parent.mkdir(exist_ok=True)
        self.blob(digest).write_bytes(content)
        return digest

    def verdict(self) -> dict:
        return self.last("verdict", artifact=self.adapter)

    def observation(self) -> str:
        return self.last("observed", artifact=self.adapter)["envelope"]

    def manifest(self) -> dict:
        return json.loads(self.blob(self.adapter).read_bytes())


def _verdict(outcome: str) -> Callable[[Target], None]:
    return lambda target: target.append("verdict", **{**target.verdict(), "outcome": outcome})


def _snapshot(target: Target) -> None:
    document = {"apiVersion": "peft-assay/rights-snapshot/v1", "artifact": target.adapter, "repositories": []}
    target.append("rights", artifact=target.adapter, snapshot=target.put(canonical_bytes(document)))


def _answers_of_another(target: Target) -> None:
    said = target.last("answered", subject=target.adapter)
    target.append("answered", **{**said, "subject": NOTHING})


def _observation_of_another(target: Target) -> None:
    said = {**target.last("observed", artifact=target.adapter), "artifact": NOTHING}
    seq = len(target.entries()) + 1
    target.append("observed", **said)
    target.sql(
        ("delete from observations where envelope = ?", said["envelope"]),
        ("insert into observations values (?, ?, ?, ?, ?)", said["envelope"], NOTHING, said["conditions"],
         said["observed_at"], seq),
    )  # fmt: skip


def _drop_last(target: Target) -> None:
    target.sql(("delete from ledger where seq = ?", len(target.entries())))


def _renumber(target: Target) -> None:
    """One attempt is dropped, all that follow get new numbers and new leaves, and rows follow them."""
    gone = next(seq for seq, kind, _ in target.entries() if kind == "attempt")
    target.sql(("delete from ledger where seq = ?", gone))
    for seq, _, document in target.entries()[gone - 1 :]:
        body = canonical_bytes({**document, "seq": seq - 1})
        target.sql(("update ledger set seq = ?, body = ?, leaf = ? where seq = ?", seq - 1, body, leaf_hash(body), seq))


def _swap(target: Target) -> None:
    (_, _, one), (_, _, other) = target.entries()[:2]
    kinds = {1: other, 2: one}
    for seq, document in kinds.items():
        target.rewrite(seq, {**document, "seq": seq})
        target.sql(("update ledger set kind = ?, at = ? where seq = ?", document["kind"], document["at"], seq))


def _rewrite_outcome(target: Target) -> None:
    seq, _, document = next(entry for entry in target.entries() if entry[1] == "verdict")
    target.rewrite(seq, {**document, "what": {**document["what"], "outcome": "INDETERMINATE"}})


def _roll_back(target: Target) -> None:
    """Puts an older state of the database there: everything up to the first attempt."""
    first = next(seq for seq, kind, _ in target.entries() if kind == "attempt")
    for table in ("artifacts", "observations", "certificates", "revocation_lists", "ledger"):
        if target.rows(f"select 1 from {table} where seq > {first}"):
            target.sql((f"delete from {table} where seq > {first}",))


def _swap_blobs(target: Target) -> None:
    one, other = (target.blob(file["sha256"]) for file in target.manifest()["files"][:2])
    for path in (one, other):
        path.chmod(0o600)
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


def _link(target: Target) -> None:
    path = target.blob(target.verdict()["grounds"]["policy"])
    kept = path.with_name("kept")
    shutil.move(path, kept)
    path.symlink_to(kept)


@dataclass(frozen=True)
class Tampering:
    """One way, and what it would bring about where nothing noticed it."""

    name: str
    how: str
    aim: str
    do: Callable[[Target], None]


def _column(table: str, column: str, value: object) -> Callable[[Target], None]:
    return lambda target: target.sql((f"update {table} set {column} = ?", value))


_MOVE = (
    "update ledger set checkpoint = (select checkpoint from ledger where seq = 2) "
    "where seq = (select max(seq) from ledger)"
)
TAMPERINGS = (
    Tampering("verdict-fail", "append a verdict FAIL", "an adapter in use is stopped", _verdict("FAIL")),
    Tampering("verdict-pass", "append a verdict PASS", "one that failed since comes back", _verdict("PASS")),
    Tampering("snapshot-forged", "append a rights snapshot of one's own", "an unknown dataset gets a licence", _snapshot),
    Tampering(
        "waiver-withdrawn", "append that a waiver was withdrawn", "certificates that rest on it end",
        lambda t: t.append("unwaived", artifact=t.adapter, envelope=NOTHING),
    ),
    Tampering(
        "clearance-withdrawn", "append that a clearance was withdrawn", "certificates that rest on it end",
        lambda t: t.append("uncleared", artifact=t.adapter, envelope=NOTHING),
    ),
    Tampering(
        "waiver-copied", "file another statement as a waiver", "a rule counts as waived",
        lambda t: t.append("waived", artifact=t.adapter, envelope=t.observation()),
    ),
    Tampering(
        "lift-noted", "append that a withdrawal was lifted", "a report calls it lifted",
        lambda t: t.append("lifted", revocation=NOTHING, list=NOTHING),
    ),
    Tampering("answers-filed", "file kept answers under another model", "they count as its answers", _answers_of_another),
    Tampering(
        "observation-filed", "move an observation to another adapter", "it counts as observed", _observation_of_another
    ),
    Tampering("last-dropped", "drop the last entry", "a withdrawal or a denial vanishes", _drop_last),
    Tampering("middle-dropped", "drop an attempt, renumber the later entries, hash anew", "attempts are understated", _renumber),
    Tampering("reordered", "swap two entries, hash anew", "an older judgement is the newest", _swap),
    Tampering("rewritten", "rewrite an outcome, hash anew", "another history", _rewrite_outcome),
    Tampering("rolled-back", "put an older state of the database there", "all that came later is gone", _roll_back),
    Tampering(
        "certificate-row", "drop a certificate's row", "a withdrawn certificate vanishes from beside its successor",
        lambda t: t.sql(("delete from certificates where artifact = ?", t.adapter)),
    ),
    Tampering(
        "observation-row", "drop an observation's row", "an older one is the newest",
        lambda t: t.sql(("delete from observations where artifact = ?", t.adapter)),
    ),
    Tampering(
        "list-row", "drop a revocation list's row", "an older list is the newest",
        lambda t: t.sql(("delete from revocation_lists where sequence = (select max(sequence) from revocation_lists)",)),
    ),
    Tampering("expiry-column", "alter a certificate's end", "it seems to last", _column("certificates", "not_after", AT)),
    Tampering("observed-column", "date observations later", "an older one is the newest",
              _column("observations", "observed_at", AT)),
    Tampering("source-column", "alter where adapters came from", "a message names another source",
              _column("artifacts", "source", "elsewhere")),
    Tampering("certificate-blob", "alter a certificate", "it says something else",
              lambda t: t.alter(t.last("certified", artifact=t.adapter)["envelope"])),
    Tampering("observation-blob", "alter an observation", "it says something else", lambda t: t.alter(t.observation())),
    Tampering("list-blob", "alter a revocation list", "nothing is withdrawn",
              lambda t: t.alter(t.last("revoked")["envelope"])),
    Tampering("policy-blob", "alter the policy that decided", "a replay decides otherwise",
              lambda t: t.alter(t.verdict()["grounds"]["policy"])),
    Tampering("lock-blob", "alter the lock of a judgement", "another context was judged",
              lambda t: t.alter(t.verdict()["lock"])),
    Tampering("manifest-blob", "alter a manifest", "other files were admitted", lambda t: t.alter(t.adapter)),
    Tampering("answers-blob", "alter kept answers", "other answers are scored",
              lambda t: t.alter(t.last("answered", subject=t.adapter)["envelope"])),
    Tampering("weights-blob", "alter the kept weights", "the report shows other files",
              lambda t: t.alter(t.manifest()["files"][-1]["sha256"])),
    Tampering("weights-gone", "remove the kept weights", "they cannot be examined again",
              lambda t: t.blob(t.manifest()["files"][-1]["sha256"]).unlink()),
    Tampering("blobs-swapped", "exchange two blobs", "each passes for the other", _swap_blobs),
    Tampering("blob-linked", "put a link in a blob's place", "its content can change after a look", _link),
    Tampering("checkpoints-gone", "remove all signed checkpoints", "appended entries pass for old ones",
              lambda t: t.sql(("update ledger set checkpoint = null",))),
    Tampering(
        "checkpoint-moved", "put an older checkpoint beside the last entry", "appended entries seem signed",
        lambda t: t.sql((_MOVE,)),
    ),
    Tampering("identity", "give the workspace another identity", "its mark is another one's",
              lambda t: t.sql(("update workspace set id = ?", "f" * 32))),
)  # fmt: skip
UNNOTICED = (
    ("activated", "append an activation", "no rule and no check reads it; a gate writes it without a key"),
    ("admitted", "append an admission", "it says that files came in; bytes are hashed whenever they count"),
    ("attempt", "append an attempt", "it can only make the count larger, and the count of a certificate is the key's"),
    ("refused", "append a refusal", "no rule and no check reads it"),
)
"""Entries that nothing is decided from: kind, how, and why it does not matter."""
ON_FIRST_USE = (
    "verdict-fail",
    "verdict-pass",
    "snapshot-forged",
    "waiver-withdrawn",
    "rewritten",
    "reordered",
    "middle-dropped",
    "blobs-swapped",
    "checkpoint-moved",
)
"""Of these it is tried that a host which never saw the workspace notices them too."""
