"""Check quickly whether tensors still hold the bytes that they held before.

A version counter misses writes through `.data`, and counts parametrizations that change no byte; so content is compared
where it decides. The sum of a tensor is taken over *all* of its bytes: 64-bit words times secret odd
weights of this process, modulo 2^64, chunk by chunk in order. Rows that change places change it; a hash that costs
four times as much (sha256) is taken once, by `base_state`.
"""

import secrets
from collections.abc import Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WORDS = 1 << 16
"""Words of a chunk: 512 KiB, which stays in a processor's cache."""
_MASK = (1 << 64) - 1
_STEP = secrets.randbits(64) | 1


class Contents:
    """The sums of some tensors, taken when this object is made."""

    def __init__(self, tensors: Iterable["torch.Tensor"]) -> None:
        self._sums = [(tensor, content_sum(tensor)) for tensor in tensors]

    def altered(self) -> Iterator["torch.Tensor"]:
        """Give each tensor that no longer holds the same bytes, in the same shape and dtype."""
        for tensor, before in self._sums:
            if content_sum(tensor) != before:
                yield tensor


def content_sum(tensor: "torch.Tensor") -> tuple[object, ...]:
    """Return dtype, shape and the sum over all bytes of `tensor`, wherever it lies; equal for equal content."""
    total = 0
    for piece in sums_of_pieces(tensor):
        total = (total * _STEP + piece) & _MASK
    return tensor.dtype, tuple(tensor.shape), total


def sums_of_pieces(tensor: "torch.Tensor") -> Iterator[int]:
    """Yield the weighted sum of each chunk in order: a caller that counts in the background can rest between them."""
    import torch

    if tensor.is_meta or tensor.numel() == 0:
        return
    with torch.inference_mode():
        flat = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        whole = flat.numel() // 8 * 8
        # A view of words must begin at a multiple of eight bytes; the rest, or all of an odd one, is copied.
        aligned = flat.data_ptr() % 8 == 0
        words = (flat[:whole] if aligned else flat[:whole].clone()).view(torch.int64)
        weights = _weights(str(flat.device))
        for start in range(0, words.numel(), WORDS):
            chunk = words[start : start + WORDS]
            yield int((chunk * weights[: chunk.numel()]).sum()) & _MASK
        if whole < flat.numel():
            rest = torch.zeros(8, dtype=torch.uint8, device=flat.device)
            rest[: flat.numel() - whole] = flat[whole:]
            yield int(rest.view(torch.int64)) & _MASK


@cache
def _weights(device: str) -> "torch.Tensor":
    """Return the odd weights of this process on `device`: the same on every device."""
    import torch

    if device != "cpu":
        return _weights("cpu").to(device)
    drawn = torch.frombuffer(bytearray(secrets.token_bytes(8 * WORDS)), dtype=torch.int64)
    return drawn | 1
