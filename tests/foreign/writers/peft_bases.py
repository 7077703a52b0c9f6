"""PEFT on bases whose modules have other names in later versions of transformers: experts one by one, Gemma 3 before 4.52."""

import warnings
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from written import answers, each, keep_base, places, stir

warnings.simplefilter("ignore")
OUT, BASE = places()
SIZES: dict[str, Any] = {
    "vocab_size": 286,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 2,
    "tie_word_embeddings": False,
}
EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}
QWEN = {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
PROJECTIONS = ["q_proj", "v_proj"]


def save(model: Any, folder: Path, **lora: Any) -> list[Any]:
    keep_base(model, BASE, folder)
    torch.manual_seed(17)
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=4, **lora))
    stir(adapted)
    adapted.save_pretrained(str(folder / "adapter"))
    return answers(adapted)


def mixtral(folder: Path, **lora: Any) -> list[Any]:
    torch.manual_seed(17)
    config = transformers.MixtralConfig(**SIZES, **EXPERTS)
    return save(transformers.MixtralForCausalLM(config).eval(), folder, **lora)


def qwen(folder: Path, **lora: Any) -> list[Any]:
    torch.manual_seed(17)
    config = transformers.Qwen3MoeConfig(**SIZES, **QWEN)
    return save(transformers.Qwen3MoeForCausalLM(config).eval(), folder, **lora)


def gpt2(folder: Path) -> list[Any]:
    """Adapt GPT-2, whose layers are Conv1D and whose embeddings are tied."""
    torch.manual_seed(17)
    config = transformers.GPT2Config(vocab_size=286, n_embd=32, n_layer=2, n_head=4, n_positions=128, eos_token_id=2)
    return save(transformers.GPT2LMHeadModel(config).eval(), folder, target_modules=["c_attn"], fan_in_fan_out=True)


OLD = int(transformers.__version__.split(".")[0]) < 5
ROWS: dict[str, Any] = {
    "mixtral": lambda folder: mixtral(folder, target_modules=PROJECTIONS),
    "gpt2": gpt2,
}
if OLD:
    ROWS["mixtral-experts"] = lambda folder: mixtral(folder, target_modules=["w1", "w2", "w3"])
else:
    ROWS["mixtral-parameters"] = lambda folder: mixtral(
        folder, target_modules=PROJECTIONS, target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    )
    ROWS["qwen3-moe-all-linear"] = lambda folder: qwen(folder, target_modules="all-linear")

if __name__ == "__main__":
    each(ROWS, OUT)
