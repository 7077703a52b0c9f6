"""Two hundred small adapters on the zoo's base: does memory grow, and what does a new policy cost?

Each is a LoRA of rank 4 with random weights, so that each is another artifact. After every job the memory of the
supervisor and of its worker is looked at. Then the policy is edited and all are certified again: nothing may run.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from metering import Metered
from testbed import POLICY

ZOO = Path(__file__).parents[1] / "examples" / "zoo"
CASES = 6
"""Of each of the zoo's suites."""
FLAT = 1.1
"""Most that memory may grow from the first adapter to the last."""
Certify = Callable[[Path, list[str], dict[str, str]], tuple[Metered, Any]]
PROJECT = """apiVersion: peft-assay/v1
kind: Assay
context:
  name: fleet
  purpose: measures what many adapters cost
  base:
    path: {base}
    licence: apache-2.0
policy: ./policy.yaml
suites: [{suites}]
"""


def measure(folder: Path, count: int, surroundings: dict[str, str], certify: Certify) -> Iterator[str]:
    """Lines of the report."""
    for left in (folder, folder.with_name(f"{folder.name}-trust")):  # an anchor remembers a workspace that is gone
        shutil.rmtree(left, ignore_errors=True)
    adapters = _build(folder, count)
    spent, log = certify(folder, adapters, surroundings)
    print(f"  {f'certify, {count} small adapters':36} {spent.cpu:7.1f} CPU-s  {spent.wall:7.1f} s wall", flush=True)
    jobs = [job for job in log["jobs"] if not job["base"]]
    assert len(jobs) == count, f"{len(jobs)} of {count} were exercised"
    total = [job["supervisor"] + job["worker"] for job in jobs]
    # The worker is replaced now and then; what a job adds shows within the life of one, and over all of them.
    # Looked at when an adapter's job has ended: what its verdict imports is there from the second on.
    growth = max(total) / total[1]
    first, last, most = (f"{value / 1e6:.0f}" for value in (total[1], total[-1], max(total)))
    grown = {part: (jobs[-1][part] - jobs[1][part]) / 1e6 for part in ("supervisor", "worker")}
    holds = "holds" if growth <= FLAT else "falls short"
    told = ", ".join(f"{part} {size:+.0f} MB" for part, size in grown.items())
    yield f"memory_from_1_to_{count}_adapters {growth:.3f}x {FLAT}x {holds} ({first} MB, then {last} MB, at most {most} MB; {told})"
    policy = folder / "policy.yaml"
    policy.write_text(policy.read_text().replace("suite.*.n >= params.least", "suite.*.n > params.least"))
    again, log = certify(folder, adapters, surroundings)
    print(f"  {'the same under another policy':36} {again.cpu:7.1f} CPU-s  {again.wall:7.1f} s wall", flush=True)
    reports = json.loads(log["output"])
    assert all(report["outcome"] == "PASS" for report in reports), "another policy, another outcome"
    ran = len(log["jobs"])
    yield f"jobs_run_for_another_policy {ran} 0 {'holds' if ran == 0 else 'falls short'}"
    yield f"another_policy_per_adapter {1000 * again.cpu / count:.0f}ms - reported ({spent.cpu / again.cpu:.0f}x less than observing)"


def _build(folder: Path, count: int) -> list[str]:
    import peft
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    names = [path.parent.name for path in sorted((ZOO / "suites").glob("*/suite.yaml"))]
    for name in names:
        (folder / name).mkdir(parents=True)
        shutil.copy(ZOO / "suites" / name / "suite.yaml", folder / name)
        lines = (ZOO / "suites" / name / "cases.jsonl").read_text().splitlines(keepends=True)
        (folder / name / "cases.jsonl").write_text("".join(lines[:CASES]))
    suites = ", ".join(f"./{name}/suite.yaml" for name in names)
    (folder / "peft-assay.yaml").write_text(PROJECT.format(base=ZOO / "base", suites=suites))
    (folder / "policy.yaml").write_text(POLICY.replace("suite.*.complete && ", ""))
    base = transformers.AutoModelForCausalLM.from_pretrained(ZOO / "base", dtype=torch.float32)
    lora = peft.LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(base, lora)
    for number in range(count):
        torch.manual_seed(number)
        for name, parameter in adapted.named_parameters():
            if "lora_" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        adapted.save_pretrained(folder / "adapters" / f"{number:03}")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return [str(folder / "adapters" / f"{number:03}") for number in range(count)]
