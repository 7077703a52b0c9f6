"""`init`: a peft-assay.yaml to fill in, development keys for three roles, an empty revocation list.

It adds what is missing and overwrites nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from peft_assay.core.errors import DocumentError, StorageError, UsageError
from peft_assay.pipeline.deployment import Clock, Deployment
from peft_assay.pipeline.documents import FILE_NAME
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.starter import BASE, BaseLook, Documents, look_at_base, starting_documents
from peft_assay.store.workspace import Workspace
from peft_assay.trust.anchor import (
    SYSTEM_FOLDER,
    TRUST_FILE,
    check_outside,
    create_development_anchor,
    find_anchor,
    user_folder,
)


@dataclass(frozen=True, slots=True)
class Initialised:
    """What `init` made, and what was there already."""

    made: tuple[Path, ...]
    kept: tuple[Path, ...]
    trust: Path


def initialise(folder: Path, place: Place, *, clock: Clock, base: Path | None = None) -> Initialised:
    """Makes `folder` a project, after the base in `base` (None: after the one in its own folder base, if there is one).

    The anchor is made in the user's own place unless `place` or the system has one.

    Raises StorageError when it cannot write, TrustError when the anchor would lie inside the project.
    """
    made: list[Path] = []
    kept: list[Path] = []
    documents = dict(starting_documents(_look(folder, base)))
    _write_new(folder / FILE_NAME, documents.pop(FILE_NAME), made, kept)
    wanted = documents if folder / FILE_NAME in made else _asked_for(folder, documents)
    for name, content in wanted.items():
        _write_new(folder / name, content, made, kept)
    anchor = _anchor(folder, place, made, kept)
    holder = place.workspace or folder
    existed = (holder / ".peft-assay").is_dir()
    Workspace.open(holder.absolute(), create=True).close()
    (kept if existed else made).append(holder / ".peft-assay")
    _first_list(folder, place, clock)
    return Initialised(tuple(made), tuple(kept), anchor)


def _anchor(folder: Path, place: Place, made: list[Path], kept: list[Path]) -> Path:
    if (SYSTEM_FOLDER / TRUST_FILE).exists():
        path = find_anchor(place.trust, judged=folder).folder / TRUST_FILE
        kept.append(path)
        return path
    target = (place.trust or user_folder()).absolute()
    check_outside(target, folder)
    existed = (target / TRUST_FILE).exists()
    path = create_development_anchor(target)
    (kept if existed else made).append(path)
    return path


def _asked_for(folder: Path, documents: Documents) -> Documents:
    """Those that a peft-assay.yaml of another maker, such as `discover --propose`, names and that are not there."""
    try:
        text = (folder / FILE_NAME).read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    missing = {name: content for name, content in documents.items() if not (folder / name).exists()}
    suites = [name.rpartition("/")[0] for name in missing if name.endswith("/suite.yaml")]
    return {
        name: content
        for name, content in missing.items()
        if f"./{name}" in text
        or (name.rpartition("/")[0] in suites and f"./{name.rpartition('/')[0]}/suite.yaml" in text)
    }


def _look(folder: Path, base: Path | None) -> BaseLook:
    if base is None:
        return look_at_base(folder / BASE, BASE)
    place = base.absolute()
    named = f"./{place.relative_to(folder)}" if place.is_relative_to(folder) else str(place)
    if not (place / "config.json").is_file():
        raise UsageError("is not a base: it has no config.json", where=str(base), next_step="name the base's folder")
    return look_at_base(place, named)


def _write_new(path: Path, content: bytes, made: list[Path], kept: list[Path]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as stream:
            stream.write(content)
        made.append(path)
    except FileExistsError:
        kept.append(path)
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(path)) from None


def _first_list(folder: Path, place: Place, clock: Clock) -> None:
    """An empty revocation list is positive evidence that nothing is withdrawn; without one the gate denies."""
    try:
        with Deployment.open(Place(folder / FILE_NAME, place.workspace, place.trust)) as deployment:
            deployment.fresh_revocations(clock())
    except DocumentError:
        return  # a template that is not filled in yet: the first certify signs the list
