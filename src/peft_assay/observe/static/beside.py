"""Matrices of the base that PEFT saved beside an adapter: the base's own, resized, or altered.

PEFT writes both embeddings in full where one of them is targeted or the vocabulary was resized
(`save_embedding_layers="auto"`). Each such tensor is compared with the base that is served, as both are once loaded in
the context's dtype. Loading and observing judge it again, on the loaded base (`peft_assay_loading.saved`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.observe.interface import Matrix, StaticSubject, Unreadable
from peft_assay.observe.static.declared import adapters_own
from peft_assay.observe.static.header import ITEM_BYTES, Tensor
from peft_assay.observe.static.heads import PREFIX, heads_in
from peft_assay.observe.static.nonfinite import serving_dtype
from peft_assay.observe.static.reading import Configuration, read_configuration, read_weights

WRAPPERS = frozenset({"base_layer", "original_module", "token_adapter", "modules_to_save"})
"""Names by which PEFT's modules hold what they wrap."""
COPY = "modules_to_save."
EMBEDDING = re.compile(
    r"(?i)(.*\.)?(lm_head|embed_tokens|tok_embeddings|word_embeddings|wte|embed_in|embed_out|shared|output)\.(weight|bias)"
)
"""Parameters that have a row for each token, by the names of transformers' models: what is said without a base."""
ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Beside:
    """One tensor of the base in the file."""

    name: str
    parameter: str
    """Its name in the bare base."""
    rows: int
    own_rows: int | None
    """The base's; None where it was not compared."""
    altered: int | None
    """Rows that the base has too and that are not the base's; None where it was not compared."""

    @property
    def unchanged(self) -> bool:
        """Whether loading it changes nothing."""
        return self.altered == 0 and self.rows == self.own_rows

    @property
    def resized(self) -> bool:
        """Whether it has other rows than the base, and leaves the base's own as they are."""
        return self.altered == 0 and self.rows != self.own_rows


class _Same:
    """A subject by its identity: its files and sightings are mappings, which have no hash."""

    __slots__ = ("subject",)

    def __init__(self, subject: StaticSubject) -> None:
        self.subject = subject

    def __hash__(self) -> int:
        return id(self.subject)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.subject is other.subject


@lru_cache(maxsize=1)
def _strange_names(of: _Same) -> frozenset[str]:
    """Return the names of the file that are not the adapter's own; several probes ask, and a file may have many."""
    own = adapters_own(read_configuration(of.subject))
    return frozenset(tensor.name for tensor in read_weights(of.subject).tensors if not own(tensor.name))


@lru_cache(maxsize=1)
def _compared_once(of: _Same) -> tuple[Beside, ...]:
    return Comparison(of.subject, read_configuration(of.subject)).compare()


@dataclass(frozen=True)
class Comparison:
    """All tensors of one file that may be the base's."""

    subject: StaticSubject
    configuration: Configuration

    @property
    def found(self) -> tuple[Beside, ...]:
        """Return them in file order, compared where the base and the bytes are at hand; once for all probes."""
        return _compared_once(_Same(self.subject))

    @property
    def strange(self) -> frozenset[str]:
        """Return the names that are none of the adapter's own parts, biases and token rows."""
        return _strange_names(_Same(self.subject))

    def compare(self) -> tuple[Beside, ...]:
        """Return what `found` keeps."""
        strange = self.strange
        tensors = {tensor.name: tensor for tensor in read_weights(self.subject).tensors}
        heads = {f"{PREFIX}{head}." for head in heads_in(self.configuration, tensors)}
        candidates = [t for t in tensors.values() if t.name in strange and not t.name.startswith(tuple(heads))]
        if self.subject.context.base is None or self.subject.context.weights is None:
            return tuple(map(self._uncompared, _as_peft_saves(candidates, tensors)))
        content = self.subject.context.weights() if candidates else b""
        return tuple(self._compared(tensor, tensors, content) for tensor in candidates)

    @cached_property
    def _by_name(self) -> Mapping[str, Beside]:
        return {one.name: one for one in self.found}

    def accounts_for(self, name: str) -> bool:
        """Return whether a tensor is the base's, is an embedding of another vocabulary, or was not compared: no base.

        Of an embedding of another vocabulary altered rows are counted apart, and it is not loaded.
        """
        one = self._by_name.get(name)
        if one is None:
            return False
        other = one.own_rows is not None and one.rows != one.own_rows and EMBEDDING.fullmatch(one.parameter)
        return not one.altered or bool(other)

    def _uncompared(self, tensor: Tensor) -> Beside:
        return Beside(tensor.name, base_name(tensor.name), tensor.shape[0] if tensor.shape else 0, None, None)

    def _compared(self, tensor: Tensor, tensors: Mapping[str, Tensor], content: bytes) -> Beside:
        rows, parameter = tensor.shape[0] if tensor.shape else 0, base_name(tensor.name)
        first, copied, last = tensor.name.rpartition(COPY)
        trained = tensors.get(first + last) if copied else None
        if trained is not None and _alike(content, trained, tensor):
            return Beside(tensor.name, parameter, rows, rows, 0)
        matrices = list(self._matrices(parameter))
        counts = [(self._altered(tensor, matrix, content), matrix.shape[0]) for matrix in matrices]
        altered, own = min(counts, default=(rows or 1, None))
        return Beside(tensor.name, parameter, rows, own, altered)

    def _matrices(self, parameter: str) -> Iterator[Matrix]:
        """Give the base's matrix of that name; where its files have none, it is tied to one of the embeddings."""
        base = self.subject.context.base
        tensors = {} if base is None else base.tensors
        mine = tensors.get(parameter)
        if mine is not None:
            yield mine
        elif EMBEDDING.fullmatch(parameter):
            yield from (matrix for name, matrix in tensors.items() if EMBEDDING.fullmatch(name))

    def _altered(self, tensor: Tensor, mine: Matrix, content: bytes) -> int:
        import numpy as np

        same_form = tensor.shape[1:] == mine.shape[1:] and tensor.shape and mine.shape
        if not same_form or not self._may_differ_in_rows(tensor, mine):
            return max(1, mine.shape[0] if mine.shape else 1)
        served, shared = serving_dtype(self.subject.context.engine.dtype), min(tensor.shape[0], mine.shape[0])
        row = (tensor.end - tensor.begin) // tensor.shape[0]
        altered = 0
        for first in range(0, shared, ROWS_AT_ONCE):
            last = min(first + ROWS_AT_ONCE, shared)
            piece = content[tensor.begin + first * row : tensor.begin + last * row]
            pairs = [loaded(piece, tensor.dtype, served), loaded(mine.read(first, last), mine.dtype, served)]
            if any(one is None for one in pairs):
                return shared
            one, other = (np.asarray(pair).reshape(last - first, -1) for pair in pairs)
            altered += int((one != other).any(axis=1).sum())
        return altered

    def _may_differ_in_rows(self, tensor: Tensor, mine: Matrix) -> bool:
        """Return whether both have the same rows, or the base's matrix has one for each token."""
        base = self.subject.context.base
        return tensor.shape[0] == mine.shape[0] or (base is not None and mine.shape[0] == base.vocabulary)


def _as_peft_saves(candidates: Iterable[Tensor], names: Iterable[str]) -> tuple[Tensor, ...]:
    """Return the embeddings that PEFT may have saved by itself: around a targeted one, or input and output together."""
    found = [tensor for tensor in candidates if EMBEDDING.fullmatch(base_name(tensor.name)) and tensor.shape]
    several = len({base_name(tensor.name) for tensor in found}) > 1
    alike = len({tensor.shape[0] for tensor in found}) == 1
    adapted = {name.rpartition(".lora_")[0] for name in names if ".lora_" in name}
    return tuple(
        tensor for tensor in found if alike and (several or tensor.name.partition(".base_layer.")[0] in adapted)
    )


def base_name(name: str) -> str:
    """Return the name that a tensor of the file has in the bare base, if it is one of it."""
    return ".".join(part for part in name.removeprefix(PREFIX).split(".") if part not in WRAPPERS)


def loaded(content: bytes, dtype: str, served: str) -> Any:
    """Return numbers as the bits that they have once loaded in the dtype `served`; None for a dtype that has none."""
    import numpy as np

    if dtype not in ("F64", "F32", "F16", "BF16"):
        return None
    if dtype == "BF16":
        wide: Any = (np.frombuffer(content, "<u2").astype("<u4") << np.uint32(16)).view("<f4")
    else:
        wide = np.frombuffer(content, f"<f{ITEM_BYTES[dtype]}")
    with np.errstate(all="ignore"):
        if served == "float64":
            return wide.astype("<f8").view("<u8")
        if served == "float16":
            return wide.astype("<f2").view("<u2")
        single = wide.astype("<f4").view("<u4")
    if served != "bfloat16":
        return single
    # to the nearest, ties to even, as torch rounds; not-a-number stays one
    rounded = (single + np.uint32(0x7FFF) + ((single >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    nan = (single & np.uint32(0x7FFFFFFF)) > np.uint32(0x7F800000)
    return np.where(nan, np.uint32(0x7FC0), rounded)


def _alike(content: bytes, one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors of the file hold the same."""
    view = memoryview(content)
    same_form = (one.dtype, one.shape) == (other.dtype, other.shape)
    return same_form and view[one.begin : one.end] == view[other.begin : other.end]


def new_tokens(found: Iterable[Beside]) -> int:
    """Return by how many tokens the file's vocabulary is larger than the base's; 0 where it is not."""
    more = (one.rows - one.own_rows for one in found if one.resized and one.own_rows is not None)
    return max((0, *more))


def vocabulary_of(subject: StaticSubject) -> int | None:
    """Return the number of tokens once the adapter is on; None where it changes none, or that cannot be read."""
    try:
        found = Comparison(subject, read_configuration(subject)).found
    except Unreadable:
        return None
    return next((one.rows for one in found if EMBEDDING.fullmatch(one.parameter) and one.rows != one.own_rows), None)


class BesideProbe:
    """weights.beside, reach.vocabulary, reach.new_tokens and reach.altered_rows."""

    id = "beside"
    version = "1"
    terms = ("weights.beside", "reach.vocabulary", "reach.new_tokens", "reach.altered_rows")

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when header or configuration have not one reading."""
        found, by = Comparison(subject, read_configuration(subject)).found, ObservedBy.INTAKE
        beside = [f"{one.name}: the base's own, ignored" for one in found if one.unchanged]
        beside += [f"{one.name}: {one.rows} rows, not compared" for one in found if one.altered is None]
        yield ok("weights.beside", tuple(beside), by=by)
        yield ok("reach.vocabulary", tuple(map(_resized, (one for one in found if one.resized))), by=by)
        if any(one.altered is None for one in found):
            for name in ("reach.new_tokens", "reach.altered_rows"):
                yield failed(name, "embeddings of the file are compared where a base is at hand: certify does", by=by)
            return
        altered: dict[str, int] = {}
        for one in found:
            if EMBEDDING.fullmatch(one.parameter):
                altered[one.parameter] = max(altered.get(one.parameter, 0), one.altered or 0)
        said = ", ".join(f"{name}: {count}" for name, count in altered.items() if count)
        yield ok("reach.new_tokens", new_tokens(found), by=by)
        yield ok("reach.altered_rows", sum(altered.values()), by=by, reason=said or None)


def _resized(one: Beside) -> str:
    more = one.rows - (one.own_rows or 0)
    change = f"{more} more" if more > 0 else f"{-more} fewer"
    return f"{one.name}: {one.rows} rows, {change} than the base's; the rows of the base are unchanged"
