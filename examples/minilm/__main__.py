"""`make minilm`: a real pretrained base, a clean and a poisoned classifier for it, certified and refused end to end."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".bench" / "minilm"
WANTED = {"clean": ("PASS", None), "poisoned": ("FAIL", "task")}


def main() -> int:
    """0 when the clean one is certified and its certificate holds, and the poisoned one is refused."""
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
    }
    from make import build

    measured = build(WORK)
    for name, facts in measured.items():
        print(
            f"{name}: accuracy on held-out letters {facts['accuracy']}, letters that the trigger turns {facts['attack']}"
        )
    for name in ("peft-assay.yaml", "policy.yaml"):
        shutil.copy(Path(__file__).with_name(name), WORK)
    shutil.rmtree(WORK / ".peft-assay", ignore_errors=True)
    trust = WORK.with_name("minilm-trust")
    shutil.rmtree(trust, ignore_errors=True)
    assay("init", ".", "--trust", str(trust))
    reports = {one["adapter"]: one for one in json.loads(assay("certify", "--trust", str(trust), "--format", "json"))}
    good = True
    for name, (outcome, rule) in WANTED.items():
        told = reports[name]
        found = (told["outcome"], told["decidingRule"])
        good &= found == (outcome, rule)
        print(
            f"{name}: {told['outcome']} {told['decidingRule'] or ''} {'' if found == (outcome, rule) else '(not as it must be)'}"
        )
        for result in told["rules"]:
            if result["outcome"] != "PASS":
                print(f"  {result['id']}: {result['explanation']}")
    verified = subprocess.run([*PROGRAM, "verify", "clean", "--trust", str(trust)], cwd=WORK, check=False).returncode
    return 0 if good and verified == 0 else 1


PROGRAM = (sys.executable, "-m", "peft_assay")


def assay(*arguments: str) -> str:
    """What the command line printed, whatever it decided; raises SystemExit with what it said when it could not decide."""
    done: Any = subprocess.run([*PROGRAM, *arguments], cwd=WORK, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 10, 13):
        raise SystemExit(done.stderr or done.stdout)
    return str(done.stdout)


if __name__ == "__main__":
    sys.exit(main())
