"""Small projects over the zoo's base, to load suites in."""

import json
import shutil
from pathlib import Path

import yaml

from peft_assay.pipeline.project import load_project

BASE = Path(__file__).resolve().parents[2] / "examples" / "zoo" / "base"
HEADER = {
    "apiVersion": "peft-assay/v1",
    "kind": "Suite",
    "id": "task",
    "version": "1",
    "source": "tests",
    "confidentiality": "internal",
    "scorer": {"kind": "exact"},
}
CASES = [{"id": f"c{n}", "prompt": f"question {n} ?", "expected": f"answer {n}"} for n in range(1, 11)]
TALKS = [{"id": f"c{n}", "messages": [{"role": "user", "content": f"hello {n}"}]} for n in range(1, 4)]


def write_suite(folder, header=None, cases=CASES):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "suite.yaml").write_text(yaml.safe_dump({**HEADER, **(header or {})}))
    (folder / "cases.jsonl").write_text("".join(json.dumps(case) + "\n" for case in cases))
    return folder / "suite.yaml"


def write_project(folder, *, suites=("task/suite.yaml",), base=BASE, context=None, **more):
    section = {"name": "x", "purpose": "tests", "base": {"path": str(base), "licence": "apache-2.0"}, **(context or {})}
    document = {"apiVersion": "peft-assay/v1", "kind": "Assay", "context": section, "suites": list(suites), **more}
    (folder / "peft-assay.yaml").write_text(yaml.safe_dump(document))
    return folder / "peft-assay.yaml"


def load(folder, **project):
    return load_project(write_project(folder, **project))


def own_base(folder, **config):
    """A copy of the zoo's base without its weights, with other configuration."""
    shutil.copytree(BASE, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "config.json").write_text(json.dumps({**json.loads((BASE / "config.json").read_text()), **config}))
    return folder
