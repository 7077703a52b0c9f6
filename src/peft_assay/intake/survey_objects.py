"""Finds what may be adapters under a prefix of an object store: one listing, and the beginnings of the files that tell.

Of an adapter's folder the configuration, the card and the beginnings of weights and pickles are read; of everything
else there is its name and size.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from peft_assay.core.artifact import CARD_FILE, CONFIG_FILE
from peft_assay.core.content import END_BYTES, Content
from peft_assay.core.digest import sha256
from peft_assay.core.errors import IntakeError
from peft_assay.intake.glimpse import CONFIG_BYTES
from peft_assay.intake.objects import explained, open_store
from peft_assay.intake.reference import ObjectReference
from peft_assay.intake.survey import MARKS, Sighted, SurveyLimits, Tally, is_archive

TELLING = (".safetensors", ".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
"""Endings of files whose beginning says something."""


def survey_objects(
    place: ObjectReference, limits: SurveyLimits, tally: Tally, step: Callable[[], None]
) -> Iterator[Sighted]:
    """What lies at or below `place`, by name. Raises IntakeError, UsageError without obstore."""
    store = open_store(place)
    folders = _listed(store, place, limits, tally)
    for folder, files in sorted(folders.items()):
        if not tally.within(limits):
            return
        tally.folders += 1
        step()
        if folder.count("/") + bool(folder) > limits.depth:
            tally.shallow += 1
            continue
        if MARKS.intersection(files):
            tally.told += 1
            yield _sighted(store, place, folder, files, limits)
        for name, meta in sorted(files.items()):
            if is_archive(name):
                tally.told += 1
                path = _joined(place.prefix, folder, name)
                yield Sighted(Path(path), MappingProxyType({}), meta["size"], archive=True, named=_named(place, path))


def _listed(store: Any, place: ObjectReference, limits: SurveyLimits, tally: Tally) -> dict[str, dict[str, Any]]:
    """Files by folder below the prefix, then by name; no more entries than the limit."""
    import obstore

    prefix = place.prefix + "/" if place.prefix else ""
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    try:
        for page in obstore.list(store, prefix=prefix or None):
            for meta in page:
                path = PurePosixPath(meta["path"].removeprefix(prefix))
                if not meta["path"].endswith("/") and len(found[_folder(path)]) < limits.files:
                    found[_folder(path)][path.name] = meta
            tally.entries += len(page)
            if not tally.within(limits):
                break
    except Exception as error:
        raise explained(error, "the listing", where=_named(place, place.prefix)) from error
    return found


def _folder(path: PurePosixPath) -> str:
    return "" if path.parent == PurePosixPath() else path.parent.as_posix()


def _sighted(
    store: Any, place: ObjectReference, folder: str, files: Mapping[str, Any], limits: SurveyLimits
) -> Sighted:
    contents: dict[str, Content] = {}
    unread: list[str] = []
    for name, meta in sorted(files.items())[: limits.files]:
        try:
            contents[name] = _glimpse(store, place, _joined(place.prefix, folder, name), meta["size"])
        except IntakeError:
            unread.append(name)
    path = _joined(place.prefix, folder)
    size = sum(content.size for content in contents.values())
    return Sighted(Path(path), MappingProxyType(contents), size, unread=tuple(unread), named=_named(place, path))


def _glimpse(store: Any, place: ObjectReference, path: str, size: int) -> Content:
    import obstore

    name = path.rsplit("/", 1)[-1]
    whole = name in {CONFIG_FILE, CARD_FILE}
    wanted = min(size, CONFIG_BYTES if whole else END_BYTES if name.endswith(TELLING) else 0)
    try:
        read = bytes(obstore.get(store, path, options={"range": (0, wanted)}).bytes()) if wanted else b""
    except Exception as error:
        raise explained(error, path, where=_named(place, path)) from error
    body = read if len(read) == size else None
    return Content(size, sha256(read), read[:END_BYTES], read[-END_BYTES:] if body is not None else b"", body)


def _joined(*parts: str) -> str:
    return "/".join(part for part in parts if part)


def _named(place: ObjectReference, path: str) -> str:
    return f"{place.scheme}://{place.bucket}/{path}"
