"""Which tool writes what, and what we must answer: the rows of docs/foreign.md, each run with the real tool."""

from dataclasses import dataclass
from enum import StrEnum


class Answer(StrEnum):
    """What `certify` and `activate` make of an adapter."""

    CERTIFIED = "certified; activated with the writer's own logits"
    DENIED = "refused by a rule"
    REFUSED = "refused at intake"
    UNSERVED = "its base is of no kind that can be certified"
    UNWRITTEN = "the tool itself fails"
    NOT_INSTALLED = "not installed here"


@dataclass(frozen=True)
class Row:
    """One adapter as one version of one tool writes it."""

    environment: str
    """Its pinned requirements: tests/foreign/requirements/ENVIRONMENT.txt."""
    writer: str
    """The script in tests/foreign/writers."""
    name: str
    """The script's own name for the row."""
    writes: str
    """What it writes, in words of the table."""
    answer: Answer = Answer.CERTIFIED
    says: str = ""
    """A piece of the reason that a refusal must give; for DENIED, with the rule's name before a colon."""
    own_base: bool = False
    """Whether the writer left its own base beside the adapter; else it is the zoo's."""
    task: str = "causal-lm"
    tolerance: float = 1e-4
    """Most that a logit may differ from the writer's: other versions of transformers add in another order."""

    @property
    def id(self) -> str:
        return f"{self.environment}-{self.name}"


PEFT_VERSIONS = (
    "0.4.0", "0.5.0", "0.6.2", "0.7.1", "0.8.2", "0.9.0", "0.10.0", "0.11.1", "0.12.0", "0.13.2", "0.14.0", "0.15.2",
    "0.16.0", "0.17.1", "0.18.1", "0.19.1", "0.20.0", "0.21.2",
)  # fmt: skip
TYPES = {
    # what it is in words, first version that writes it
    "lora": ("LoRA, saved by default", "0.4"),
    "lora-safetensors": ("LoRA", "0.4"),
    "ia3": ("IA3", "0.4"),
    "adalora": ("AdaLoRA", "0.4"),
    "prompt": ("prompt tuning", "0.4"),
    "prefix": ("prefix tuning", "0.4"),
    "p-tuning": ("p-tuning", "0.4"),
    "loha": ("LoHa", "0.6"),
    "lokr": ("LoKr", "0.6"),
    "oft": ("OFT", "0.7"),
    "rslora": ("rsLoRA", "0.8"),
    "dora": ("DoRA", "0.9"),
    "layernorm": ("LayerNorm tuning", "0.11"),
    "vera": ("VeRA", "0.11"),
    "fourierft": ("FourierFT", "0.12"),
    "hra": ("HRA", "0.12"),
    "bone": ("Bone", "0.14"),
    "lora-bias": ("LoRA with bias", "0.14"),
    "miss": ("MiSS", "0.17"),
}


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


WITH_ALL = frozenset({"0.6.2", "0.13.2", "0.21.2"})
"""Versions of which every type is a row; of the others LoRA is, and what they brought."""


def _peft() -> list[Row]:
    rows = []
    for version in PEFT_VERSIONS:
        for name, (words, first) in TYPES.items():
            brought = first == ".".join(version.split(".")[:2])
            there = _number(first) <= _number(version) and not (name == "bone" and _number(version) > (0, 18))
            if there and (name == "lora" or brought or version in WITH_ALL):
                answer, says = _exception(name, _number(version))
                rows.append(Row(f"peft-{version}", "peft_types", name, words, answer, says))
    return rows


def _exception(name: str, version: tuple[int, ...]) -> tuple[Answer, str]:
    """Return what is not simply certified, and why."""
    if name == "adalora" and version == (0, 4):
        return Answer.UNWRITTEN, "lora_dropout_layer is not a Module subclass"
    if name == "oft" and version < (0, 16):
        return Answer.DENIED, "undeclared-tensors: "
    if name == "layernorm":
        return Answer.DENIED, "reach: "
    if name == "bone":
        return Answer.DENIED, "config: "
    if name == "lora" and version < (0, 7):
        return Answer.DENIED, "pickle: adapter_model.bin"
    return Answer.CERTIFIED, ""


TRL, OLD_TRL, LATEST, MOE, OLD_MOE = "trl-1.16.0", "trl-0.11.4", "peft-0.21.2", "peft-0.18.1", "peft-0.13.2"
DENIED, CERTIFIED = Answer.DENIED, Answer.CERTIFIED
LEFT_OVER = "pickle: training_args.bin"
NOT_PEFT = "config: "
OTHERS: tuple[Row, ...] = (
    Row(TRL, "trl_trainers", "sft", "SFTTrainer's folder, training_args.bin beside", DENIED, LEFT_OVER),
    Row(TRL, "trl_trainers", "sft-cleaned", "SFTTrainer's folder without training_args.bin"),
    Row(TRL, "trl_trainers", "sft-dora", "SFTTrainer with DoRA, without training_args.bin"),
    Row(TRL, "trl_trainers", "dpo", "DPOTrainer, without training_args.bin"),
    Row(TRL, "trl_trainers", "reward", "RewardTrainer, without training_args.bin", own_base=True, task="seq-cls"),
    Row(OLD_TRL, "trl_trainers", "sft", "SFTTrainer's folder, training_args.bin beside", DENIED, LEFT_OVER),
    Row(OLD_TRL, "trl_trainers", "sft-cleaned", "SFTTrainer's folder without training_args.bin"),
    Row(OLD_TRL, "trl_trainers", "sft-dora", "SFTTrainer with DoRA, without training_args.bin"),
    Row(OLD_TRL, "trl_trainers", "dpo", "DPOTrainer, without training_args.bin"),
    Row(
        OLD_TRL,
        "trl_trainers",
        "chat-format",
        "setup_chat_format: ChatML's tokens, embeddings saved whole",
        DENIED,
        "reach: ",
    ),
    Row(LATEST, "transformers_trainer", "mixin", "transformers' add_adapter without a task"),
    Row(LATEST, "transformers_trainer", "mixin-task", "transformers' add_adapter"),
    Row(
        LATEST,
        "transformers_trainer",
        "mixin-classifier",
        "transformers' add_adapter on a classifier, its head left to the base",
        own_base=True,
        task="seq-cls",
    ),
    Row(
        LATEST,
        "transformers_trainer",
        "trainer-folder",
        "the Trainer's folder with two checkpoints",
        DENIED,
        "pickle: checkpoint-1/optimizer.pt",
    ),
    Row(
        LATEST,
        "transformers_trainer",
        "classifier",
        "a classifier with PEFT's default head",
        own_base=True,
        task="seq-cls",
    ),
    Row(LATEST, "transformers_trainer", "resized", "LoRA on a vocabulary with two more tokens"),
    *(
        Row(name, "peft_bases", row, words, own_base=True)
        for name in (OLD_MOE, MOE)
        for row, words in (
            ("mixtral", "LoRA on Mixtral's attention"),
            ("mixtral-experts", "LoRA on Mixtral's experts, one by one"),
            ("gpt2", "LoRA on GPT-2's Conv1D"),
        )
    ),
    Row(LATEST, "peft_bases", "mixtral", "LoRA on Mixtral's attention", own_base=True),
    Row(LATEST, "peft_bases", "gpt2", "LoRA on GPT-2's Conv1D", own_base=True),
    Row(
        LATEST, "peft_bases", "mixtral-parameters", "LoRA on Mixtral's fused experts (target_parameters)", own_base=True
    ),
    Row(LATEST, "peft_bases", "qwen3-moe-all-linear", "LoRA on all-linear of Qwen3-MoE", own_base=True),
    Row(
        "sentence-transformers-6.2.0",
        "sentence_embeddings",
        "encoder",
        "LoRA on a sentence encoder",
        Answer.UNSERVED,
        "base",
        own_base=True,
    ),
    Row(
        "mergekit-0.1.4",
        "other_formats",
        "extracted",
        "an extracted LoRA, embeddings, norms and head beside it whole",
        DENIED,
        "reach: ",
    ),
    Row(
        "torchtune-0.6.1",
        "other_formats",
        "llama2",
        "its checkpoint in PEFT's format, adapter_model.pt beside",
        DENIED,
        "pickle: adapter_model.pt",
    ),
    Row("diffusers-0.42.1", "other_formats", "unet", "pytorch_lora_weights.safetensors of a UNet", DENIED, NOT_PEFT),
    *(
        Row("adapters-1.3.0", "other_formats", name, f"AdapterHub's {name}", DENIED, "pickle: ")
        for name in ("lora", "bottleneck")
    ),
    *(
        Row("lycoris-4.1.3", "other_formats", name, f"LyCORIS's {name} of a language model", DENIED, NOT_PEFT)
        for name in ("locon", "loha", "lokr", "full")
    ),
    Row("mlx-lm-0.32.2", "other_formats", "lora", "LoRA by mlx_lm lora, on the CPU", DENIED, NOT_PEFT),
)
ROWS: tuple[Row, ...] = (*_peft(), *OTHERS)
