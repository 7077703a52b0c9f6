"""Sets up .venv with everything the demo and the tests need; does nothing when up to date. Says what hinders it.

Variables that it takes:
  VENV_FOLDER   where to set up, from the repository's top. Default: .venv
  TORCH_INDEX   URL of a package index that has a CPU build of torch (pytorch.org documents one). Without it, pip's
                usual index decides; where that has only the CUDA build, its size is said before it is fetched.

Written for Python 3.6 and newer, so that an old one can say that it is too old.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / os.environ.get("VENV_FOLDER", ".venv")
PYTHON = VENV / "bin" / "python"
CONSTRAINTS = ROOT / "constraints.txt"
INPUTS = ("pyproject.toml", "constraints.txt", "tools/bootstrap.py")
STAMP = VENV / "installed"
"""Holds what was installed from; written last, so that an interrupted run is not taken for a finished one."""
OLDEST = (3, 11)
CUDA_SIZE = "about 3 GB (about 6 GB unpacked)"


def main() -> int:
    if sys.version_info[:2] < OLDEST:
        running = ".".join(map(str, sys.version_info[:3]))
        return stop(
            f"peft-assay needs Python 3.11 or newer; {sys.executable} is {running}",
            "name another one: make PYTHON=python3.11 demo",
        )
    wanted = fingerprint()
    if PYTHON.exists() and STAMP.is_file() and STAMP.read_text() == wanted:
        STAMP.touch()
        return 0
    if STAMP.exists():
        STAMP.unlink()
    try:
        make_environment()
        install_torch()
        say("installing peft-assay and its pinned dependencies")
        pip("install", "-c", str(CONSTRAINTS), "-e", f"{ROOT}[sandbox,runtime,hub,objects,dev]")
    except Hindered as hindered:
        return stop(*hindered.args)
    except KeyboardInterrupt:
        return stop("interrupted", "the same command goes on from here", status=130)
    except OSError as error:
        return stop(str(error), "make room or fix permissions; then the same command goes on from here")
    STAMP.write_text(wanted)
    return 0


class Hindered(Exception):
    """What hinders, and the one next step."""


def fingerprint() -> str:
    """Of all that decides what is installed, and for which interpreter."""
    content = b"".join((ROOT / name).read_bytes() for name in INPUTS)
    return f"{hashlib.sha256(content).hexdigest()} {sys.version.split()[0]}\n"


def make_environment() -> None:
    """A virtual environment with a pip that runs; a half-made one (or one of a removed Python) is made anew."""
    if PYTHON.exists() and runs("-c", f"import sys; assert sys.version_info[:2] == {sys.version_info[:2]!r}"):
        if runs("-m", "pip", "--version"):
            return
    package = "apt-get install python{}.{}-venv".format(*sys.version_info[:2])
    try:
        import ensurepip  # noqa: F401 - Debian ships venv without it
        import venv
    except ImportError as error:
        raise Hindered(f"{sys.executable} has no module {error.name}", package) from None
    say(f"creating {VENV.relative_to(ROOT)}")
    try:
        venv.create(str(VENV), with_pip=True, symlinks=True, clear=VENV.exists())
    except subprocess.CalledProcessError as error:
        raise Hindered(f"pip could not be set up in .venv: {error}", package) from None


def install_torch() -> None:
    """Torch first and alone: what it brings with it is the bulk of everything, so it is said before it is fetched."""
    pin = next(line for line in CONSTRAINTS.read_text().splitlines() if line.startswith("torch=="))
    if runs("-c", f"import importlib.metadata as m; assert m.version('torch').split('+')[0] == {pin[7:]!r}"):
        return
    index = os.environ.get("TORCH_INDEX")
    if not index and brings_cuda(pin):
        say(
            f"this index has only the CUDA build of {pin}: {CUDA_SIZE} will be downloaded.\n"
            "    For the CPU build (about 200 MB): stop here and run  make demo TORCH_INDEX=<index with CPU builds>"
        )
    say(f"installing {pin}")
    pip("install", "-c", str(CONSTRAINTS), *(["--index-url", index] if index else []), pin)


def brings_cuda(pin: str) -> bool:
    """Whether pip would fetch a build that depends on NVIDIA's libraries (asked of pip, nothing is installed)."""
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--dry-run", "--no-deps", "--report", "-", pin]
    found = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    try:
        metadata = json.loads(found.stdout.decode())["install"][0]["metadata"]
    except (ValueError, LookupError):
        return False
    return "+cpu" not in metadata["version"] and any("nvidia" in need for need in metadata.get("requires_dist", []))


def runs(*arguments: str) -> bool:
    """Whether .venv's interpreter does this without complaint."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.run([str(PYTHON), *arguments], check=False, **quiet).returncode == 0


def pip(*arguments: str) -> None:
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments, "--quiet", "--no-input"]
    environment = dict(os.environ, PIP_ROOT_USER_ACTION="ignore")
    if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, check=False).returncode:
        raise Hindered(
            "pip failed; its own lines above say why",
            "with the network or the index put right (pip config list), the same command goes on from here",
        )


def say(message: str) -> None:
    print(f"==> {message}", flush=True)


def stop(what: str, next_step: str, status: int = 1) -> int:
    print(f"==> {what}\n    next: {next_step}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
