"""Makes one virtual environment for each tool and version, from its pinned requirements, outside git.

torch is installed once and shared by all of them. Variables: TORCH_INDEX (an index with CPU builds of torch, as in
tools/bootstrap.py). What cannot be installed here is said in `NAME.failed` beside the environments, with pip's reason; the table
then says so too.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = ROOT / ".foreign"
REQUIREMENTS = ROOT / "tests/foreign/requirements"
TORCH = "torch"
"""The environment that holds torch for all others."""


def names() -> list[str]:
    """Return the environments that rows name, without the shared one."""
    return sorted(path.stem for path in REQUIREMENTS.glob("*.txt") if path.stem != TORCH)


def python(name: str) -> Path:
    return HERE / name / "bin/python"


def failure(name: str) -> str:
    """Return why the environment could not be made; empty where it could."""
    path = HERE / f"{name}.failed"
    return path.read_text("utf-8") if path.exists() else ""


def make(name: str) -> bool:
    """Make the environment, unless it is there with just these requirements; return whether it is there now."""
    folder, stamp, failed = HERE / name, HERE / name / "made", HERE / f"{name}.failed"
    pins = (REQUIREMENTS / f"{name}.txt").read_bytes()
    wanted = f"{hashlib.sha256(pins).hexdigest()} {sys.version.split()[0]}\n"
    if stamp.exists() and stamp.read_text("utf-8") == wanted:
        return True
    failed.unlink(missing_ok=True)
    venv.create(folder, with_pip=True, symlinks=True, clear=folder.exists())
    if name != TORCH:
        share_torch(folder)
    print(f"==> {name}", flush=True)
    index = os.environ.get("TORCH_INDEX")
    command = [str(python(name)), "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-input"]
    command += ["--no-compile", "-r", str(REQUIREMENTS / f"{name}.txt")]
    command += ["--index-url", index] if index and name == TORCH else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        failed.write_text("\n".join(errors) or done.stderr[-2000:], "utf-8")
        return False
    stamp.write_text(wanted, "utf-8")
    return True


def share_torch(folder: Path) -> None:
    """Let the environment's Python find torch in the shared one, after its own packages."""
    below = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    (folder / below / "shared_torch.pth").write_text(f"{HERE / TORCH / below}\n", "utf-8")


def main() -> int:
    if not make(TORCH):
        print(failure(TORCH), file=sys.stderr)
        return 1
    for name in names():
        if not make(name):
            print(f"    not installed: {failure(name).splitlines()[-1]}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
