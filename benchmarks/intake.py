"""What it costs to examine an adapter, against sha256 of the same bytes in the same run.

Each figure is CPU time of a whole process (user + system, children included), because walls on shared machines say
little. The peer, `hashlib.file_digest` in a process of its own, reads the same files from the same warm page cache.
Ends with one line per bound: name, value, bound, holds or falls short; exits 0 either way.
"""

import argparse
import json
import os
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SHA = "import hashlib,sys\nfor p in sys.argv[1:]:\n    with open(p,'rb') as f: print(hashlib.file_digest(f,'sha256').hexdigest())"
NOTHING = "import hashlib, sys"
EXAMINE = """
import sys
from pathlib import Path
from peft_assay.core.context import Engine
from peft_assay.intake.admit import admit
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.interface import StaticContext, StaticSubject
from peft_assay.observe.static.weights import WeightsWatcher
factors, source = sys.argv[1] == "factors", Path(sys.argv[2])
watch = lambda path, size: WeightsWatcher(size, factors=factors) if path.endswith("adapter_model.safetensors") else None
admitted = admit(source, watch=watch)
context = StaticContext(Engine("peft", "float16", None))
found = {o.name: o for o in observe_static(StaticSubject(admitted.artifact, admitted.contents, context, admitted.sightings))}
assert found["weights.canonical"].value is True and found["weights.nonfinite"].value == 0, found
assert (found["delta.largest_norm"].value is not None) == factors, found["delta.largest_norm"]
assert "torch" not in sys.modules
"""
IMPORTS = EXAMINE.split("factors, source", maxsplit=1)[0]
INSPECT = ["-m", "peft_assay", "inspect", "--format", "json"]
RANK, WIDTH = 64, 4096


def write_adapter(folder: Path, size: int) -> None:
    """A LoRA adapter (float32, rank 64, width 4096) of about `size` bytes."""
    folder.mkdir()
    modules = max(1, size // (2 * RANK * WIDTH * 4))
    names = [
        f"base_model.model.model.layers.{n}.self_attn.q_proj.lora_{x}.weight" for n in range(modules) for x in "AB"
    ]
    header, at = {}, 0
    for name in names:
        shape = [RANK, WIDTH] if ".lora_A." in name else [WIDTH, RANK]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + RANK * WIDTH * 4]}
        at += RANK * WIDTH * 4
    text = json.dumps(header).encode()
    random = np.random.default_rng(1)
    with (folder / "adapter_model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _ in names:
            file.write((random.standard_normal(RANK * WIDTH, dtype=np.float32) * 0.02).tobytes())
    (folder / "adapter_config.json").write_text(
        json.dumps({"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": ["q_proj"],
                    "task_type": "CAUSAL_LM", "base_model_name_or_path": "bench/base"})
    )  # fmt: skip


def spent(*arguments: str) -> tuple[float, int]:
    """CPU seconds of ``python arguments``, and its peak resident bytes."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{arguments[:2]} exited with {child.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    size = int(arguments.gigabytes * 1e9)
    with tempfile.TemporaryDirectory() as place:
        folders = {part: Path(place) / f"a{part}" for part in (4, 2, 1)}
        for part, folder in folders.items():
            write_adapter(folder, size // part)
        small = Path(place) / "small"
        write_adapter(small, 3_000_000)
        print(f"machine: {platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
        print(f"adapter: {size / 1e9:.2f} GB float32, rank {RANK}")
        print(f"{arguments.rounds} interleaved rounds; medians of the CPU seconds of whole processes")
        rounds = [measure(folders, small) for _ in range(arguments.rounds)]
    report({name: statistics.median(r[name] for r in rounds) for name in rounds[0]}, rounds)


def measure(folders: dict[int, Path], small: Path) -> dict[str, float]:
    weights = str(folders[1] / "adapter_model.safetensors")
    start, _ = spent("-c", NOTHING)
    found = {"interpreter": start, "sha256": spent("-c", SHA, weights)[0]}
    found["imports"] = spent("-c", IMPORTS)[0]
    for part, folder in folders.items():
        found[f"static/{part}"], found["memory"] = spent("-c", EXAMINE, "plain", str(folder))
    found["with updates"], found["memory, updates"] = spent("-c", EXAMINE, "factors", str(folders[1]))
    found["inspect 3 MB"] = spent(*INSPECT, str(small))[0]
    return found


def report(median: dict[str, float], rounds: list[dict[str, float]]) -> None:
    for name in median:
        unit, scale = ("MB", 1e6) if "memory" in name else ("s", 1)
        shown = [r[name] / scale for r in rounds]
        print(f"  {name:16} {statistics.median(shown):8.2f} {unit}   ({min(shown):.2f} .. {max(shown):.2f})")
    imports, peer = median["imports"], median["sha256"] - median["interpreter"]
    net = {part: median[f"static/{part}"] - imports for part in (4, 2, 1)}
    print("ratios are net of starting Python and importing, on both sides")
    print(f"(gross, everything counted: {median['static/1'] / median['sha256']:.2f}x)")
    bounds = [
        ("static_checks_over_sha256", net[1] / peer, 1.5, "x"),
        ("with_update_statistics_over_sha256", (median["with updates"] - imports) / peer, None, "x"),
        ("peak_memory", median["memory"] / 1e6, 300, "MB"),
        ("peak_memory_with_update_statistics", median["memory, updates"] / 1e6, 300, "MB"),
        ("cost_of_twice_the_bytes", net[1] / net[2], 2.2, "x"),
        ("inspect_3MB_cold", median["inspect 3 MB"], 1.0, "CPU-s"),
    ]
    for name, value, bound, unit in bounds:
        told = "reported" if bound is None else "holds" if value <= bound else "falls short"
        print(f"{name} {value:.2f}{unit} {'-' if bound is None else f'{bound}{unit}'} {told}")


if __name__ == "__main__":
    main()
