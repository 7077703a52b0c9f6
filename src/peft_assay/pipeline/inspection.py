"""`inspect`: what a source is, what it would change and what is missing, for somebody who has no project.

It needs no workspace, keys, base or torch, and nothing of the source is executed.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from peft_assay.core.artifact import WEIGHTS_FILE
from peft_assay.core.content import Content
from peft_assay.core.context import Engine
from peft_assay.core.errors import IntakeError
from peft_assay.core.observation import Observation
from peft_assay.intake.admit import admit, parted
from peft_assay.intake.fetching import Tell
from peft_assay.observe.catalogue import PROBES, observe_static
from peft_assay.observe.interface import StaticContext, StaticSubject, Unreadable
from peft_assay.observe.static.front_matter import front_matter
from peft_assay.observe.static.kind import classify
from peft_assay.observe.static.kinds import Kind
from peft_assay.observe.static.reading import is_number, read_document
from peft_assay.observe.static.weights import Sighting, watch_weights
from peft_assay.pipeline.sources import Located, locate
from peft_assay.report.interface import Declared, Inspected, InspectionReport, Refusal, Refused

ENGINE = Engine("peft", "float32", None)
"""What an adapter is read for where nobody declared an engine."""
MAX_NAMES = 200
"""Modules or data sets that a report names; a hostile file may bring any number."""
_ADAPTED = re.compile(r"(.+)\.lora_(?:embedding_)?A(?:\.|$)")
"""The first matrix of a module that a LoRA adapts."""
_NUMBERS = ("r", "lora_alpha", "num_virtual_tokens", "block_size", "oft_block_size")


Looking = Callable[[str, Path], AbstractContextManager[None]]
"""Is told what is looked at next, by the name that the user gave it and where it lies. May raise IntakeError."""


def _unwatched(named: str, source: Path) -> AbstractContextManager[None]:  # noqa: ARG001 - as `Looking` has it
    return nullcontext()


def inspect(named: str, *, tell: Tell, looking: Looking = _unwatched) -> InspectionReport:
    """What can be said of the source that `named` means, fetched first where it is remote.

    Raises IntakeError when it cannot become an artifact, UsageError when it names nothing.
    """
    located = locate(named, tell=tell)
    source = located.found()
    with looking(named, source):
        return _look(named, located, source)


def _look(named: str, located: Located, source: Path) -> InspectionReport:
    admitted = admit(source, watch=watch_weights)
    context = StaticContext(engine=ENGINE, datasets={}, base_licence=None)
    observations = observe_static(StaticSubject(admitted.artifact, admitted.contents, context, admitted.sightings))
    found = classify(admitted.contents)
    kind, why, remedy = kind_words(found.description)
    is_adapter = found.kind is Kind.PEFT_ADAPTER
    return InspectionReport(
        source=located.shown if located.remote else named,
        kind=kind,
        artifact=admitted.artifact,
        observations=observations,
        declared=declared(admitted.contents, admitted.sightings.get(WEIGHTS_FILE), observations),
        obstacle="" if is_adapter else f"{kind}: {why}" if why else kind,
        remedy="" if is_adapter else remedy or "name a folder that holds adapter_config.json and its weights",
        pages={term: probe.id for probe in PROBES for term in probe.terms},
        archive=parted(source)[0].is_file(),
    )


def inspect_all(names: Sequence[str], *, tell: Tell, looking: Looking = _unwatched) -> list[Inspected]:
    """Each of `names` in turn; one that intake refuses is told and stops nothing."""
    return [_inspect_or_refuse(named, tell, looking) for named in names]


def _inspect_or_refuse(named: str, tell: Tell, looking: Looking) -> Inspected:
    try:
        return inspect(named, tell=tell, looking=looking)
    except IntakeError as error:
        return Refused(named, Refusal(error.message, error.where, error.next_step or ""))


def kind_words(description: str) -> tuple[str, str, str]:
    """What a source is, why that is in the way, and what to do: out of the one sentence ``what: why; do``."""
    said, _, remedy = description.partition("; ")
    what, _, why = said.partition(": ")
    return what, why, remedy


def _by_card(card: Mapping[str, Any]) -> str | None:
    """Return the base that the card alone names, and that only the card does."""
    named = next(iter(_texts(card.get("base_model"))), None) or _text(card.get("base_model"))
    return f"{named} (by its card alone)" if named else None


def declared(files: Mapping[str, Content], weights: Any, observations: Sequence[Observation]) -> Declared:
    """What configuration, card and weights say of themselves; nothing where they cannot be read. Never raises."""
    document = _read_or_nothing(read_document, files)
    card = _read_or_nothing(front_matter, files)
    tensors = weights.tensors if isinstance(weights, Sighting) and weights.problem is None else None
    return Declared(
        peft_type=_text(document.get("peft_type")),
        base=_text(document.get("base_model_name_or_path")) or _by_card(card),
        numbers=tuple(_numbers(document, observations)),
        targets=_texts(document.get("target_modules")),
        tensors=None if tensors is None else len(tensors),
        modules=None if tensors is None else len({m[1] for t in tensors if (m := _ADAPTED.match(t.name))}) or None,
        parameters=None if tensors is None else sum(math.prod(tensor.shape) for tensor in tensors),
        licence=_text(card.get("license")),
        datasets=_texts(card.get("datasets")),
    )


def _read_or_nothing(read: Any, files: Mapping[str, Content]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read(files)
    except Unreadable:
        return {}
    return found


def _numbers(document: Mapping[str, Any], observations: Sequence[Observation]) -> Iterator[tuple[str, str]]:
    for name in _NUMBERS:
        value = document.get(name)
        if is_number(value):
            yield name, f"{value}"[:40]
    largest = next((o.value for o in observations if o.name == "bounds.max_rank"), None)
    if largest is not None and is_number(document.get("r")) and largest != document["r"]:
        yield "largest rank", f"{largest}"[:40]


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _texts(value: Any) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    return tuple(item for item in values[:MAX_NAMES] if isinstance(item, str)) if isinstance(values, list) else ()
