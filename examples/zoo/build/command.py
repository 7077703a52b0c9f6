"""The command line: builds the zoo or parts of it, or checks what is shipped without training."""

import argparse
import csv
import io
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

from transformers.utils import logging

from build.hostile import CONTAINERS, TAMPERING
from build.make import ZooError, make_adapter, make_base, publish
from build.prove import Facts, prove
from build.recipes import EXPECTED, RECIPES
from build.suites import write_suites
from build.train import fix_determinism

MEMBERS = ["base", *RECIPES, *CONTAINERS]
ROOT = Path(__file__).resolve().parents[1]
PROPERTIES = "build/properties.json"


def expected_table() -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["adapter", "outcome", "rule"])
    writer.writerows([name, *verdict] for name, verdict in EXPECTED.items())
    return out.getvalue()


def make(root: Path, scratch: Path, name: str) -> Facts:
    """Builds and publishes one member; returns what is true only of its making: seed, accuracy on its own base."""
    if name == "base":
        make_base(root, scratch)
        return {"seed": 0}
    if name in CONTAINERS:
        CONTAINERS[name](root / "adapters")
        return {}
    folder, facts = make_adapter(root, scratch, name)
    target = publish(folder, root / "adapters" / name)
    if name in TAMPERING:
        TAMPERING[name](target)
    return {key: value for key, value in facts.items() if key in ("seed", "own_task")}


def read_properties(root: Path) -> dict[str, Facts]:
    path = root / PROPERTIES
    properties: dict[str, Facts] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return properties


def write_properties(root: Path, properties: dict[str, Facts]) -> None:
    ordered = {name: properties[name] for name in MEMBERS if name in properties}
    (root / PROPERTIES).write_text(json.dumps(ordered, indent=2) + "\n", "utf-8")


def build(root: Path, names: Sequence[str]) -> None:
    """Builds members in the table's order, proves each on its published files and writes down what it measured."""
    properties = read_properties(root)
    write_suites(root / "suites")
    (root / "expected.csv").write_text(expected_table(), "utf-8")
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        for name in names:
            started = time.process_time()
            facts = make(root, Path(scratch), name) | prove(root, name)
            properties[name] = facts
            write_properties(root, properties)
            print(f"{name:24} {time.process_time() - started:6.1f} CPU-s  {json.dumps(facts)}", flush=True)


def check(root: Path, names: Sequence[str]) -> bool:
    """Proves the shipped members again; True if every claim holds."""
    failed = 0
    for name in names:
        try:
            print(f"{name:24} ok  {json.dumps(prove(root, name))}", flush=True)
        except (ZooError, OSError) as error:
            failed += 1
            print(f"{name:24} FAILED  {error}", flush=True)
    return not failed


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python examples/zoo/build", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=MEMBERS, metavar="NAME", help="members to build or check")
    parser.add_argument("--check", action="store_true", help="check the shipped members, train nothing")
    parser.add_argument("--root", type=Path, default=ROOT, help="the zoo's folder (default: the one of this program)")
    options = parser.parse_args(arguments)
    names = [name for name in MEMBERS if not options.only or name in options.only]
    fix_determinism()
    quiet()
    try:
        if options.check:
            return 0 if check(options.root, names) else 1
        (options.root / "build").mkdir(parents=True, exist_ok=True)
        build(options.root, names)
    except FileNotFoundError as error:
        print(f"zoo: {error.filename} is missing; build the member it belongs to first", file=sys.stderr)
        return 1
    except ZooError as error:
        print(f"zoo: {error}", file=sys.stderr)
        return 1
    return 0


def quiet() -> None:
    """No progress bars and none of the notices that say nothing about a member: each has its one line."""
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=FutureWarning)
    warnings.filterwarnings("ignore", message="Position ids are not supported")
