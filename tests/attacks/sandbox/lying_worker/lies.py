"""Replies that are honest but for one field, which holds an extreme: a lie is named by a number, so an adapter can be.

Everything is bounded and harmless: long texts and lists have some ten thousand parts.
"""

import copy

FIELDS = {
    "load": ("loaded", "missing", "extra", "mismatched", "problem"),
    "effect": ("differs", "deterministic", "baseState", "finite"),
    "scale": ("modules",),
    "choices": ("logLikelihoods",),
    "score": ("logLikelihoods", "counts"),
    "generate": (
        "texts", "tokens", "traces", "margins", "certain", "chosen", "best", "entropy", "ids", "logProbabilities",
    ),
    "propose": ("tokens",),
}  # fmt: skip
NUMBERS = (
    0, -1, 1, 0.5, -0.0, 22.0, 1e-320, 1e39, -1e39, -1e48, 1e154, 1e308, -1e308, 10**30, -(10**30), 2**31 - 1, 2**53,
    2**63, True, None,
)  # fmt: skip
TEXTS = (
    "", "\x00", "\u202e\x1b[2J", "\ud800", "x" * 20_000, "a b " * 8_000, "ab" * 9_000, "9" * 5_000, "[" * 5_000,
    '{"a":' * 2_000, "\ufdfa" * 500, "sha256:" + "0" * 64 + "\n",
)  # fmt: skip
SHAPES = ("nothing", "twice", "nested", "object", "single")
LIES = tuple(
    (op, field, kind, at)
    for op, fields in FIELDS.items()
    for field in fields
    for kind, many in (("number", len(NUMBERS)), ("text", len(TEXTS)), ("shape", len(SHAPES)))
    for at in range(many)
)


def lie(reply, number, *, everywhere=True):
    """`reply` with the lie of that number in every place of its field, or only in the first leaf of it."""
    op, field, kind, at = LIES[number]
    if reply["op"] != op:
        return reply
    return _with(copy.deepcopy(reply), field, kind, at, everywhere)


def _with(value, field, kind, at, everywhere):
    if isinstance(value, dict):
        return {
            name: _changed(part, kind, at, everywhere) if name == field else _with(part, field, kind, at, everywhere)
            for name, part in value.items()
        }
    return [_with(part, field, kind, at, everywhere) for part in value] if isinstance(value, list) else value


def _changed(value, kind, at, everywhere):
    if kind == "shape":
        return _shaped(value, SHAPES[at])
    extreme = NUMBERS[at] if kind == "number" else TEXTS[at]
    return _leaves(value, extreme) if everywhere else _first_leaf(value, extreme)


def _shaped(value, shape):
    rows = value if isinstance(value, list) else [value]
    deep = 0.0
    for _ in range(200):
        deep = [deep]
    return {"nothing": [], "twice": rows * 2, "nested": deep, "object": {"a": value}, "single": rows[:1]}[shape]


def _leaves(value, extreme):
    return [_leaves(part, extreme) for part in value] if isinstance(value, list) else extreme


def _first_leaf(value, extreme):
    if not isinstance(value, list):
        return extreme
    return [_first_leaf(value[0], extreme), *value[1:]] if value else [extreme]
