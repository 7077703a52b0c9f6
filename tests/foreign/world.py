"""Certifies what the writers left, under the default policy's rules on files and loading, and activates it.

The adapters are trained for seconds or not at all, so the rules on answers, attempts and rights are left out: the table says what is
read, loaded and served, not what is good.
"""

import contextlib
import hashlib
import io
import json
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from foreign import environments
from foreign.rows import Row
from peft_assay.cli.main import run

ROOT = Path(__file__).resolve().parents[2]
ZOO = ROOT / "examples/zoo"
WRITTEN = environments.HERE / "written"
POLICY = ROOT / "src/peft_assay/evaluate/policies/default.yaml"
OF_ANSWERS = frozenset(
    {
        "attempts", "lengths", "controls", "task", "sampling", "trigger-scan", "scan-ids", "refusals", "rights", "rights-known",
        "rights-conflicts",
    }
)  # fmt: skip
"""The rules of the default policy that are left out."""
PROJECT = """
apiVersion: peft-assay/v1
kind: Assay
context:
  name: foreign
  purpose: reads what other tools write
  base: {{path: ./base, licence: apache-2.0, task: {task}}}
  engine: {{name: peft, dtype: float32, maxRank: 64}}
  maximumAge: 30d
policy: ./policy.yaml
suites: [./suites/lookups/suite.yaml]
rights: {{commercialUse: false}}
"""


@cache
def written(environment: str, writer: str) -> Path:
    """Run the writer in its environment, unless it has written with just these scripts and pins; return its folder."""
    folder = WRITTEN / environment / writer
    stamp = folder / "stamp"
    wanted = inputs(environment, writer)
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    command = [
        str(environments.python(environment)),
        "-W",
        "ignore",
        str(_script(writer)),
        str(folder),
        str(ZOO / "base"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1800)
    assert done.returncode == 0, f"{writer} in {environment}: {done.stderr[-3000:]}"
    stamp.write_text(wanted, "utf-8")
    return folder


def inputs(environment: str, writer: str) -> str:
    """Return one digest of all that decides what a writer writes."""
    pins = environments.REQUIREMENTS / f"{environment}.txt"
    sources = (pins, _script(writer), _script("written"), ZOO / "base/model.safetensors")
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _script(name: str) -> Path:
    return ROOT / "tests/foreign/writers" / f"{name}.py"


def folder_of(row: Row) -> Path:
    return written(row.environment, row.writer) / row.name


@dataclass(frozen=True)
class Project:
    """One base and all adapters on it, certified together."""

    folder: Path
    reports: dict[str, dict[str, Any]]
    """By the adapter's path."""
    error: dict[str, Any] | None = None
    """What `certify` says where it reports on no adapter."""

    @property
    def place(self) -> dict[str, Path]:
        return {
            "context": self.folder / "peft-assay.yaml",
            "workspace": self.folder,
            "trust": self.folder.with_name(f"{self.folder.name}-trust"),
        }


def certify(folder: Path, base: Path, task: str, adapters: list[Path]) -> Project:
    """Make a project with this base and certify the adapters, in the real sandbox."""
    shutil.copytree(base, folder / "base")
    shutil.copytree(ZOO / "suites", folder / "suites")
    (folder / "peft-assay.yaml").write_text(PROJECT.format(task=task), "utf-8")
    policy = yaml.safe_load(POLICY.read_text("utf-8"))
    policy["id"] = "foreign"
    policy["rules"] = [rule for rule in policy["rules"] if rule["id"] not in OF_ANSWERS]
    policy["params"] = {
        name: value for name, value in policy["params"].items() if f"params.{name}" in json.dumps(policy["rules"])
    }
    (folder / "policy.yaml").write_text(yaml.safe_dump(policy, sort_keys=False), "utf-8")
    place = ["--workspace", str(folder), "--trust", str(folder.with_name(f"{folder.name}-trust"))]
    with contextlib.chdir(folder):
        assert _ask("init", ".", *place)[0] == 0
        _, out = _ask("certify", *map(str, adapters), *place, "--format", "json")
    found = json.loads(out)
    if not isinstance(found, list):
        return Project(folder, {}, found)
    return Project(folder, {report["source"]: report for report in found})


def _ask(*arguments: str) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        code = run(list(arguments))
    return code, out.getvalue()


def load_base(folder: Path, task: str) -> Any:
    import transformers

    kind = {"causal-lm": "AutoModelForCausalLM", "seq-cls": "AutoModelForSequenceClassification"}[task]
    return getattr(transformers, kind).from_pretrained(folder, local_files_only=True).float().eval()


def answers(model: Any, row: Row) -> Any:
    """Return our logits for the prompt that the writer answered."""
    import torch

    ids = torch.arange(24).reshape(2, 12) + 5
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
