"""The base's frozen weights, laid out once as the processor's kernels read them, in place of once for every product.

oneDNN (github.com/uxlfoundation/oneDNN) computes with weights in blocks of its own order. torch has it reorder them
when a model is compiled and frozen (torch/_inductor/fx_passes/mkldnn_fusion.py), and otherwise leaves a float32 product
to another library. On an AVX-512 processor products of 512 rows were measured to be a tenth faster so, and of 4 to 16
rows one and a half times to twice as fast.

What is packed is a copy: it is used for exactly the parameter that it was made of, as long as that is the same memory
and was not written to in any way that torch counts. Whoever writes past torch's counting is found by the base state.
"""

from typing import Any

import torch
from torch.nn import functional

from peft_assay_harness.engines.sameness import Kept, same

PACK_BYTES = 256 << 20
"""Of weights, at most: a base that is larger is computed with as it is. The copy is memory of the process's own, whose
page tables every fork copies: of 600 MB that is 70 ms for each job, as much as loading an adapter."""
DTYPES = (torch.float32, torch.bfloat16)

plain = functional.linear


_packed = Kept()


def pack(model: Any) -> int:
    """Packs the weights of `model`'s linear layers, for all that this process and its forks compute; gives how many.

    None where this processor, this build of torch or the base's size does not allow it.
    """
    weights = {id(module.weight): module.weight for module in model.modules() if type(module) is torch.nn.Linear}
    found = [weight for weight in weights.values() if _suits(weight)]
    if sum(weight.numel() * weight.element_size() for weight in found) > PACK_BYTES:
        return 0
    seen: set[Any] = set()
    with torch.inference_mode():
        for weight in found:
            kind = weight.shape, weight.dtype  # which is what kernels are chosen by
            blocks = _blocks_of(weight, seen=kind in seen)
            if blocks is not None:
                seen.add(kind)
                _packed.keep(weight, blocks)
    functional.linear = linear if _packed else plain
    return len(_packed)


def linear(input: Any, weight: Any, bias: Any = None) -> Any:  # noqa: A002 - torch's own names
    """`torch.nn.functional.linear`, with the packed weight where there is one and no gradient is wanted."""
    blocks = _packed.of(weight)
    if blocks is None or input.requires_grad or input.dtype is not weight.dtype:
        return plain(input, weight, bias)
    return product(input, blocks, bias)


def holds(weight: Any) -> bool:
    """Whether `weight` is packed, and still what it was then."""
    return _packed.of(weight) is not None


def _suits(weight: Any) -> bool:
    return weight.device.type == "cpu" and weight.dtype in DTYPES and not weight.requires_grad and weight.dim() == 2


def _blocks_of(weight: Any, *, seen: bool) -> Any:
    """The packed weight; None where there are no such kernels, or they do not compute what the plain ones do.

    `seen`: that was seen already, of a weight like this one.
    """
    probe = torch.linspace(-1, 1, 2 * weight.shape[1]).reshape(2, -1).to(weight.dtype)
    try:
        blocks = reordered(weight)
        return blocks if seen or same(product(probe, blocks, None), plain(probe, weight)) else None
    except (RuntimeError, AttributeError, TypeError, ValueError):
        return None


def reordered(weight: Any) -> Any:
    """A copy of `weight` in the kernels' order; raises what torch raises where there are no such kernels."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)  # noqa: SLF001 - there is no other name


def product(rows: Any, blocks: Any, bias: Any) -> Any:
    """Rows times a packed weight."""
    return torch.ops.mkldnn._linear_pointwise(rows, blocks, bias, "none", [], "")  # noqa: SLF001 - there is no other name
