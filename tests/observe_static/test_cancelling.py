"""Updates whose parts cancel each other: what is left, and not the rounding of their squares.

The control in each test is the way by Gram matrices alone, which says a norm where there is none.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe_static.static_support import config, subject
from observe_static.test_delta import _file, _observed
from peft_assay.core.observation import Status
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.static import spectrum
from peft_assay.observe.static.product import _squared_singular_values
from peft_assay.observe.static.weights import sighting_of


def _update(a, b, dtype="F32"):
    return next(iter(sighting_of(_file(a, b, dtype)).updates.values()))


def _by_squares(a, b):
    """The norm as Gram matrices of float32 say it."""
    a, b = a.astype("<f4"), b.astype("<f4")
    return math.sqrt(float(_squared_singular_values((a @ a.T).astype(float), (b.T @ b).astype(float)).sum()))


def _cancelling(seed, size, rank=4, dtype="<f4"):
    """Parts in pairs of opposite sign: exactly zero, in any order of summation."""
    random = np.random.default_rng(seed)
    a = random.normal(size=(rank // 2, 40)).astype(dtype) * size
    b = random.normal(size=(50, rank // 2)).astype(dtype) * size
    return np.concatenate([a, a]).astype(dtype), np.concatenate([b, -b], axis=1).astype(dtype)


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e3])
@pytest.mark.parametrize("rank", [2, 8, 64])
def test_an_update_that_is_exactly_zero_is_zero(size, rank):
    a, b = _cancelling(3, np.float32(size), rank)
    seen = _observed(_file(a, b), r=rank)
    assert seen["largest_norm"].value == 0.0
    assert len(seen["zero_modules"].value) == 1


def test_control_by_squares_it_has_a_norm():
    assert max(_by_squares(*_cancelling(seed, np.float32(1e3))) for seed in range(20)) > 1


@pytest.mark.parametrize("offset", [1e-3, 1e-6, 1e-9])
def test_a_small_rest_of_large_parts_is_seen(offset):
    """In float64, so that the rest can be stored."""
    a, b = _cancelling(5, 1.0, dtype="<f8")
    b[0, 0] += offset
    wanted = np.linalg.norm(b @ a)
    assert _update(a, b, "F64").norm == pytest.approx(wanted, rel=1e-3)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), spread=st.integers(0, 30), rank=st.integers(1, 6))
def test_parts_of_any_size_count(seed, spread, rank):
    """a_k tiny and b_k giant, or the other way round: float32's squares end at 1e-38 and 1e38."""
    random = np.random.default_rng(seed)
    powers = 2.0 ** random.integers(-spread, spread + 1, size=rank)
    a = (random.normal(size=(rank, 20)) * powers[:, None]).astype("<f4")
    b = (random.normal(size=(20, rank)) / powers).astype("<f4")
    update = _update(a, b)
    assert update.norm == pytest.approx(np.linalg.norm(b.astype(float) @ a.astype(float)), rel=1e-4)


@pytest.mark.parametrize(("down", "up"), [(1e-30, 1e30), (1e30, 1e-30), (1e-25, 1e-10), (1e25, 1e-25)])
def test_squares_that_float32_has_no_number_for(down, up):
    """Read as squares in float32 they are 0 or infinite."""
    a, b = np.full((2, 30), down, "<f4"), np.full((30, 2), up, "<f4")
    with np.errstate(all="ignore"):
        squares = float((a @ a.T * (b.T @ b)).sum())
        assert squares == 0 or not math.isfinite(squares)
    update = _update(a, b)
    assert update.norm == pytest.approx(2 * 30 * down * up, rel=1e-4)


def test_what_cancels_in_full_precision_alone_is_not_said_to_survive_a_cast():
    a, b = _cancelling(1, np.float32(1))
    b[:, 2:] *= np.float32(1)  # still exact
    seen = _observed(_file(a, b), "bfloat16", r=4)
    assert seen["cast_change"].status is Status.FAILED
    assert "not finite" in str(seen["cast_change"].reason)
    assert seen["zero_modules"].status is Status.OK


def test_factors_that_cancel_far_apart_are_not_guessed(monkeypatch):
    monkeypatch.setattr(spectrum, "MAX_KEPT_BYTES", 100)
    a, b = _cancelling(1, np.float32(1))
    assert "too large or too far apart" in str(sighting_of(_file(a, b)).updates_problem)
    monkeypatch.setattr(spectrum, "MAX_KEPT_BYTES", 1 << 20)
    monkeypatch.setattr(spectrum, "MAX_EXACT", 100)
    assert "too much to multiply again" in str(sighting_of(_file(a, b)).updates_problem)


def test_ordinary_factors_need_no_second_look(monkeypatch):
    monkeypatch.setattr(spectrum, "MAX_KEPT_BYTES", 0)
    random = np.random.default_rng(0)
    for rank in (1, 8, 128):
        a, b = random.normal(size=(rank, 256)), random.normal(size=(256, rank))
        assert sighting_of(_file(a, b)).updates_problem is None
        assert _update(a, np.zeros_like(b)).norm == 0


@pytest.mark.parametrize("dtype", ["F16", "F32"])
def test_three_parts_that_cancel_together(dtype):
    """No two of them do."""
    code = {"F16": "<f2", "F32": "<f4"}[dtype]
    a = np.tile(np.arange(1, 17, dtype=code), (3, 1))
    b = np.stack([np.arange(16), 2 * np.arange(16), -3 * np.arange(16)], axis=1).astype(code)
    assert not (b.astype(float) @ a.astype(float)).any()
    assert _observed(_file(a, b, dtype), r=3)["zero_modules"].value != ()


@pytest.mark.parametrize(
    ("value", "dtype", "found"),
    [
        (1.0, "F32", ()),
        (70_000.0, "F32", ("float16",)),
        (3.39e38, "F32", ("float16",)),  # rounds to the largest bfloat16, 3.3895e38
        (3.4e38, "F32", ("bfloat16", "float16")),
        (1e39, "F64", ("float32", "bfloat16", "float16")),
        (1e-9, "F32", ("float16",)),
        (60_000.0, "F16", ()),
        (float("nan"), "F32", ()),  # as stored: weights.nonfinite says so
    ],
)
def test_what_no_declared_dtype_would_show(value, dtype, found):
    """`inspect` reads for float32, where all of these but the last are sound."""
    a, b = np.full((2, 8), value), np.full((8, 2), 1.0)
    file = _file(a, b, dtype)
    seen = {o.name: o for o in observe_static(subject(weights=file, configuration=config(r=2)))}
    assert seen["weights.unservable"].value == found
    assert all(f"{dtype}: " in str(seen["weights.unservable"].reason) for dtype in found)
    if dtype == "F32" and math.isfinite(value):
        assert seen["weights.nonfinite"].value == 0
