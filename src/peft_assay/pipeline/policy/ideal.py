"""What a suite observes of an adapter whose answers are given: the best that can be seen at n, and chance outcomes."""

from collections.abc import Mapping

from peft_assay.core.observation import Value
from peft_assay.observe.behaviour.statistics import difference_lower_bound, lower_bound, upper_bound


def best_case(suite: str, n: int) -> Mapping[str, Value]:
    """The observations of `suite` if every one of `n` cases passes and the base is no better."""
    return seen(suite, n, both=n, gains=0, losses=0)


def seen(suite: str, n: int, *, both: int, gains: int, losses: int) -> Mapping[str, Value]:
    """The observations of `suite` when both pass `both` cases, the adapter alone `gains`, the base alone `losses`."""
    passes = both + gains
    values: dict[str, Value] = {
        "n": n,
        "passes": passes,
        "rate": passes / n,
        "lower": lower_bound(passes, n),
        "upper": upper_bound(passes, n),
        "base_rate": (both + losses) / n,
        "difference": (gains - losses) / n,
        "difference_lower": difference_lower_bound(gains, losses, n),
        "complete": True,
    }
    return {f"suite.{suite}.{name}": value for name, value in values.items()}
