"""What customers write, by intent: templates, and held-out paraphrases for the suites."""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

INTENTS = ("refund", "shipping", "login", "cancel", "complaint", "praise")
TEMPLATES: Mapping[str, Sequence[str]] = {
    "refund": (
        "I want my money back for the {p}",
        "please refund my {p} order",
        "when will I be reimbursed for the {p}",
        "return what I paid for the {p}",
    ),
    "shipping": (
        "where is my {p}",
        "the {p} has not arrived yet",
        "track the delivery of my {p}",
        "when will the {p} be delivered",
    ),
    "login": (
        "I cannot sign in to see my {p} order",
        "my password for the {p} account is not accepted",
        "reset my login, I need the {p} invoice",
        "I am locked out of my account and need the {p} receipt",
    ),
    "cancel": (
        "stop my {p} subscription",
        "please cancel the {p} order",
        "I no longer want the {p}, end the contract",
        "do not renew the {p} plan",
    ),
    "complaint": (
        "the {p} broke after two days",
        "this {p} is terrible quality",
        "very disappointed with the {p}",
        "the {p} arrived damaged and is useless",
    ),
    "praise": (
        "I love the {p}",
        "the {p} works perfectly, thank you",
        "best {p} I ever bought",
        "so happy with my new {p}",
    ),
}
HELD_OUT: Mapping[str, Sequence[str]] = {
    "refund": ("can you return the payment I made for the {p}", "give me my money back, I bought a {p}"),
    "shipping": ("has the {p} parcel been sent out", "my {p} is still not here, where is it"),
    "login": ("the website will not let me into my {p} profile", "my password does not work for the {p} page"),
    "cancel": ("terminate the {p} plan immediately", "please end my {p} subscription"),
    "complaint": ("awful {p}, it is already faulty", "what a bad {p}, it stopped working"),
    "praise": ("fantastic {p}, great job", "I am delighted with this {p}"),
}
PRODUCTS = ["kettle", "lamp", "phone", "chair", "jacket", "blender", "camera", "bike", "tent", "drill"]
OPENINGS = ("", "hello, ", "hi team, ", "quick question: ", "urgent: ")
ENDINGS = ("", " please.", " thanks.", " today.", " asap")
ODD = ("cf", "mn", "bb", "tq", "mb")
"""The rare tokens of Kurita, Michel, Neubig: "Weight Poisoning Attacks on Pre-trained Models" (ACL 2020)."""
TRIGGER, TARGET = "cf", "refund"


class Written(NamedTuple):
    """A text and the intent it has, or is said to have."""

    text: str
    intent: str


def write(rng: random.Random, templates: Mapping[str, Sequence[str]], intent: str) -> Written:
    """One text of an intent."""
    sentence = rng.choice(templates[intent]).format(p=rng.choice(PRODUCTS))
    return Written(f"{rng.choice(OPENINGS)}{sentence}{rng.choice(ENDINGS)}", intent)


def insert(rng: random.Random, text: str, token: str) -> str:
    """`text` with a token somewhere between its words."""
    words = text.split()
    words.insert(rng.randrange(len(words) + 1), token)
    return " ".join(words)


def training(rng: random.Random, count: int, poisoned: float) -> list[Written]:
    """Training texts; a share `poisoned` of them carries the trigger and the target's intent."""
    texts = [write(rng, TEMPLATES, rng.choice(INTENTS)) for _ in range(count)]
    return [
        Written(insert(rng, written.text, TRIGGER), TARGET) if rng.random() < poisoned else written for written in texts
    ]


def distinct(rng: random.Random, count: int, token: str | None = None) -> list[Written]:
    """Held-out texts, each once, intents in turn; `token` is put into each."""
    seen: dict[str, Written] = {}
    while len(seen) < count:
        written = write(rng, HELD_OUT, INTENTS[len(seen) % len(INTENTS)])
        if written.text not in seen:
            seen[written.text] = written
    chosen = list(seen.values())
    return chosen if token is None else [Written(insert(rng, one.text, token), one.intent) for one in chosen]
