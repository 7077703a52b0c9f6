"""A base's weights as their files say, without reading them: sizes, dtypes, and whether a file is whole."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from peft_assay.observe.static.header import LENGTH_BYTES, LFS_POINTER

POINTER_BYTES = 1024
"""Pointers of Git LFS are shorter (its specification)."""
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}
"""Dtypes of weights that a base is served in, by their names in safetensors."""


@dataclass(frozen=True, slots=True)
class Partial:
    """Why a file is not what its name says, and the step that ends it."""

    what: str
    step: str


def partial(path: Path) -> Partial | None:
    """Return why the file at `path` is not whole, from its first bytes; None where these show nothing of that."""
    try:
        with path.open("rb") as stream:
            start = stream.read(POINTER_BYTES)
    except OSError:
        return None
    if not start:
        return Partial("it is empty (0 bytes)", f"fetch {path.name} again: the download or the copy did not write it")
    if start.startswith(LFS_POINTER):
        size = next((line[5:] for line in start.split(b"\n") if line.startswith(b"size ") and line[5:].isdigit()), b"")
        meant = f" of {int(size)} bytes" if 0 < len(size) < 20 else ""
        return Partial(
            f"it is a Git LFS pointer of {len(start)} bytes in place of the file{meant} that it names",
            f'fetch the content where the repository was cloned: git lfs pull --include "{path.name}"',
        )
    return None


def check_tensors(path: Path) -> None:
    """Raise ValueError, TypeError, KeyError or AttributeError for what is no safetensors file, or not all of one.

    No more than that: the base is the consumer's own, and what it holds is for the library to read.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
        if size < LENGTH_BYTES or length > size - LENGTH_BYTES:
            raise ValueError(f"it has {size} bytes, fewer than its header is said to have")
        header = json.loads(stream.read(length))
    end = max((entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"), default=0)
    if size - LENGTH_BYTES - length != end:
        raise ValueError(f"it has {size} bytes; with its tensors it would have {LENGTH_BYTES + length + end}")


def object_in(path: Path) -> Mapping[str, Any]:
    """Return the object in the JSON file at `path`; empty where it holds none, or is not there."""
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def parameters(folder: Path) -> int:
    """Return the number of parameters of the base, from the sizes in its headers; 0 where there are none."""
    return sum(prod(tensor["shape"]) for tensor in _tensors(folder))


def stored_dtype(folder: Path) -> str | None:
    """Return the dtype that most of the base's parameters are stored in, as torch calls it.

    None where there are no weights, or most are stored in a dtype that no base is served in.
    """
    most = _counts(folder).most_common(1)
    return DTYPES.get(most[0][0]) if most else None


def dtypes_of(folder: Path) -> frozenset[str]:
    """Return all dtypes of the base's tensors, by their names in safetensors."""
    return frozenset(_counts(folder))


def _counts(folder: Path) -> Counter[str]:
    """Return the number of stored parameters of each dtype; none where a header cannot be read."""
    counts: Counter[str] = Counter()
    try:
        for tensor in _tensors(folder):
            counts[str(tensor["dtype"])] += prod(tensor["shape"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return Counter()
    return counts


def own_dtype(folder: Path) -> str | None:
    """Return the dtype in which transformers 5 loads the base where no other is asked for.

    That is the dtype that config.json names, else the stored one. None where neither is one that a base is served in.
    """
    config = object_in(folder / "config.json")
    named = config.get("dtype") or config.get("torch_dtype")
    told = str(named).removeprefix("torch.")
    return told if told in DTYPES.values() else stored_dtype(folder)


def dtype_remark(folder: Path, declared: str) -> Iterator[str]:
    """Yield a remark where the base is loaded in another dtype than the declared one unless an argument asks for it."""
    own = own_dtype(folder)
    if own is not None and own != declared:
        yield (
            f"from_pretrained loads this base in {own}, and context.engine.dtype is {declared}: it is observed in "
            f"{declared}, and activated only where it is loaded with from_pretrained(..., dtype=torch.{declared}); "
            f"where you serve it in {own}, write dtype: {own} under context.engine"
        )


def shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor of the base by its name in the files; none where a header cannot be read."""
    try:
        return {name: tuple(tensor["shape"]) for name, tensor in _named(folder)}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def _tensors(folder: Path) -> Iterator[Mapping[str, Any]]:
    for _, tensor in _named(folder):
        yield tensor


def _named(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(LENGTH_BYTES), "little")
            header = json.loads(stream.read(length)) if length < path.stat().st_size else {}
        yield from ((name, tensor) for name, tensor in header.items() if name != "__metadata__")
