"""Adapter and base side by side, suite by suite: intervals, discordant cases and drift, as cells of a table."""

from dataclasses import dataclass

from peft_assay.core.observation import ObservationSet, Value

HEADINGS = (
    "Suite",
    "Pass rate, 95 % interval",
    "Gains / losses",
    "McNemar's p",
    "KL per token",
    "Same token",
    "Followed",
    "Length",
    "Degenerate",
)
CAPTION = (
    "Interval: exact, two-sided. Gains and losses: cases that only the adapter, or only the base passes. KL (in nats, "
    "a lower bound), same token and followed: along the base's own answers. Length: tokens, as a multiple of the "
    "base's. Degenerate: answers that are empty, repeat themselves or never end."
)
ABSENT = "–"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One suite's cells, in the order of `HEADINGS`."""

    cells: tuple[str, ...]


def comparisons(observations: ObservationSet) -> tuple[Comparison, ...]:
    """Rows for the suites of which anything was compared, by suite id."""
    suites: dict[str, dict[str, Value]] = {}
    for observation in observations.observations:
        if observation.name.startswith("suite.") and observation.value is not None:
            _, suite, term = observation.name.split(".", 2)
            suites.setdefault(suite, {})[term] = observation.value
    compared = {suite: values for suite, values in suites.items() if "interval_low" in values}
    return tuple(Comparison((suite, *_cells(compared[suite]))) for suite in sorted(compared))


def _cells(values: dict[str, Value]) -> tuple[str, ...]:
    def number(name: str, form: str) -> str:
        value = values.get(name)
        return format(value, form) if isinstance(value, int | float) and not isinstance(value, bool) else ABSENT

    return (
        f"{number('interval_low', '.3f')} to {number('interval_high', '.3f')}",
        f"{number('gains', 'g')} / {number('losses', 'g')}",
        number("mcnemar_p", ".3g"),
        number("kl_mean", ".4f"),
        number("agreement", ".1%"),
        number("first_divergence", ".1%"),
        number("length_ratio", ".2f"),
        number("degenerate", "g"),
    )
