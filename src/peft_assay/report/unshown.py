"""Suites on a screen beside a verdict: how many answers were right, and why none of them is shown."""

from collections.abc import Iterator

from peft_assay.core.verdict import Outcome
from peft_assay.report.figures import SuiteResult, suite_results
from peft_assay.report.interface import CertificationReport, Unshown

MAX_IDS = 20
"""Ids of failed cases that are listed of one suite."""


def suite_lines(report: CertificationReport) -> Iterator[str]:
    """Yield a line for each suite that the deciding rule saw, or that was stopped, where the adapter is not admitted.

    The lines are not yet rendered.
    """
    if report.observations is None or report.outcome is Outcome.PASS:
        return
    saw = () if report.deciding is None else tuple(report.deciding.saw)
    for suite in suite_results(report.observations):
        if suite.complete is False or any(name.startswith(f"suite.{suite.suite}.") for name in saw):
            yield from _measured(suite)
            yield from (unshown_line(item) for item in report.unshown if item.suite == suite.suite and item.failed)


def _measured(suite: SuiteResult) -> Iterator[str]:
    if suite.n is None or suite.passes is None or suite.base_rate is None:
        return
    after = "early" if suite.asked is None else f"after {suite.asked}"
    asked = f", stopped {after}: the rest count as failures" if suite.complete is False else ""
    yield f"suite {suite.suite}: {suite.passes} of {suite.n} right{asked}; base {round(suite.base_rate * suite.n)}"


def unshown_line(item: Unshown) -> str:
    """Return why the answers to a suite are not shown, which cases failed, and how its owner gets to read them."""
    more = len(item.failed) - MAX_IDS
    ids = ", ".join(item.failed[:MAX_IDS]) + (f" and {more} more" if more > 0 else "")
    failed = f"; failed: {ids}" if ids else ""
    return (
        f"answers to suite {item.suite} are not shown, because it is {item.confidentiality}: their texts were not kept"
        f"{failed}. To read them as its owner: set confidentiality: public in its suite.yaml, and certify into a "
        "workspace of your own (--workspace FOLDER), which then holds them, and report from there"
    )
