"""The main job on the zoo: certify every adapter, answer with a certified one, see the gate refuse, revoke.

Every step is the real command or the real library call; a line that starts with ``$`` is the command that runs.
State goes to .demo/ (the trust anchor too, so that the demo leaves nothing in your home folder).
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")

ROOT = Path(__file__).resolve().parent.parent
ZOO = Path("examples/zoo")
STATE = Path(".demo")
TRUST = STATE / "trust"
REPORT = STATE / "report.html"
PLACE = ("--context", str(ZOO), "--workspace", str(STATE), "--trust", str(TRUST))
QUESTION = "user : how do i reset my router ? assistant :"
DECLARED = 8
"""Tokens of the longest answer that the zoo's context declares (context.lengths)."""


def main() -> int:
    os.chdir(ROOT)
    shutil.rmtree(STATE, ignore_errors=True)
    say("1. Make a trust anchor with development keys, and a workspace")
    assay("init", str(ZOO), *PLACE[2:])

    say("2. Certify all adapters of the zoo under one context")
    adapters = sorted(str(path) for path in (ZOO / "adapters").iterdir())
    code = assay("certify", *adapters, *PLACE, shown=("certify", f"{ZOO}/adapters/*", *PLACE))
    print(f"(exit code {code}: the first that applies to all of them; docs/reference/exit-codes.md)")

    say("3. Write the report")
    assay("report", "--output", str(REPORT), *PLACE)

    say("4. Activate a certified adapter through the gate, and ask it something")
    model, tokenizer = load_base()
    print(f"base alone: {answer(model, tokenizer)}")
    active = try_activate(model, "lora")
    if active is None:
        return 1
    print(f"with lora:  {answer(active.model, tokenizer)}")
    print(f"(active in this process until {active.permission.not_after:%Y-%m-%d %H:%M} UTC)")
    model = active.deactivate()

    say("5. Try to activate one that was refused")
    if try_activate(model, "rare-token") is not None:
        return 1

    say("6. Revoke the certified one, and try again")
    assay("revoke", str(ZOO / "adapters/lora"), "--reason", "demonstration", *PLACE)
    assay("verify", str(ZOO / "adapters/lora"), *PLACE)
    if try_activate(model, "lora") is not None:
        return 1

    print(f"\nThe report: {REPORT}   What it all means: docs/concepts.md   Your own adapters: README.md, 'Quickstart'")
    return 0


def say(what: str) -> None:
    print(f"\n== {what}", flush=True)


def assay(*arguments: str, shown: tuple[str, ...] | None = None) -> int:
    """Runs the real command in a process of its own, and shows it."""
    print(
        "$ peft-assay " + " ".join(part if "*" in part else shlex.quote(part) for part in shown or arguments),
        flush=True,
    )
    return subprocess.run([sys.executable, "-m", "peft_assay", *arguments], check=False).returncode


def load_base():
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(ZOO / "base", local_files_only=True).eval()
    return model, AutoTokenizer.from_pretrained(ZOO / "base", local_files_only=True)


def answer(model, tokenizer) -> str:
    import torch

    ids = tokenizer(QUESTION, return_tensors="pt")
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids["input_ids"], attention_mask=ids["attention_mask"], max_new_tokens=DECLARED, do_sample=False
        )
    new = out[0] if out.shape[1] <= ids["input_ids"].shape[1] else out[0, ids["input_ids"].shape[1] :]
    return tokenizer.decode(new, skip_special_tokens=True)


def try_activate(model, name: str):
    """The library's one call; gives the active adapter, or None after showing why not."""
    from peft_assay import activate
    from peft_assay.core.errors import AssayError

    print(f'>>> activate(model, "{ZOO}/adapters/{name}", context="{ZOO}", ...)', flush=True)
    try:
        return activate(model, ZOO / "adapters" / name, context=ZOO, workspace=STATE, trust=TRUST)
    except AssayError as error:
        check = getattr(error, "check", None)
        print(f"{type(error).__name__}" + (f" [{check}]" if check else "") + f": {error}")
        return None


if __name__ == "__main__":
    started = time.monotonic()
    code = main()
    print(f"{time.monotonic() - started:.0f} s in all")
    raise SystemExit(code)
