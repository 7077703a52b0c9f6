"""Fetches an adapter from the Hugging Face Hub, or a mirror of it, through huggingface_hub.

A revision is resolved once, to a commit, and everything is fetched at that commit. Every file is checked here against
what the Hub announced for the commit (sha256 of large files, git blob id of small ones), whatever the library checked.
The library uses the token that the user set or logged in with, if any; none is asked for, and none is ever shown.
Terms of gated repositories are never accepted on anybody's behalf.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from peft_assay.core.errors import AssayError, IntakeError, UsageError
from peft_assay.intake.fetching import (
    Fetched,
    Remote,
    Tell,
    check_listing,
    matches,
    read,
    record,
    recorded,
    remove_others,
    staging,
    write,
)
from peft_assay.intake.interface import Limits, refuse
from peft_assay.intake.reference import HubReference

ENDPOINT = "https://huggingface.co"
TRIES = 4
LONGEST_WAIT = 60
"""Seconds; a server that asks for more is told of instead."""
_AGAIN = "try again, or another endpoint (HF_ENDPOINT)"
_LATER = "try again later; what was fetched is kept"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_T = TypeVar("_T")


def everything(_: str) -> bool:
    """Return True: all files are wanted."""
    return True


def commit_of(reference: HubReference, place: Path, limits: Limits, tell: Tell) -> str:
    """Return the commit that the revision of `reference` means now; fetches nothing else. Raises as `fetch` does."""
    return _Hub(reference, place, limits, tell, everything).commit()


def fetch(
    reference: HubReference, place: Path, limits: Limits, tell: Tell, wanted: Callable[[str], bool] = everything
) -> Fetched:
    """The repository's files at one commit, in a folder under `place`; a commit that is there needs no network.

    Of them only those that are `wanted`, by their path in the repository's named folder. Raises IntakeError (absent,
    gated, over limits, wrong content, unreachable), UsageError without huggingface_hub, StorageError.
    """
    if _COMMIT.fullmatch(reference.revision):
        kept = _kept(reference, reference.revision, place)
        if kept is not None:
            return kept
    return _Hub(reference, place, limits, tell, wanted).fetch()


def _name(reference: HubReference, commit: str) -> str:
    sub = f"--{reference.subfolder.replace('/', '--')}" if reference.subfolder else ""
    return f"{reference.repo.replace('/', '--')}{sub}@{commit}"


def _pinned(reference: HubReference, commit: str) -> str:
    return f"hf://{reference.repo}@{commit}" + (f":{reference.subfolder}" if reference.subfolder else "")


def _kept(reference: HubReference, commit: str, place: Path) -> Fetched | None:
    files = recorded(place, _name(reference, commit))
    if files is None:
        return None
    with staging(place, _name(reference, commit)) as folder:
        remove_others(folder, files)
        top = folder / reference.subfolder if reference.subfolder else folder
        return Fetched(top, _pinned(reference, commit)) if all(matches(folder / f.path, f) for f in files) else None


@dataclass(frozen=True, slots=True)
class _Hub:
    reference: HubReference
    place: Path
    limits: Limits
    tell: Tell
    wanted: Callable[[str], bool]

    def commit(self) -> str:
        """Return the commit that the revision means now."""
        return self._resolve(self._api())[0]

    def fetch(self) -> Fetched:
        """Return the files at the commit, fetched and checked."""
        commit, files = self._resolve(self._api())
        moved = self._moved(commit)
        with staging(self.place, _name(self.reference, commit)) as folder:
            for number, file in enumerate(files, 1):
                self.tell(f"fetching {number}/{len(files)}: {file.path} ({file.size} bytes)")
                self._file(commit, file, folder)
            remove_others(folder, files)
            record(self.place, _name(self.reference, commit), files)
        top = folder / self.reference.subfolder if self.reference.subfolder else folder
        return Fetched(top, _pinned(self.reference, commit), moved)

    def _api(self) -> Any:
        client = library()
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
            raise self._refused(
                "HF_HUB_OFFLINE is set and this version is not here yet", "unset HF_HUB_OFFLINE to fetch it"
            )
        return client.HfApi(endpoint=endpoint(), library_name="peft-assay")

    def _resolve(self, api: Any) -> tuple[str, list[Remote]]:
        reference = self.reference
        found = self._asked(lambda: api.model_info(reference.repo, revision=reference.revision, files_metadata=True))
        if not isinstance(found.sha, str) or not _COMMIT.fullmatch(found.sha):
            raise self._refused("the Hub did not say which commit that is", _AGAIN)
        if _COMMIT.fullmatch(reference.revision) and found.sha != reference.revision:
            raise self._refused(f"the Hub answered with another commit, {found.sha}", _AGAIN)
        prefix = f"{reference.subfolder}/" if reference.subfolder else ""
        every = [s for s in found.siblings or [] if s.rfilename.startswith(prefix)]
        siblings = [s for s in every if self.wanted(s.rfilename.removeprefix(prefix))]
        files = [self._remote(sibling) for sibling in siblings]
        named = [Remote(file.path.removeprefix(prefix), file.size, file.check) for file in files]
        pinned = _pinned(reference, found.sha)
        check_listing(named, self.limits, where=pinned, named=f"{pinned}{'/' if reference.subfolder else ':'}")
        return found.sha, sorted(files, key=lambda file: file.path)

    def _remote(self, sibling: Any) -> Remote:
        path = sibling.rfilename
        digest = getattr(sibling.lfs, "sha256", None) if sibling.lfs is not None else None
        if type(sibling.size) is not int or sibling.size < 0:
            raise self._refused(f"the Hub does not say how large {path} is", _AGAIN)
        if isinstance(digest, str) and _DIGEST.fullmatch(digest):
            return Remote(path, sibling.size, f"sha256:{digest}")
        if isinstance(sibling.blob_id, str) and _COMMIT.fullmatch(sibling.blob_id) and sibling.lfs is None:
            return Remote(path, sibling.size, f"git:{sibling.blob_id}")
        raise self._refused(f"the Hub does not say what {path} contains", _AGAIN)

    def _file(self, commit: str, file: Remote, folder: Path) -> None:
        path = folder / file.path
        if matches(path, file):
            return
        part = folder / ".cache" / "huggingface" / f"{hashlib.sha256(file.path.encode()).hexdigest()}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        self._asked(lambda: self._download(commit, file, part), what=file.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part.replace(path)
        if not matches(path, file):
            path.unlink(missing_ok=True)
            raise self._refused(
                f"{file.path}: what arrived is not what the commit has ({file.check[:19]}…, {file.size} bytes)",
                "try again; if it stays so, the server or something before it alters files",
            )

    def _download(self, commit: str, file: Remote, part: Path) -> None:
        """Fetches what is missing of `file`, behind what an earlier try left in `part`.

        Not `hf_hub_download`: since 1.0 it begins anew in every process. This process holds the folder's lock, so that
        nobody else writes here. The folder is one that intake ignores.
        """
        from huggingface_hub import hf_hub_url
        from huggingface_hub.file_download import http_get
        from huggingface_hub.utils import build_hf_headers

        url = hf_hub_url(self.reference.repo, file.path, revision=commit, endpoint=endpoint())
        with part.open("ab") as opened:
            if opened.tell() > file.size:
                opened.truncate(0)
            if opened.tell() < file.size:
                headers = build_hf_headers(library_name="peft-assay")
                http_get(url, opened, resume_size=opened.tell(), headers=headers, expected_size=file.size)

    def _moved(self, commit: str) -> str | None:
        """What this revision meant here before, where that was another commit; notes what it means now."""
        if _COMMIT.fullmatch(self.reference.revision):
            return None
        name = f"{self.reference.repo}@{self.reference.revision}"
        note = self.place / "refs" / f"{name.replace('/', '--')}.json"
        match read(note):
            case {"commit": str(before)} if before != commit:
                self.tell(f"{self.reference.repo}@{self.reference.revision} has moved: it was {before}, it is {commit}")
                moved: str | None = before
            case _:
                moved = None
        write(note, {"commit": commit})
        self.tell(
            f"{self.reference.repo}@{self.reference.revision} is {commit}; pin it: {_pinned(self.reference, commit)}"
        )
        return moved

    def _asked(self, ask: Callable[[], _T], what: str | None = None) -> _T:
        """`ask`, again where the server is busy or the line was cut; raises IntakeError with what came of it."""
        for attempt in range(1, TRIES + 1):
            try:
                return ask()
            except AssayError:
                raise
            except Exception as error:
                wait = _wait(error, attempt)
                if wait is None or attempt == TRIES:
                    raise self._explained(error, what) from error
                self.tell(
                    f"{what or self.reference.repo}: {_said(error)}; trying again in {wait} s ({attempt}/{TRIES - 1})"
                )
                time.sleep(wait)
        raise AssertionError("unreachable")

    def _explained(self, error: Exception, what: str | None) -> IntakeError:
        import huggingface_hub.errors as known

        named = f"{what}: " if what else ""
        page = f"{endpoint()}/{self.reference.repo}"
        match error:
            case known.GatedRepoError():
                return self._refused(
                    f"{named}the repository is gated: its owner asks for agreement first",
                    f"read and accept the terms on {page} yourself, set HF_TOKEN (or hf auth login), try again",
                )
            case known.RevisionNotFoundError():
                return self._refused(f"{named}there is no revision {self.reference.revision}", f"see {page}/commits")
            case known.RepositoryNotFoundError():
                return self._refused(
                    f"{named}there is no such repository, or it is private",
                    "check the name; for a private one set HF_TOKEN (or hf auth login)",
                )
            case known.EntryNotFoundError():
                return self._refused(
                    f"{named}the commit lists the file and the server does not have it", "try again later"
                )
        status = _status(error)
        if status == 429:
            after = _retry_after(error)
            told = f"; it asks to wait {after} s" if after else ""
            return self._refused(
                f"{named}the server limits how often it is asked (429){told}",
                _LATER,
            )
        if status is not None:
            return self._refused(f"{named}the server answered {status}", _LATER)
        return self._refused(
            f"{named}the server cannot be reached or broke off ({_said(error)})",
            "check the network and HF_ENDPOINT, then run the same command: it goes on where it stopped",
        )

    def _refused(self, message: str, next_step: str) -> IntakeError:
        reference = self.reference
        return refuse(message, where=f"{reference.repo}@{reference.revision}", next_step=next_step)


def endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")


def library() -> Any:
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    try:
        import huggingface_hub
    except ImportError:
        raise UsageError(
            "fetching from the Hub needs huggingface_hub", next_step='python -m pip install "peft-assay[hub]"'
        ) from None
    return huggingface_hub


def _status(error: Exception) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _retry_after(error: Exception) -> int | None:
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    value = str(headers.get("retry-after", ""))
    return int(value) if value.isdecimal() and len(value) < 7 else None


def _wait(error: Exception, attempt: int) -> int | None:
    """Seconds until it is worth asking again; None where it is not."""
    status = _status(error)
    if status is None:
        # Lost connections and short reads; anything else that has no status is not the network's.
        return 2 ** (attempt - 1) if _is_network(error) else None
    if status == 429:
        after = _retry_after(error)
        wait = 2**attempt if after is None else after
        return wait if wait <= LONGEST_WAIT else None
    return 2 ** (attempt - 1) if status >= 500 else None


def _is_network(error: BaseException | None) -> bool:
    while error is not None:
        module = type(error).__module__.partition(".")[0]
        if module in {"httpx", "httpx2", "httpcore", "httpcore2"} or isinstance(error, ConnectionError | TimeoutError):
            return True
        if isinstance(error, OSError) and "onsistency check failed" in str(error):
            return True
        error = error.__cause__
    return False


def _said(error: Exception) -> str:
    """What kind of error it is: never its text, which may quote addresses with credentials in them."""
    return f"{type(error).__name__}" + (f" {_status(error)}" if _status(error) else "")
