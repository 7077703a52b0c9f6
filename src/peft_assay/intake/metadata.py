"""What a repository of the Hub says of itself: card and licence texts at one commit, and nothing else of it.

Absent, gated and unreachable are facts to keep, not errors: they are what rights are judged by. Terms of gated
repositories are never accepted on anybody's behalf; of those whose files need agreement only the card's metadata is
read, which the Hub gives to everybody.
"""

import hashlib
import io
import re
from typing import Any, Literal

import yaml

from peft_assay.core.rights import Metadata
from peft_assay.intake.fetching import Tell
from peft_assay.intake.hub import endpoint, library

RepositoryKind = Literal["model", "dataset"]
MAX_FILE_BYTES = 1 << 20
MAX_FILES = 20
_WANTED = re.compile(r"(?i)README\.md|(licen[cs]e|notice|copying)([._-][a-z0-9._-]{1,40})?")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,94}(/[A-Za-z0-9][A-Za-z0-9._-]{0,94})?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


def is_repository(name: str) -> bool:
    """Whether `name` can be a repository of the Hub; a path on somebody's machine cannot."""
    return _REPOSITORY.fullmatch(name) is not None and ".." not in name


def describe(kind: RepositoryKind, name: str, *, tell: Tell) -> Metadata:
    """The repository's own words, asked of the Hub now. Raises UsageError without huggingface_hub."""
    import huggingface_hub.errors as known

    api = library().HfApi(endpoint=endpoint(), library_name="peft-assay")
    ask = api.model_info if kind == "model" else api.dataset_info
    tell(f"asking for {kind} {name}")
    try:
        found = ask(name, files_metadata=True, timeout=30)
    except known.GatedRepoError:
        return Metadata(kind, name, "gated", gating="manual")
    except known.RepositoryNotFoundError:
        return Metadata(kind, name, "absent")
    except Exception:  # noqa: BLE001 - the library raises whatever its transport does; none of it is an answer
        return Metadata(kind, name, "unreachable")
    if not isinstance(found.sha, str) or not _COMMIT.fullmatch(found.sha):
        return Metadata(kind, name, "unreachable")
    return _read(kind, name, found)


def _read(kind: RepositoryKind, name: str, found: Any) -> Metadata:
    gating = {False: "no", None: "unknown", "auto": "auto", "manual": "manual"}.get(found.gated, "unknown")
    files: dict[str, bytes] = {}
    status = "found"
    for sibling in [s for s in found.siblings or [] if _WANTED.fullmatch(s.rfilename)][:MAX_FILES]:
        if type(sibling.size) is int and sibling.size > MAX_FILE_BYTES:
            continue  # nobody's licence is that long, and a card that is says nothing here
        content = _download(kind, name, found.sha, sibling)
        if content is None:
            status = "gated" if gating in {"auto", "manual"} else "unreachable"
        else:
            files[sibling.rfilename] = content
    if "README.md" not in files and found.card_data is not None:
        files["README.md"] = _card(found.card_data.to_dict())
    return Metadata(kind, name, status, found.sha, gating, files)


def _download(kind: RepositoryKind, name: str, commit: str, sibling: Any) -> bytes | None:
    """The file as the commit announces it; None when it cannot be had or is something else."""
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    size = sibling.size
    if type(size) is not int or size < 0:
        return None
    url = hf_hub_url(name, sibling.rfilename, repo_type=kind, revision=commit, endpoint=endpoint())
    buffer = io.BytesIO()
    try:
        http_get(url, buffer, headers=build_hf_headers(library_name="peft-assay"), expected_size=size)
    except Exception:  # noqa: BLE001 - as above
        return None
    content = buffer.getvalue()
    return content if _is_announced(content, sibling) else None


def _is_announced(content: bytes, sibling: Any) -> bool:
    """Whether `content` is what the Hub announced for the commit: git blob id, or sha256 of a large file."""
    if sibling.lfs is not None:
        return hashlib.sha256(content).hexdigest() == getattr(sibling.lfs, "sha256", None)
    git = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return git.hexdigest() == str(sibling.blob_id)


def _card(metadata: dict[str, Any]) -> bytes:
    """The Hub's own reading of a card's metadata, as a card."""
    return b"---\n" + yaml.safe_dump(metadata, sort_keys=True).encode() + b"---\n"
