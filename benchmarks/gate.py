"""Measure the cost of a governed forward pass of the zoo against the same pass without the guard, interleaved, medians.

Both models are made from the same bytes by the same code; CPU time of this thread is compared pair by pair.
"""

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from peft_assay import activate
from peft_assay.cli.main import run
from peft_assay_loading.load import attach

ZOO = Path(__file__).resolve().parents[1] / "examples" / "zoo"
ADAPTER = ZOO / "adapters" / "lora"
BOUND = 0.01
PAIRS = 61
CASES = {"prompt of 32": (32, 0), "prompt of 128": (128, 0), "16 new tokens": (16, 16)}


def main() -> None:
    """Print `name value bound holds|falls short` for each way of asking."""
    warnings.simplefilter("ignore")
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        place = ["--context", str(ZOO), "--workspace", folder, "--trust", f"{folder}/trust"]
        with redirect_stdout(StringIO()):
            run(["init", str(ZOO), *place[2:]])
            run(["certify", str(ADAPTER), *place])
        governed = activate(_base(), ADAPTER, context=ZOO, workspace=folder, trust=f"{folder}/trust").model
        plain = attach(
            _base(), *((ADAPTER / name).read_bytes() for name in ("adapter_config.json", "adapter_model.safetensors"))
        )
        for name, (length, new) in CASES.items():
            share = _share(plain, governed, length, new)
            print(f"governed forward, {name}: {share:+.2%} {BOUND:.0%} {'holds' if share <= BOUND else 'falls short'}")


def _base() -> Any:
    return AutoModelForCausalLM.from_pretrained(ZOO / "base", local_files_only=True).eval()


def _share(plain: Any, governed: Any, length: int, new: int) -> float:
    """Return the median of the added cost, over pairs whose order alternates."""
    ids = torch.randint(3, 200, (1, length))
    asks = [_asking(model, ids, new) for model in (plain, governed)]
    shares = []
    for number in range(PAIRS):
        took = {}
        for which in (0, 1) if number % 2 else (1, 0):
            took[which] = _time(asks[which])
        shares.append(took[1] / took[0] - 1)
    return statistics.median(shares[1:])


def _asking(model: Any, ids: Any, new: int) -> Callable[[], None]:
    def ask() -> None:
        with torch.no_grad():
            if new:
                model.generate(input_ids=ids, max_new_tokens=new, do_sample=False, eos_token_id=None, pad_token_id=0)
            else:
                for _ in range(10):
                    model(input_ids=ids)

    return ask


def _time(ask: Callable[[], None]) -> float:
    begun = time.thread_time()
    ask()
    return time.thread_time() - begun


if __name__ == "__main__":
    main()
