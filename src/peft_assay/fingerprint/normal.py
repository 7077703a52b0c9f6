"""The normal form: an adapter's files as parts, one for each module and operation, the same for every type of adapter.

Tensors that are an update only together with the base's weights (PiSSA before its conversion, LN tuning, modules in
full), and tensors that are no matrix, are kept as they are stored.
"""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from peft_assay.core.artifact import WEIGHTS_FILE
from peft_assay.fingerprint.configuration import Configuration, read_configuration
from peft_assay.fingerprint.families import (
    delora,
    gralora,
    hadamard,
    kronecker,
    lora,
    prefix,
    rotations,
    vblora,
    vectors,
    vera,
)
from peft_assay.fingerprint.interface import Operation, Part, Uncomputable
from peft_assay.fingerprint.names import SHARED, sort_tensors
from peft_assay.fingerprint.tensors import Cast, Tensor, read_tensors

Family = Callable[[str, Mapping[str, Tensor], Configuration], Iterator[Part]]
FAMILIES: tuple[tuple[tuple[str, ...], Family], ...] = tuple(
    (family.MARKS, family.parts)
    for family in (lora, hadamard, kronecker, vera, vectors, rotations, delora, gralora, vblora)
)
HEADS = {
    "SEQ_CLS": ("classifier", "score"), "TOKEN_CLS": ("classifier", "score"), "QUESTION_ANS": ("qa_outputs",),
}  # fmt: skip
"""By task type: what PEFT saves in full without being asked."""
PROMPTS = ("prompt_embeddings", "prefix_task_cols", "prefix_task_rows")


def normal_form(files: Mapping[str, bytes], cast: Cast | None = None) -> Iterator[Part]:
    """Yield the parts of the adapter in `files` by module, each with its arrays made when it is reached.

    `cast` rounds each stored tensor, as if it had been stored in a narrower dtype.

    Raises Uncomputable, also during the iteration, where configuration or weights have more than one reading.
    """
    try:
        with np.errstate(all="ignore"):
            yield from _parts(files, cast)
    except (ValueError, IndexError, ArithmeticError, MemoryError, TypeError) as error:
        # Shapes that do not go together; each family raises a more precise error where it can.
        raise Uncomputable(f"its tensors do not fit together: {type(error).__name__}", where=WEIGHTS_FILE) from None


def _parts(files: Mapping[str, bytes], cast: Cast | None) -> Iterator[Part]:
    config = read_configuration(files)
    content = files.get(WEIGHTS_FILE)
    if content is None:
        raise Uncomputable("is absent", where=WEIGHTS_FILE)
    grouped, others = sort_tensors(read_tensors(content, cast))
    config.check_patterns(len(grouped))
    grouped = vectors.in_one_place(grouped)
    shared = {name: tensor for path, tensor in others.items() if (name := _last(path)) in SHARED}
    for module, at in sorted(grouped.items()):
        families = [parts for marks, parts in FAMILIES if not at.keys().isdisjoint(marks)]
        if len(families) != 1:
            raise Uncomputable("it has tensors of several PEFT types, or none that is known", where=module)
        yield from families[0](module, {**shared, **at}, config)
    beside = {path for path in others if grouped and _beside(path, config)}
    for path, tensor in sorted(others.items()):
        if path in beside:
            continue
        if config.kind == prefix.KIND and path in PROMPTS:
            yield from prefix.parts(path, tensor, config)
        elif _last(path) not in SHARED:
            operation = Operation.PROMPT if path in PROMPTS else Operation.TENSOR
            yield Part(path, operation, tensor.matrix(), rows=tensor.rows, stored=(tensor,))


def _beside(path: str, config: Configuration) -> bool:
    """Return whether a tensor is the base's, saved beside the adapter: PEFT writes embeddings in full by itself.

    Whether they are there changes what it does to no token that the base has. So adding or leaving out such a tensor
    gives no new function; two adapters that differ only in rows of new tokens are taken for one.
    """
    place, _, last = path.rpartition(".")
    declared = config.values.get("modules_to_save")
    saved = [
        *(declared if isinstance(declared, list) else [declared]),
        *HEADS.get(str(config.values.get("task_type")), ()),
    ]
    named = any(isinstance(name, str) and name and place.find(name) >= 0 for name in saved)
    bias = last == "bias" and config.values.get("bias") not in (None, "none")
    return last in ("weight", "bias") and not named and not bias


def _last(path: str) -> str:
    return path.rpartition(".")[2]
