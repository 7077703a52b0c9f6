"""From an adapter's verified bytes to a PEFT model: never by path or name, exactly as declared, or not at all.

PEFT loads `strict=False` over the *whole* model: tensors that the adapter's configuration does not declare overwrite
the base's, and missing ones are left at random values (huggingface/peft, `set_peft_model_state_dict`). Therefore the
file's tensors are first compared with a plan made on a copy of the base without memory (meta device).
"""

import copy
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from peft_assay_loading.config import one_line, parse_config, parse_json
from peft_assay_loading.errors import LoadingError
from peft_assay_loading.snapshot import Snapshot

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel

Shapes = Mapping[str, tuple[int, ...]]

_ONE_AT_A_TIME = threading.Lock()
CAPTURING = "transformers.utils.output_capturing"
"""The module that defines the hooks for a caller's hidden states: they change no answer."""
GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")
"""Tables of torch.nn.modules.module that no module's own table shows."""
BEFORE = "_peft_assay_before"
"""Attribute of a wrapped model under which `attach` leaves what `detach` restores; it lives as long as the model."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Tensor names of the weights file against what configuration and base require."""

    missing: tuple[str, ...]
    extra: tuple[str, ...]
    mismatched: tuple[str, ...]
    """Present in both, with different shapes."""

    @property
    def met(self) -> bool:
        """Whether the file holds exactly the tensors required."""
        return not (self.missing or self.extra or self.mismatched)


class PlanUnmet(LoadingError):
    """The weights file does not hold exactly the tensors that configuration and base require; `plan` names them."""

    def __init__(self, plan: Plan) -> None:
        parts = [f"{name} {', '.join(tensors[:3])}" for name, tensors in _parts(plan) if tensors]
        super().__init__("the tensors are not those that configuration and base require: " + "; ".join(parts))
        self.plan = plan


def shapes_of(weights: bytes) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the tensors in safetensors bytes (github.com/huggingface/safetensors, "Format").

    Raises LoadingError when the header is not strict JSON; the rest of the format is checked by the safetensors
    library when the tensors are read.
    """
    length = int.from_bytes(weights[:8], "little")
    if len(weights) < 8 + length:
        raise LoadingError("adapter_model.safetensors is shorter than its header says")
    header = parse_json(weights[8 : 8 + length], "the header of adapter_model.safetensors")
    try:
        return {name: tuple(entry["shape"]) for name, entry in header.items() if name != "__metadata__"}
    except (AttributeError, TypeError, KeyError):
        raise LoadingError("the header of adapter_model.safetensors is malformed") from None


def blank_copy(model: "torch.nn.Module") -> "torch.nn.Module":
    """A base like `model`, made from its configuration, without memory (meta device).

    Raises LoadingError when no such base can be made.
    """
    with _without_memory():
        blank: torch.nn.Module = type(model)(copy.deepcopy(model.config))
    return blank


def required_shapes(
    model: "torch.nn.Module", config: "PeftConfig", blank: "torch.nn.Module | None" = None
) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the tensors that an adapter with this `config` on a base like `model` consists of.

    `model` is only looked at: the adapter is put on `blank`, a `blank_copy` of it, which cannot be used again; one is
    made where none is given. Raises LoadingError when PEFT cannot put such an adapter on such a base.
    """
    import peft

    blank = blank_copy(model) if blank is None else blank
    with _without_memory():
        wrapped = _wrap(blank, copy.deepcopy(config), "default")
        state = peft.get_peft_model_state_dict(wrapped, save_embedding_layers=False)
    return {name: tuple(tensor.shape) for name, tensor in state.items()}


def plan(model: "torch.nn.Module", config: "PeftConfig", shapes: Shapes) -> Plan:
    """`shapes` (of a weights file) against what `config` requires on `model`. Raises as `required_shapes` does."""
    return _compared(required_shapes(model, config), shapes)


def _compared(required: Shapes, shapes: Shapes) -> Plan:
    return Plan(
        missing=tuple(sorted(required.keys() - shapes.keys())),
        extra=tuple(sorted(shapes.keys() - required.keys())),
        mismatched=tuple(sorted(name for name in required.keys() & shapes.keys() if required[name] != shapes[name])),
    )


def attach(
    model: "torch.nn.Module",
    config: bytes,
    weights: bytes,
    name: str = "default",
    *,
    required: Shapes | None = None,
) -> "PeftModel":
    """The adapter with these bytes of adapter_config.json and adapter_model.safetensors on `model`, in eval mode.

    `required` is what `required_shapes` gave for this `config` on this model before, for whoever loads it again.

    Gives bitwise the logits of `PeftModel.from_pretrained` with the same files. `model` is a bare transformers model
    and is wrapped in place, as PEFT does; `detach` gives it back. Raises LoadingError (PlanUnmet when tensors are
    missing, extra or of other shapes) and leaves `model` as it was on any error, MemoryError included.
    """
    with _ONE_AT_A_TIME:
        return _attach(model, config, weights, name, required)


def _attach(model: "torch.nn.Module", config: bytes, weights: bytes, name: str, required: Shapes | None) -> "PeftModel":
    refuse_altered(model)
    parsed = parse_config(config)
    unmet = _compared(required or required_shapes(model, parsed), shapes_of(weights))
    if not unmet.met:
        raise PlanUnmet(unmet)
    before = Snapshot(model)
    try:
        wrapped = _load(model, parsed, weights, name)
    except BaseException as error:
        before.restore()
        if isinstance(error, Exception) and not isinstance(error, LoadingError | MemoryError):
            raise LoadingError(f"the adapter cannot be loaded: {one_line(error)}") from error
        raise
    wrapped.__dict__[BEFORE] = before
    return wrapped


def refuse_altered(model: "torch.nn.Module") -> None:
    """Refuse a model that is more than its tensors: changes by PEFT or other code were never observed."""
    import torch

    if hasattr(model, "peft_config"):
        raise LoadingError("the model already carries an adapter: detach it first")
    tables = vars(torch.nn.modules.module)
    if any(tables[name] for name in GLOBAL_HOOKS):
        raise LoadingError("a hook on every module's forward pass is in force in this process: remove it first")
    for path, module in model.named_modules():
        at = f"(at {path or 'its top'})"
        if type(module).__module__.split(".", 1)[0] == "peft":
            raise LoadingError(f"the model already carries an adapter {at}: load the base again")
        if _compiled(module):
            raise LoadingError(f"the model is compiled already {at}: pass the plain model, and compile the result")
        hooks = (*module._forward_hooks.values(), *module._forward_pre_hooks.values())  # noqa: SLF001 - no other way
        if "forward" in vars(module) or any(hook.__module__ != CAPTURING for hook in hooks):
            raise LoadingError(f"the model's forward pass was altered {at}: load the base again")


def _compiled(module: "torch.nn.Module") -> bool:
    """Return whether a compiled form answers in a module's place: hooks and modules put inside later may never run."""
    return type(module).__name__ == "OptimizedModule" or vars(module).get("_compiled_call_impl") is not None


def detach(wrapped: "PeftModel") -> "torch.nn.Module":
    """The bare base of a model that `attach` made, as it was before; raises LoadingError for any other model."""
    before = wrapped.__dict__.pop(BEFORE, None)
    if not isinstance(before, Snapshot):
        raise LoadingError("this model was not made by attach: load the base again")
    before.restore()
    return before.model


def _load(model: "torch.nn.Module", config: "PeftConfig", weights: bytes, name: str) -> "PeftModel":
    import peft
    import safetensors.torch

    tensors = safetensors.torch.load(weights)
    with _quietly():
        wrapped = _wrap(model, config, name)
        peft.set_peft_model_state_dict(wrapped, tensors, adapter_name=name)
        tuner: Any = wrapped.base_model
        if hasattr(tuner, "_cast_adapter_dtype"):
            tuner._cast_adapter_dtype(adapter_name=name, autocast_adapter_dtype=True)  # noqa: SLF001 - as PEFT loads
    return wrapped.eval()


def _wrap(model: "torch.nn.Module", config: "PeftConfig", name: str) -> "PeftModel":
    import peft
    from peft.auto import MODEL_TYPE_TO_PEFT_MODEL_MAPPING

    kind: type[peft.PeftModel] = MODEL_TYPE_TO_PEFT_MODEL_MAPPING.get(config.task_type, peft.PeftModel)
    with _building_nothing():
        return kind(model, config, name)


@contextmanager
def _building_nothing() -> Iterator[None]:
    """Have PEFT take its path without a CUDA extension: for each BOFT layer it would start a compiler to build one.

    It is the path on every machine without a compiler for CUDA. With the extension PEFT reads another number of factors
    from the same configuration, so that which of the two is meant must not depend on the machine.
    """
    from peft.tuners.boft import layer

    before = layer._FBD_CUDA  # noqa: SLF001 - what get_fbd_cuda asks first
    layer._FBD_CUDA = False  # noqa: SLF001
    try:
        yield
    finally:
        layer._FBD_CUDA = before  # noqa: SLF001


@contextmanager
def _without_memory() -> Iterator[None]:
    """What is made has shapes and no values; what goes wrong is the configuration's fault."""
    import torch

    with _quietly(), torch.device("meta"):
        try:
            yield
        except MemoryError:
            raise
        except Exception as error:
            raise LoadingError(f"the configuration does not fit the base: {one_line(error)}") from error


@contextmanager
def _quietly() -> Iterator[None]:
    """Without PEFT's warnings, and without moving the caller's random numbers: every value is loaded afterwards."""
    import torch

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        yield


def _parts(plan: Plan) -> tuple[tuple[str, tuple[str, ...]], ...]:
    return ("missing", plan.missing), ("undeclared", plan.extra), ("of another shape", plan.mismatched)
