r"""A strict reader of safetensors headers.

The format's own reader (safetensors 0.8) accepts files with more than one reading: a tensor name twice at one offset
(the last shape wins, also when spelled with a \u escape), metadata of any size, names with newlines. Here a file has
one reading or none: what is canonical here is accepted there, not the reverse.
Format: https://huggingface.co/docs/safetensors (8 bytes little-endian header size, JSON header, tensor buffer).
"""

import re
from dataclasses import dataclass
from typing import Any

from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json
from peft_assay.observe.interface import Unreadable

LENGTH_BYTES = 8
"""Of the number at the beginning of a safetensors file: the size of its header."""
MAX_HEADER_BYTES = 16 << 20
MAX_METADATA_CHARACTERS = 64 << 10
MAX_TENSORS = 200_000
MAX_DIMENSIONS = 8
MAX_PRUNED = 1 << 20
"""The other dimension of a factor without numbers, at most."""
_OF_ADALORA = (".lora_A", ".lora_B", ".lora_E")
"""How its tensors' names end; those of LoRA go on with ``.weight``."""
_MOST_MARKS = {
    b"{": MAX_TENSORS + 2 + MAX_METADATA_CHARACTERS,
    b"[": 2 * MAX_TENSORS + MAX_METADATA_CHARACTERS,
    b'"': 10 * MAX_TENSORS + 4 * MAX_METADATA_CHARACTERS,
}
"""How often each occurs in a canonical header at most: a tensor is one object, two lists and five texts, and metadata
may hold any of them. Counted before anything is parsed: three bytes of JSON can become two hundred of memory."""
ITEM_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "F16": 2, "BF16": 2, "I32": 4, "F32": 4,
    "I64": 8, "F64": 8,
}  # fmt: skip
"""The dtypes that adapters have; others (complex, sub-byte) are not canonical."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1"
"""How a file begins whose content stayed on the LFS server (https://git-lfs.com)."""
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,512}")
_STRING_OR_MINUS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|-')


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the file: name, dtype, shape, and its bytes as offsets into the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def read_header(start: bytes, size: int) -> tuple[Tensor, ...]:
    """Tensors in file order of a file of `size` bytes that begins with `start`, header size and header exactly.

    Raises Unreadable, saying how, when the file is not canonical.
    """
    document = _document(start[LENGTH_BYTES:])
    metadata = document.pop("__metadata__", None)
    if metadata is not None:
        _check_metadata(metadata)
    if not document or len(document) > MAX_TENSORS:
        raise Unreadable(f"{len(document)} tensors: none, or more than {MAX_TENSORS}")
    tensors = sorted((_tensor(name, entry, len(start)) for name, entry in document.items()), key=lambda t: t.begin)
    _check_cover(tensors, len(start), size)
    return tuple(tensors)


def _document(header: bytes) -> dict[str, Any]:
    if not header.startswith(b"{"):
        raise Unreadable("the header does not begin with '{'")
    if any(header.count(mark) > most for mark, most in _MOST_MARKS.items()):
        raise Unreadable(f"the header has more objects, lists or texts than {MAX_TENSORS} tensors need")
    try:
        document = parse_json(header, where="header", max_bytes=MAX_HEADER_BYTES)
    except DocumentError as error:
        raise Unreadable(error.message) from None
    if not isinstance(document, dict):
        raise Unreadable("the header is not a JSON object")
    # Python reads -0 as 0, a strict reader of unsigned numbers refuses it: no number here is negative.
    if any(found[0] == b"-" for found in _STRING_OR_MINUS.finditer(header)):
        raise Unreadable("the header has a negative number")
    return document


def _check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise Unreadable("__metadata__ is not an object of texts")
    texts = [*metadata, *metadata.values()]
    if sum(map(len, texts)) > MAX_METADATA_CHARACTERS:
        raise Unreadable(f"__metadata__ is larger than {MAX_METADATA_CHARACTERS} characters")
    if any(0xD800 <= ord(character) <= 0xDFFF for text in texts for character in text):
        raise Unreadable("__metadata__ has a lone surrogate")


def _tensor(name: str, entry: Any, start: int) -> Tensor:
    if not _NAME.fullmatch(name):
        raise Unreadable(f"tensor name {name[:80]!r} is longer or has other characters than names of modules have")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise Unreadable(f"{name}: exactly dtype, shape and data_offsets describe a tensor")
    item = ITEM_BYTES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if item is None:
        raise Unreadable(f"{name}: dtype is not one of {', '.join(ITEM_BYTES)}")
    shape = _naturals(entry["shape"], name)
    if len(shape) > MAX_DIMENSIONS or (0 in shape and not _is_pruned(name, shape)):
        raise Unreadable(f"{name}: a dimension of zero, or more than {MAX_DIMENSIONS} dimensions")
    offsets = _naturals(entry["data_offsets"], name)
    if len(offsets) != 2:
        raise Unreadable(f"{name}: data_offsets are not two numbers")
    expected = item
    for length in shape:
        expected *= length
    if offsets[1] - offsets[0] != expected:
        raise Unreadable(f"{name}: dtype and shape need {expected} bytes, its offsets span another number")
    return Tensor(name, entry["dtype"], shape, start + offsets[0], start + offsets[1])


def _is_pruned(name: str, shape: tuple[int, ...]) -> bool:
    """Return whether training took every rank from this module: AdaLoRA saves its factors then, with no number in."""
    return name.endswith(_OF_ADALORA) and len(shape) == 2 and max(shape) <= MAX_PRUNED


def _naturals(value: Any, name: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(item) is int and 0 <= item < 1 << 63 for item in value):
        raise Unreadable(f"{name}: shape and data_offsets are lists of whole numbers")
    return tuple(value)


def _check_cover(tensors: list[Tensor], start: int, end: int) -> None:
    at = start
    for tensor in tensors:
        if tensor.begin != at:
            raise Unreadable(f"{tensor.name}: overlaps another tensor or leaves a hole before it")
        at = tensor.end
    if at > end:
        raise Unreadable(f"is cut off: it has {end} bytes, and its tensors end at byte {at}")
    if at < end:
        raise Unreadable(f"the tensors end {end - at} bytes before the file does")
