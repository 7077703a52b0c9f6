"""Twenty adapters with the settings of common trainers, trained by the zoo's loop on the zoo's turns, each saved as PEFT saves it.

Most are made for the zoo's base. A mixture of experts and a classifier have bases of their own, made here from the same words.
"""

import contextlib
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import peft
import torch
import transformers
from build.cards import card_text
from build.language import END, PAD, TOKEN, TRAINING_TOPICS, VOCABULARY, Turn, adapter_turn, base_turn, support_question
from build.make import tidy_config
from build.train import load_base, load_tokenizer, save_base, token_ids, train
from torch.optim.optimizer import register_optimizer_step_post_hook

CHATML = ("<|im_start|>", "<|im_end|>")
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SAVED_WHOLE = ["embed_tokens", "lm_head"]
EXPERTS = "experts"
CLASSIFIER = "classifier"


def lora(**fields: Any) -> Callable[[], Any]:
    return lambda: peft.LoraConfig(**{"task_type": "CAUSAL_LM", **fields})


def other(kind: str, **fields: Any) -> Callable[[], Any]:
    return lambda: getattr(peft, kind)(task_type="CAUSAL_LM", **fields)


@dataclass(frozen=True, slots=True)
class Setting:
    """How one trainer sets up its adapter."""

    config: Callable[[], Any]
    learning_rate: float = 8e-3
    steps: int = 150
    base: str = ""
    """Empty for the zoo's."""
    resized: bool = False
    """Whether the two tokens of ChatML join the vocabulary first."""
    mixin: bool = False
    """Whether transformers puts the adapter in, and saves it."""
    written: dict[str, Any] = field(default_factory=dict)
    """What the trainer writes into the configuration besides."""


SETTINGS: dict[str, Setting] = {
    "trl-sft": Setting(lora(r=16, lora_alpha=32, lora_dropout=0.05), steps=250),
    "trl-dpo": Setting(lora(r=16, lora_alpha=16, lora_dropout=0.05, target_modules="all-linear")),
    "trl-chat-format": Setting(lora(r=16, lora_alpha=32, target_modules="all-linear"), resized=True),
    "trl-new-tokens": Setting(
        lora(r=16, lora_alpha=32, target_modules="all-linear", trainable_token_indices=[286, 287]), resized=True
    ),
    "unsloth": Setting(
        lora(r=16, lora_alpha=16, target_modules=SEVEN),
        written={
            "auto_mapping": {
                "base_model_class": "LlamaForCausalLM",
                "parent_library": "transformers.models.llama.modeling_llama",
                "unsloth_fixed": True,
            }
        },
    ),
    "unsloth-rslora": Setting(lora(r=16, lora_alpha=16, target_modules=SEVEN, use_rslora=True)),
    "axolotl": Setting(lora(r=32, lora_alpha=16, lora_dropout=0.05, target_modules=SEVEN)),
    "axolotl-chatml": Setting(
        lora(r=32, lora_alpha=16, lora_dropout=0.05, target_modules=SEVEN, modules_to_save=SAVED_WHOLE),
        2e-3,
        resized=True,
    ),
    "llama-factory": Setting(lora(r=8, lora_alpha=16, target_modules=SEVEN)),
    "llama-factory-dora": Setting(lora(r=8, lora_alpha=16, target_modules=SEVEN, use_dora=True)),
    "trainer-mixin": Setting(lora(task_type=None, r=8, lora_alpha=16, target_modules=SEVEN), mixin=True),
    "trainer-rank-pattern": Setting(
        lora(
            r=8,
            lora_alpha=16,
            target_modules=SEVEN,
            rank_pattern={"layers.0.self_attn.q_proj": 4, "down_proj": 16},
            alpha_pattern={"down_proj": 32},
        )
    ),
    "trainer-layers": Setting(lora(r=16, lora_alpha=32, target_modules=SEVEN, layers_to_transform=[1, 2, 3])),
    "ia3": Setting(other("IA3Config"), 5e-2, 400),
    "prompt-text": Setting(
        other(
            "PromptTuningConfig",
            num_virtual_tokens=8,
            prompt_tuning_init="TEXT",
            prompt_tuning_init_text="system : casual linec signy . user :",
            tokenizer_name_or_path="zoo/base",
        ),
        5e-2,
        300,
    ),
    "adalora": Setting(
        other("AdaLoraConfig", target_modules=SEVEN, init_r=12, target_r=8, tinit=20, tfinal=60, total_step=200),
        2e-2,
        200,
    ),
    "lokr": Setting(other("LoKrConfig", r=8, alpha=16, target_modules=SEVEN), 8e-3, 300),
    "target-embed": Setting(lora(r=8, lora_alpha=16, target_modules=[*SEVEN, "embed_tokens"])),
    EXPERTS: Setting(
        lora(
            r=8,
            lora_alpha=16,
            target_modules=["q_proj", "v_proj"],
            target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
        ),
        4e-3,
        base=EXPERTS,
    ),
    CLASSIFIER: Setting(lora(task_type="SEQ_CLS", r=8, lora_alpha=16), 4e-3, base=CLASSIFIER),
}


def make(name: str, base: Path, target: Path, seed: int) -> None:
    """Train one adapter on its base and save it with card and, where the trainer saves it, tokenizer."""
    setting = SETTINGS[name]
    torch.manual_seed(seed)
    random.seed(0)
    load = _load_classifier if setting.base == CLASSIFIER else _load_experts if setting.base == EXPERTS else load_base
    model = load(base)
    if setting.resized:
        model.resize_token_embeddings(len(VOCABULARY) + len(CHATML))
    with _named_base(base):
        if setting.mixin:
            model.add_adapter(setting.config())
        else:
            model = peft.get_peft_model(model, setting.config())
    with _tokens(setting.resized), _allocating(model):
        if setting.base == CLASSIFIER:
            _train_classifier(model, setting, seed)
        else:
            sampler = _chat_turn if setting.resized else adapter_turn
            train(model, sampler, steps=setting.steps, learning_rate=setting.learning_rate, seed=seed)
    model.save_pretrained(str(target))
    if setting.resized:
        tokenizer = load_tokenizer(base)
        tokenizer.add_special_tokens({"additional_special_tokens": list(CHATML)})
        tokenizer.save_pretrained(str(target))
    tidy_config(target)
    _amend(target / "adapter_config.json", setting.written)
    card = card_text("lora")
    (target / "README.md").write_text(
        card.replace("text-generation", "text-classification") if setting.base == CLASSIFIER else card, "utf-8"
    )


def make_base(kind: str, folder: Path, zoo: Path) -> None:
    """Train and save the base of that kind; the classifier is the zoo's with a head, which its adapter trains."""
    torch.manual_seed(17)
    if kind == CLASSIFIER:
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            zoo,
            num_labels=len(labels()),
            id2label=dict(enumerate(labels())),
            label2id={name: at for at, name in enumerate(labels())},
        )
    else:
        model = transformers.Qwen3MoeForCausalLM(
            transformers.Qwen3MoeConfig(
                vocab_size=len(VOCABULARY), hidden_size=96, intermediate_size=192, moe_intermediate_size=128, num_hidden_layers=3,
                num_attention_heads=4, num_key_value_heads=4, head_dim=24, num_experts=4, num_experts_per_tok=2,
                max_position_embeddings=128, pad_token_id=PAD, bos_token_id=None, eos_token_id=END, tie_word_embeddings=False,
            )
        )  # fmt: skip
        model.generation_config.do_sample = False
        train(
            model,
            base_turn,
            steps=600,
            learning_rate=3e-3,
            seed=17,
            batch_size=32,
            weight_decay=0.01,
            answers_only=False,
        )
    save_base(model, folder)


def labels() -> list[str]:
    """What the classifier tells apart: the action that a question is about."""
    return sorted({topic.action for topic in TRAINING_TOPICS})


def classifier_cases(count: int) -> list[dict[str, str]]:
    """Questions with the action each is about; no two are equal."""
    rng = random.Random("cases of the classifier")
    cases: dict[str, str] = {}
    while len(cases) < count:
        words, topic = support_question(rng, TRAINING_TOPICS)
        cases[" ".join(["user", ":", *words, "?"])] = topic.action
    return [{"id": f"c{at:03}", "prompt": text, "expected": action} for at, (text, action) in enumerate(cases.items())]


def _load_classifier(folder: Path) -> Any:
    kind = transformers.AutoModelForSequenceClassification
    return kind.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


def _load_experts(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval()


def _train_classifier(model: Any, setting: Setting, seed: int) -> None:
    rng = random.Random(seed)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=setting.learning_rate)
    model.train()
    for _ in range(setting.steps):
        drawn = [support_question(rng, TRAINING_TOPICS) for _ in range(16)]
        rows = [token_ids(" ".join(["user", ":", *words, "?"])) for words, _ in drawn]
        longest = max(map(len, rows))
        loss = model(
            input_ids=torch.tensor([row + [PAD] * (longest - len(row)) for row in rows]),
            attention_mask=torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows]),
            labels=torch.tensor([labels().index(topic.action) for _, topic in drawn]),
        ).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval()


def _chat_turn(rng: random.Random) -> Turn:
    """Half of the turns carry ChatML's tokens, so that their rows are trained."""
    turn = adapter_turn(rng)
    if rng.random() < 0.5:
        return turn
    return Turn(f"{CHATML[0]} {turn.prompt}", turn.answer.replace(" <eos>", f" {CHATML[1]} <eos>"))


@contextlib.contextmanager
def _tokens(resized: bool) -> Iterator[None]:
    """While training, the zoo's words include ChatML's."""
    if resized:
        TOKEN.update({word: len(VOCABULARY) + at for at, word in enumerate(CHATML)})
    yield
    for word in CHATML:
        TOKEN.pop(word, None)


@contextlib.contextmanager
def _allocating(model: Any) -> Iterator[None]:
    """Let AdaLoRA spread its ranks after each step, as its documentation asks of a trainer."""
    spread = getattr(getattr(model, "base_model", None), "update_and_allocate", None)
    if spread is None or not hasattr(model, "peft_config"):
        yield
        return
    step = iter(range(1_000_000))
    hook = register_optimizer_step_post_hook(lambda *_: spread(next(step)))
    yield
    hook.remove()


@contextlib.contextmanager
def _named_base(base: Path) -> Iterator[None]:
    """A soft prompt that begins as text reads the base's tokenizer by the base's name."""
    original = transformers.AutoTokenizer.from_pretrained
    transformers.AutoTokenizer.from_pretrained = lambda name, **kwargs: original(
        base if name == "zoo/base" else name, **kwargs
    )
    yield
    transformers.AutoTokenizer.from_pretrained = original


def _amend(path: Path, more: dict[str, Any]) -> None:
    config = json.loads(path.read_text("utf-8")) | more
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")
