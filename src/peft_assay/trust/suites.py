"""A suite's signature by its owner: a statement over the digests of both its files, made with a key of the owner's.

Not a role of the trust anchor: whose suites a context asks to be signed, and by which key, stands in peft-assay.yaml.
"""

from pathlib import Path
from typing import Any

from pydantic import Field

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest, hex_of
from peft_assay.core.errors import TrustError
from peft_assay.core.statement import SUITE
from peft_assay.trust.envelope import open_envelope, seal, statement_document
from peft_assay.trust.keys import PublicKey, load_key_file
from peft_assay.trust.wire import FullDigest, Wire, read_predicate

SIGNATURE_FILE = "suite.dsse.json"
"""Beside suite.yaml."""


class _Suite(Wire):
    id: str = Field(min_length=1, max_length=64)
    version: str = Field(min_length=1, max_length=64)
    document: FullDigest
    cases: FullDigest


def suite_statement(*, suite: str, version: str, document: Digest, cases: Digest) -> dict[str, Any]:
    """The statement that an owner signs; its subject is the suite's digest, over both files'."""
    predicate = {"id": suite, "version": version, "document": document, "cases": cases}
    return statement_document(suite, hex_of(_subject(document, cases)), SUITE, predicate)


def _subject(document: Digest, cases: Digest) -> Digest:
    return canonical_digest({"suite": hex_of(document), "cases": hex_of(cases)})


def sign_suite(statement: dict[str, Any], key: Path) -> bytes:
    """The envelope over `statement`, by the private key in `key` (PEM). Raises TrustError, StorageError."""
    return seal(statement, load_key_file(key))


def open_suite_signature(
    envelope: bytes | None, key: PublicKey, *, document: Digest, cases: Digest, owner: str, where: str
) -> None:
    """Raises TrustError unless `envelope` is `key`'s signature of exactly these two files; None: there is none."""
    step = f"have {owner} sign it: peft-assay suite sign SUITE --key KEY.pem"
    if envelope is None:
        raise TrustError(f"the suite is not signed, and {owner}'s signature is asked for", where=where, next_step=step)
    try:
        statement = open_envelope(envelope, [key], predicate_type=SUITE, where=where)
    except TrustError as error:
        raise TrustError(error.message, where=where, next_step=step) from None
    wire = read_predicate(_Suite, statement.predicate, where=where)
    if (wire.document, wire.cases) != (document, cases) or statement.subject != _subject(document, cases):
        raise TrustError("the suite was changed after it was signed", where=where, next_step=step)
