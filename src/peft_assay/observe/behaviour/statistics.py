"""Exact intervals for small samples.

Normal approximations are too narrow below a few hundred items (Bowyer, Aitchison, Ivanova: "Position: Don't use the CLT
in LLM evals with fewer than a few hundred datapoints", ICML 2025), so bounds are exact and, where not exact,
conservative.
"""

from dataclasses import dataclass

CONFIDENCE = 0.95
"""One-sided, for every bound that the vocabulary names."""


def lower_bound(passes: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Exact one-sided lower bound of a proportion (Clopper & Pearson, Biometrika 1934); 0.0 for no passes."""
    from scipy.special import betaincinv  # the quantile of scipy.stats.beta, at a third of what that takes to import

    _check(passes, n)
    return 0.0 if passes == 0 else float(betaincinv(passes, n - passes + 1, 1 - confidence))


def upper_bound(passes: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Exact one-sided upper bound of a proportion (Clopper & Pearson); 1.0 when all pass."""
    from scipy.special import betaincinv

    _check(passes, n)
    return 1.0 if passes == n else float(betaincinv(passes + 1, n - passes, confidence))


def interval(passes: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact two-sided interval of a proportion (Clopper & Pearson): both limits, half the error on each side."""
    each = 1 - (1 - confidence) / 2
    return lower_bound(passes, n, each), upper_bound(passes, n, each)


def difference_lower_bound(gains: int, losses: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound of the paired difference (gains - losses) / n.

    `gains` are cases that the adapter passes and the base does not, `losses` the reverse, of the same `n` cases. The
    error is split over two exact bounds (Bonferroni), so that the bound holds at least at `confidence` for every n.
    """
    split = 1 - (1 - confidence) / 2
    if gains + losses > n:
        raise ValueError("more discordant cases than cases")
    return lower_bound(gains, n, split) - upper_bound(losses, n, split)


def difference_upper_bound(gains: int, losses: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided upper bound of the paired difference (gains - losses) / n: the mirror of the lower one."""
    return -difference_lower_bound(losses, gains, n, confidence)


def mcnemar_p(gains: int, losses: int) -> float:
    """Exact two-sided McNemar test on discordant counts: were gains and losses equally likely, how odd is this split?

    1.0 where there are none: without discordant cases nothing speaks for a difference (McNemar, Psychometrika 1947;
    exact as a binomial test of the discordant cases with p = 1/2).
    """
    from scipy.special import bdtr  # the binomial distribution's cumulative sum

    if gains < 0 or losses < 0:
        raise ValueError(f"{gains} gains and {losses} losses")
    return 1.0 if gains + losses == 0 else min(1.0, 2 * float(bdtr(min(gains, losses), gains + losses, 0.5)))


@dataclass(frozen=True, slots=True)
class Counts:
    """Paired outcomes of one suite: of `n` cases `asked` were put to the adapter, all of them to the base.

    A stopping rule censors on the right: of cases that were not asked nobody knows what the adapter would have done, so
    what the whole suite would have shown lies between all of them failed and all of them passed. Bounds are taken at
    the end where they are the weaker ones. As functions of the whole suite's counts they are monotonic, so they hold at
    the same confidence as if every case had been asked, whatever rule stopped the asking.
    """

    n: int
    asked: int
    passes: int
    gains: int
    """Asked cases that the adapter passes and the base does not."""
    losses: int
    """Asked cases that the base passes and the adapter does not."""
    base_passes: int
    """Of all `n`."""

    def __post_init__(self) -> None:
        base_asked = self.passes - self.gains + self.losses
        unasked_passed = self.base_passes - base_asked
        if not (
            0 <= self.gains <= self.passes
            and 0 <= self.losses <= self.asked - self.passes
            and 0 <= unasked_passed <= self.n - self.asked
            and self.n >= 1
        ):
            raise ValueError(f"no suite has such counts: {self}")

    @property
    def unasked(self) -> int:
        """Cases that were never put to the adapter."""
        return self.n - self.asked

    @property
    def losses_at_most(self) -> int:
        """Losses if every case not asked had been failed."""
        return self.losses + self._base_unasked

    @property
    def gains_at_most(self) -> int:
        """Gains if every case not asked had been passed."""
        return self.gains + self.unasked - self._base_unasked

    @property
    def _base_unasked(self) -> int:
        return self.base_passes - (self.passes - self.gains + self.losses)

    def rate_bounds(self) -> tuple[float, float]:
        """One-sided bounds of the pass rate, each at `CONFIDENCE`."""
        return lower_bound(self.passes, self.n), upper_bound(self.passes + self.unasked, self.n)

    def rate_interval(self) -> tuple[float, float]:
        """Two-sided interval of the pass rate at `CONFIDENCE`."""
        return interval(self.passes, self.n)[0], interval(self.passes + self.unasked, self.n)[1]

    def difference_bounds(self) -> tuple[float, float]:
        """One-sided bounds of the paired difference from the base, each at `CONFIDENCE`."""
        lower = difference_lower_bound(self.gains, self.losses_at_most, self.n)
        return lower, difference_upper_bound(self.gains_at_most, self.losses, self.n)


def _check(passes: int, n: int) -> None:
    if not 0 <= passes <= n or n < 1:
        raise ValueError(f"{passes} passes of {n} cases")
