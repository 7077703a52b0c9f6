"""A certified copy of three of the zoo's adapters, for attacks on what was let in."""

import shutil
from pathlib import Path

import pytest

from peft_assay.cli.main import run
from runtime.conftest import ZOO, Certified, base_model

__all__ = ["base_model"]


@pytest.fixture(scope="session")
def let_in(tmp_path_factory: pytest.TempPathFactory) -> Certified:
    made = Certified(tmp_path_factory.mktemp("let-in"))
    assert run(["init", str(ZOO), "--workspace", str(made.folder), "--trust", str(made.trust)]) == 0
    assert made.run("certify", *(str(ZOO / "adapters" / name) for name in ("dora", "lora", "prompt"))) == 0
    return made


@pytest.fixture
def certified(let_in: Certified, tmp_path: Path) -> Certified:
    shutil.copytree(let_in.folder, tmp_path / "state")
    return Certified(tmp_path / "state")
