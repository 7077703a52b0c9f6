"""Forest plots: rates with their bounds against a threshold, as coordinates for an SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from peft_assay.core.observation import ObservationSet, Value

MARGIN, PLOT_WIDTH = 14, 372
"""A whole plot is 400 wide, so that its texts can be read on a telephone: names and numbers stand above the bars."""
ROW_HEIGHT, TOP, BOTTOM = 44, 34, 26
_LABEL_LENGTH = 20
PLOTTED = ("n", "passes", "rate", "lower", "upper", "base_rate", "difference", "difference_lower", "complete")
"""Terms of a suite without which it has no result; others may not apply to it."""


@dataclass(frozen=True, slots=True)
class SuiteResult:
    """What was measured on one suite; None where there is no usable observation."""

    suite: str
    n: int | None
    passes: int | None
    rate: float | None
    lower: float | None
    upper: float | None
    base_rate: float | None
    difference: float | None
    difference_lower: float | None
    complete: bool | None
    asked: int | None
    problem: str
    """Why there is no result; empty when there is one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One suite's line, in SVG units."""

    y: float
    label: str
    numbers: str
    low: float | None
    point: float | None
    high: float | None
    tick: float | None
    """The base's rate."""
    met: str
    """``met`` | ``unmet`` | ``plain`` (no threshold) | ``absent``: the class that colours the line."""


@dataclass(frozen=True, slots=True)
class Forest:
    """A whole plot."""

    title: str
    caption: str
    rows: tuple[Row, ...]
    axis: tuple[tuple[float, str], ...]
    threshold: float | None
    threshold_label: str
    width: int
    height: int
    top: int
    left: int
    right: int
    bottom: int


def suite_results(observations: ObservationSet) -> tuple[SuiteResult, ...]:
    """The results of every suite named in `observations`, by suite id."""
    suites = sorted({o.name.split(".")[1] for o in observations.observations if o.name.startswith("suite.")})
    return tuple(_suite_result(observations, suite) for suite in suites)


def _suite_result(observations: ObservationSet, suite: str) -> SuiteResult:
    prefix = f"suite.{suite}."
    found = {o.name.removeprefix(prefix): o for o in observations.observations if o.name.startswith(prefix)}
    values = {field: observation.value for field, observation in found.items()}
    plotted = [found[name] for name in PLOTTED if name in found]
    complete = values.get("complete")
    return SuiteResult(
        suite=suite,
        n=_integer(values.get("n")),
        passes=_integer(values.get("passes")),
        rate=_number(values.get("rate")),
        lower=_number(values.get("lower")),
        upper=_number(values.get("upper")),
        base_rate=_number(values.get("base_rate")),
        difference=_number(values.get("difference")),
        difference_lower=_number(values.get("difference_lower")),
        complete=complete if isinstance(complete, bool) else None,
        asked=_integer(values.get("asked")),
        problem=next((o.reason or "not observed" for o in plotted if o.value is None), ""),
    )


def _number(value: Value | None) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _integer(value: Value | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def rate_forest(results: Sequence[SuiteResult], parameters: Mapping[str, Value]) -> Forest:
    """Pass rates on [0, 1] with their bounds, the base's rate as a tick, the policy's floor as a line."""
    floor = _number(parameters.get("params.floor"))
    rows = [
        _row(index, result.suite, _rate_numbers(result), (result.lower, result.rate, result.upper), (0.0, 1.0))
        for index, result in enumerate(results)
    ]
    rows = [
        _marked(row, result.lower, floor, None if result.base_rate is None else _x(result.base_rate, (0.0, 1.0)))
        for row, result in zip(rows, results, strict=True)
    ]
    axis = tuple((_x(step / 4, (0.0, 1.0)), f"{step / 4:g}") for step in range(5))
    label = "" if floor is None else f"floor {floor:.3g}"
    caption = (
        "Dot: pass rate. Bar: exact one-sided 95 % bounds (Clopper-Pearson). Open diamond: the base on the same cases."
    )
    return _forest("Pass rate", caption, rows, axis, None if floor is None else _x(floor, (0.0, 1.0)), label)


def difference_forest(results: Sequence[SuiteResult], parameters: Mapping[str, Value]) -> Forest:
    """Differences from the base on [-1, 1] with their lower bound, the policy's margin as a line."""
    margin = _number(parameters.get("params.margin"))
    limit = None if margin is None else -margin
    span = (-1.0, 1.0)
    rows = []
    for index, result in enumerate(results):
        bounds = (result.difference_lower, result.difference, result.difference)
        row = _row(index, result.suite, _difference_numbers(result), bounds, span)
        rows.append(_marked(row, result.difference_lower, limit, None))
    axis = tuple((_x(step / 2, span), f"{step / 2:+g}" if step else "as the base") for step in range(-2, 3))
    label = "" if limit is None else f"margin {limit:.3g}"
    caption = "Dot: pass rate less the base's on the same cases. Bar: down to the one-sided 95 % lower bound."
    return _forest("Difference from the base", caption, rows, axis, None if limit is None else _x(limit, span), label)


def _forest(
    title: str,
    caption: str,
    rows: Sequence[Row],
    axis: tuple[tuple[float, str], ...],
    threshold: float | None,
    threshold_label: str,
) -> Forest:
    bottom = TOP + len(rows) * ROW_HEIGHT
    width, right = MARGIN + PLOT_WIDTH + MARGIN, MARGIN + PLOT_WIDTH
    height = bottom + BOTTOM
    return Forest(
        title, caption, tuple(rows), axis, threshold, threshold_label, width, height, TOP, MARGIN, right, bottom
    )


def _x(value: float, span: tuple[float, float]) -> float:
    low, high = span
    return round(MARGIN + (min(max(value, low), high) - low) / (high - low) * PLOT_WIDTH, 1)


def _row(
    index: int,
    label: str,
    numbers: str,
    bounds: tuple[float | None, float | None, float | None],
    span: tuple[float, float],
) -> Row:
    y = TOP + index * ROW_HEIGHT + ROW_HEIGHT - 12
    low, point, high = bounds
    if low is None or point is None or high is None:
        return Row(y, _cut(label), "not observed", None, None, None, None, "absent")
    return Row(y, _cut(label), numbers, _x(low, span), _x(point, span), _x(high, span), None, "plain")


def _cut(label: str) -> str:
    return label if len(label) <= _LABEL_LENGTH else label[: _LABEL_LENGTH - 1] + "…"


def _marked(row: Row, bound: float | None, threshold: float | None, tick: float | None) -> Row:
    met = row.met
    if met == "plain" and bound is not None and threshold is not None:
        met = "met" if bound >= threshold else "unmet"
    return Row(row.y, row.label, row.numbers, row.low, row.point, row.high, tick, met)


def _rate_numbers(result: SuiteResult) -> str:
    if result.rate is None or result.lower is None or result.upper is None:
        return ""
    return f"{result.passes}/{result.n}  {result.rate:.3f} [{result.lower:.3f}, {result.upper:.3f}]"


def _difference_numbers(result: SuiteResult) -> str:
    if result.difference is None or result.difference_lower is None:
        return ""
    return f"{result.difference:+.3f}, at least {result.difference_lower:+.3f}"
