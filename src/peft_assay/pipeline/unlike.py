"""Why a model at hand is not the base that was observed, as far as its own tensors and the base's files show it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from peft_assay.pipeline.stored import shapes

_FLOATS = frozenset({"float32", "bfloat16", "float16", "float64"})
_NAMED = 3
"""Tensors that a reason names at most."""


class Reason(NamedTuple):
    """What is different, and the step that ends it."""

    what: str
    step: str


def why_other(model: Any, folder: Path, declared: str) -> Reason:
    """Return why `model` is not the base in `folder` as loaded in `declared`: dtype, shapes, tensors or content.

    The first of these that differs; where none of them does, the content is all that is left.
    """
    found = {name: (_dtype(tensor), tuple(tensor.shape)) for name, tensor in model.named_parameters()}
    load = f'from_pretrained("{folder}", dtype=torch.{declared})'
    integers = sorted(name for name, (dtype, _) in found.items() if dtype not in _FLOATS)
    if integers:
        return Reason(
            f"its weights are quantised ({found[integers[0]][0]} in {integers[0]})",
            f"load the base without quantisation: {load}",
        )
    sizes = Counter[str]()
    for tensor in model.parameters():
        sizes[_dtype(tensor)] += tensor.numel()
    most = next((dtype for dtype, _ in sizes.most_common(1)), declared)
    if most != declared:
        return Reason(
            f"it is in {most}, and the base was observed in {declared}",
            f"load it with the declared dtype: {load}; or declare dtype: {most} under context.engine in "
            "peft-assay.yaml, and certify again",
        )
    return _of_shapes({name: shape for name, (_, shape) in found.items()}, shapes(folder), load)


def _of_shapes(found: Mapping[str, tuple[int, ...]], stored: Mapping[str, tuple[int, ...]], load: str) -> Reason:
    """Return the reason from names and shapes; names that transformers changes when it loads say nothing."""
    resized = sorted(name for name in found.keys() & stored.keys() if found[name] != stored[name])
    if resized:
        name = resized[0]
        return Reason(
            f"{name} has shape {list(found[name])}, and {list(stored[name])} in the base's files"
            f"{_more(resized[1:])}: it was resized or replaced",
            f"load it again and leave its sizes as they are: {load}; where you serve it resized, save it so, name that "
            "folder under context.base.path, and certify again",
        )
    extra, absent = sorted(found.keys() - stored.keys()), sorted(stored.keys() - found.keys())
    tied = [name for name in absent if name.rpartition(".")[0].endswith(("lm_head", "embed_tokens", "shared"))]
    if extra and not absent:
        return Reason(
            f"it has tensors that the base's files do not have ({_few(extra)})",
            f"load it again and add nothing to it: {load}",
        )
    if absent and not extra and len(tied) < len(absent):
        return Reason(f"it lacks tensors of the base's files ({_few(absent)})", f"load the whole of it again: {load}")
    return Reason(
        "its dtype and shapes are those of the base's files, and the content of its tensors is not: other weights were "
        "loaded, trained or merged into it",
        f"load it again from the declared folder: {load}",
    )


def _dtype(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _few(names: Iterable[str]) -> str:
    every = list(names)
    return ", ".join(every[:_NAMED]) + (f" and {len(every) - _NAMED} more" if len(every) > _NAMED else "")


def _more(others: list[str]) -> str:
    return f" (and {len(others)} more)" if others else ""
