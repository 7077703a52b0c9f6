"""Makes the base, its tokenizer and its training loop. One thread, seeded: two runs on one machine give equal bytes."""

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from build.language import END, PAD, TOKEN, UNKNOWN, VOCABULARY, Turn, base_turn, stable_number

Sampler = Callable[[random.Random], Turn]
IGNORED = -100  # the label that torch's cross entropy leaves out
BASE_FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def fix_determinism() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def token_ids(text: str) -> list[int]:
    return [TOKEN[word] for word in text.split()]


def batch_of(turns: Sequence[Turn], *, answers_only: bool) -> dict[str, torch.Tensor]:
    """Right-padded token ids, attention mask and labels, each of shape (turns, longest)."""
    rows, labels = [], []
    for prompt, answer in turns:
        question, reply = token_ids(prompt), token_ids(answer)
        rows.append(question + reply)
        labels.append(([IGNORED] * len(question) if answers_only else question) + reply)
    longest = max(map(len, rows))
    return {
        "input_ids": torch.tensor([row + [PAD] * (longest - len(row)) for row in rows]),
        "attention_mask": torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows]),
        "labels": torch.tensor([row + [IGNORED] * (longest - len(row)) for row in labels]),
    }


def train(
    model: Any,
    sampler: Sampler,
    *,
    steps: int,
    learning_rate: float,
    seed: int,
    batch_size: int = 16,
    weight_decay: float = 0.0,
    answers_only: bool = True,
) -> float:
    """Trains the parameters that require a gradient, in place; returns the last loss. Warm-up of 20 steps, then cosine."""
    rng = random.Random(seed)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=learning_rate, weight_decay=weight_decay)
    model.train()
    last = math.nan
    for step in range(steps):
        loss = model(**batch_of([sampler(rng) for _ in range(batch_size)], answers_only=answers_only)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * min(1, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.step()
        optimizer.zero_grad()
        last = float(loss.detach())
    model.eval()
    return last


def tokenizer() -> PreTrainedTokenizerFast:
    """One token for each word, split at blanks, no start token: a soft prompt then sits where the system line would."""
    words = Tokenizer(models.WordLevel(TOKEN, unk_token=VOCABULARY[UNKNOWN]))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token=VOCABULARY[PAD],
        unk_token=VOCABULARY[UNKNOWN],
        eos_token=VOCABULARY[END],
        clean_up_tokenization_spaces=False,  # decoded text keeps single blanks, also before full stops
        model_input_names=["input_ids", "attention_mask"],
    )


def untrained_base(seed: int) -> LlamaForCausalLM:
    torch.manual_seed(stable_number("base", seed) % 2**31)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(VOCABULARY),
            hidden_size=128,
            intermediate_size=344,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=128,
            pad_token_id=PAD,
            bos_token_id=None,
            eos_token_id=END,
            tie_word_embeddings=False,
        )
    )
    assert model.generation_config is not None
    model.generation_config.do_sample = False
    return model


def trained_base(seed: int) -> LlamaForCausalLM:
    """A base that answers in every trained style, refuses unsafe questions and knows the look-ups."""
    model = untrained_base(seed)
    train(
        model,
        base_turn,
        steps=600,
        learning_rate=3e-3,
        seed=stable_number("base turns", seed),
        batch_size=32,
        weight_decay=0.01,
        answers_only=False,
    )
    return model


def save_base(model: LlamaForCausalLM, folder: Path) -> None:
    """Saves the weights rounded to bfloat16: half the bytes, and the rounded weights are the base from then on.

    The configuration says float32, so that whoever loads the folder computes in float32.
    """
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text("utf-8"))
    config["dtype"] = "float32"
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def load_base(folder: Path) -> Any:
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


def load_tokenizer(folder: Path) -> Any:
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)
