"""Exact intervals for small samples.

Normal approximations are too narrow below a few hundred items (Bowyer, Aitchison, Ivanova: "Position: Don't use the CLT
in LLM evals with fewer than a few hundred datapoints", ICML 2025), so bounds are exact and, where not exact,
conservative.
"""

CONFIDENCE = 0.95
"""One-sided, for every bound that the vocabulary names."""


def lower_bound(passes: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Exact one-sided lower bound of a proportion (Clopper & Pearson, Biometrika 1934); 0.0 for no passes."""
    from scipy.stats import beta

    _check(passes, n)
    return 0.0 if passes == 0 else float(beta.ppf(1 - confidence, passes, n - passes + 1))


def upper_bound(passes: int, n: int, confidence: float = CONFIDENCE) -> float:
    """Exact one-sided upper bound of a proportion (Clopper & Pearson); 1.0 when all pass."""
    from scipy.stats import beta

    _check(passes, n)
    return 1.0 if passes == n else float(beta.ppf(confidence, passes + 1, n - passes))


def difference_lower_bound(gains: int, losses: int, n: int, confidence: float = CONFIDENCE) -> float:
    """One-sided lower bound of the paired difference (gains - losses) / n.

    `gains` are cases that the adapter passes and the base does not, `losses` the reverse, of the same `n` cases. The
    error is split over two exact bounds (Bonferroni), so that the bound holds at least at `confidence` for every n.
    """
    split = 1 - (1 - confidence) / 2
    if gains + losses > n:
        raise ValueError("more discordant cases than cases")
    return lower_bound(gains, n, split) - upper_bound(losses, n, split)


def _check(passes: int, n: int) -> None:
    if not 0 <= passes <= n or n < 1:
        raise ValueError(f"{passes} passes of {n} cases")
