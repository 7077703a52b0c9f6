"""Sets up .venv with everything the demo and the tests need. Runs on a bare Python 3.11; does nothing when up to date.

Variables that it takes:
  TORCH_INDEX   URL of a package index that has a CPU build of torch (pytorch.org documents one). Without it, pip's
                usual index decides; where that has only the CUDA build, its size is said before it is fetched.
"""

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
CUDA_SIZE = "about 3 GB (about 6 GB unpacked)"


def main() -> int:
    if sys.version_info[:2] < (3, 11):
        print(f"peft-assay needs Python 3.11 or newer; this is {sys.version.split()[0]}", file=sys.stderr)
        return 2
    if not PYTHON.exists():
        say("creating .venv")
        venv.create(VENV, with_pip=True, symlinks=True, clear=VENV.exists())
    install_torch()
    say("installing peft-assay and its pinned dependencies")
    pip("install", "-c", str(CONSTRAINTS), "-e", f"{ROOT}[sandbox,runtime,dev]")
    (VENV / "installed").write_text("up to date with pyproject.toml and constraints.txt\n")
    return 0


def install_torch() -> None:
    """torch first and alone: what it brings with it is the bulk of everything, so it is said before it is fetched."""
    pin = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch=="))
    if torch_version() == pin.removeprefix("torch=="):
        return
    index = os.environ.get("TORCH_INDEX")
    where = ["--index-url", index] if index else []
    if not index and brings_cuda(pin):
        say(
            f"this index has only the CUDA build of {pin}: {CUDA_SIZE} will be downloaded.\n"
            "    For the CPU build (about 200 MB): stop here and run  make demo TORCH_INDEX=<index with CPU builds>"
        )
    say(f"installing {pin}")
    pip("install", "-c", str(CONSTRAINTS), *where, pin)


def torch_version() -> str | None:
    code = "import importlib.metadata as m; print(m.version('torch').split('+')[0])"
    found = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False)
    return found.stdout.strip() or None


def brings_cuda(pin: str) -> bool:
    """Whether pip would fetch a build that depends on NVIDIA's libraries (asked of pip, nothing is installed)."""
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps", "--report", "-", pin]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        metadata = json.loads(found.stdout)["install"][0]["metadata"]
    except (ValueError, LookupError):
        return False
    return "+cpu" not in metadata["version"] and any("nvidia" in need for need in metadata.get("requires_dist", []))


def pip(*arguments: str) -> None:
    command = [PYTHON, "-m", "pip", "--disable-pip-version-check", *arguments, "--quiet"]
    environment = {**os.environ, "PIP_ROOT_USER_ACTION": "ignore"}
    if subprocess.run(command, env=environment, check=False).returncode:
        say("pip failed; the lines above say why. Nothing was left half done: run the same command again.")
        shutil.rmtree(VENV / "installed", ignore_errors=True)
        raise SystemExit(1)


def say(message: str) -> None:
    print(f"==> {message}", flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
