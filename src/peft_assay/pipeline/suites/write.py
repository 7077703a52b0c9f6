"""`suite new` and `suite sign`: the files that they write."""

import os
import re
import tempfile
from pathlib import Path

from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import StorageError, UsageError
from peft_assay.core.suite import ScorerKind
from peft_assay.observe.suites.scaffold import scaffold
from peft_assay.pipeline.suites.lint import SUITE_FILE, suite_file
from peft_assay.pipeline.suites.load import check_owner, read_files
from peft_assay.trust.keys import PublicKey, from_sslib, load_key_file
from peft_assay.trust.suites import SIGNATURE_FILE, sign_suite, suite_statement

CASES_FILE = "cases.jsonl"
_ID = re.compile(r"[a-z][a-z0-9_]{0,62}")


def new_suite(folder: Path, scorer: str, name: str | None) -> tuple[Path, ...]:
    """Writes a first suite into `folder`, which must have none. Raises UsageError, StorageError."""
    try:
        kind = ScorerKind(scorer)
    except ValueError:
        kinds = ", ".join(kind.value for kind in ScorerKind)
        raise UsageError(f"there is no scorer {scorer!r}", where="--scorer", next_step=f"one of: {kinds}") from None
    header, cases = scaffold(suite_id(folder, name), kind)
    return write_suite(folder, header.encode(), cases.encode())


def suite_id(folder: Path, name: str | None) -> str:
    """`name`, or one after the folder; raises UsageError where that is none."""
    suite = name or re.sub(r"[^a-z0-9_]", "_", folder.absolute().name.lower())
    if _ID.fullmatch(suite) is None:
        raise UsageError(f"{suite!r} is no id of a suite", where="--id", next_step="--id support_task")
    return suite


def write_suite(folder: Path, header: bytes, cases: bytes) -> tuple[Path, ...]:
    """Writes both files into `folder`; nothing that is there is overwritten. Raises UsageError, StorageError."""
    paths = (folder / SUITE_FILE, folder / CASES_FILE)
    present = [path for path in paths if os.path.lexists(path)]
    if present:
        raise UsageError(
            "is there already, and nothing is overwritten", where=str(present[0]), next_step="name another folder"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in zip(paths, (header, cases), strict=True):
            with path.open("xb") as stream:
                stream.write(content)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(error.filename or folder)) from None
    return paths


def sign(named: Path, key: Path) -> tuple[Path, Digest, PublicKey]:
    """Signs both files of the suite `named` with the private key in `key`: the signature's path, its suite, the key.

    Raises DocumentError for a suite that is refused, TrustError for a key that cannot be used, StorageError.
    """
    file = suite_file(named)
    if file is None:
        raise UsageError("is a project; each suite is signed by its owner", where=str(named), next_step="name a suite")
    if not key.is_file():
        step = f"openssl genpkey -algorithm ed25519 -out {key} && chmod 600 {key}"
        raise UsageError("there is no private key", where=str(key), next_step=step)
    files = read_files(file)
    suite = files.suite()
    statement = suite_statement(
        suite=suite.id, version=suite.version, document=sha256(files.header), cases=sha256(files.cases)
    )
    path = file.parent / SIGNATURE_FILE
    _replace(path, sign_suite(statement, key))
    public = from_sslib(load_key_file(key).public_key)
    check_owner(files, public, "its owner")
    return path, suite.digest, public


def _replace(path: Path, content: bytes) -> None:
    """Writes beside `path` and moves it there, so that there is always one whole signature or none."""
    try:
        handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as stream:
            os.fchmod(stream.fileno(), 0o644)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(draft).replace(path)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(path)) from None
