"""transformers itself: its adapter mixin, and its Trainer with a PEFT model and checkpoints."""

import warnings
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from written import answers, each, keep_base, places, stir

warnings.simplefilter("ignore")
OUT, BASE = places()


def base(kind: str = "AutoModelForCausalLM", **more: Any) -> Any:
    return getattr(transformers, kind).from_pretrained(str(BASE), **more).float()


def mixin(folder: Path, **config: Any) -> list[Any]:
    torch.manual_seed(17)
    model = base()
    model.add_adapter(peft.LoraConfig(target_modules=["q_proj", "v_proj"], **config))
    stir(model)
    model.save_pretrained(str(folder / "adapter"))
    return answers(model)


def mixin_classifier(folder: Path) -> list[Any]:
    """Leave the head to the base, as `add_adapter` does without modules_to_save."""
    torch.manual_seed(17)
    model = base("AutoModelForSequenceClassification", num_labels=3)
    model.config.pad_token_id = 0
    keep_base(model, BASE, folder)
    model.add_adapter(peft.LoraConfig(target_modules=["q_proj", "v_proj"]))
    stir(model)
    model.save_pretrained(str(folder / "adapter"))
    return answers(model)


class Rows(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Eight times the same row."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        ids = list(range(5, 17))
        return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": ids}


def trained(folder: Path, model: Any) -> list[Any]:
    settings = transformers.TrainingArguments(
        output_dir=str(folder / "adapter"),
        max_steps=2,
        save_steps=1,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        report_to=[],
        use_cpu=True,
        seed=17,
    )
    trainer = transformers.Trainer(model=model, args=settings, train_dataset=Rows())
    trainer.train()
    trainer.save_model(str(folder / "adapter"))
    return answers(trainer.model)


def trainer(folder: Path) -> list[Any]:
    """Keep everything the Trainer leaves in its folder: the adapter, training_args.bin and two checkpoints."""
    torch.manual_seed(17)
    config = peft.LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear")
    return trained(folder, peft.get_peft_model(base(), config))


def classifier(folder: Path) -> list[Any]:
    """Train a classifier with PEFT's defaults, which save its head."""
    torch.manual_seed(17)
    model = base("AutoModelForSequenceClassification", num_labels=3)
    model.config.pad_token_id = 0
    keep_base(model, BASE, folder)
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="SEQ_CLS"))
    stir(model)
    model.save_pretrained(str(folder / "adapter"))
    return answers(model)


def resized(folder: Path) -> list[Any]:
    """Add two tokens and train them beside LoRA, as chat trainers do."""
    torch.manual_seed(17)
    model = base()
    model.resize_token_embeddings(model.config.vocab_size + 2)
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"]))
    stir(model)
    model.save_pretrained(str(folder / "adapter"))
    return answers(model)


ROWS = {
    "mixin": mixin,
    "mixin-task": lambda folder: mixin(folder, task_type="CAUSAL_LM"),
    "mixin-classifier": mixin_classifier,
    "trainer-folder": trainer,
    "classifier": classifier,
    "resized": resized,
}

if __name__ == "__main__":
    each(ROWS, OUT)
