"""Is a withdrawn adapter known again, and no other taken for it? Adapters by the zoo's recipes, their twins, and each
other.

Every run of training gives four adapters: checkpoints at 90 and 95 % of its steps, its end, and the end trained 5 %
further. Runs come in groups of four: two of their own, one with the start of the first and other data, one with its
data and another start. Adapters are kept in .bench/fingerprint and trained once. Ends with lines: name, value, bound,
holds or falls short; exits 0 either way.
"""

import argparse
import hashlib
import math
import os
import platform
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ZOO = ROOT / "examples" / "zoo"
KEPT = ROOT / ".bench" / "fingerprint"
sys.path[:0] = [str(ZOO), str(ROOT / "tests" / "fingerprint")]
os.environ.setdefault("OMP_NUM_THREADS", "1")

from build.command import quiet  # noqa: E402
from build.make import tidy_config  # noqa: E402
from build.recipes import MIXED, RECIPES, Recipe, config_of, lora_config  # noqa: E402
from build.train import batch_of, fix_determinism, load_base  # noqa: E402
from rewritings import lora, rewritings, rewritten, tensors_of  # noqa: E402

from peft_assay.fingerprint.compare import judge, may_equal  # noqa: E402
from peft_assay.fingerprint.digest import function_digest  # noqa: E402
from peft_assay.fingerprint.fingerprint import Fingerprint, from_bytes, take, to_bytes  # noqa: E402
from peft_assay.fingerprint.interface import Word  # noqa: E402
from peft_assay.fingerprint.sketch import prints_of  # noqa: E402

Files = dict[str, bytes]
WEIGHTS = "adapter_model.safetensors"
HALVES = ["q_proj", "v_proj"]
KINDS: tuple[tuple[str, Recipe], ...] = (
    ("lora", Recipe(RECIPES["lora"].config, RECIPES["lora"].learning_rate, 60)),
    ("lora-4", Recipe(lora_config(4, HALVES), 1e-2, 60)),
    ("lora-16", Recipe(lora_config(16, MIXED), 8e-3, 60)),
    ("rslora", Recipe(RECIPES["rslora"].config, RECIPES["rslora"].learning_rate, 60)),
    ("dora", Recipe(RECIPES["dora"].config, 8e-3, 60)),
    ("loha", Recipe(config_of("LoHaConfig", r=8, alpha=16, target_modules=MIXED), 1e-2, 60)),
    ("lokr", Recipe(config_of("LoKrConfig", r=8, alpha=16, target_modules=MIXED), 1e-2, 60)),
    ("vera", Recipe(config_of("VeraConfig", r=32, target_modules=HALVES), 2e-2, 60)),
    ("ia3", Recipe(RECIPES["ia3"].config, 5e-2, 60)),
    ("prompt", Recipe(RECIPES["prompt"].config, 5e-2, 60)),
)
PLAIN_LORA = ("lora", "lora-4", "lora-16")
SAME = "same weights"
"""Of two runs: what starts from constants (IA3, VeRA) and learns from the same data ends the same, to the last bit."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50, help="of training; each gives four adapters")
    arguments = parser.parse_args()
    quiet()
    fix_determinism()
    print(f"machine: {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    adapters = {name: files for number in range(arguments.runs) for name, files in trained(number)}
    taken = {name: from_bytes(to_bytes(take(files, os.urandom(32)))) for name, files in adapters.items()}
    nonces = [found.nonce for found in taken.values()]
    missed, twins = twins_missed(adapters, taken)
    pairs, words = Counter[str](), Counter[tuple[str, str]]()
    for name, files in adapters.items():
        prints = prints_of(files, nonces)
        for number, (other, withdrawn) in enumerate(taken.items()):
            if other != name:
                related = relation(name, other) if files[WEIGHTS] != adapters[other][WEIGHTS] else SAME
                pairs[related] += 1
                words[related, judge(withdrawn, prints, number).value] += 1
    for related in sorted(pairs):
        counted = ", ".join(f"{word} {words[related, word]}" for word in ("equal", "near", "crafted", "other"))
        print(f"{related}: {pairs[related]} ordered pairs: {counted}")
    equal = sum(count for (related, word), count in words.items() if word == "equal" and related != SAME)
    near = sum(words["independent", word] for word in ("near", "crafted"))
    line("fingerprint.twins_missed", missed, 0, f"of {twins} twins of {len(adapters)} adapters")
    line("fingerprint.false_equals", equal, 0, f"of {sum(pairs.values()) - pairs[SAME]} ordered pairs")
    line("fingerprint.independent_near", near, 0, f"of {pairs['independent']} ordered pairs")
    tell_costs()


def trained(number: int) -> Iterator[tuple[str, Files]]:
    """Return the four adapters of run `number`, by name; an adapter whose file is not there yet is trained."""
    kind, recipe = KINDS[number // 4 % len(KINDS)]
    member, group = number % 4, number // 4
    start = 1000 + 10 * group + (0 if member == 2 else member)
    data = 5000 + 10 * group + (0 if member == 3 else member)
    names = [f"{kind}-{group}-{member}-{stage}" for stage in ("90", "95", "end", "further")]
    if not all((KEPT / name / WEIGHTS).is_file() for name in names):
        print(f"training {kind} {group}-{member}", flush=True)
        train(recipe, start, data, [KEPT / name for name in names])
    for name in names:
        yield name, {path.name: path.read_bytes() for path in (KEPT / name).iterdir()}


def train(recipe: Recipe, start: int, data: int, folders: list[Path]) -> None:
    import torch
    from build.language import adapter_turn
    from peft import get_peft_model

    torch.manual_seed(start)
    random.seed(0)
    model = get_peft_model(load_base(ZOO / "base"), recipe.config())
    rng, learnt = random.Random(data), [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=recipe.learning_rate, weight_decay=0.0)
    further = max(1, recipe.steps // 20)
    at = {int(recipe.steps * 0.9): folders[0], int(recipe.steps * 0.95): folders[1], recipe.steps: folders[2]}
    model.train()
    for step in range(recipe.steps + further):
        loss = model(**batch_of([adapter_turn(rng, recipe.attack) for _ in range(16)], answers_only=True)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learnt, 1.0)
        share = min(1, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * (share if step < recipe.steps else 0.1)
        optimizer.step()
        optimizer.zero_grad()
        folder = at.get(step + 1, folders[3] if step + 1 == recipe.steps + further else None)
        if folder is not None:
            model.save_pretrained(str(folder))
            tidy_config(folder)


def relation(one: str, other: str) -> str:
    """Return the relation of two adapters by their names (kind-group-member-stage)."""
    (_, group, member, _), (_, others, also, _) = (name.rsplit("-", 3) for name in (one, other))
    if group != others:
        return "independent"
    if member == also:
        return "same run"
    shared = {frozenset("02"): "same start, other data", frozenset("03"): "same data, other start"}
    return shared.get(frozenset((member, also)), "independent")


def twins_missed(adapters: dict[str, Files], taken: dict[str, Fingerprint]) -> tuple[int, int]:
    """Return the twins that are not equal, and all twins: every exact rewriting of a LoRA, and a copy of every adapter
    in each narrower dtype."""
    missed = count = 0
    for name, files in adapters.items():
        for change, twin in twins(name, files):
            count += 1
            if judge(taken[name], prints_of(twin, (taken[name].nonce,))) is not Word.EQUAL:
                missed += 1
                print(f"missed: {name} {change}")
    return missed, count


def twins(name: str, files: Files) -> Iterator[tuple[str, Files]]:

    plain = tensors_of(files)
    for dtype in ("F16", "BF16", "F64"):
        yield dtype, rewritten(files, plain, dtype)
    if name.startswith(PLAIN_LORA):
        yield from rewritings(files).items()


def tell_costs() -> None:
    """Return CPU times for one LoRA of the size that adapters of 7B bases have, least of three, beside sha256 of its
    bytes."""

    large = lora(rank=16, size=4096, modules=64)
    large = rewritten(large, tensors_of(large), "BF16")
    withdrawn = take(large, os.urandom(32))
    other = lora(seed=1, rank=16, size=4096, modules=64)
    other = rewritten(other, tensors_of(other), "BF16")

    def gate() -> None:
        function_digest(other)
        may_equal(withdrawn, prints_of(other))

    whole = least(lambda: hashlib.sha256(other[WEIGHTS]).digest())
    print(f"weights of {len(other[WEIGHTS]) >> 20} MiB in bfloat16; sha256 of them: {whole:.3f} CPU-s")
    acts = (
        ("digest of the function", lambda: function_digest(other)),
        ("spectra", lambda: prints_of(other)),
        ("spectra and one sketch", lambda: prints_of(other, (withdrawn.nonce,))),
        ("spectra and ten sketches", lambda: prints_of(other, [os.urandom(32) for _ in range(10)])),
        ("the gate's answer for another adapter", gate),
        ("a fingerprint, four variants", lambda: take(other, os.urandom(32))),
    )
    for name, act in acts:
        seconds = least(act)
        print(f"{name}: {seconds:.3f} CPU-s, {seconds / whole:.1f} times sha256")
    print(f"a fingerprint of it has {len(to_bytes(withdrawn))} bytes, {len(withdrawn.variants)} variants")


def least(act: object) -> float:
    best = math.inf
    for _ in range(3):
        began = time.process_time()
        act()  # type: ignore[operator]
        best = min(best, time.process_time() - began)
    return best


def line(name: str, value: int, bound: int, note: str) -> None:
    print(f"{name} {value} {bound} {'holds' if value <= bound else 'falls short'} ({note})")


if __name__ == "__main__":
    main()
