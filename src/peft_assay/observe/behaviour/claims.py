"""Results that a publisher claims in the card of the adapter (`model-index`), read as hostile text.

The form is that of the Hub (huggingface_hub `repocard_data`): models, each with results, each with a task, a data set
and metrics. The library's own reader raises whatever a malformed card makes it stumble over: the form is stated here.
"""

import math
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from peft_assay.core.content import Content
from peft_assay.observe.behaviour.interface import Claim, Claims
from peft_assay.observe.static.front_matter import CardUnreadable, front_matter

KEYS = ("model-index", "model_index")
NOTHING_TO_READ = frozenset({"no-card", "no-metadata"})
MOST = 1000


class _Open(BaseModel):
    """Unknown fields are of no interest; known ones are of the right type."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True)


class _Task(_Open):
    type: str


class _Dataset(_Open):
    type: str = ""
    name: str = ""


class _Metric(_Open):
    type: str
    value: Any


class _Result(_Open):
    task: _Task
    dataset: _Dataset
    metrics: list[_Metric] = Field(max_length=MOST)


class _Model(_Open):
    results: list[_Result] = Field(max_length=MOST)


class _Index(_Open):
    models: list[_Model] = Field(max_length=MOST)


def claims_of(files: Mapping[str, Content]) -> Claims:
    """The claims of the card among `files`; never raises. A card that cannot be read may claim anything."""
    try:
        metadata = front_matter(files)
    except CardUnreadable as problem:
        return Claims() if problem.code in NOTHING_TO_READ else Claims(problem=str(problem))
    written = [metadata[key] for key in KEYS if metadata.get(key) is not None]
    if not written:
        return Claims()
    if len(written) > 1:
        return Claims(problem=f"the card has both {KEYS[0]} and {KEYS[1]}")
    try:
        index = _Index.model_validate({"models": written[0]})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        path = ".".join(map(str, first["loc"][1:]))
        return Claims(problem=f"{KEYS[0]}: {path}: {first['msg']}".replace(": :", ":"))
    return Claims(tuple(_claims(index)))


def _claims(index: _Index) -> list[Claim]:
    return [
        Claim(result.task.type, result.dataset.type, result.dataset.name, metric.type, _number(metric.value))
        for model in index.models
        for result in model.results
        for metric in result.metrics
    ]


def _number(value: Any) -> float | None:
    """`value` where it is a finite number; a text that looks like one has no unit that anybody stated."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
