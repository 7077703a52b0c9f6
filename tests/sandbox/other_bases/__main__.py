"""``python -m other_bases``: the real worker for bases that answer otherwise than causal language models do.

Everything around it is the harness's own: launcher, fork, confinement, filter, pipes, and the loading of adapters. Only
what a child computes differs: an encoder's and a decoder's pass, or an encoder's alone, with and without the adapter.
"""

import sys
from pathlib import Path

from peft_assay_harness.frames import read_frame, write_frame
from peft_assay_harness.zygote import Prepared, run


def prepare(options):
    import torch
    import transformers

    from peft_assay_loading.state import base_state

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    folder = Path(options.base)
    kind = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    loader = transformers.AutoModelForSeq2SeqLM if kind.is_encoder_decoder else transformers.AutoModelForMaskedLM
    model = loader.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    model = model.eval().requires_grad_(requires_grad=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    state = base_state(model)
    warm(model, tokenizer)

    def serve(job):
        while (request := read_frame(job.request)) is not None:
            write_frame(job.response, ANSWERS[request["op"]](model, tokenizer, job.files, request))

    return Prepared({"state": state, "parameters": sum(p.numel() for p in model.parameters())}, serve)


def warm(model, tokenizer):
    """Imports what a child would import, by exercising an adapter that is made here."""
    import json

    import safetensors.torch
    import torch

    from peft_assay_loading.config import parse_config
    from peft_assay_loading.fitting import required_shapes

    config = json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": "all-linear"}).encode()
    shapes = required_shapes(model, parse_config(config))
    weights = safetensors.torch.save({name: torch.full(shape, 0.01) for name, shape in shapes.items()})
    effect(model, tokenizer, {"adapter_config.json": config, "adapter_model.safetensors": weights}, {"prompts": ["a"]})


def effect(model, tokenizer, files, request):
    """The adapter is put on, compared with the base, taken off and put on again."""
    import torch

    from peft_assay_loading.load import attach, detach
    from peft_assay_loading.state import base_state

    pair = files["adapter_config.json"], files["adapter_model.safetensors"]
    before, state = last_states(model, tokenizer, request["prompts"]), base_state(model)
    wrapped = attach(model, *pair)
    first = last_states(wrapped, tokenizer, request["prompts"])
    detach(wrapped)
    after = last_states(model, tokenizer, request["prompts"])
    wrapped = attach(model, *pair)
    again = last_states(wrapped, tokenizer, request["prompts"])
    detach(wrapped)
    return {
        "op": "effect",
        "differs": not torch.equal(first, before),
        "deterministic": torch.equal(first, again) and torch.equal(before, after),
        "baseState": state,
        "unchanged": base_state(model) == state,
    }


def generate(model, tokenizer, files, request):
    """Greedy answers of an encoder and decoder with the adapter on."""
    import torch

    from peft_assay_loading.load import attach

    wrapped = attach(model, files["adapter_config.json"], files["adapter_model.safetensors"])
    answers = []
    for prompt in request["prompts"]:
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        with torch.inference_mode():
            answers.append(wrapped.generate(**inputs, max_new_tokens=8, do_sample=False)[0].tolist())
    return {"op": "generate", "tokens": answers}


def last_states(model, tokenizer, prompts):
    import torch

    states = []
    for prompt in prompts:
        inputs = tokenizer(prompt, return_tensors="pt", return_token_type_ids=False)
        if model.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = torch.tensor([[0, 3, 4]])
        with torch.inference_mode():
            states.append(model(**inputs).logits[0, -1])
    return torch.stack(states)


ANSWERS = {"effect": effect, "generate": generate}

if __name__ == "__main__":
    sys.exit(run(prepare))
