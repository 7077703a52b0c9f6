"""From an adapter's verified bytes to a PEFT model: never by path or name, exactly as declared, or not at all."""

import threading
from typing import TYPE_CHECKING, Any

from peft_assay_loading import saved
from peft_assay_loading.config import one_line, parse_config
from peft_assay_loading.conversions import renamed
from peft_assay_loading.errors import LoadingError
from peft_assay_loading.fitting import ADAPTER, Fit, NeedsMemory, fit, fitted, quietly, shapes_of, wrap
from peft_assay_loading.plans import Plan, PlanUnmet
from peft_assay_loading.snapshot import BEFORE, Snapshot

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel

_ONE_AT_A_TIME = threading.Lock()
CAPTURING = "transformers.utils.output_capturing"
"""The module that defines the hooks for a caller's hidden states: they change no answer."""
GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks")
"""Tables of torch.nn.modules.module that no module's own table shows."""
CONVERTED = "_peft_assay_converted"
"""Attribute of a wrapped model under which `attach` leaves what PEFT converted while it loaded the bytes."""


def find_fit(
    model: "torch.nn.Module", config: bytes, weights: bytes, blank: "torch.nn.Module | None" = None
) -> Fit | None:
    """Return what was found where these bytes fit `model`, which is only looked at; None where only loading can tell.

    `blank` is a `blank_copy` of it, used up by this; one is made where none is given. Raises as `attach` does.
    """
    shapes = shapes_of(weights)
    rows = saved.resized_rows(model, shapes)
    try:
        return Fit(config, weights, fit(model, parse_config(config), shapes, blank, rows), rows)
    except NeedsMemory:
        return None
    except PlanUnmet as unmet:
        if unmet.plan.missing or unmet.plan.mismatched:
            raise
        beside = saved.judged(model, _tensors(weights), unmet.plan.extra, rows)
        if beside.foreign:
            said = ", ".join(list(beside.foreign.values())[:3])
            cause = f"the tensors are not those that configuration and base require: undeclared {said}"
            raise PlanUnmet(Plan((), tuple(beside.foreign), (), unmet.plan.cause or cause)) from None
        return Fit(config, weights, (), rows, beside.unchanged)


def attach(
    model: "torch.nn.Module",
    config: bytes,
    weights: bytes,
    name: str = ADAPTER,
    *,
    known: Fit | None = None,
) -> "PeftModel":
    """The adapter with these bytes of adapter_config.json and adapter_model.safetensors on `model`, in eval mode.

    `known` is what was found of these bytes before: whoever loads them again saves time.

    Gives bitwise the logits of `PeftModel.from_pretrained` with the same files. `model` is a bare transformers model
    and is wrapped in place, as PEFT does; `detach` gives it back. Raises LoadingError (PlanUnmet when tensors are
    missing, extra or of other shapes) and leaves `model` as it was on any error, MemoryError included.
    """
    with _ONE_AT_A_TIME:
        return _attach(model, config, weights, name, known)


def _attach(model: "torch.nn.Module", config: bytes, weights: bytes, name: str, known: Fit | None) -> "PeftModel":
    refuse_altered(model)
    parsed = parse_config(config)
    if known is None or not known.of(config, weights):
        known = find_fit(model, config, weights)
    before = Snapshot(model)
    try:
        if known is None:
            known = Fit(config, weights, _tried(model, config, weights, name))
            before.restore()
        wrapped = _load(model, parsed, known, name)
    except BaseException as error:
        before.restore()
        if isinstance(error, Exception) and not isinstance(error, LoadingError | MemoryError):
            raise LoadingError(f"the adapter cannot be loaded: {one_line(error)}") from error
        raise
    wrapped.__dict__[BEFORE] = before
    wrapped.__dict__[CONVERTED] = known.conversions
    return wrapped


def _tried(model: "torch.nn.Module", config: bytes, weights: bytes, name: str) -> tuple[str, ...]:
    """Return what PEFT converts, found on `model` itself; the caller puts it back."""
    with quietly():
        try:
            wrapped = wrap(model, parse_config(config), name)
        except Exception as error:
            raise LoadingError(f"the configuration does not fit the base: {one_line(error)}") from error
        return fitted(wrapped, name, parse_config(config), shapes_of(weights))


def conversions_of(wrapped: "PeftModel") -> tuple[str, ...]:
    """Return what PEFT converted when `attach` put an adapter on `wrapped`."""
    return tuple(wrapped.__dict__.get(CONVERTED, ()))


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


def _tensors(weights: bytes) -> "dict[str, torch.Tensor]":
    import safetensors
    import safetensors.torch

    try:
        tensors: dict[str, torch.Tensor] = safetensors.torch.load(weights)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise LoadingError(f"the adapter cannot be loaded: {one_line(error)}") from error
    return tensors


def _load(model: "torch.nn.Module", config: "PeftConfig", found: Fit, name: str) -> "PeftModel":
    import peft

    whole = _tensors(found.weights)
    tensors = renamed(model, config, {key: tensor for key, tensor in whole.items() if key not in found.left_out})
    with quietly():
        if found.rows is not None:
            saved.resize(model, found.rows)
        wrapped = wrap(model, config, name)
        peft.set_peft_model_state_dict(wrapped, tensors, adapter_name=name)
        tuner: Any = wrapped.base_model
        if hasattr(tuner, "_cast_adapter_dtype"):
            tuner._cast_adapter_dtype(adapter_name=name, autocast_adapter_dtype=True)  # noqa: SLF001 - as PEFT loads
    return wrapped.eval()
