"""LoRA, DoRA and IA3 by our own arithmetic: an adapter's updates from numbers alone, on a base without PEFT.

The supervisor, which read header and configuration strictly, sends the offsets of tensors and the strength of each
module: nothing of the adapter's structure is read in here, and no name of its choosing becomes code, a class or a
file. Adapter weights act in float32, whatever the base computes in, as PEFT lets them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from peft_assay_loading.errors import LoadingError
from peft_assay_loading.saved import resize

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
ADAPTED = ("Linear", "Conv1D")
"""Classes of modules whose arithmetic is known here; both compute x W + b, Conv1D with its weight transposed."""


class Inapplicable(ValueError):
    """A module of this base that this arithmetic does not cover; the message names it."""


def apply_adapter(model: Any, weights: bytes, modules: Sequence[Mapping[str, Any]]) -> int:
    """Make `modules` of `model` act as adapted; return their number. Raises Inapplicable before anything was
    changed.
    """
    found = [(_adapted(model, spec["module"]), spec, _tensors(weights, spec["tensors"])) for spec in modules]
    for module, spec, tensors in found:
        _check(module, spec["module"], tensors)
    for module, spec, tensors in found:
        if "ia3_l" in tensors:
            _multiply(module, tensors["ia3_l"])
        else:
            module.register_forward_hook(LowRank(module, tensors, spec["scale"]))
    return len(found)


def put_parameters(model: Any, weights: bytes, parameters: Sequence[Mapping[str, Any]]) -> None:
    """Put `parameters` of the file in the place of the base's own; a larger vocabulary makes room first.

    Raises Inapplicable. The supervisor has compared what is the base's own; the others are a classifier's head.
    """
    own = dict(model.named_parameters(remove_duplicate=False))
    for spec in parameters:
        (tensor,) = _tensors(weights, {"": spec["tensor"]}).values()
        mine = own.get(spec["parameter"])
        if mine is not None and tensor.ndim and mine.shape[1:] == tensor.shape[1:] and len(mine) != len(tensor):
            try:
                resize(model, len(tensor))
            except LoadingError as error:
                raise Inapplicable(str(error)) from None
            own = dict(model.named_parameters(remove_duplicate=False))
            mine = own[spec["parameter"]]
        if mine is None or mine.shape != tensor.shape:
            raise Inapplicable(f"the base has no parameter {spec['parameter']} of the shape {tuple(tensor.shape)}")
        with torch.no_grad():
            mine.copy_(tensor)


class LowRank:
    """A forward hook: adds s * B * A * x, and with a magnitude brings each output's weight vector to that length."""

    def __init__(self, module: Any, tensors: Mapping[str, Any], scale: float) -> None:
        self._down, self._up, self._scale = tensors["lora_A"], tensors["lora_B"], scale
        self._ratio = None
        if "lora_magnitude_vector" in tensors:
            whole = module.weight.detach().float() + scale * (self._up @ self._down)
            self._ratio = tensors["lora_magnitude_vector"].flatten() / torch.linalg.norm(whole, dim=1)

    def __call__(self, module: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Return the module's output with the update in it, in the output's own dtype."""
        added = (inputs[0].float() @ self._down.T @ self._up.T) * self._scale
        if self._ratio is None:
            return (output + added).to(output.dtype)
        plain = output if module.bias is None else output - module.bias
        return (output + (self._ratio - 1) * plain + self._ratio * added).to(output.dtype)


def _multiply(module: Any, factors: Any) -> None:
    """Apply IA3: a row scales a module's inputs, a column its outputs."""
    inside, factors = factors.shape[0] == 1, factors.flatten()

    def before(_: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return (inputs[0].float() * factors).to(inputs[0].dtype), *inputs[1:]

    def after(_: Any, __: tuple[Any, ...], output: Any) -> Any:
        return (output * factors).to(output.dtype)

    if inside:
        module.register_forward_pre_hook(before)
    else:
        module.register_forward_hook(after)


def _adapted(model: Any, path: str) -> Any:
    try:
        module = model.get_submodule(path)
    except AttributeError:
        raise Inapplicable(f"the base has no module {path}") from None
    if type(module).__name__ not in ADAPTED:
        raise Inapplicable(f"{path} is a {type(module).__name__}, whose arithmetic is not known here")
    return module


def _tensors(weights: bytes, placed: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return float32 copies of the tensors at the given places."""
    found = {}
    for name, place in placed.items():
        dtype = DTYPES[place["dtype"]]
        count = (place["end"] - place["begin"]) // dtype.itemsize
        flat = torch.frombuffer(bytearray(weights[place["begin"] : place["end"]]), dtype=dtype, count=count)
        found[name] = flat.reshape(place["shape"]).float()
    return found


def _check(module: Any, path: str, tensors: Mapping[str, Any]) -> None:
    """Check that the shapes are those of the module."""
    transposed = type(module).__name__ == "Conv1D"
    outputs, inputs = reversed(module.weight.shape) if transposed else module.weight.shape
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if "ia3_l" in shapes:
        fits = shapes["ia3_l"] in ((1, inputs), (outputs, 1))
    else:
        down, up = shapes["lora_A"], shapes["lora_B"]
        fits = down == (up[-1], inputs) and up == (outputs, down[0])
    magnitude = "lora_magnitude_vector"
    if magnitude in shapes:
        fits = fits and not transposed and tensors[magnitude].numel() == outputs
    if not fits:
        raise Inapplicable(f"the tensors of {path} are not of its shape")
