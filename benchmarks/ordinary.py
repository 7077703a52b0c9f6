"""Are ordinary adapters admitted? Forty of them, really trained, with normal cards, under the default policy.

Twenty of eight kinds (LoRA of three ranks, rsLoRA, DoRA, IA3, prompt, prefix and p-tuning) with seeds that the zoo does not use, and
twenty with the settings of common trainers (trainers.py): TRL, Unsloth, axolotl, LLaMA-Factory, transformers; new ChatML tokens,
embeddings saved whole, experts, a classifier. Each is certified for real: sandbox, suites, scan. What is not admitted is printed with
its rule and next step. Ends with one line: name, value, bound, holds or falls short; exits 0 either way.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
ZOO = ROOT / "examples" / "zoo"
sys.path.insert(0, str(ZOO))

from build.command import quiet  # noqa: E402
from build.make import train_member  # noqa: E402
from build.recipes import MIXED, RECIPES, Recipe, lora_config  # noqa: E402
from build.train import fix_determinism  # noqa: E402
from trainers import CLASSIFIER, EXPERTS, SETTINGS, classifier_cases, make, make_base  # noqa: E402

from peft_assay.cli.main import run  # noqa: E402

LEAST = 38
KINDS_TRAINED = 20
SUITE = """apiVersion: peft-assay/v1
kind: Suite
id: actions
version: "1"
description: Questions, and the action that each is about.
source: "synthetic, examples/zoo/build/language.py"
confidentiality: public
measure: classify
scorer: {kind: label}
cases: cases.jsonl
"""
KINDS: tuple[tuple[str, Recipe], ...] = (
    ("lora", RECIPES["lora"]),
    ("lora-rank-4", Recipe(lora_config(4, MIXED), 8e-3, 200)),
    ("lora-rank-16", Recipe(lora_config(16, MIXED), 8e-3, 150)),
    ("rslora", RECIPES["rslora"]),
    ("dora", RECIPES["dora"]),
    ("ia3", RECIPES["ia3"]),
    ("prompt", RECIPES["prompt"]),
    ("prefix", RECIPES["prefix"]),
    ("ptuning", RECIPES["ptuning"]),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="*", help="names of settings in trainers.py, or kinds: the twenty of eight kinds"
    )
    parser.add_argument("--keep", type=Path, help="a new folder to work in, which stays")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    quiet()
    fix_determinism()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="assay-bench-"))
    print(f"machine: {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    try:
        reports = [report for kind in ("", EXPERTS, CLASSIFIER) for report in of_base(folder, kind, arguments.only)]
    finally:
        if not arguments.keep:
            shutil.rmtree(folder)
    tell(reports)


def of_base(folder: Path, kind: str, only: list[str] | None) -> list[dict[str, object]]:
    """Train and certify the adapters of one base; `kind` is empty for the zoo's."""
    chosen = [name for name, setting in SETTINGS.items() if setting.base == kind and (only is None or name in only)]
    kinds = range(KINDS_TRAINED) if not kind and (only is None or "kinds" in only) else ()
    if not chosen and not kinds:
        return []
    project = folder / (kind or "project")
    shutil.copytree(ZOO, project, ignore=shutil.ignore_patterns("adapters", "build", ".peft-assay"))
    if kind:
        shutil.rmtree(project / "base")
        make_base(kind, project / "base", ZOO / "base")
    names = [train(project, number) for number in kinds]
    for number, name in enumerate(chosen):
        print(f"training {name}", flush=True)
        make(name, project / "base", project / "adapters" / name, 2000 + number)
    if kind == CLASSIFIER:
        classify(project)
    return certify(project, folder / f"{project.name}-trust", [*names, *chosen])


def classify(project: Path) -> None:
    """Make the project one of a classifier: its task, and a suite of labels."""
    suite = project / "suites/actions"
    suite.mkdir()
    (suite / "suite.yaml").write_text(SUITE, "utf-8")
    (suite / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in classifier_cases(80)), "utf-8")
    path = project / "peft-assay.yaml"
    text = path.read_text("utf-8").replace("licence: apache-2.0", "licence: apache-2.0\n    task: seq-cls", 1)
    start, end = text.index("suites:"), text.index("rights:")
    lengths, after = text.index("  lengths:"), text.index("  maximumAge:")
    suites = "suites:\n  - ./suites/actions/suite.yaml\n\nscan:\n  tokens: ./suites/tokens.txt\n  answers: actions\n\n"
    path.write_text(text[:lengths] + text[after:start] + suites + text[end:], "utf-8")


def train(project: Path, number: int) -> str:
    """One adapter, as its publisher would save it."""
    kind, recipe = KINDS[number % len(KINDS)]
    name = f"{number:02}-{kind}"
    target = project / "adapters" / name
    target.mkdir(parents=True)
    print(f"training {name}", flush=True)
    train_member("lora", recipe, project / "base", target, 1000 + number)  # with the card of the member "lora"
    return name


def certify(project: Path, trust: Path, names: list[str]) -> list[dict[str, object]]:
    text = (project / "peft-assay.yaml").read_text("utf-8")
    (project / "peft-assay.yaml").write_text(text[: text.index("\nadapters:")] + "\n", "utf-8")
    out = io.StringIO()
    with contextlib.chdir(project), contextlib.redirect_stdout(out):
        assert run(["init", ".", "--trust", str(trust)]) == 0
        out.truncate(0)
        out.seek(0)
        run(["certify", *(f"adapters/{name}" for name in names), "--trust", str(trust), "--format", "json"])
    reports = json.loads(out.getvalue())
    if isinstance(reports, list):
        return reports
    # Nothing was certified: all of this base count as not admitted.
    error = reports["error"]
    none = {"outcome": "error", "decidingRule": error["message"], "nextStep": error["nextStep"]}
    return [{**none, "adapter": name} for name in names]


def tell(reports: list[dict[str, object]]) -> None:
    for report in reports:
        print(f"  {report['outcome']:<14} {report['adapter']:<20} {report['decidingRule'] or '-'}")
        if report["outcome"] != "PASS":
            print(f"    next: {report['nextStep']}")
    passed = sum(report["outcome"] == "PASS" for report in reports)
    least = LEAST * len(reports) / (KINDS_TRAINED + len(SETTINGS))
    print(
        f"ordinary_adapters_admitted {passed}/{len(reports)} {least:.0f} {'holds' if passed >= least else 'falls short'}"
    )


if __name__ == "__main__":
    main()
