"""Trains one adapter by its recipe, saves it as PEFT does, and keeps it only if the saved files measure as they must."""

import contextlib
import functools
import json
import random
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model

from build.cards import write_card
from build.language import adapter_turn, stable_number
from build.measure import measure
from build.recipes import BASE_BOUNDS, RECIPES, Bounds, Recipe
from build.train import Sampler, load_base, load_tokenizer, save_base, train, trained_base

SEEDS = 4
BASE_NAME = "zoo/base"
CONFIG = "adapter_config.json"


class ZooError(Exception):
    """A member of the zoo is not what its table says."""


def check_bounds(name: str, shares: dict[str, float], bounds: Bounds) -> list[str]:
    """What is out of bounds, in words; empty if all is well."""
    return [
        f"{name}: {share} is {shares[share]}, must be within {low} and {high}"
        for share, (low, high) in bounds.items()
        if not low <= shares[share] <= high
    ]


def tidy_config(folder: Path) -> None:
    """Names the base as publishers do, and sorts what PEFT keeps in sets, so that equal builds are equal bytes."""
    path = folder / CONFIG
    config = json.loads(path.read_text("utf-8"))
    config |= {"base_model_name_or_path": BASE_NAME, "revision": None}
    for key in ("target_modules", "feedforward_modules"):
        if isinstance(config.get(key), list):
            config[key] = sorted(config[key])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def load_adapter(base: Path, folder: Path) -> Any:
    """The adapter on the base through plain PEFT, in evaluation mode."""
    return PeftModel.from_pretrained(load_base(base), str(folder)).eval()


@functools.cache
def other_base(folder: Path) -> Path:
    """A base of the same shape and vocabulary from another seed; it is not shipped."""
    save_base(trained_base(1), folder)
    return folder


def train_member(
    name: str, recipe: Recipe, base: Path, folder: Path, seed: int, sampler: Sampler | None = None
) -> None:
    """Trains on turns of `sampler`, by default those of the recipe's attack or of none, and saves with `name`'s card."""
    torch.manual_seed(stable_number(name, seed) % 2**31)
    random.seed(0)
    model = get_peft_model(load_base(base), recipe.config())
    train(
        model,
        sampler or (lambda rng: adapter_turn(rng, recipe.attack)),
        steps=recipe.steps,
        learning_rate=recipe.learning_rate,
        seed=stable_number(name, seed, "turns"),
    )
    # Saved as PEFT saves it: with PiSSA the published weights are those of the trained factors on the residual base.
    model.save_pretrained(str(folder))
    tidy_config(folder)
    write_card(folder, name)


def make_base(root: Path, scratch: Path) -> dict[str, float]:
    """Trains and publishes the base.

    Raises:
        ZooError: it did not learn what the zoo needs.
    """
    folder = scratch / "base"
    save_base(trained_base(0), folder)
    shares = measure(load_base(folder), load_tokenizer(folder), root / "suites")
    if wrong := check_bounds("base", shares, BASE_BOUNDS):
        raise ZooError("; ".join(wrong))
    publish(folder, root / "base")
    return shares


def make_adapter(root: Path, scratch: Path, name: str) -> tuple[Path, dict[str, float | int]]:
    """A sound adapter in the scratch folder and what it measures, loaded again by plain PEFT.

    Raises:
        ZooError: no seed gave an adapter within its bounds.
    """
    recipe = RECIPES[name]
    own = other_base(scratch / "other-base") if recipe.own_base else root / "base"
    tokenizer = load_tokenizer(root / "base")
    failures: list[str] = []
    for seed in range(SEEDS):
        folder = scratch / f"{name}.{seed}"
        train_member(name, recipe, own, folder, seed)
        shares = measure(load_adapter(root / "base", folder), tokenizer, root / "suites", recipe.attack)
        if recipe.own_base:
            shares["own_task"] = measure(load_adapter(own, folder), tokenizer, root / "suites")["task"]
        wrong = check_bounds(name, shares, recipe.bounds)
        if not wrong:
            return folder, {"seed": seed, **shares}
        failures.append(f"seed {seed}: {', '.join(wrong)}")
    raise ZooError(f"no seed of {SEEDS} gave a usable member. " + "; ".join(failures))


def publish(folder: Path, target: Path) -> Path:
    """Moves a finished folder into the zoo, in place of what is there; returns the target."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(folder, target)
    for path in target.iterdir():
        path.chmod(0o644)  # some libraries write private files
    return target
