"""Measure the cost of a governed forward pass against the same pass without the guard: interleaved, medians of pairs.

On the zoo's base, which is tiny, and on one of realistic size. Both models of a pair are made from the same bytes by the
same code; CPU time of this thread is compared pair by pair. The zoo's adapter is certified and activated. The larger
base has random numbers and its guard the zoo's permission: what is asked of it is the same, by as many more modules.
"""

import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM
from transformers.utils import logging

from peft_assay import activate
from peft_assay.cli.main import run
from peft_assay.pipeline.deployment import utc_now
from peft_assay.runtime.guard import Guard
from peft_assay_loading.load import attach

ZOO = Path(__file__).resolve().parents[1] / "examples" / "zoo"
ADAPTER = ZOO / "adapters" / "lora"
BOUND = 0.01
LOOK_EVERY = 10.0
CASES = {"prompt of 32": (32, 0), "prompt of 128": (128, 0), "16 new tokens": (16, 16)}


def main() -> None:
    """Print `name value bound holds|falls short` for each way of asking, with what was added for each pass."""
    warnings.simplefilter("ignore")
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        place = ["--context", str(ZOO), "--workspace", folder, "--trust", f"{folder}/trust"]
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            run(["init", str(ZOO), *place[2:]])
            run(["certify", str(ADAPTER), *place])
        active = activate(_base(), ADAPTER, context=ZOO, workspace=folder, trust=f"{folder}/trust")
        plain = attach(
            _base(), *((ADAPTER / name).read_bytes() for name in ("adapter_config.json", "adapter_model.safetensors"))
        )
        _tell("zoo", plain, active.model, pairs=61, repeat=10)
        plain, governed = _larger(), _larger()
        Guard(governed, active.permission, utc_now, _stands, LOOK_EVERY)
        _tell("larger base", plain, governed, pairs=int(sys.argv[1]) if sys.argv[1:] else 21, repeat=1)


def _base() -> Any:
    return AutoModelForCausalLM.from_pretrained(ZOO / "base", local_files_only=True).eval()


def _larger() -> Any:
    """A Llama of 16 layers, hidden 1024, in float32, and a LoRA of rank 16 on queries and values."""
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=16,
        num_attention_heads=16,
        vocab_size=8192,
        tie_word_embeddings=True,
    )
    lora = LoraConfig(r=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")
    return get_peft_model(LlamaForCausalLM(config), lora).eval()


def _stands() -> None:
    """The list is asked for on the zoo."""


def _tell(name: str, plain: Any, governed: Any, pairs: int, repeat: int) -> None:
    modules = sum(1 for _ in governed.modules())
    numbers = sum(tensor.numel() for tensor in governed.parameters())
    print(f"{name}: {numbers / 1e6:.1f} M parameters, {modules} modules")
    for case, (length, new) in CASES.items():
        took = _pairs(plain, governed, length, new, pairs, repeat)
        share = statistics.median(after / before - 1 for before, after in took)
        passes = (new or 1) * (1 if new else repeat)
        added = statistics.median(after - before for before, after in took) / passes
        whole = statistics.median(before for before, _ in took) / passes
        word = "holds" if share <= BOUND else "falls short"
        print(f"governed forward, {name}, {case}: {share:+.2%} {BOUND:.0%} {word}", end=" ")
        quarters = statistics.quantiles((after / before - 1 for before, after in took), n=4)
        print(f"({added * 1e6:+.0f} us of {whole * 1e6:.0f} us for each pass;", end=" ")
        print(f"half of the pairs between {quarters[0]:+.1%} and {quarters[2]:+.1%})", flush=True)


def _pairs(plain: Any, governed: Any, length: int, new: int, pairs: int, repeat: int) -> list[tuple[float, float]]:
    """CPU-seconds without and with the guard, pair by pair, whose order alternates."""
    ids = torch.randint(3, 200, (1, length))
    asks = [_asking(model, ids, new, repeat) for model in (plain, governed)]
    found = []
    for number in range(pairs):
        took = {}
        for which in (0, 1) if number % 2 else (1, 0):
            took[which] = _time(asks[which])
        found.append((took[0], took[1]))
    return found[1:]


def _asking(model: Any, ids: Any, new: int, repeat: int) -> Callable[[], None]:
    def ask() -> None:
        with torch.no_grad():
            if new:
                model.generate(input_ids=ids, max_new_tokens=new, do_sample=False, eos_token_id=None, pad_token_id=0)
            else:
                for _ in range(repeat):
                    model(input_ids=ids)

    return ask


def _time(ask: Callable[[], None]) -> float:
    begun = time.thread_time()
    ask()
    return time.thread_time() - begun


if __name__ == "__main__":
    main()
