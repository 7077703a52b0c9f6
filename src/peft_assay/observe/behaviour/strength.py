"""Count the modules of an adapter that have a strength, from its own bytes: the child's count must agree.

PEFT's layers of these types multiply what they add by a number of their own (`scaling` and the like); each such layer
keeps one tensor of the name given here. Types that are not here have no such number: IA3, the orthogonal types, all
kinds of virtual tokens.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from peft_assay.core.artifact import CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json
from peft_assay.observe.interface import Unreadable
from peft_assay.observe.static.header import LENGTH_BYTES, Tensor, read_header

MARKS: Mapping[str, tuple[str, ...]] = {
    "LORA": ("lora_A", "lora_embedding_A"),
    "ADALORA": ("lora_A",),
    "LOHA": ("hada_w1_a",),
    "LOKR": ("lokr_w1", "lokr_w1_a"),
    "FOURIERFT": ("fourierft_spectrum",),
    "WAVEFT": ("waveft_spectrum",),
    "DEFT": ("deft_P",),
    "GRALORA": ("gralora_A",),
    "LILY": ("lily_A",),
    "PEANUT": ("peanut_A",),
    "RANDLORA": ("randlora_lambda",),
    "SHIRA": ("shira_weight",),
}
"""By type: the parameter that every layer with a strength has exactly one of in a saved file."""


@dataclass(frozen=True, slots=True)
class Strength:
    """The strengths according to the adapter's files."""

    modules: int | None = None
    """Modules with a strength; 0 where the type has none; None where the files cannot be read."""
    peft_type: str | None = None


def strength_of(files: Mapping[str, bytes]) -> Strength:
    """Return the strength of the adapter in `files`; never raises."""
    try:
        kind = configuration_of(files).get("peft_type")
        tensors = tensors_of(files.get(WEIGHTS_FILE, b""))
    except (Unreadable, DocumentError):
        return Strength()
    marks = MARKS.get(kind, ()) if isinstance(kind, str) else ()
    found = {module for tensor in tensors if (module := _module(tensor.name, marks)) is not None}
    return Strength(len(found), kind if isinstance(kind, str) else None)


def configuration_of(files: Mapping[str, bytes]) -> Mapping[str, object]:
    """Return adapter_config.json as strict JSON; raises DocumentError or Unreadable where it is none."""
    document = parse_json(files.get(CONFIG_FILE, b""), where=CONFIG_FILE)
    if not isinstance(document, dict):
        raise Unreadable(f"{CONFIG_FILE} is not a JSON object")
    return document


def tensors_of(weights: bytes) -> tuple[Tensor, ...]:
    """Return the tensors of adapter_model.safetensors in its one strict reading; raises Unreadable where it
    has none.
    """
    end = LENGTH_BYTES + int.from_bytes(weights[:LENGTH_BYTES], "little")
    if len(weights) < end or end <= LENGTH_BYTES:
        raise Unreadable(f"{WEIGHTS_FILE} is shorter than its header says")
    return read_header(weights[:end], len(weights))


def _module(name: str, marks: tuple[str, ...]) -> str | None:
    """Return the path before the last part of `name` that is a mark."""
    parts = name.split(".")
    for at in range(len(parts) - 1, 0, -1):
        if parts[at] in marks:
            return ".".join(parts[:at])
    return None
