"""What a weights file holds of the base itself: PEFT saves whole matrices of it beside an adapter.

Where an embedding is targeted, or the vocabulary was resized, PEFT writes the embedding matrices in full
(`save_embedding_layers="auto"`). Loaded as they are, such tensors overwrite the base's. Two kinds change nothing of it:
a tensor whose content is the base's own, which is left out here; and a matrix with more or fewer rows, whose rows the
base has too are the base's own. Its other rows are tokens of the adapter. Every other tensor is refused.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from peft_assay_loading.errors import LoadingError
from peft_assay_loading.plans import Plan, PlanUnmet

if TYPE_CHECKING:
    import torch

Shapes = Mapping[str, tuple[int, ...]]
PREFIX = "base_model.model."
WRAPPERS = ("base_layer", "original_module", "token_adapter")
"""Names of the parts by which PEFT's modules hold the module that they wrap."""
HELD = ("", "base_layer.", "original_module.", "token_adapter.base_layer.")
"""Where below an embedding's path PEFT's loader writes a matrix of the base."""
COPY = "modules_to_save."
"""Where PEFT saves a trained matrix once more, which its loader ignores."""
TOKEN_ROWS = "token_adapter.trainable_tokens_delta"  # noqa: S105 - a tensor name
"""Rows of single tokens; where output and input are tied, PEFT saves them for both and loads the input's."""


@dataclass(frozen=True, slots=True)
class Saved:
    """Tensors of a file that its configuration does not require, judged."""

    unchanged: tuple[str, ...] = ()
    """The base's own content: loading them would change nothing."""
    resized: tuple[str, ...] = ()
    """Embedding matrices with other rows than the base's; the rows that the base has too are its own."""
    foreign: Mapping[str, str] = field(default_factory=dict)
    """Others, with the reason why they are refused."""


def embeddings(model: "torch.nn.Module") -> dict[str, "torch.nn.Module"]:
    """Return the modules of `model` that have a row for each token, by path: input and output embedding."""
    found: dict[str, torch.nn.Module] = {}
    for name in ("get_input_embeddings", "get_output_embeddings"):
        try:
            module = getattr(model, name)()
        except (AttributeError, NotImplementedError):
            continue
        path = next((at for at, one in model.named_modules() if one is module), None)
        if path and getattr(getattr(module, "weight", None), "ndim", 0) == 2:
            found[path] = module
    return found


def resized_rows(model: "torch.nn.Module", shapes: Shapes) -> int | None:
    """Return the number of tokens of the file's embedding matrices where it is not that of `model`, else None.

    Raises PlanUnmet where the matrices disagree, or where one of them is not in the file: its new rows would be
    random at each load.
    """
    known: dict[str, Any] = embeddings(model)
    parts = {f"{path}.{part}": tensor for path, module in known.items() for part, tensor in module.named_parameters()}
    held = {name: [shapes[place] for place in places if place in shapes] for name, places in _places(parts).items()}
    rows = {shape[0] for shapes_of_one in held.values() for shape in shapes_of_one if shape}
    own = {tensor.shape[0] for tensor in parts.values()}
    if not rows - own:
        return None
    if len(rows) > 1 or len(own) > 1:
        found, expected = (" or ".join(map(str, sorted(sizes))) for sizes in (rows, own))
        names = tuple(place for places in _places(parts).values() for place in places if place in shapes)
        said = f"{names[0]}: embeddings of the file have {found} rows, and those of the base have {expected}"
        raise PlanUnmet(Plan((), (), names, said))
    there = {id(parts[name]) for name, shapes_of_one in held.items() if shapes_of_one}
    absent = [name for name, tensor in parts.items() if id(tensor) not in there]
    if absent:
        names = tuple(PREFIX + name for name in absent)
        said = (
            f"{names[0]}: the vocabulary was resized and its new rows are not in the file, they would be random at "
            "each load (PEFT saves them with save_embedding_layers=True, unless only the other embedding is targeted)"
        )
        raise PlanUnmet(Plan(names, (), (), said))
    return rows.pop()


def resize(model: "torch.nn.Module", rows: int) -> None:
    """Give `model` embeddings of `rows` tokens; its own parameters keep their content, for a snapshot to restore.

    What the new rows hold does not matter: the file has all of them. Raises LoadingError where transformers cannot.
    """
    import torch

    known: list[Any] = list(embeddings(model).values())
    substitutes: dict[int, torch.nn.Parameter] = {}
    for module in known:  # transformers writes the new matrix into the old parameter
        weight = module.weight
        substitutes.setdefault(id(weight), torch.nn.Parameter(weight.data, requires_grad=weight.requires_grad))
    for module in model.modules():
        for name, parameter in module._parameters.items():  # noqa: SLF001 - setting an attribute would register it anew
            if id(parameter) in substitutes:
                module._parameters[name] = substitutes[id(parameter)]  # noqa: SLF001 - the same
    resizing: Any = model
    try:
        resizing.resize_token_embeddings(rows, mean_resizing=False)
    except (NotImplementedError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        said = " ".join(str(error).split())[:200]
        raise LoadingError(f"the vocabulary of this base cannot be resized to {rows} tokens: {said}") from error


def judged(
    model: "torch.nn.Module", tensors: Mapping[str, "torch.Tensor"], extra: Iterable[str], rows: int | None
) -> Saved:
    """Judge the `extra` tensors of a file with these `tensors` against the bare `model`, whose vocabulary is its own.

    `rows` is what `resized_rows` gave.
    """
    own = {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers(remove_duplicate=False))}
    parts = [f"{path}.{part}" for path, module in embeddings(model).items() for part, _ in module.named_parameters()]
    growing = {place for places in _places(parts).values() for place in places} if rows is not None else set()
    unchanged, resized, foreign = [], [], {}
    for name in extra:
        mine = own.get(base_name(name))
        if name in growing and mine is not None:
            altered = altered_rows(tensors[name], mine)
            if altered:
                foreign[name] = f"{name} is not the base's in {altered} of its {mine.shape[0]} rows"
            else:
                resized.append(name)
        elif (mine is not None and _same(tensors[name], mine)) or _is_copy(name, tensors):
            unchanged.append(name)
        elif mine is not None:
            foreign[name] = f"{name} is another than the base's own"
        else:
            foreign[name] = name
    return Saved(tuple(unchanged), tuple(resized), foreign)


def base_name(name: str) -> str:
    """Return the name that a tensor of the file has in the bare base, if it is one of it."""
    return ".".join(part for part in name.removeprefix(PREFIX).split(".") if part not in WRAPPERS)


def altered_rows(found: "torch.Tensor", mine: "torch.Tensor") -> int:
    """Return how many of the rows that both have differ, once `found` is loaded as the base's dtype; all where the rows
    have another length.
    """
    if found.ndim == 0 or found.shape[1:] != mine.shape[1:]:
        return int(mine.shape[0])
    shared = min(found.shape[0], mine.shape[0])
    same = _bits(found[:shared], mine) == _bits(mine[:shared], mine)
    return int((~same.reshape(shared, -1).all(dim=1)).sum())


def _places(parts: Iterable[str]) -> dict[str, list[str]]:
    """Return for each parameter of an embedding the names under which a file may hold the base's own."""
    split = {name: name.rpartition(".") for name in parts}
    return {name: [f"{PREFIX}{path}.{held}{part}" for held in HELD] for name, (path, _, part) in split.items()}


def _same(found: "torch.Tensor", mine: "torch.Tensor") -> bool:
    import torch

    return found.shape == mine.shape and bool(torch.equal(_bits(found, mine), _bits(mine, mine)))


def _bits(tensor: "torch.Tensor", like: "torch.Tensor") -> "torch.Tensor":
    """Return the bytes that `tensor` has as an element of `like`'s dtype: a zero and a negative zero differ."""
    import torch

    cast = tensor.detach().to("cpu", like.dtype).contiguous()
    return cast.reshape(*(cast.shape or (1,)), 1).view(torch.uint8).flatten(-2)


def _is_copy(name: str, tensors: Mapping[str, "torch.Tensor"]) -> bool:
    """Return whether a tensor is the second copy of what PEFT saved as trained: its loader reads the first."""
    import torch

    first, found, last = name.rpartition(COPY)
    trained = [tensors[first + last]] if found and first + last in tensors else []
    if name.endswith("." + TOKEN_ROWS):
        trained = [tensors[other] for other in tensors if other != name and other.endswith("." + TOKEN_ROWS)]
    own = tensors[name]
    return any(own.dtype == other.dtype and bool(torch.equal(own, other)) for other in trained)
