"""PEFT of any version: its types on the zoo's Llama, saved as that version saves by default."""

import warnings
from functools import partial
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from written import answers, each, places, stir

warnings.simplefilter("ignore")
OUT, BASE = places()
TARGETS = ["q_proj", "v_proj"]
VERSION = tuple(int(part) for part in peft.__version__.split(".")[:2])
LINEAR: dict[str, tuple[tuple[int, int], str, dict[str, Any]]] = {
    # row: first version with it, class of its configuration, what is not the default
    "lora": ((0, 1), "LoraConfig", {}),
    "lora-safetensors": ((0, 1), "LoraConfig", {"r": 4, "lora_alpha": 16}),
    "ia3": ((0, 4), "IA3Config", {"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]}),
    "adalora": ((0, 1), "AdaLoraConfig", {"total_step": 10}),
    "loha": ((0, 6), "LoHaConfig", {}),
    "lokr": ((0, 6), "LoKrConfig", {}),
    "oft": ((0, 7), "OFTConfig", {}),
    "rslora": ((0, 8), "LoraConfig", {"use_rslora": True}),
    "dora": ((0, 9), "LoraConfig", {"use_dora": True}),
    "layernorm": ((0, 11), "LNTuningConfig", {"target_modules": ["input_layernorm"]}),
    "vera": ((0, 11), "VeraConfig", {"r": 16}),
    "fourierft": ((0, 12), "FourierFTConfig", {"n_frequency": 64}),
    "hra": ((0, 12), "HRAConfig", {}),
    "bone": ((0, 14), "BoneConfig", {}),
    "lora-bias": ((0, 14), "LoraConfig", {"lora_bias": True, "init_lora_weights": False}),
    "miss": ((0, 17), "MissConfig", {}),
}
SOFT = {
    "prompt": ("PromptTuningConfig", {}),
    "prefix": ("PrefixTuningConfig", {}),
    "p-tuning": ("PromptEncoderConfig", {"encoder_hidden_size": 32}),
}


def base() -> Any:
    return transformers.LlamaForCausalLM.from_pretrained(str(BASE)).float().eval()


def save(config: Any, folder: Path, **how: Any) -> list[Any]:
    torch.manual_seed(17)
    model = peft.get_peft_model(base(), config)
    stir(model)
    model.eval()
    model.save_pretrained(str(folder / "adapter"), **how)
    return answers(model)


def linear(name: str, folder: Path) -> list[Any]:
    _, kind, fields = LINEAR[name]
    config = getattr(peft, kind)(task_type="CAUSAL_LM", **{"target_modules": TARGETS, **fields})
    # Until PEFT 0.6 a pickle was written by default: one row keeps it so.
    return save(config, folder) if name == "lora" else save(config, folder, safe_serialization=True)


def soft(name: str, folder: Path) -> list[Any]:
    kind, fields = SOFT[name]
    config = getattr(peft, kind)(task_type="CAUSAL_LM", num_virtual_tokens=4, **fields)
    return save(config, folder, safe_serialization=True)


ROWS: dict[str, Any] = {name: partial(linear, name) for name, (first, *_) in LINEAR.items() if first <= VERSION}
ROWS |= {name: partial(soft, name) for name in SOFT}

if __name__ == "__main__":
    each(ROWS, OUT)
