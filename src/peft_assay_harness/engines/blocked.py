"""The base's frozen weights, laid out once as the processor's kernels read them, in place of once for every product.

oneDNN (github.com/uxlfoundation/oneDNN) computes with weights in blocks of its own order. torch has it reorder them
when a model is compiled and frozen (torch/_inductor/fx_passes/mkldnn_fusion.py), and otherwise leaves a float32 product
to another library. On an AVX-512 processor products of 512 rows were measured to be a tenth faster so, and of 4 to 16
rows one and a half times to twice as fast.

What is packed is a copy: it is used for exactly the parameter that it was made of, as long as that is the same memory
and was not written to in any way that torch counts. Whoever writes past torch's counting is found by the base state.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

PACK_BYTES = 256 << 20
"""Of weights, at most: a base that is larger is computed with as it is. The copy is memory of the process's own, whose
page tables every fork copies: of 600 MB that is 70 ms for each job, as much as loading an adapter."""
DTYPES = (torch.float32, torch.bfloat16)
CLOSE = {torch.float32: 1e-4, torch.bfloat16: 5e-2}
"""Of the largest value by which both ways of computing may differ."""

plain = functional.linear


@dataclass(frozen=True, slots=True)
class _Packed:
    weight: Any
    memory: int
    version: int
    blocks: Any


_packed: dict[int, _Packed] = {}


def pack(model: Any) -> int:
    """Packs the weights of `model`'s linear layers, for all that this process and its forks compute; gives how many.

    None where this processor, this build of torch or the base's size does not allow it.
    """
    weights = {id(module.weight): module.weight for module in model.modules() if type(module) is torch.nn.Linear}
    found = [weight for weight in weights.values() if _suits(weight)]
    if sum(weight.numel() * weight.element_size() for weight in found) > PACK_BYTES:
        return 0
    with torch.inference_mode():
        for weight in found:
            blocks = blocks_of(weight)
            if blocks is not None:
                _packed[id(weight)] = _Packed(weight, weight.data_ptr(), weight._version, blocks)  # noqa: SLF001
    functional.linear = linear if _packed else plain
    return len(_packed)


def linear(input: Any, weight: Any, bias: Any = None) -> Any:  # noqa: A002 - torch's own names
    """`torch.nn.functional.linear`, with the packed weight where there is one and no gradient is wanted."""
    found = _packed.get(id(weight))
    if found is None or input.requires_grad or not _holds(found, weight) or input.dtype is not weight.dtype:
        return plain(input, weight, bias)
    return product(input, found.blocks, bias)


def holds(weight: Any) -> bool:
    """Whether `weight` is packed, and still what it was then."""
    found = _packed.get(id(weight))
    return found is not None and _holds(found, weight)


def _suits(weight: Any) -> bool:
    return weight.device.type == "cpu" and weight.dtype in DTYPES and not weight.requires_grad and weight.dim() == 2


def _holds(found: _Packed, weight: Any) -> bool:
    """Whether the weight is still the one that was packed."""
    same = found.weight is weight and found.memory == weight.data_ptr()
    return same and found.version == weight._version  # noqa: SLF001 - what autograd itself goes by


def blocks_of(weight: Any) -> Any:
    """The packed weight; None where there are no such kernels, or they do not compute what the plain ones do."""
    probe = torch.linspace(-1, 1, 2 * weight.shape[1]).reshape(2, -1).to(weight.dtype)
    try:
        blocks = torch.ops.mkldnn._reorder_linear_weight(weight.detach().clone(), None)  # noqa: SLF001
        own, expected = product(probe, blocks, None).float(), plain(probe, weight).float()
    except (RuntimeError, AttributeError, TypeError, ValueError):
        return None
    near = (own - expected).abs().max() <= CLOSE[weight.dtype] * expected.abs().max()
    return blocks if bool(near) else None


def product(rows: Any, blocks: Any, bias: Any) -> Any:
    """Rows times a packed weight."""
    return torch.ops.mkldnn._linear_pointwise(rows, blocks, bias, "none", [], "")  # noqa: SLF001 - there is no other name
