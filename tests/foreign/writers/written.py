"""What each writer leaves behind: one folder a row, with the adapter as the tool wrote it and the tool's own answers.

Runs in the tool's own environment, so it needs nothing but torch, and only where a row has answers.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROWS, COLUMNS, FIRST = 2, 12, 5
"""The prompt of every comparison: token ids counted up from FIRST."""


def places() -> tuple[Path, Path]:
    """Return the folder to write to and the folder of the zoo's base, as the command line names them."""
    out, base = map(Path, sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    return out, base


def prompt() -> Any:
    import torch

    return torch.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS) + FIRST


def answers(model: Any) -> list[Any]:
    """Return the tool's own logits (or hidden states, where it has no head) for the prompt."""
    import torch

    ids = prompt()
    with torch.no_grad():
        out = model.eval()(input_ids=ids, attention_mask=torch.ones_like(ids))
    found = out.logits if getattr(out, "logits", None) is not None else out.last_hidden_state
    return found.float().tolist()


def keep(folder: Path, logits: list[Any] | None = None) -> None:
    """Write the tool's answers beside the adapter."""
    if logits is not None:
        (folder / "answers.json").write_text(json.dumps(logits), "utf-8")


def each(rows: dict[str, Callable[[Path], list[Any] | None]], out: Path) -> None:
    """Write every row; one that the tool cannot write is said in its folder, and does not stop the others."""
    for name, write in rows.items():
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            keep(folder, write(folder))
        except Exception as error:  # whatever a tool raises is what the table reports
            (folder / "failed.txt").write_text(f"{type(error).__name__}: {error}"[:2000], "utf-8")


def keep_base(model: Any, base: Path, folder: Path) -> None:
    """Save the row's own base as float32 before an adapter is put in, with the zoo's tokenizer beside it."""
    model.save_pretrained(str(folder / "base"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / "base" / name).write_bytes((base / name).read_bytes())


def stir(model: Any, scale: float = 0.05) -> None:
    """Move every trainable number by a seeded draw: an adapter whose effect is seen, without training."""
    import torch

    draw = torch.Generator().manual_seed(17)
    for name, parameter in sorted(model.named_parameters()):
        if parameter.requires_grad:
            assert name
            parameter.data.add_(scale * torch.randn(parameter.shape, generator=draw))
