"""What a suite observes of an adapter whose answers are given: the best that can be seen at n, and chance outcomes."""

from collections.abc import Mapping

from peft_assay.core.observation import Value
from peft_assay.observe.behaviour.probes.suites import counted_values
from peft_assay.observe.behaviour.statistics import Counts, mcnemar_p, upper_bound

NO_DRIFT: Mapping[str, float] = {
    "kl_mean": 0.0,
    "kl_worst": 0.0,
    "agreement": 1.0,
    "first_divergence": 1.0,
    "entropy_change": 0.0,
    "log_likelihood_change": 0.0,
    "length_ratio": 1.0,
}
"""What is observed of an adapter that answers as the base does."""


def best_case(suite: str, n: int) -> Mapping[str, Value]:
    """The observations of `suite` if every one of `n` cases passes, the base is no better, and nothing drifts."""
    coherent = {"degenerate": 0, "degenerate_upper": upper_bound(0, n)}
    values = {f"suite.{suite}.{name}": value for name, value in {**NO_DRIFT, **coherent}.items()}
    return {**seen(suite, n, both=n, gains=0, losses=0), **values}


def seen(suite: str, n: int, *, both: int, gains: int, losses: int) -> Mapping[str, Value]:
    """What is counted on `suite` when both pass `both` cases, the adapter alone `gains`, the base alone `losses`."""
    counts = Counts(n, asked=n, passes=both + gains, gains=gains, losses=losses, base_passes=both + losses)
    values: dict[str, Value] = {**counted_values(counts), "mcnemar_p": mcnemar_p(gains, losses), "complete": True}
    return {f"suite.{suite}.{name}": value for name, value in values.items()}
