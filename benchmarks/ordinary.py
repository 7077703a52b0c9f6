"""Are ordinary adapters admitted? Twenty of them, trained by the zoo's recipe with normal cards, under the default policy.

Eight kinds (LoRA of three ranks, rsLoRA, DoRA, IA3, prompt, prefix and p-tuning), seeds that the zoo does not use, cards that state
licence, base and data as PEFT's users do. Each is certified for real: sandbox, suites, scan. What is not admitted is printed with its
rule and next step. Ends with one line: name, value, bound, holds or falls short; exits 0 either way.
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

from peft_assay.cli.main import run  # noqa: E402

LEAST = 19
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
    parser.add_argument("--adapters", type=int, default=20)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    quiet()
    fix_determinism()
    folder = Path(tempfile.mkdtemp(prefix="assay-bench-"))
    print(f"machine: {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    try:
        project = folder / "project"
        shutil.copytree(ZOO, project, ignore=shutil.ignore_patterns("adapters", "build", ".peft-assay"))
        names = [train(project, number) for number in range(arguments.adapters)]
        reports = certify(project, folder / "trust", names)
    finally:
        shutil.rmtree(folder)
    tell(reports)


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
    reports: list[dict[str, object]] = json.loads(out.getvalue())
    return reports


def tell(reports: list[dict[str, object]]) -> None:
    for report in reports:
        print(f"  {report['outcome']:<14} {report['adapter']:<20} {report['decidingRule'] or '-'}")
        if report["outcome"] != "PASS":
            print(f"    next: {report['nextStep']}")
    passed = sum(report["outcome"] == "PASS" for report in reports)
    least = LEAST * len(reports) / 20
    print(
        f"ordinary_adapters_admitted {passed}/{len(reports)} {least:.0f} {'holds' if passed >= least else 'falls short'}"
    )


if __name__ == "__main__":
    main()
