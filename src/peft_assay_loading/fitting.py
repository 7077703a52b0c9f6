"""Which tensors an adapter's file must hold on a base, and whether it does.

PEFT loads `strict=False` over the *whole* model: tensors that the adapter's configuration does not declare overwrite
the base's, and missing ones are left at random values (huggingface/peft, `set_peft_model_state_dict`). Therefore the
file's tensors are first compared with a plan made on a copy of the base without memory (meta device). Some types
compute with the base's values while they are built (SHiRA, BOFT, AdaLoRA after training): for them the plan is made on
the base itself, which is put back afterwards.
"""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from peft_assay_loading import saved
from peft_assay_loading.config import one_line, parse_json
from peft_assay_loading.conversions import Shapes, read_by_peft, told
from peft_assay_loading.errors import LoadingError
from peft_assay_loading.names import misnamed
from peft_assay_loading.plans import Plan, PlanUnmet

if TYPE_CHECKING:
    import torch
    from peft import PeftConfig, PeftModel

ADAPTER = "default"
"""PEFT's own name for the only adapter."""


@dataclass(frozen=True, slots=True)
class Fit:
    """These bytes were found to fit the base."""

    config: bytes
    weights: bytes
    conversions: tuple[str, ...]
    """What PEFT converts while it loads them; nothing where they are laid out as it saves them today."""
    rows: int | None = None
    """The number of tokens that the base's vocabulary is resized to; None where it stays as it is."""
    left_out: tuple[str, ...] = ()
    """Tensors that are the base's own (`peft_assay_loading.saved`)."""

    def of(self, config: bytes, weights: bytes) -> bool:
        """Return whether it was found of these bytes."""
        return self.config == config and self.weights == weights


class NeedsMemory(LoadingError):
    """PEFT computes with the base's values while it builds such an adapter: a copy without memory does not do."""


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
    blank = blank_copy(model) if blank is None else blank
    with _without_memory():
        return _required(wrap(blank, copy.deepcopy(config), ADAPTER), ADAPTER)


def plan(model: "torch.nn.Module", config: "PeftConfig", shapes: Shapes) -> Plan:
    """`shapes` (of a weights file) against what `config` requires on `model`. Raises as `required_shapes` does."""
    try:
        fit(model, config, shapes)
    except PlanUnmet as unmet:
        return unmet.plan
    return Plan((), (), ())


def fit(
    model: "torch.nn.Module",
    config: "PeftConfig",
    shapes: Shapes,
    blank: "torch.nn.Module | None" = None,
    rows: int | None = None,
) -> tuple[str, ...]:
    """Return what PEFT converts so that a file with `shapes` fits a base like `model`, which is only looked at.

    Raises PlanUnmet where it does not fit, NeedsMemory where `blank` cannot tell, and as `required_shapes` does.
    """
    blank = blank_copy(model) if blank is None else blank
    with _without_memory():
        if rows is not None:
            saved.resize(blank, rows)
        return fitted(wrap(blank, copy.deepcopy(config), ADAPTER), ADAPTER, config, shapes)


def fitted(wrapped: "PeftModel", name: str, config: "PeftConfig", shapes: Shapes) -> tuple[str, ...]:
    """Return what PEFT converts so that a file with `shapes` fits adapter `name` of `wrapped`.

    `wrapped` cannot be used afterwards. Raises PlanUnmet where it does not fit, LoadingError where PEFT refuses it.
    """
    required = _required(wrapped, name)
    plain = _compared(required, shapes)
    if plain.met:  # what PEFT saves it loads
        return ()
    if not (plain.missing or plain.mismatched):
        raise PlanUnmet(plain)
    try:
        read = read_by_peft(wrapped, name, shapes)
        unmet = _compared(read_by_peft(wrapped, name, required), read)
    except LoadingError:
        raise
    except Exception as error:  # what PEFT says of a file that it cannot convert; the names say it better
        raise PlanUnmet(_compared(required, shapes)) from error
    if not unmet.met:
        raise PlanUnmet(_compared(required, shapes) if unmet.extra and unmet.missing else unmet)
    return told(shapes, required, config, wrapped.peft_config[name])


def _required(wrapped: "PeftModel", name: str) -> dict[str, tuple[int, ...]]:
    import peft

    state = peft.get_peft_model_state_dict(wrapped, adapter_name=name, save_embedding_layers=False)
    return {key: tuple(tensor.shape) for key, tensor in state.items()}


def _compared(required: Shapes, shapes: Shapes) -> Plan:
    missing, extra = sorted(required.keys() - shapes.keys()), sorted(shapes.keys() - required.keys())
    mismatched = sorted(name for name in required.keys() & shapes.keys() if required[name] != shapes[name])
    return Plan(tuple(missing), tuple(extra), tuple(mismatched), misnamed(missing, extra, len(shapes)))


def wrap(model: "torch.nn.Module", config: "PeftConfig", name: str) -> "PeftModel":
    """Return `model` with an adapter of `config` on it, untrained."""
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

    with quietly(), torch.device("meta"):
        try:
            yield
        except (MemoryError, LoadingError):
            raise
        except Exception as error:
            kind = NeedsMemory if "meta" in str(error).lower() else LoadingError
            raise kind(f"the configuration does not fit the base: {one_line(error)}") from error


@contextmanager
def quietly() -> Iterator[None]:
    """Without PEFT's warnings, and without moving the caller's random numbers: every value is loaded afterwards."""
    import torch

    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore")
        yield
