r"""The base state: one digest over everything in a base model that numerics can depend on.

Definition, version 1
---------------------
The digest is sha256 over the ASCII line ``peft-assay base state 1\n`` and then, for every parameter and every buffer
(persistent or not) of the base, in ascending order of its name (by Unicode code points), over

1. one line: the JSON array ``[kind, name, dtype, shape]`` without blanks, ASCII only, ended by ``\n``, where `kind` is
   ``parameter`` or ``buffer``, `dtype` is torch's name without ``torch.`` and `shape` an array of integers;
2. the tensor's elements in row-major order, in the machine's (little-endian) representation.

*Names* are those of the bare base. What PEFT puts around it is looked through: any module whose class PEFT defines
stands for the original that it wraps (``base_model``, ``base_layer``, ``original_module``, ``token_adapter``,
``model``), and whatever else such a module holds is the adapter's own and left out. *Ties*: tensors that share storage,
offset, shape, strides and dtype count once, under the first of their names.
*Rows*: where an adapter with another vocabulary is on, the base's own tensors are the rows that it had before.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from peft_assay_loading.errors import LoadingError
from peft_assay_loading.snapshot import BEFORE, Snapshot

if TYPE_CHECKING:
    import torch

HEADER = b"peft-assay base state 1\n"
ORIGINALS = ("base_model", "base_layer", "original_module", "token_adapter", "model")
CHUNK_BYTES = 16 << 20


def base_state(model: "torch.nn.Module") -> str:
    """``sha256:`` + 64 hex digits over the base inside `model`, which may be bare or wrapped by PEFT.

    Costs one pass over the base's bytes (about 1 s per GB). Raises LoadingError for tensors without content (meta
    device) and on big-endian machines, for which the definition has no meaning.
    """
    if sys.byteorder != "little":
        raise LoadingError("the base state is defined for little-endian machines only")
    digest = hashlib.sha256(HEADER)
    seen: set[tuple[object, ...]] = set()
    before = vars(model).get(BEFORE)
    shapes = before.shapes if isinstance(before, Snapshot) else {}
    for kind, name, whole in sorted(_tensors(model, ""), key=lambda entry: (entry[1], entry[0])):
        tensor = _own_rows(whole, shapes.get(name))
        if tensor.is_meta:
            raise LoadingError(f"tensor {name} has no content (meta device): load the base before taking its state")
        identity = _identity(tensor)
        if identity in seen:
            continue
        seen.add(identity)
        entry = [kind, name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]
        digest.update(json.dumps(entry, separators=(",", ":")).encode("ascii") + b"\n")
        for piece in _pieces(tensor):
            digest.update(piece)
    return "sha256:" + digest.hexdigest()


def _own_rows(tensor: "torch.Tensor", shape: tuple[int, ...] | None) -> "torch.Tensor":
    """Return the part of a tensor that the base had before its vocabulary grew; a smaller one is another state."""
    if shape is None or tuple(tensor.shape) == shape or len(shape) != tensor.ndim:
        return tensor
    return tensor[tuple(slice(0, size) for size in shape)]


def original(module: "torch.nn.Module") -> "torch.nn.Module | None":
    """What a module stands for: itself, the original that a PEFT module wraps, or None for an adapter's own module."""
    current: torch.nn.Module | None = module
    while current is not None and type(current).__module__.split(".", 1)[0] == "peft":
        children = current._modules  # noqa: SLF001 - PEFT's __getattr__ would answer for the wrapped model
        current = next((children[name] for name in ORIGINALS if children.get(name) is not None), None)
    return current


def _tensors(module: "torch.nn.Module", prefix: str) -> Iterator[tuple[str, str, "torch.Tensor"]]:
    own = original(module)
    if own is None:
        return
    for name, parameter in own._parameters.items():  # noqa: SLF001 - named_parameters() drops ties by its own order
        if parameter is not None:
            yield "parameter", prefix + name, parameter
    for name, buffer in own._buffers.items():  # noqa: SLF001 - named_buffers() drops ties by its own order
        if buffer is not None:
            yield "buffer", prefix + name, buffer
    for name, child in own._modules.items():  # noqa: SLF001 - PEFT's __getattr__ would answer for the wrapped model
        if child is not None:
            yield from _tensors(child, f"{prefix}{name}.")


def _identity(tensor: "torch.Tensor") -> tuple[object, ...]:
    if tensor.numel() == 0:
        return (id(tensor),)  # empty tensors share the null pointer without being tied
    storage = tensor.untyped_storage().data_ptr()
    return str(tensor.device), storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _pieces(tensor: "torch.Tensor") -> Iterator[memoryview]:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    for start in range(0, flat.size, CHUNK_BYTES):
        yield flat[start : start + CHUNK_BYTES].data
