"""The base's files, as the consumer's own folder holds them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peft_assay.core.artifact import Artifact, File
from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import Digest, parse_digest, sha256
from peft_assay.core.errors import ActivationDenied, DocumentError, StorageError
from peft_assay.core.parse import parse_json
from peft_assay.observe.interface import BaseFacts
from peft_assay.pipeline.base_place import check_folder
from peft_assay.pipeline.norms import Matrices, Norms

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
)
CHAT_TEMPLATE = "chat_template.jinja"
GENERATION_CONFIG = "generation_config.json"
DOCUMENTS = ("config.json", GENERATION_CONFIG)
"""Files that decide how a base computes with its tensors."""
POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length")
"""Names under which configurations of transformers say how long a sequence may be, in order."""


def base_manifest(folder: Path, *, where: str, written: str = "") -> Artifact:
    """Manifest of every file in the base's folder (links are followed: the base is the consumer's own).

    `where` names the document and field that point at it, as `written` there. Raises DocumentError when it is not a
    base, StorageError when it cannot be read.
    """
    check_folder(folder, where=where, written=written)
    try:
        paths = sorted(path for path in folder.rglob("*") if path.is_file() and not _hidden(path, folder))
        files = [_hash(path, path.relative_to(folder).as_posix()) for path in paths]
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(folder)) from None
    return Artifact(tuple(sorted(files)))


def has_chat_template(folder: Path) -> bool:
    """Whether the base says how conversations are written for it."""
    if (folder / CHAT_TEMPLATE).is_file():
        return True
    try:
        config = json.loads((folder / "tokenizer_config.json").read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "chat_template" in config


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def _hash(path: Path, name: str) -> File:
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
        size = stream.tell()
    return File(name, size, parse_digest("sha256:" + digest))


def tokenizer_digest(base: Artifact) -> Digest:
    """One digest over the tokenizer's files among those of the base."""
    named = {name: file for name in TOKENIZER_FILES if (file := base.file(name)) is not None}
    return canonical_digest({name: file.sha256 for name, file in named.items()})


def file_digest(base: Artifact, name: str) -> Digest | None:
    """Digest of one file of the base, None when it has no such file."""
    file = base.file(name)
    return None if file is None else file.sha256


def base_documents(folder: Path, base: Artifact) -> dict[str, bytes]:
    """Return the base's own documents, byte for byte those in its manifest; raises ActivationDenied otherwise."""
    found = {}
    for name in DOCUMENTS:
        file = base.file(name)
        if file is None:
            continue
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise StorageError(f"cannot be read: {error.strerror}", where=str(folder / name)) from None
        if sha256(content) != file.sha256:
            raise ActivationDenied(
                f"{name} of the base was changed meanwhile", check="base", next_step="activate it again"
            )
        found[name] = content
    return found


def base_facts(folder: Path) -> BaseFacts:
    """What `folder` says of the base's sizes; norms of its tensors are computed when somebody asks for one."""
    config = _sizes(folder)
    norms, tokenizer = Norms(folder), folder / TOKENIZER_FILES[0]
    read = tokenizer.read_bytes if tokenizer.is_file() else None
    return BaseFacts(norms, _whole(config, POSITIONS), _whole(config, ("vocab_size",)), Matrices(norms), read)


def _sizes(folder: Path) -> Mapping[str, Any]:
    """config.json, or the part of it that is about text; empty when it cannot be read."""
    try:
        document = parse_json((folder / "config.json").read_bytes(), where=str(folder / "config.json"))
    except (OSError, DocumentError):
        return {}
    if not isinstance(document, dict):
        return {}
    inner = document.get("text_config")
    return {**inner, **document} if isinstance(inner, dict) else document


def _whole(config: Mapping[str, Any], names: Sequence[str]) -> int | None:
    found = [config[name] for name in names if type(config.get(name)) is int and config[name] > 0]
    return found[0] if found else None
