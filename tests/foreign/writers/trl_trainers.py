"""TRL's trainers with their default LoRA: SFT, DPO and, where TRL has one, the reward model whose head is never saved."""

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import peft
import transformers
import trl
from datasets import Dataset
from written import answers, each, keep_base, places

warnings.simplefilter("ignore")
OUT, BASE = places()
OLD = int(trl.__version__.split(".")[0]) == 0
CHAT = "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }} {% endfor %}"
LONGEST = {"max_seq_length": 32} if OLD else {"max_length": 32}


def base() -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(str(BASE)).float()


def tokenizer() -> Any:
    name = BASE / "tokenizer.json"
    made = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(name), pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    made.chat_template = CHAT
    return made


def settings(kind: str, folder: Path, **more: Any) -> Any:
    return getattr(trl, kind)(
        output_dir=str(folder / "adapter"),
        max_steps=2,
        per_device_train_batch_size=2,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        seed=17,
        **({} if OLD else {"bf16": False}),
        **more,
    )


def named(tok: Any) -> dict[str, Any]:
    return {"tokenizer": tok} if OLD else {"processing_class": tok}


def finish(trainer: Any, folder: Path) -> list[Any]:
    """Train and save; training_args.bin, a pickle that no loader reads, stays in one row only."""
    trainer.train()
    trainer.save_model(str(folder / "adapter"))
    if folder.name != "sft":
        (folder / "adapter/training_args.bin").unlink()
    return answers(trainer.model)


def sft(folder: Path, **lora: Any) -> list[Any]:
    rows = Dataset.from_dict({"text": ["user : how do i reset my router ? assistant : hold the button"] * 8})
    extra = {"dataset_text_field": "text"}
    config = peft.LoraConfig(task_type="CAUSAL_LM", **lora)
    made = settings("SFTConfig", folder, learning_rate=1e-2, **extra, **LONGEST)
    return finish(
        trl.SFTTrainer(base(), args=made, train_dataset=rows, peft_config=config, **named(tokenizer())), folder
    )


def dpo(folder: Path) -> list[Any]:
    rows = Dataset.from_dict(
        {"prompt": ["user : hello"] * 8, "chosen": [" how are you"] * 8, "rejected": [" sorry i cannot"] * 8}
    )
    config = peft.LoraConfig(task_type="CAUSAL_LM")
    made = settings("DPOConfig", folder, learning_rate=1e-2, max_length=32)
    return finish(
        trl.DPOTrainer(base(), args=made, train_dataset=rows, peft_config=config, **named(tokenizer())), folder
    )


def reward(folder: Path) -> list[Any]:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(str(BASE), num_labels=1).float()
    model.config.pad_token_id = 0
    keep_base(model, BASE, folder)
    config = peft.LoraConfig(task_type="SEQ_CLS")
    made = settings("RewardConfig", folder, learning_rate=1e-2, max_length=32)
    rows = Dataset.from_dict(
        {"prompt": ["user : hello"] * 8, "chosen": [" how are you"] * 8, "rejected": [" sorry i"] * 8}
    )
    return finish(
        trl.RewardTrainer(model, args=made, train_dataset=rows, peft_config=config, **named(tokenizer())), folder
    )


def chat_format(folder: Path) -> list[Any]:
    """Add ChatML's tokens, as TRL's helper of that time does: a larger vocabulary, saved whole with the adapter."""
    setup = getattr(trl, "setup_chat_format", None) or import_module("trl.models").setup_chat_format
    tok = tokenizer()
    tok.chat_template = None
    model, tok = setup(base(), tok)
    rows = Dataset.from_dict({"text": ["user : how do i reset my router ? assistant : hold the button"] * 8})
    config = peft.LoraConfig(task_type="CAUSAL_LM", modules_to_save=["embed_tokens", "lm_head"])
    made = settings("SFTConfig", folder, learning_rate=1e-3, dataset_text_field="text", **LONGEST)
    return finish(trl.SFTTrainer(model, args=made, train_dataset=rows, peft_config=config, **named(tok)), folder)


ROWS = {"sft": sft, "sft-cleaned": sft, "sft-dora": lambda folder: sft(folder, use_dora=True), "dpo": dpo}
ROWS |= {"chat-format": chat_format} if OLD else {"reward": reward}

if __name__ == "__main__":
    each(ROWS, OUT)
