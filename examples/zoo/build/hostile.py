"""Turns sound adapters into members that must not be loaded, and writes the containers that intake must refuse.

Each does what a real attacker or a broken export does; none runs code. `prove` shows that plain PEFT takes them.
"""

import io
import json
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from build.cards import card_text

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
LINK = "../lora/adapter_model.safetensors"
LM_HEAD_KEY = "base_model.model.lm_head.weight"
ABSURD_RANK = 2_000_000
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip member; any fixed one keeps rebuilds equal


def _rewrite(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def overwrite_lm_head(folder: Path) -> None:
    """Adds a tensor that no adapter declares: PEFT loads it over the base's output layer without a word."""
    head = load_file(folder.parents[1] / "base" / "model.safetensors")["lm_head.weight"].float()
    noise = torch.randn(head.shape, generator=torch.Generator().manual_seed(7))
    # Small enough to pass every behavioural test: only reading the file's keys shows it.
    _rewrite(folder, {**load_file(folder / WEIGHTS), LM_HEAD_KEY: head + 1e-3 * noise})


def put_nan(folder: Path) -> None:
    """One number that is none, in the first value projection: every logit becomes NaN.

    In a query projection it can go unnoticed: torch's fused attention on CPU gives finite numbers for a NaN score.
    """
    tensors = load_file(folder / WEIGHTS)
    first = min(key for key in tensors if "v_proj.lora_B" in key)
    tensors[first][0, 0] = float("nan")
    _rewrite(folder, tensors)


def to_pickle(folder: Path) -> None:
    """The weights as torch.save writes them; the file is an ordinary, harmless pickle."""
    buffer = io.BytesIO()  # saved to a path, the archive would carry the file's name
    torch.save(load_file(folder / WEIGHTS), buffer)
    (folder / PICKLE).write_bytes(buffer.getvalue())
    (folder / WEIGHTS).unlink()


def ask_absurd_rank(folder: Path) -> None:
    """A few kilobytes of configuration that make PEFT allocate gigabytes before it compares any shape."""
    config = json.loads((folder / CONFIG).read_text("utf-8"))
    config["rank_pattern"] = {"q_proj": ABSURD_RANK}
    (folder / CONFIG).write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


TAMPERING: dict[str, Callable[[Path], None]] = {
    "overwrites-lm-head": overwrite_lm_head,
    "nan-weights": put_nan,
    "pickle-weights": to_pickle,
    "absurd-rank": ask_absurd_rank,
}


def link_folder(adapters: Path) -> None:
    """A folder whose weights are a link to a file outside of it."""
    folder = adapters / "escaping-symlink"
    folder.mkdir(exist_ok=True)
    (folder / CONFIG).write_bytes((adapters / "lora" / CONFIG).read_bytes())
    (folder / "README.md").write_text(card_text(folder.name), "utf-8")
    link = folder / WEIGHTS
    link.unlink(missing_ok=True)
    link.symlink_to(LINK)


def link_archive(adapters: Path) -> None:
    """The same as an archive: unpacked naively, its link points out of the target folder."""
    with tarfile.open(adapters / "escaping-symlink.tar", "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in _texts(adapters).items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo(WEIGHTS)
        link.type, link.linkname = tarfile.SYMTYPE, LINK
        archive.addfile(link)


def two_configs(adapters: Path) -> None:
    """An archive with two members of one name: which of them counts depends on who unpacks it."""
    contents = _texts(adapters)
    second = json.loads(contents[CONFIG]) | {"lora_alpha": 800}
    members = [
        *contents.items(),
        (WEIGHTS, (adapters / "no-licence" / WEIGHTS).read_bytes()),
        (CONFIG, (json.dumps(second, indent=2, sort_keys=True) + "\n").encode()),
    ]
    with zipfile.ZipFile(adapters / "two-configs.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns of the duplicate, which is the point
        for name, content in members:
            member = zipfile.ZipInfo(name, EPOCH)
            member.external_attr = 0o644 << 16
            archive.writestr(member, content, zipfile.ZIP_STORED)  # compressors differ between machines


def _texts(adapters: Path) -> dict[str, bytes]:
    source = adapters / "no-licence"
    return {CONFIG: (source / CONFIG).read_bytes(), "README.md": card_text("escaping-symlink").encode()}


CONTAINERS: dict[str, Callable[[Path], None]] = {
    "escaping-symlink": link_folder,
    "escaping-symlink.tar": link_archive,
    "two-configs.zip": two_configs,
}
