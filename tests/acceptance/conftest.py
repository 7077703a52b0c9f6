"""The command line as a user meets it: a process of its own, a project of its own, what it prints and how it ends."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from peft_assay.cli.main import run
from peft_assay.store.ledger import Kind
from peft_assay.store.workspace import Workspace

ZOO = Path(__file__).resolve().parents[2] / "examples" / "zoo"
SRC = Path(__file__).resolve().parents[2] / "src"


@dataclass(frozen=True)
class Project:
    """A copy of the zoo's project (without its adapters), its workspace beside it, its anchor elsewhere."""

    folder: Path
    trust: Path

    @property
    def document(self) -> Path:
        return self.folder / "peft-assay.yaml"

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "peft_assay", *arguments, "--trust", str(self.trust)]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line in this process: what it prints and the exit code it would end with."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run([*arguments, "--trust", str(self.trust)])
        return _checked(subprocess.CompletedProcess(arguments, code, out.getvalue(), err.getvalue()))

    def run_apart(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line as it is, in a process of its own, with exactly `arguments`."""
        return _checked(
            subprocess.run(
                [sys.executable, "-m", "peft_assay", *arguments],
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=240,
                check=False,
            )
        )

    def replace(self, old: str, new: str) -> None:
        text = self.document.read_text()
        assert old in text
        self.document.write_text(text.replace(old, new))

    def certificates(self) -> int:
        """Certificates in the workspace, by an audit that re-reads every blob and ledger leaf."""
        if not (self.folder / ".peft-assay").exists():
            return 0
        with Workspace.open(self.folder) as workspace:
            workspace.audit()
            return sum(entry.kind is Kind.CERTIFIED for entry in workspace.history())


def _checked(done: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert "Traceback" not in done.stderr + done.stdout
    assert "this is a bug" not in done.stderr + done.stdout
    return done


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("pristine")
    folder = place / "project"
    shutil.copytree(ZOO, folder, ignore=shutil.ignore_patterns("adapters", "build", ".peft-assay"))
    assert Project(folder, place / "trust").run("init").returncode == 0
    return place


@pytest.fixture
def project(pristine: Path, tmp_path: Path) -> Project:
    shutil.copytree(pristine / "project", tmp_path / "project")
    shutil.copytree(pristine / "trust", tmp_path / "trust")
    return Project(tmp_path / "project", tmp_path / "trust")


@pytest.fixture
def lora() -> str:
    return str(ZOO / "adapters/lora")
