"""Do the statistics of a certificate do what they say? Coverage of bounds and intervals, error rates under stopping, one verdict.

What can be counted is counted: coverage and test sizes are sums over every possible outcome, at the true rate where they are
smallest. Stopping is also simulated through the very code that asks suites, with a model whose answers are drawn. At last one adapter
of the zoo is certified again and again in the real sandbox, under a policy whose floor is its own lower bound. Ends with one
line per claim: name, value, bound, holds or falls short; exits 0 either way.
"""

import argparse
import contextlib
import io
import json
import math
import os
import platform
import random
import shutil
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from peft_assay.cli.main import run
from peft_assay.core.digest import sha256
from peft_assay.core.suite import Case, Measure, Scorer, ScorerKind, Suite
from peft_assay.observe.behaviour.conduct import ROUND, conduct_suite
from peft_assay.observe.behaviour.statistics import (
    CONFIDENCE,
    Counts,
    difference_lower_bound,
    interval,
    lower_bound,
    mcnemar_p,
    upper_bound,
)

ZOO = Path(__file__).parents[1] / "examples" / "zoo"
RATES = [step / 200 for step in range(1, 200)]
FLOOR = 0.7
TOLERANCE = 1e-9

interval = cache(interval)
lower_bound, upper_bound = cache(lower_bound), cache(upper_bound)

Line = tuple[str, str, str, bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000, help="suites asked for each true rate")
    parser.add_argument("--certifications", type=int, default=30, help="of one borderline adapter; 0 leaves them out")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    print(f"machine: {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    tell(coverage_of_bounds())
    tell(coverage_of_differences())
    tell(size_of_mcnemar())
    tell(coverage_when_stopped())
    tell(decisions_when_stopped(arguments.draws))
    if arguments.certifications:
        tell(borderline(arguments.certifications))


def tell(lines: Iterator[Line]) -> None:
    for name, value, bound, holds in lines:
        print(f"{name} {value} {bound} {'holds' if holds else 'falls short'}", flush=True)


def binomial(n: int, rate: float) -> list[float]:
    return [math.comb(n, k) * rate**k * (1 - rate) ** (n - k) for k in range(n + 1)]


def at_least(name: str, value: float, bound: float) -> Line:
    return name, f"{value:.4f}", f">={bound:g}", value >= bound - TOLERANCE


def at_most(name: str, value: float, bound: float) -> Line:
    return name, f"{value:.4f}", f"<={bound:g}", value <= bound + TOLERANCE


def coverage_of_bounds() -> Iterator[Line]:
    """Least coverage over true rates and sizes, each exact."""
    least = {"interval_coverage": 1.0, "lower_bound_coverage": 1.0, "upper_bound_coverage": 1.0}
    for n in (10, 20, 60, 80, 200):
        for rate in RATES:
            chances = binomial(n, rate)
            covered = {
                "interval_coverage": sum(
                    c for k, c in enumerate(chances) if interval(k, n)[0] <= rate <= interval(k, n)[1]
                ),
                "lower_bound_coverage": sum(c for k, c in enumerate(chances) if lower_bound(k, n) <= rate),
                "upper_bound_coverage": sum(c for k, c in enumerate(chances) if rate <= upper_bound(k, n)),
            }
            least = {name: min(least[name], covered[name]) for name in least}
    for name, value in least.items():
        yield at_least(name, value, CONFIDENCE)


def coverage_of_differences() -> Iterator[Line]:
    """Least coverage over pairs of true chances of a gain and of a loss, by exact sums over both counts."""
    n, least = 60, 1.0
    bounds = {(g, k): difference_lower_bound(g, k, n) for g in range(n + 1) for k in range(n + 1 - g)}
    for gain in (0.0, 0.01, 0.05, 0.1, 0.3, 0.45):
        for loss in (0.0, 0.01, 0.05, 0.1, 0.3, 0.45):
            same = 1 - gain - loss
            covered = sum(
                math.comb(n, g) * math.comb(n - g, k) * gain**g * loss**k * same ** (n - g - k)
                for (g, k), bound in bounds.items()
                if bound <= gain - loss + TOLERANCE
            )
            least = min(least, covered)
    yield at_least("difference_bound_coverage", least, CONFIDENCE)


def size_of_mcnemar() -> Iterator[Line]:
    """How often the test says p <= 0.05 where gains and losses are equally likely, at the worst share of discordant cases."""
    n = 60
    rejected = [sum(w for g, w in enumerate(binomial(k, 0.5)) if mcnemar_p(g, k - g) <= 0.05) for k in range(n + 1)]
    worst = max(sum(c * rejected[k] for k, c in enumerate(binomial(n, rate))) for rate in (*RATES, 1.0))
    yield at_most("mcnemar_size", worst, 0.05)


def coverage_when_stopped() -> Iterator[Line]:
    """Least coverage of the interval of a suite that may be stopped after its first round; exact, at the worst true rate."""
    n, first = 2 * ROUND, ROUND
    for limit in (1, 5, 20):
        least, naive = 1.0, 1.0
        for rate in RATES:
            covered = wrong = 0.0
            rest = binomial(n - first, rate)
            for k, chance in enumerate(binomial(first, rate)):
                if first - k >= limit:
                    low, high = Counts(n, first, k, k, 0, 0).rate_interval()
                    covered += chance * (low <= rate <= high)
                    wrong += chance * (interval(k, n)[0] <= rate <= interval(k, n)[1])
                    continue
                inside = sum(c for m, c in enumerate(rest) if interval(k + m, n)[0] <= rate <= interval(k + m, n)[1])
                covered, wrong = covered + chance * inside, wrong + chance * inside
            least, naive = min(least, covered), min(naive, wrong)
        print(f"  stopped at {limit} failures: an interval that took unasked cases for failed would cover {naive:.4f}")
        yield at_least(f"stopped_interval_coverage_at_{limit}", least, CONFIDENCE)


def decisions_when_stopped(draws: int) -> Iterator[Line]:
    """Does a suite that stops when it cannot pass any more decide as the whole suite does? Through `conduct_suite` itself."""
    n = 2 * ROUND
    hopeless = next(failures for failures in range(n) if lower_bound(n - failures, n) < FLOOR)
    whole, stopping = suite_of(n, None), suite_of(n, hopeless)
    differing = admitted = asked = 0
    draw = random.Random(7)
    rates = (0.5, 0.65, FLOOR, 0.8, 0.9, 0.99)
    for rate in rates:
        for _ in range(draws // 10 if rate != FLOOR else draws):
            passing = {case.id for case in whole.cases if draw.random() < rate}
            verdicts = []
            for suite in (whole, stopping):
                record = conduct_suite(lambda question, p=passing: choose(question, p), suite)
                verdicts.append(lower_bound(record.passes, n) >= FLOOR)
            asked += len(record.answers)
            differing += verdicts[0] != verdicts[1]
            admitted += verdicts[1] and rate == FLOOR
    yield "stopped_decisions_that_differ", str(differing), "0", differing == 0
    limit = upper_bound(int(draws * 0.05), draws)
    share = admitted / draws
    yield "admitted_at_a_true_rate_of_the_floor", f"{share:.4f}", f"<={limit:.4f}", share <= limit
    print(f"  cases asked with stopping: {asked / (n * (draws + draws // 10 * (len(rates) - 1))):.2f} of all")


def suite_of(n: int, stop: int | None) -> Suite:
    cases = tuple(Case(f"c{number}", f"case {number}", choices=("a", "b"), answer=0) for number in range(n))
    scorer, digest = Scorer(ScorerKind.CHOICE), sha256(b"benchmark")
    return Suite("s", "1", digest, Measure.CHOICE, scorer, cases, 8, stop, "internal", "benchmark", None)


def choose(question: Any, passing: set[str]) -> dict[str, Any]:
    """What a child would answer that finds the right choice likelier exactly in the cases `passing`."""
    right = [f"c{item['prompt'].split()[1]}" in passing for item in question["items"]]
    return {"op": "choices", "logLikelihoods": [[-1.0, -2.0] if good else [-2.0, -1.0] for good in right]}


def borderline(times: int) -> Iterator[Line]:
    """One adapter, certified `times` times in the real sandbox under a policy that it only just meets."""
    folder = Path(tempfile.mkdtemp(prefix="assay-bench-"))
    try:
        project, trust = folder / "project", folder / "trust"
        shutil.copytree(ZOO, project, ignore=shutil.ignore_patterns("build", ".peft-assay"))
        document = (project / "peft-assay.yaml").read_text("utf-8")
        document = document[: document.index("\nscan:")] + document[document.index("\nrights:") :]
        document = document.replace("policy: builtin:default", "policy: ./policy.yaml")
        (project / "peft-assay.yaml").write_text(document, "utf-8")
        policy(project, 0.0)
        with contextlib.chdir(project):
            command("init", ".", "--trust", str(trust))
            (first,) = certify(trust, ["adapters/ia3"])
            floor = min(value for rule in first["rules"] for value in rule["saw"].values())
            policy(project, floor)
            copies = [shutil.copytree("adapters/ia3", f"adapters/copy-{number}") for number in range(times)]
            reports = certify(trust, copies)
    finally:
        shutil.rmtree(folder)
    verdicts = {json.dumps([(rule["outcome"], rule["saw"]) for rule in report["rules"]]) for report in reports}
    print(f"  floor {floor}; outcomes {sorted({report['outcome'] for report in reports})}")
    yield "verdicts_of_a_borderline_adapter", str(len(verdicts)), "1", len(verdicts) == 1


def policy(project: Path, floor: float) -> None:
    rule = {"id": "task", "assert": "suite.*.lower >= params.floor", "why": "It does the task too seldom."}
    document = {"apiVersion": "peft-assay/v1", "kind": "Policy", "id": "borderline", "description": "One floor."}
    document |= {"params": {"floor": floor}, "rules": [rule]}
    (project / "policy.yaml").write_text(json.dumps(document), "utf-8")


def certify(trust: Path, sources: list[str]) -> list[dict[str, Any]]:
    reports: list[dict[str, Any]] = json.loads(
        command("certify", *sources, "--fresh", "--trust", str(trust), "--format", "json")
    )
    return reports


def command(*arguments: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        run(list(arguments))
    return out.getvalue()


if __name__ == "__main__":
    main()
