"""`discover`: an inventory of the adapters one already has. It blocks nothing, and reads beginnings of files only."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from peft_assay.core.artifact import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.content import Content
from peft_assay.core.errors import StorageError, UsageError
from peft_assay.intake.reference import ObjectReference, parse_place
from peft_assay.intake.survey import Sighted, SurveyLimits, Tally, survey
from peft_assay.observe.interface import Unreadable
from peft_assay.observe.static.base_claim import claims
from peft_assay.observe.static.front_matter import front_matter
from peft_assay.observe.static.kind import classify
from peft_assay.observe.static.kinds import Kind
from peft_assay.observe.static.pickle import is_pickle
from peft_assay.observe.static.reading import Configuration, read_document
from peft_assay.observe.static.tables import peft_table
from peft_assay.pipeline.inspection import kind_words
from peft_assay.report.interface import Discovered, Inventory

PICKLED_WEIGHTS = "adapter_model.bin"
Progress = Callable[[int, int], None]
"""Told with the folders looked into and the adapters found so far."""


def discover(places: Sequence[str], limits: SurveyLimits, progress: Progress) -> Inventory:
    """What lies at or below `places`. Raises UsageError when one does not exist, or nothing is found in any.

    Raises IntakeError for an object store that cannot be listed, StorageError for a folder that cannot be read.
    """
    chosen = [_place(named) for named in places]
    tally = Tally()
    found: list[Discovered] = []
    for place in chosen:
        try:
            for sighted in _sightings(place, limits, tally, lambda: progress(tally.folders, len(found))):
                found.append(_discovered(sighted))  # noqa: PERF401 - progress counts them as they come
        except OSError as error:
            raise StorageError(f"cannot be read: {error.strerror}", where=str(place)) from None
    if not found:
        raise UsageError(
            f"no adapter was found in {tally.folders} folders", where=", ".join(places),
            next_step="name the places in which adapters are kept, such as a Hugging Face cache or s3://BUCKET/PREFIX",
        )  # fmt: skip
    return Inventory(
        tuple(places), tuple(_with_nested(found)), tally.folders, tuple(tally.unread), tally.stopped, tally.shallow
    )


def _sightings(
    place: Path | ObjectReference, limits: SurveyLimits, tally: Tally, step: Callable[[], None]
) -> Iterator[Sighted]:
    if isinstance(place, Path):
        return survey(place, limits, tally, step)
    from peft_assay.intake.survey_objects import survey_objects

    return survey_objects(place, limits, tally, step)


def _place(named: str) -> Path | ObjectReference:
    if "://" in named:
        return parse_place(named)
    path = Path(named).expanduser()
    try:
        exists = path.exists()
    except (OSError, ValueError):
        exists = False
    if not exists:
        raise UsageError("there is no such place", where=named, next_step="name a folder that exists")
    return path


def _discovered(sighted: Sighted) -> Discovered:
    if sighted.archive:
        return Discovered(
            sighted.named or str(sighted.path), "an archive, not opened", usable=False, peft_type=None, base=None,
            size=sighted.size, files=1, remarks=("look into it with: peft-assay inspect",),
        )  # fmt: skip
    document = _read(read_document, sighted.contents)
    found = classify(sighted.contents)
    peft_type = document.get("peft_type")
    cached = sighted.cached
    return Discovered(
        path=sighted.named or str(sighted.path),
        kind=kind_words(found.description)[0],
        usable=found.kind is Kind.PEFT_ADAPTER,
        peft_type=peft_type if isinstance(peft_type, str) else None,
        base=_base(document),
        size=sighted.size,
        files=len(sighted.contents),
        remarks=tuple(_remarks(sighted, found.kind, document)),
        repository=None if cached is None else cached.repository,
        commit=None if cached is None else cached.commit,
        references=() if cached is None else cached.references,
    )


def _read(read: Any, files: Mapping[str, Content]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read(files)
    except Unreadable:
        return {}
    return found


_OBSTACLES = {
    Kind.PEFT_CONFIG_ONLY: "no weights",
    Kind.PEFT_UNFETCHED: "weights not fetched (Git LFS pointer)",
    Kind.MLX_ADAPTER: "MLX: PEFT does not read it",
    Kind.DIFFUSERS_LORA: "diffusers' own format: PEFT does not read it",
    Kind.PEFT_BONE: "Bone of an older PEFT: rename it to MiSS",
    Kind.PEFT_OLD_OFT: "OFT of PEFT 0.15 or older: PEFT does not read it since",
    Kind.PEFT_UNTYPED: "a LoRA without peft_type: PEFT does not read it",
    Kind.MARKED_CONFIG: "adapter_config.json begins with a byte order mark: PEFT refuses it",
    Kind.PEFT_SHARDED: "weights in several files: PEFT reads one",
    Kind.PEFT_UNFINISHED: "weights not fetched to the end",
    Kind.PEFT_IN_PARTS: "weights cut into parts",
    Kind.PEFT_MISNAMED: "no weights under the name that PEFT reads",
    Kind.PEFT_UNKNOWN_TYPE: "a peft_type that this version does not know",
}


def _remarks(sighted: Sighted, kind: Kind, document: Mapping[str, Any]) -> Iterator[str]:
    files = sighted.contents
    if kind in _OBSTACLES:
        yield _OBSTACLES[kind]
    yield from _about_weights(files)
    if CONFIG_FILE in sighted.links or WEIGHTS_FILE in sighted.links:
        yield "holds links, which intake refuses"
    if sighted.unread:
        yield f"cannot be read: {', '.join(sighted.unread[:3])}"
    if CONFIG_FILE in files and not document:
        yield "adapter_config.json cannot be read"
    if document:
        card = _read(front_matter, files)
        yield from _about_base(document, card)
        if CARD_FILE not in files:
            yield "no model card"
        elif not card.get("license"):
            yield "no licence in the card"


_CLAIMS = {
    "unnamed": "names no base",
    "named-by-card-alone": "only the card names its base",
    "local-path": "its base is a path on the publisher's machine",
    "quantised-or-reuploaded": "its base is a quantised or re-uploaded copy",
    "card-differs": "the card names another base",
    "quantised-twin": "the card names the base that this copy was made from, or the other way round",
}


def _about_base(document: Mapping[str, Any], card: Mapping[str, Any]) -> Iterator[str]:
    kind = document.get("peft_type")
    row = peft_table().types.get(kind) if isinstance(kind, str) else None
    if isinstance(kind, str) and row is not None:
        codes = {claim.partition(":")[0] for claim in claims(Configuration(kind, row, document), card)}
        yield from (words for code, words in _CLAIMS.items() if code in codes)


def _base(document: Mapping[str, Any]) -> str | None:
    """The base that it names: PEFT's field, or MLX's."""
    names = (document.get("base_model_name_or_path"), document.get("model"))
    return next((name for name in names if isinstance(name, str) and name.strip()), None)


def _about_weights(files: Mapping[str, Content]) -> Iterator[str]:
    if PICKLED_WEIGHTS in files:
        both = WEIGHTS_FILE in files
        yield f"pickle weights{' beside the safetensors' if both else ''} ({PICKLED_WEIGHTS})"
    weights = files.get(WEIGHTS_FILE)
    if weights is not None and weights.size == 0:
        yield "the weights file is empty"
    pickles = [name for name, content in files.items() if name != PICKLED_WEIGHTS and is_pickle(name, content)]
    if pickles:
        more = f" and {len(pickles) - 1} more" if len(pickles) > 1 else ""
        yield f"pickle: {pickles[0]}{more}"


def _with_nested(found: Sequence[Discovered]) -> Iterator[Discovered]:
    """Each with a remark where others lie below it: intake takes a folder as a whole."""
    below: dict[str, int] = {}
    folders = {entry.path for entry in found}
    for entry in found:
        for parent in _parents(entry.path):
            if parent in folders:
                below[parent] = below.get(parent, 0) + 1
    for entry in found:
        count = below.get(entry.path)
        if count is None:
            yield entry
        else:
            yield replace(entry, remarks=(*entry.remarks, f"{count} more in folders below it, taken as part of it"))


def _parents(path: str) -> Iterator[str]:
    """The folders around `path`, spelt as it is: of a name in a store Path would make another."""
    scheme, separator, rest = path.rpartition("://")
    yield from (f"{scheme}{separator}{parent}" for parent in Path(rest).parents)
