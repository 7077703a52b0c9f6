"""One certified copy of the zoo for all tests of activation; each test gets its own copy of the state."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from peft_assay.cli.main import run

ZOO = Path(__file__).resolve().parents[2] / "examples" / "zoo"
BENIGN = ("dora", "ia3", "lora", "prefix", "prompt", "ptuning", "rslora")


@dataclass(frozen=True)
class Certified:
    """A workspace in which the benign adapters are certified, with its trust anchor."""

    folder: Path

    @property
    def trust(self) -> Path:
        return self.folder / "trust"

    @property
    def place(self) -> list[str]:
        return ["--context", str(ZOO), "--workspace", str(self.folder), "--trust", str(self.trust)]

    def run(self, command: str, *arguments: str) -> int:
        return run([command, *arguments, *self.place])


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    made = Certified(tmp_path_factory.mktemp("certified"))
    assert run(["init", str(ZOO), "--workspace", str(made.folder), "--trust", str(made.trust)]) == 0
    assert made.run("certify", *(str(ZOO / "adapters" / name) for name in BENIGN)) == 0
    return made


@pytest.fixture
def certified(pristine: Certified, tmp_path: Path) -> Certified:
    shutil.copytree(pristine.folder, tmp_path / "state")
    return Certified(tmp_path / "state")


@pytest.fixture(scope="session")
def base_model() -> Iterator[Callable[[], object]]:
    """Gives a fresh base each time it is called."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.set_num_threads(1)
    yield lambda: AutoModelForCausalLM.from_pretrained(ZOO / "base", local_files_only=True).eval()
