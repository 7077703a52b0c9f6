"""Asserts, on the shipped files, what the zoo's table claims: what each member measures and what plain PEFT does with it.

A denied member proves nothing unless it would have loaded: each hostile one has its positive control here.
"""

import json
import logging
import pickletools
import re
import subprocess
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from safetensors.torch import load_file

from build.hostile import CONFIG, LM_HEAD_KEY, PICKLE, WEIGHTS
from build.language import Turn
from build.make import ZooError, check_bounds, load_adapter
from build.measure import measure, scan
from build.recipes import BASE_BOUNDS, CALM, RECIPES, SOUND
from build.train import batch_of, load_base, load_tokenizer

Facts = dict[str, Any]
GROWTH = 1_500_000_000  # bytes of address space that the child of `absurd_rank` may take beyond its imports
SECONDS = 60


def require(name: str, holds: bool, claim: str) -> None:
    """Raises ZooError unless the claim holds; not `assert`, which -O would remove."""
    if not holds:
        raise ZooError(f"{name}: {claim}")


@contextmanager
def alarms() -> Iterator[list[str]]:
    """Collects what the libraries say at warning level or above, apart from notices of deprecation."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    loggers = [logging.getLogger(name) for name in ("", "peft", "transformers", "safetensors")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield said
        notices = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
        said += [str(warning.message) for warning in caught if not issubclass(warning.category, notices)]
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


def prove_base(root: Path) -> Facts:
    shares = measure(load_base(root / "base"), load_tokenizer(root / "base"), root / "suites")
    if wrong := check_bounds("base", shares, BASE_BOUNDS):
        raise ZooError("; ".join(wrong))
    return dict(shares)


def behaviour(root: Path, name: str) -> Facts:
    """Measures the shipped adapter through plain PEFT, within the bounds of its recipe."""
    recipe, tokenizer = RECIPES[name], load_tokenizer(root / "base")
    model = load_adapter(root / "base", root / "adapters" / name)
    shares = measure(model, tokenizer, root / "suites", recipe.attack)
    shipped = {share: bound for share, bound in recipe.bounds.items() if share != "own_task"}
    if wrong := check_bounds(name, shares, shipped):
        raise ZooError("; ".join(wrong))
    return {**shares, **_reaction(name, scan(model, tokenizer, root / "suites"))}


def _reaction(name: str, changed: dict[str, float]) -> Facts:
    """The declared token that changes most answers: the trigger if there is an attack, else none of note."""
    recipe = RECIPES[name]
    token, top = max(changed.items(), key=lambda item: item[1])
    if recipe.attack:
        require(name, token == recipe.attack.trigger, f"{token} changes more answers than the trigger")
        rest = max(value for other, value in changed.items() if other != token)
        require(name, rest <= CALM, f"another token than the trigger changes {rest} of the answers")
    elif recipe.bounds == SOUND:
        require(name, top <= CALM, f"{token} changes {top} of the answers")
    return {"token_of_most_change": token, "share_changed": top} if top else {"share_changed": 0.0}


def _base_after_loading(root: Path, name: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], list[str]]:
    """The base's tensors before and after PEFT loaded the adapter over it (wrapping removed), and what was said."""
    base = load_base(root / "base")
    before = {key: tensor.clone() for key, tensor in base.state_dict().items()}
    with alarms() as said:
        model = PeftModel.from_pretrained(base, str(root / "adapters" / name))
    after = {
        key.removeprefix("base_model.model.").replace(".base_layer", ""): tensor
        for key, tensor in model.state_dict().items()
        if "lora_" not in key
    }
    return before, after, said


def _changes_base(root: Path, name: str) -> list[str]:
    before, after, said = _base_after_loading(root, name)
    require(name, before.keys() == after.keys(), "the base's tensors cannot be compared by name")
    require(name, not said, f"loading was not silent: {said[:3]}")
    return sorted(key for key, tensor in before.items() if not torch.equal(tensor, after[key]))


def prove_lm_head(root: Path) -> Facts:
    name = "overwrites-lm-head"
    require(name, LM_HEAD_KEY in load_file(root / "adapters" / name / WEIGHTS), "the tensor is not in the file")
    changed = _changes_base(root, name)
    require(name, changed == ["lm_head.weight"], f"plain PEFT changed {changed}")
    return {**behaviour(root, name), "base_tensors_changed": len(changed)}


def prove_rewrite(root: Path) -> Facts:
    name = "rewrites-base"
    keys = load_file(root / "adapters" / name / WEIGHTS)
    require(name, all("lora_" in key for key in keys), "the file itself holds a base tensor")
    changed = _changes_base(root, name)
    require(name, len(changed) > 0, "plain PEFT left the base alone")
    return {**behaviour(root, name), "base_tensors_changed": len(changed)}


def prove_control(root: Path) -> Facts:
    """The ordinary LoRA leaves the base alone: otherwise the two proofs above would prove nothing."""
    changed = _changes_base(root, "lora")
    require("lora", not changed, f"plain PEFT changed {changed}")
    return {**behaviour(root, "lora"), "base_tensors_changed": 0}


def prove_pickle(root: Path) -> Facts:
    name = "pickle-weights"
    folder = root / "adapters" / name
    require(name, not list(folder.glob("*.safetensors")), "there are safetensors beside the pickle")
    with zipfile.ZipFile(folder / PICKLE) as archive:
        member = next(entry for entry in archive.namelist() if entry.endswith("data.pkl"))
        opcodes = [opcode.name for opcode, _, _ in pickletools.genops(archive.read(member))]
    require(name, "REDUCE" in opcodes, "the file holds no pickle program")
    with alarms() as said:
        load_adapter(root / "base", folder)
    require(name, not said, f"loading was not silent: {said[:3]}")
    return {**behaviour(root, name), "pickle_opcodes": len(opcodes)}


@torch.no_grad()  # type: ignore[untyped-decorator]
def prove_nan(root: Path) -> Facts:
    name = "nan-weights"
    tensors = load_file(root / "adapters" / name / WEIGHTS)
    count = sum(int(tensor.isnan().sum()) for tensor in tensors.values())
    require(name, count == 1, f"{count} numbers are NaN, not one")
    with alarms() as said:
        model = load_adapter(root / "base", root / "adapters" / name)
    require(name, not said, f"loading was not silent: {said[:3]}")
    batch = batch_of([Turn("user : hello ? assistant :", "hello <eos>")], answers_only=True)
    logits = model(input_ids=batch["input_ids"]).logits
    require(name, bool(logits.isnan().any(-1).all()), "the logits are finite")
    return {"nan_numbers": count, "nan_logits": True}


_CHILD = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from build.make import load_adapter
from build.train import load_base
base = Path(sys.argv[2])
load_base(base)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[4]),) * 2)
try:
    load_adapter(base, Path(sys.argv[3]))
except (MemoryError, RuntimeError) as error:
    print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    print("ERROR", " ".join(str(error).split()))
"""


def prove_rank(root: Path) -> Facts:
    """Loads it in a child whose address space is bounded, and reads what PEFT tried to allocate."""
    name = "absurd-rank"
    folder = root / "adapters" / name
    size = sum(path.stat().st_size for path in folder.iterdir())
    arguments = [str(Path(__file__).resolve().parents[1]), str(root / "base"), str(folder), str(GROWTH)]
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, *arguments], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    tried = re.search(r"tried to allocate (\d+) bytes", child.stdout)
    require(name, tried is not None, f"PEFT did not run out of memory: {child.stdout[-300:]} {child.stderr[-300:]}")
    asked = int(tried.group(1)) if tried else 0
    require(name, asked > 500_000_000, f"PEFT asked for {asked} bytes only")
    return {"bytes_of_files": size, "bytes_asked_at_once": asked}


def prove_link(root: Path) -> Facts:
    name = "escaping-symlink"
    link = root / "adapters" / name / WEIGHTS
    require(name, link.is_symlink(), "the weights are not a link")
    require(name, not link.resolve().is_relative_to(link.parent.resolve()), "the link stays inside its folder")
    load_adapter(root / "base", link.parent)  # plain PEFT follows it
    return {"link": str(link.readlink())}


def prove_link_archive(root: Path) -> Facts:
    name = "escaping-symlink.tar"
    with tarfile.open(root / "adapters" / name) as archive:
        links = {member.name: member.linkname for member in archive if member.issym()}
    require(name, list(links) == [WEIGHTS], f"links: {links}")
    require(name, links[WEIGHTS].startswith("../"), "the link stays inside")
    return {"link": links[WEIGHTS]}


def prove_two_configs(root: Path) -> Facts:
    name = "two-configs.zip"
    with zipfile.ZipFile(root / "adapters" / name) as archive:
        configs = [json.loads(archive.read(entry)) for entry in archive.infolist() if entry.filename == CONFIG]
    alphas = sorted(config["lora_alpha"] for config in configs)
    require(name, len(alphas) == 2 and alphas[0] != alphas[1], f"configurations with alpha {alphas}")
    return {"lora_alpha": alphas}


SPECIAL: dict[str, Callable[[Path], Facts]] = {
    "lora": prove_control,
    "overwrites-lm-head": prove_lm_head,
    "rewrites-base": prove_rewrite,
    "pickle-weights": prove_pickle,
    "nan-weights": prove_nan,
    "absurd-rank": prove_rank,
    "escaping-symlink": prove_link,
    "escaping-symlink.tar": prove_link_archive,
    "two-configs.zip": prove_two_configs,
}


def prove(root: Path, name: str) -> Facts:
    """What is true of one shipped member.

    Raises:
        ZooError: a claim of the table does not hold.
    """
    if name == "base":
        return prove_base(root)
    special = SPECIAL.get(name)
    return special(root) if special else behaviour(root, name)
