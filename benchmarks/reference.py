"""What the comparison needs of torch, in a process of its own: the machine's peak, the work that is due, plain PEFT's answers.

``python reference.py FOLDER ITEMS ADAPTERS IDENTICAL`` prints one JSON document. Peaks are of one thread, products of
two 1024 x 1024 matrices by the better of torch's two libraries, best of many, in CPU time. The work due for one model
is 2 x parameters x tokens, with what no way of computing can leave out: each prompt once, each choice and each new token once, and the output layer (tied to the
embedding) only where something is read from it; attention's own products are left out. Answers are of both bases'
adapters; of each base it is said how often its best two tokens are nearly tied, which is where half precision errs.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from testbed import BASES, NEW_TOKENS, RANDOM, deployment, items_of

UNSURE = 0.25
"""Margin of the best token's logit over the next below which a base is called unsure."""


def peak(dtype: Any) -> float:
    """Floating-point operations per CPU-second."""
    import torch
    from torch.ops import mkldnn

    left, right = torch.randn(1024, 1024).to(dtype), torch.randn(1024, 1024).to(dtype)
    blocks = mkldnn._reorder_linear_weight(right.clone(), None)  # noqa: SLF001 - see the harness's packing.py
    best = 0.0
    for _ in range(24):
        for product in (
            lambda: left @ right,
            lambda: mkldnn._linear_pointwise(left, blocks, None, "none", [], ""),  # noqa: SLF001
        ):
            started = time.process_time()
            product()
            best = max(best, 2 * 1024**3 / (time.process_time() - started))
    return best


def work(model: Any, tokenizer: Any, items: dict[str, list[dict[str, Any]]]) -> float:
    """Floating-point operations for one pass of one model over all items."""
    head = model.get_input_embeddings().weight.numel()
    body = sum(parameter.numel() for parameter in model.parameters()) - head

    def length(text: str) -> int:
        return len(tokenizer(text)["input_ids"])

    choices = sum(length(f" {choice}") for item in items["choices"] for choice in item["choices"])
    prompts = sum(length(item["prompt"]) for cases in items.values() for item in cases)
    new = NEW_TOKENS * len(items["texts"])
    return float(2 * (body * (prompts + choices + new) + head * (choices + new)))


def answers(model: Any, tokenizer: Any, items: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """One item at a time, one choice at a time, as anybody would with PEFT and transformers."""
    import torch

    def log_likelihood(prompt: str, choice: str) -> float:
        context = tokenizer(prompt)["input_ids"]
        whole = tokenizer(f"{prompt} {choice}")["input_ids"]
        scores = model(torch.tensor([whole])).logits[0].log_softmax(-1)
        return sum(float(scores[at - 1, whole[at]]) for at in range(len(context), len(whole)))

    def text(prompt: str) -> str:
        given = tokenizer(prompt, return_tensors="pt")
        made = model.generate(**given, max_new_tokens=NEW_TOKENS, do_sample=False)
        told: str = tokenizer.decode(made[0, given["input_ids"].shape[1] :], skip_special_tokens=True)
        return told

    with torch.inference_mode():
        return {
            "choices": {
                c["id"]: [log_likelihood(c["prompt"], choice) for choice in c["choices"]] for c in items["choices"]
            },
            "texts": {item["id"]: text(item["prompt"]) for item in items["texts"]},
        }


def unsure(model: Any, tokenizer: Any, items: dict[str, list[dict[str, Any]]]) -> float:
    """Share of the tokens of its own answers at which a model is."""
    import torch

    margins: list[float] = []
    for item in items["texts"]:
        given = tokenizer(item["prompt"], return_tensors="pt")
        wanted = {"max_new_tokens": NEW_TOKENS, "do_sample": False}
        with torch.inference_mode():
            made = model.generate(**given, **wanted, output_logits=True, return_dict_in_generate=True)
        pairs = torch.cat(made.logits).topk(2).values
        margins += (pairs[:, 0] - pairs[:, 1]).tolist()
    return sum(margin < UNSURE for margin in margins) / len(margins)


def main() -> None:
    """Prints the document."""
    import peft
    import torch
    import transformers

    folder, count, adapters, identical = Path(sys.argv[1]), *map(int, sys.argv[2:5])
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "base")

    def base_of(place: Path) -> Any:
        return transformers.AutoModelForCausalLM.from_pretrained(place / "base", dtype=torch.float32).eval()

    model = base_of(deployment(folder, RANDOM))
    told: dict[str, Any] = {
        "peak": {"float32": peak(torch.float32), "bfloat16": peak(torch.bfloat16)},
        "work": work(model, tokenizer, items_of(folder, count)),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "unsure": {},
        "answers": {base: {} for base in BASES},
    }
    for base in BASES:
        place = deployment(folder, base)
        told["unsure"][base] = unsure(base_of(place), tokenizer, items_of(folder, count))
        for number in range(adapters):
            model = peft.PeftModel.from_pretrained(base_of(place), str(place / "adapters" / f"a{number}")).eval()
            told["answers"][base][f"a{number}"] = answers(model, tokenizer, items_of(folder, identical))
    print(json.dumps(told))


if __name__ == "__main__":
    main()
