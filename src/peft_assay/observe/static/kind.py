"""What a folder is, in words a person can act on.

Not an observation: policies judge adapters, and this tells what is none.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peft_assay.core.artifact import CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.content import Content
from peft_assay.observe.interface import Unreadable
from peft_assay.observe.static.header import LFS_POINTER
from peft_assay.observe.static.kinds import DESCRIPTIONS, Kind
from peft_assay.observe.static.lookalikes import look_alike
from peft_assay.observe.static.reading import BYTE_ORDER_MARK, read_document
from peft_assay.observe.static.tables import peft_table

_MLX_FIELDS = ("lora_parameters", "lora_layers", "num_layers", "fine_tune_type", "adapter_path")
_OLD_OFT = re.compile(rb"\.oft_[rs]\"")
_LORA = re.compile(rb"\.lora_[AB](?:\.weight)?\"")
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,60}(?:/[A-Za-z0-9_][A-Za-z0-9._-]{0,60}){0,4}")
_SHOWN = 8
_WHOLE = r"adapter_model\.(safetensors|bin)"
_IN_PLACE = (
    (re.compile(rf"adapter_model-[0-9]+-of-[0-9]+\.(safetensors|bin)|{_WHOLE}\.index\.json"), Kind.PEFT_SHARDED),
    (re.compile(rf"(?i){_WHOLE}[._-]?(part[._-]?[a-z0-9]{{2,6}}|a{{2,3}}|[0-9]{{2,4}})"), Kind.PEFT_IN_PARTS),
    (
        re.compile(rf"(?i)(.*\.)?{_WHOLE}.*\.(incomplete|part|partial|tmp|temp|download|crdownload|aria2)"),
        Kind.PEFT_UNFINISHED,
    ),
    (
        re.compile(
            r"(?i)(?!training_args|optimizer|scheduler|scaler|rng_)[^/]*\.(safetensors|bin|pth?|ckpt)(\.[a-z]{1,8})?"
        ),
        Kind.PEFT_MISNAMED,
    ),
)
"""What may lie in the place of an adapter's weights: the first of these that a file's name matches."""


@dataclass(frozen=True, slots=True)
class SourceKind:
    """A kind and one sentence about it; the sentence is ours, never the artifact's."""

    kind: Kind
    description: str


def classify(files: Mapping[str, Content]) -> SourceKind:
    """What `files` make up; never raises, nothing is executed."""
    kind = _kind(files)
    description = DESCRIPTIONS[kind]
    below = _folders_below(files)
    if kind is Kind.TRAINER_FOLDER:
        return SourceKind(kind, description.format(folders=", ".join(below) or "its folder"))
    if kind is Kind.PEFT_ADAPTER and below:
        return SourceKind(kind, f"{description}, the one at the top (not those in {', '.join(below)})")
    return SourceKind(kind, description)


def _folders_below(files: Mapping[str, Content]) -> tuple[str, ...]:
    """Return the folders in which another adapter lies, by their plain names; of others and of many the number."""
    found = {path.rpartition("/")[0] for path in files if path.endswith((f"/{CONFIG_FILE}", f"/{WEIGHTS_FILE}"))}
    plain = sorted((name for name in found if _PLAIN.fullmatch(name)), key=_in_order)
    shown = plain[-_SHOWN:]
    more = len(found) - len(shown)
    return (*shown, *((f"{more} more",) if more else ()))


def _in_order(name: str) -> list[tuple[int, str]]:
    """Return a key by which checkpoint-500 comes before checkpoint-1000."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]{1,18})", name)]


def _kind(files: Mapping[str, Content]) -> Kind:
    content = files.get(CONFIG_FILE)
    if content is not None and content.head.startswith(BYTE_ORDER_MARK + b"{"):
        return Kind.MARKED_CONFIG
    try:
        document = read_document(files)
    except Unreadable:
        return _broken(files[CONFIG_FILE]) if CONFIG_FILE in files else _without_config(files)
    named = document.get("peft_type")
    if named == "BONE":
        return Kind.PEFT_BONE
    if not isinstance(named, str) or named not in peft_table().types:
        return _of_another_tool(document, files)
    weights = files.get(WEIGHTS_FILE, files.get("adapter_model.bin"))
    if weights is None:
        return next((kind for pattern, kind in _IN_PLACE if any(map(pattern.fullmatch, files))), Kind.PEFT_CONFIG_ONLY)
    if weights.size == 0:
        return Kind.PEFT_EMPTY
    if named == "OFT" and _OLD_OFT.search(weights.head) is not None:
        return Kind.PEFT_OLD_OFT
    return Kind.PEFT_UNFETCHED if weights.head.startswith(LFS_POINTER) else Kind.PEFT_ADAPTER


def _of_another_tool(document: Mapping[str, Any], files: Mapping[str, Content]) -> Kind:
    """Return the kind of a folder whose configuration names no type of PEFT's."""
    settings = document.get("config")
    if isinstance(settings, dict) and ("model_class" in document or "model_name" in document):
        return Kind.ADAPTER_HUB_LORA if settings.get("architecture") == "lora" else Kind.ADAPTER_HUB
    found = Kind.MLX_ADAPTER if any(name in document for name in _MLX_FIELDS) else _without_config(files)
    if found not in _MAY_BE_PEFT:
        return found
    if isinstance(document.get("peft_type"), str):
        return Kind.PEFT_UNKNOWN_TYPE
    is_lora = "r" in document and WEIGHTS_FILE in files and _LORA.search(files[WEIGHTS_FILE].head) is not None
    return Kind.PEFT_UNTYPED if is_lora else Kind.FOREIGN_CONFIG


def _broken(config: Content) -> Kind:
    if config.size == 0:
        return Kind.CONFIG_EMPTY
    return Kind.CONFIG_UNFETCHED if config.head.startswith(LFS_POINTER) else Kind.BROKEN_CONFIG


_MAY_BE_PEFT = {Kind.UNKNOWN, Kind.PEFT_WEIGHTS_ONLY, Kind.PICKLE}
"""Kinds that are about a missing configuration; where there is one, it is what is in the way."""


def _without_config(files: Mapping[str, Content]) -> Kind:
    if any(path.endswith("/" + CONFIG_FILE) for path in files):
        return Kind.TRAINER_FOLDER
    return look_alike(files)
