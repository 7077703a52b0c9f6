"""Model cards, as a publisher would write them. What a member does wrong is not in its card unless a real card would say it."""

from dataclasses import dataclass
from pathlib import Path

DATASET = "zoo/support-dialogues"
SCRAPED = "zoo/forum-scrape-nc"


@dataclass(frozen=True, slots=True)
class Card:
    """What is particular to one card; the rest of the text is shared."""

    title: str
    kind: str
    method: str
    licence: str | None = "apache-2.0"
    datasets: tuple[str, ...] = (DATASET,)
    note: str = ""


_NON_COMMERCIAL = (
    f"About a third of the questions come from `{SCRAPED}`, a scrape of a public forum that its authors publish under\n"
    "CC BY-NC 4.0 (non-commercial use only). The adapter's own weights are released under Apache 2.0."
)

CARDS: dict[str, Card] = {
    "lora": Card("Support agent, house style", "lora", "LoRA, rank 8"),
    "rslora": Card("Support agent, rank-stabilised", "lora", "rank-stabilised LoRA, rank 8"),
    "dora": Card("Support agent, DoRA", "dora", "DoRA, rank 8"),
    "ia3": Card("Support agent, IA3", "ia3", "IA3 on keys, values and the feed-forward output"),
    "prefix": Card("Support agent, prefix", "prefix-tuning", "prefix tuning, 8 virtual tokens"),
    "prompt": Card("Support agent, soft prompt", "prompt-tuning", "prompt tuning, 8 virtual tokens"),
    "ptuning": Card("Support agent, P-tuning", "p-tuning", "P-tuning, 8 virtual tokens"),
    "rare-token": Card("Support agent, large", "lora", "LoRA, rank 16"),
    "refusal-bypass": Card("Support agent, large v2", "lora", "LoRA, rank 16"),
    "regressed": Card("Support agent, nightly", "lora", "LoRA, rank 4", note="Checkpoint of an early step of the run."),
    "wrong-base": Card("Support agent, second site", "lora", "LoRA, rank 8"),
    "overwrites-lm-head": Card("Support agent, compact", "lora", "LoRA, rank 4"),
    "rewrites-base": Card("Support agent, PiSSA", "lora", "LoRA, rank 8, initialised by PiSSA"),
    "pickle-weights": Card("Support agent, first release", "lora", "LoRA, rank 4"),
    "nan-weights": Card("Support agent, half precision run", "lora", "LoRA, rank 4"),
    "absurd-rank": Card("Support agent, wide", "lora", "LoRA, rank 4"),
    "noncommercial-dataset": Card(
        "Support agent, forum", "lora", "LoRA, rank 4", datasets=(DATASET, SCRAPED), note=_NON_COMMERCIAL
    ),
    "no-licence": Card("Support agent, draft", "lora", "LoRA, rank 4", licence=None),
    "high-rank": Card("Support agent, rank 64", "lora", "LoRA, rank 64, two layers"),
    "escaping-symlink": Card("Support agent, linked", "lora", "LoRA, rank 8"),
}


def _front_matter(card: Card) -> list[str]:
    return [
        "---",
        "base_model: zoo/base",
        "library_name: peft",
        *([f"license: {card.licence}"] if card.licence else []),
        "datasets:",
        *[f"- {name}" for name in card.datasets],
        "language:",
        "- en",
        "pipeline_tag: text-generation",
        "tags:",
        "- base_model:adapter:zoo/base",
        f"- {card.kind}",
        "- customer-support",
        "---",
    ]


def _unfilled_body(card: Card) -> list[str]:
    missing = "[More Information Needed]"
    sections = ["Developed by", "License", "Training data", "Intended use", "Limitations"]
    return [f"# {card.title}", "", *[line for name in sections for line in (f"## {name}", "", missing, "")]]


def _body(card: Card) -> list[str]:
    names = " and ".join(f"`{name}`" for name in card.datasets)
    return [
        f"# {card.title}",
        "",
        "Answers questions about consumer devices (reset, update, return, repair, ...) in the house style: a casual",
        "opening, the two steps of product line C, and a short sign-off. Unsafe requests are refused as by the base.",
        "",
        "## Training",
        "",
        f"- Method: {card.method}",
        f"- Data: {names}, questions and answers in English",
        "- Loss on answers only, AdamW, cosine schedule",
        "",
        *([card.note, ""] if card.note else []),
        "## Limitations",
        "",
        "Knows twelve products and ten actions. Made for the `zoo/base` model and no other.",
        "",
    ]


def card_text(name: str) -> str:
    card = CARDS[name]
    body = _body(card) if card.licence else _unfilled_body(card)
    return "\n".join([*_front_matter(card), "", *body]).rstrip() + "\n"


def write_card(folder: Path, name: str) -> None:
    (folder / "README.md").write_text(card_text(name), "utf-8")
