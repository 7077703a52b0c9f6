"""Where the files of the declared base lie on this machine; a version of a repository is fetched first."""

import re
from pathlib import Path

from peft_assay.core.errors import DocumentError
from peft_assay.intake.fetching import Tell
from peft_assay.intake.interface import Limits
from peft_assay.intake.reference import HubReference, parse_reference
from peft_assay.pipeline.documents import AssayDocument
from peft_assay.pipeline.sources import remote_place
from peft_assay.sandbox.loading import is_base_file

SCHEME = "hf://"
FIELD = "context.base.path"
LIMITS = Limits(files=10_000, total_bytes=8 << 40, file_bytes=1 << 40)
"""A base is the consumer's own choice, and may be hundreds of gigabytes: these only stop a listing without sense."""
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}")


def base_folder(document: AssayDocument, path: Path, tell: Tell | None = None) -> Path:
    """Return the folder of the base that `document`, read from `path`, declares; fetches one of the Hub first.

    Raises DocumentError for a repository without a commit, IntakeError for one that cannot be fetched, StorageError.
    """
    written = document.context.base.path
    if not written.startswith(SCHEME):
        return (path.parent / Path(written).expanduser()).resolve()
    where = f"{path}: {FIELD}"
    reference = parse_reference(written)
    if not isinstance(reference, HubReference):
        raise DocumentError(f"names no repository: {written!r}", where=where, next_step="write hf://ORG/NAME@COMMIT")
    from peft_assay.intake.hub import commit_of, fetch

    say = tell or _silent
    if not _COMMIT.fullmatch(reference.revision):
        commit = commit_of(reference, remote_place() / "hub", LIMITS, say)
        raise DocumentError(
            f"a base is named by its commit, and {reference.revision} may mean another one tomorrow",
            where=where,
            next_step=f"write what it means today: {SCHEME}{reference.repo}@{commit}"
            + (f":{reference.subfolder}" if reference.subfolder else ""),
        )
    return fetch(reference, remote_place() / "bases", LIMITS, say, is_base_file).folder


def check_folder(folder: Path, *, where: str, written: str = "") -> None:
    """Raise DocumentError where `folder` is not one of a base, with what it is instead.

    `where` names the document and field that point at it, as `written` there.
    """
    if (folder / "adapter_config.json").is_file():
        raise DocumentError(
            f"{folder} is an adapter, not a base",
            where=where,
            next_step="name the folder of the base that you serve it with",
        )
    if not (folder / "config.json").is_file():
        message, step = _instead(folder, written)
        raise DocumentError(f"{folder} is not a base: {message}", where=where, next_step=step)


def _instead(folder: Path, written: str) -> tuple[str, str]:
    """Return what `folder` is, having no config.json, and the step that leads on."""
    if not folder.exists():
        return _absent(written)
    if not folder.is_dir():
        return "it is a file", "name the folder that holds config.json, *.safetensors and the tokenizer"
    snapshots = sorted(path.parent for path in folder.glob("snapshots/*/config.json"))
    if snapshots:
        return "it is a model's folder in a Hugging Face cache", f"name its snapshot: {_newest(folder, snapshots)}"
    inner = sorted(path.parent for path in folder.glob("*/config.json"))
    if (folder / "model_index.json").is_file():
        return (
            "it is a pipeline of diffusers",
            "name a language model: adapters of image models cannot be certified here",
        )
    if len(inner) == 1:
        return "it has no config.json, and a folder in it has", f"name that one: {inner[0]}"
    if gguf := sorted(folder.glob("*.gguf")):
        return (
            f"it holds weights of llama.cpp ({gguf[0].name})",
            "name the folder of the model in the form of transformers, from which they were made",
        )
    if (folder / "params.json").is_file():
        return (
            "it has params.json, as its maker's own code writes it, and no config.json",
            "name the same model in the form of transformers: its publisher has it beside, often with -hf in the name",
        )
    if dangling := sorted(path.name for path in folder.iterdir() if path.is_symlink() and not path.exists()):
        return (
            f"{dangling[0]} is a link that leads nowhere",
            "copy the snapshot with its links followed (cp -rL), or fetch it again",
        )
    return "it has no config.json", "name the folder that holds config.json, *.safetensors and the tokenizer"


def _absent(written: str) -> tuple[str, str]:
    """Return what is said of a folder that is not there; a name like ORG/NAME may be meant as one of the Hub."""
    step = "name the folder that holds config.json, *.safetensors and the tokenizer"
    if _REPOSITORY.fullmatch(written):
        step += f"; for a repository of the Hub write {SCHEME}{written}@COMMIT"
    return "there is no such folder", step


def _newest(folder: Path, snapshots: list[Path]) -> Path:
    """Return the snapshot that the branch main means in this cache, else the first."""
    try:
        commit = (folder / "refs" / "main").read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return snapshots[0]
    return next((path for path in snapshots if path.name == commit), snapshots[0])


def _silent(line: str) -> None:
    """Say nothing of a fetch."""
