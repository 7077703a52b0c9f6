"""Files of modest size that ask for endless work. The bound: 30 CPU-seconds for anything of up to 64 MB.

The operating system keeps it (RLIMIT_CPU): an attack that held `inspect` longer would end by SIGXCPU, not by a clock.
`inspect` would say so and refuse the source; nothing here gets that far, because every reader has caps of its own.
"""

import json
import os
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BOUND = 30
"""CPU seconds; docs/threat-model.md states it."""
LORA = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q"], "base_model_name_or_path": "b"}


def _weights(folder: Path, shapes: dict[str, list[int]]) -> None:
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * shape[1]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    (folder / "adapter_model.safetensors").write_bytes(
        struct.pack("<Q", len(text)) + text + b"\0\0\x80\x3f" * (at // 4)
    )


def _config(folder: Path, **fields: object) -> None:
    (folder / "adapter_config.json").write_text(json.dumps(LORA | fields))


def names_and_declarations(folder: Path) -> None:
    """Every tensor deep, every declaration almost its suffix: once tensors x components x declarations."""
    _config(
        folder,
        modules_to_save=["a." * n + "b" for n in range(1, 200)],
        target_modules=["c." * n + "q" for n in range(1, 200)],
    )
    _weights(folder, {("a." * 200) + f"q{n}": [1, 1] for n in range(30_000)})


def many_modules(folder: Path) -> None:
    _config(folder)
    _weights(folder, {f"{n}.q.lora_{x}.weight": [1, 1] for n in range(90_000) for x in "AB"})


def ranks_out_of_nothing(folder: Path) -> None:
    _config(folder, r=512)
    _weights(folder, {f"{n}.q.lora_{x}.weight": [512, 1] if x == "A" else [1, 512] for n in range(9_000) for x in "AB"})


def patterns_times_modules(folder: Path) -> None:
    _config(
        folder,
        alpha_pattern={f"{n}(a|bb)*b{'.*' * 9}": 1 for n in range(9_000)},
        rank_pattern={f"(w{n}+)+y": 1 for n in range(9_000)},
    )
    _weights(folder, {f"{n}.q.lora_{x}.weight": [1, 1] for n in range(9_000) for x in "AB"})


def catastrophic_targets(folder: Path) -> None:
    """PEFT matches such against every module of the base. These are harmless stand-ins with the same forms."""
    _config(
        folder,
        target_modules="(ab+)+$|(.*a){9}",
        exclude_modules="(" * 400 + "a" + "{1})" * 400,
        layers_pattern="(x|z)*y",
    )
    _weights(folder, {"a" * 500 + f"!{n}".replace("!", "."): [1, 1] for n in range(2_000)})


def huge_card(folder: Path) -> None:
    _config(folder)
    (folder / "README.md").write_text(
        "---\n" + "".join(f"k{n}: [{'[' * 9}a{']' * 9}]\n" for n in range(7_000)) + "---\n" + "#" * 3_900_000
    )


def nested_and_long_json(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"a":' * 100_000 + "1" + "}" * 100_000)
    (folder / "tokenizer.json").write_text("[" * 900_000)


def numbers_without_end(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type":"LORA","r":' + "9" * 900_000 + "}")


def a_flood_of_small_files(folder: Path) -> None:
    _config(folder)
    for number in range(1_900):
        (folder / f"{number}.txt").write_bytes(b"hf_" + b"A" * 20_000)


def secrets_everywhere(folder: Path) -> None:
    _config(folder)
    (folder / "notes.txt").write_bytes(b"-----BEGIN PRIVATE KEY " * 300_000)


def a_header_of_numbers(folder: Path) -> None:
    """One tensor of eight million dimensions."""
    _config(folder)
    shape = "1," * (8 << 20)
    text = f'{{"a":{{"dtype":"F32","shape":[{shape}1],"data_offsets":[0,4]}}}}'[: 16 << 20].encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))


def requirements_at_length(folder: Path) -> None:
    _config(folder)
    extras = ",".join(f"b{number}" for number in range(40))
    markers = "a; " + "(" * 150 + "os_name == 'x'" + ")" * 150
    (folder / "requirements.txt").write_text("\n".join([markers, f"{'a' * 240}[{extras}]>=1"] * 499))


def more_files_than_anybody_counts(folder: Path) -> None:
    _config(folder)
    for number in range(20_000):
        (folder / f"{number}").touch()


ATTACKS: list[Callable[[Path], None]] = [
    names_and_declarations, many_modules, ranks_out_of_nothing, patterns_times_modules, catastrophic_targets,
    huge_card, nested_and_long_json, numbers_without_end, a_flood_of_small_files, secrets_everywhere,
    a_header_of_numbers, requirements_at_length, more_files_than_anybody_counts,
]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_inspect_is_not_held(attack, tmp_path):
    attack(tmp_path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "peft_assay", "inspect", "--format", "json", str(tmp_path)],
        env=environment,
        capture_output=True,
        timeout=300,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (BOUND, BOUND + 1)),
    )
    assert done.returncode in {0, 3}, (done.returncode, done.stderr[-500:])
    assert b"Traceback" not in done.stderr
    assert b"CPU-seconds" not in done.stdout
    assert b"ended by" not in done.stdout
    assert json.loads(done.stdout or b"{}") is not None


def test_positive_control_the_bound_ends_what_does_not_end():
    ended = subprocess.run(
        [sys.executable, "-c", "while True: pass"],
        timeout=120,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (2, 3)),
    )
    assert ended.returncode < 0
