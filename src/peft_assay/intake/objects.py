"""Fetches an adapter from a prefix of an object store (S3, Google Cloud Storage, Azure) through obstore.

Credentials, region and endpoint are the environment's, as obstore reads them (AWS_*, GOOGLE_*, AZURE_*). A version is
what the listing says: its pin is a digest over every object's name, size and ETag, so that a bucket that changed is
another version and one that changes meanwhile is refused.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.errors import IntakeError, UsageError
from peft_assay.intake.fetching import Fetched, Remote, Tell, check_listing, read, remove_others, staging, write
from peft_assay.intake.interface import Limits, refuse
from peft_assay.intake.reference import ObjectReference

PIECE = 8 << 20
"""Bytes asked for at once; what was received is kept when the line is cut."""


def fetch(reference: ObjectReference, place: Path, limits: Limits, tell: Tell) -> Fetched:
    """The objects under a prefix as files in a folder under `place`.

    Raises IntakeError (absent, over limits, changed meanwhile, unreachable), UsageError without obstore, StorageError.
    """
    return _Objects(reference, place, limits, tell).fetch()


@dataclass(frozen=True, slots=True)
class _Objects:
    reference: ObjectReference
    place: Path
    limits: Limits
    tell: Tell

    def fetch(self) -> Fetched:
        store = open_store(self.reference)
        listed = self._listed(store)
        files = [Remote(path, meta["size"], "none") for path, meta in listed.items()]
        place = self.reference
        named = f"{place.scheme}://{place.bucket}/{place.prefix}/"
        check_listing(files, self.limits, where=self._where(), named=named)
        version = hashlib.sha256(canonical_bytes({path: _known(meta) for path, meta in listed.items()})).hexdigest()
        if self.reference.version not in (None, version):
            raise self._refused(
                f"it is another version now: sha256:{version}", "name it without @sha256 to take what is there"
            )
        name = f"{self.reference.bucket}--{self.reference.prefix.replace('/', '--')}@{version}"
        with staging(self.place, name[-200:]) as folder:
            for number, file in enumerate(files, 1):
                self.tell(f"fetching {number}/{len(files)}: {file.path} ({file.size} bytes)")
                self._file(store, file, _known(listed[file.path]), folder)
            remove_others(folder, files)
            if self._listed(store).keys() != listed.keys():
                raise self._refused("objects came or went meanwhile", "wait until the writer is done, then try again")
        return Fetched(folder, f"{self._where()}@sha256:{version}")

    def _where(self) -> str:
        return f"{self.reference.scheme}://{self.reference.bucket}/{self.reference.prefix}"

    def _listed(self, store: Any) -> dict[str, Mapping[str, Any]]:
        """Objects under the prefix by relative path; stops at one more than the limit allows."""
        import obstore

        prefix = self.reference.prefix + "/"
        found: dict[str, Mapping[str, Any]] = {}
        try:
            for page in obstore.list(store, prefix=prefix):
                for meta in page:
                    if not meta["path"].endswith("/"):
                        found[meta["path"].removeprefix(prefix)] = meta
                if len(found) > self.limits.files:
                    break
        except Exception as error:
            raise explained(error, "the listing", where=self._where()) from error
        return dict(sorted(found.items()))

    def _file(self, store: Any, file: Remote, known: Mapping[str, Any], folder: Path) -> None:
        """One object, behind what an earlier try left; a note of the version it belongs to stands beside it."""
        import obstore

        marks = folder / ".cache" / "huggingface"
        marks.mkdir(parents=True, exist_ok=True)
        mark = marks / f"{hashlib.sha256(file.path.encode()).hexdigest()}.json"
        path, part = folder / file.path, mark.with_suffix(".part")
        if path.is_file() and path.stat().st_size == file.size and read(mark) == {"sha256": _sha256(path), **known}:
            return
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as opened:
            if opened.tell() > file.size:
                opened.truncate(0)
            while (at := opened.tell()) < file.size:
                try:
                    result = obstore.get(
                        store,
                        f"{self.reference.prefix}/{file.path}",
                        options={"range": (at, min(at + PIECE, file.size)), **_if_match(known)},
                    )
                    content = bytes(result.bytes())
                except Exception as error:
                    raise explained(error, file.path, where=self._where()) from error
                if not content:
                    raise self._refused(f"{file.path}: ends before its {file.size} bytes", "try again")
                opened.write(content)
                opened.flush()
        write(mark, {"sha256": _sha256(part), **known})
        part.replace(path)

    def _refused(self, message: str, next_step: str) -> IntakeError:
        return refuse(message, where=self._where(), next_step=next_step)


def explained(error: Exception, what: str, *, where: str) -> IntakeError:
    """What a store's refusal means, in words that have no address or credential in them."""
    kind = type(error).__name__
    if "AccessDenied" in str(error) or " 403 " in str(error):  # of a listing obstore only says GenericError
        kind = "PermissionDeniedError"
    said, step = _MEANINGS.get(
        kind,
        (
            f"the store cannot be reached or broke off ({kind})",
            "check network, endpoint and credentials, then run the same command: it goes on where it stopped",
        ),
    )
    return refuse(f"{what}: {said}", where=where, next_step=step)


_MEANINGS = {
    "NotFoundError": ("there is no such bucket or object", "check bucket and prefix"),
    **dict.fromkeys(
        ("PermissionDeniedError", "UnauthenticatedError"),
        ("the store refuses these credentials", "check the store's environment variables"),
    ),
    "PreconditionError": ("changed while it was fetched", "wait until the writer is done, then try again"),
}


def _known(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What identifies an object's content as the store tells it."""
    return {"size": meta["size"], "etag": meta.get("e_tag"), "version": meta.get("version")}


def _if_match(known: Mapping[str, Any]) -> dict[str, Any]:
    return {"if_match": known["etag"]} if known["etag"] else {}


def _sha256(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def open_store(reference: ObjectReference) -> Any:
    """The bucket, as obstore opens it. Raises UsageError without obstore, IntakeError when it cannot be opened."""
    try:
        from obstore.store import from_url
    except ImportError:
        raise UsageError(
            "fetching from object stores needs obstore", next_step='python -m pip install "peft-assay[objects]"'
        ) from None
    url = f"{reference.scheme}://{reference.bucket}"
    try:
        return from_url(url, retry_config={"max_retries": 3})
    except Exception as error:
        raise refuse(
            f"the store cannot be opened ({type(error).__name__})",
            where=url,
            next_step="set the store's environment variables (region, credentials, endpoint)",
        ) from error
