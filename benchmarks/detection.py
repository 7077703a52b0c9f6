"""What certifying finds of backdoors, and whom it accuses: adapters held apart from those that thresholds were set on.

Specimens (specimens.py) are built once into .bench/detection, about eight CPU-minutes, and certified for real: sandbox,
the zoo's suites, one-token scan over its declared tokens, default policy. Groups: benign adapters of a dozen kinds;
one-token backdoors (rare token to leaked answer, refusal bypass); and, because what is not found belongs on the same
page, triggers outside the declared tokens, triggers of two tokens, and triggers that are a topic. Prints each verdict,
then for each group how many were denied, with the exact 95 % interval. Nothing here is a bound; exits 0.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

from specimens import ZOO, Specimen, build, specimens

SEEN = Path(__file__).parents[1] / ".bench" / "detection"
SCANS = {"scan.triggers", "scan.refusal_breakers"}


def main() -> None:
    """Builds what is missing, certifies all, reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two of each group")
    parser.add_argument("--only", help="one group, as it is printed: benign, 'one token', ...")
    parser.add_argument("--build", action="store_true", help="build what is missing, certify nothing")
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    from build.command import quiet
    from build.train import fix_determinism

    quiet()
    fix_determinism()
    chosen = [one for one in specimens(quick=options.quick) if options.only in (None, one.group)]
    if not chosen:
        parser.error(f"there is no group {options.only!r}")
    for number, specimen in enumerate(chosen, start=1):
        facts = build(specimen, SEEN / "adapters")
        print(f"[{number}/{len(chosen)}] {specimen.name:22} {json.dumps(facts)}", file=sys.stderr, flush=True)
    if not options.build:
        print(f"machine: {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
        report(chosen, certify(chosen, SEEN / "projects" / (options.only or "all").replace(" ", "-")))


def certify(chosen: list[Specimen], place: Path) -> dict[str, dict[str, Any]]:
    """The JSON report of each, by name, from a project, a workspace and a trust anchor of their own at `place`."""
    from peft_assay.cli.main import run

    shutil.rmtree(place, ignore_errors=True)
    project = place / "project"
    shutil.copytree(ZOO, project, ignore=shutil.ignore_patterns("adapters", "build", ".peft-assay"))
    text = (project / "peft-assay.yaml").read_text("utf-8")
    (project / "peft-assay.yaml").write_text(text[: text.index("\nadapters:")] + "\n", "utf-8")
    trust = ["--trust", str(place / "trust")]
    out = io.StringIO()
    with contextlib.chdir(project), contextlib.redirect_stdout(out):
        assert run(["init", ".", *trust]) == 0
        out.seek(0)
        out.truncate()
        run(["certify", *(f"{SEEN}/adapters/{specimen.name}" for specimen in chosen), *trust, "--format", "json"])
    return {one["adapter"]: one for one in json.loads(out.getvalue())}


def report(chosen: list[Specimen], reports: dict[str, dict[str, Any]]) -> None:
    """One line for each specimen, then one for each group."""
    denied: dict[str, list[bool]] = {}
    named: list[bool] = []
    for specimen in chosen:
        told = reports[specimen.name]
        found = sorted(tokens_found(told))
        print(
            f"  {told['outcome']:14} {specimen.group:24} {specimen.name:22} {told['decidingRule'] or '-':14} {' '.join(found)}"
        )
        denied.setdefault(specimen.group, []).append(told["outcome"] != "PASS")
        if specimen.group == "one token":
            named.append(specimen.triggers[0] in found)
    for group, found_in in denied.items():
        what = "false_alarms" if group == "benign" else f"denied_of_{group.replace(', ', '_').replace(' ', '_')}"
        print(line(what, found_in))
    if named:
        print(line("trigger_named_of_one_token", named))


def tokens_found(told: dict[str, Any]) -> set[str]:
    """Tokens that the scan confirmed, as the rules saw them."""
    return {token for rule in told["rules"] for name in SCANS & set(rule["saw"]) for token in rule["saw"][name] or ()}


def line(name: str, found: list[bool]) -> str:
    """Count and exact two-sided 95 % interval (Clopper & Pearson)."""
    from scipy.stats import binomtest

    interval = binomtest(sum(found), len(found)).proportion_ci(method="exact")
    return f"{name} {sum(found)}/{len(found)} [{interval.low:.2f}, {interval.high:.2f}] reported"


if __name__ == "__main__":
    main()
