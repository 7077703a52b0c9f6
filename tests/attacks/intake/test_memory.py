"""Files of modest size that ask for all the memory there is.

The bound: `inspect` takes at most 512 MB beyond its interpreter's own for anything of up to 64 MB. A process that only
watches keeps it (`peft_assay.cli.watched`), and readers have caps of their own, so that hostile files end far below it.
"""

import binascii
import bz2
import gzip
import json
import lzma
import os
import struct
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from observe_static.static_support import config, lora_tensors, safetensors
from peft_assay.cli import watched
from peft_assay.core.errors import Door

MB = 1 << 20
BOUND = 512 * MB
"""Bytes; docs/threat-model.md states it."""
CAPPED = 320 * MB
"""Bytes that nothing here needs, because readers say no before the operating system does."""
PLAIN = 100 * MB
"""Bytes that a plain reader of these files does not get by with."""


def _adapter(folder: Path, header: bytes | dict[str, object], body: bytes = b"", **fields: object) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config(r=1, lora_alpha=1, **fields)))
    text = header if isinstance(header, bytes) else json.dumps(header, separators=(",", ":")).encode()
    (folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)
    return folder


def _tensor(dtype: str, shape: list[int], begin: int, end: int) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def a_header_of_lists(at: Path) -> Path:
    return _adapter(at, b'{"a":[' + b",".join([b"[]"] * (16 * MB // 3 - 9)) + b"]}")


def a_header_of_objects(at: Path) -> Path:
    """Forty bytes of memory for each of its own."""
    deep = b'{"a":' * 20 + b"0" + b"}" * 20
    return _adapter(at, b'{"a":[' + b",".join([deep] * (16 * MB // (len(deep) + 1) - 9)) + b"]}")


def a_header_of_texts(at: Path) -> Path:
    return _adapter(at, b'{"a":[' + b",".join(b'"%05d"' % (n % 99_999) for n in range(2 * MB - 9)) + b"]}")


def metadata_of_many_keys(at: Path) -> Path:
    pairs = b",".join(b'"%x":"%x"' % (n, n) for n in range(15 * MB // 18))
    return _adapter(
        at, b'{"__metadata__":{' + pairs + b'},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}', bytes(4)
    )


def very_many_tensors(at: Path) -> Path:
    """120,000 tensors, each one undeclared, so that each is told."""
    names = {f"{n}": _tensor("F32", [1], 4 * n, 4 * n + 4) for n in range(120_000)}
    return _adapter(at, names, b"\0\0\x80\x3f" * len(names))


def one_factor_of_64_mb(at: Path) -> Path:
    wide = 63 * MB // 1024
    tensor = _tensor("BF16", [512, wide], 0, 1024 * wide)
    return _adapter(at, {"base_model.model.q_proj.lora_A.weight": tensor}, b"\x80\x3f" * (512 * wide))


def _tar(at: Path, *parts: bytes) -> Path:
    """A .tar.gz of `parts` that expands to 195 times its size at most: bombs are noticed by other means."""
    packed = gzip.compress(b"".join(parts), 6)
    at.write_bytes(packed + gzip.compress(os.urandom(max(0, len(b"".join(parts)) // 190 - len(packed)))))
    return at


def _header(name: str, kind: bytes, size: int) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.size = kind, size
    return member.tobuf()


def a_tar_whose_attributes_are_endless(at: Path) -> Path:
    """tarfile takes the record that says it is 64 MB long, and then cuts it up."""
    record = b"67108864 comment=" + b"a" * (64 * MB - 18) + b"\n"
    return _tar(at, _header("a", tarfile.XHDTYPE, len(record)), record, _header("b", tarfile.REGTYPE, 0), bytes(1024))


def a_tar_that_is_sparse_without_end(at: Path) -> Path:
    """Blocks of places in a sparse file, each of which says that another follows."""
    first = bytearray(_header("a", tarfile.GNUTYPE_SPARSE, 0))
    first[482] = 1
    first[148:156] = b"%06o\0 " % (sum(first[:148]) + sum(first[156:]) + 8 * 32)
    return _tar(at, bytes(first), (b"00000000001\0" * 42 + b"\1" + bytes(7)) * (44 * MB // 512), bytes(1024))


def a_zip_of_nothing_but_names(at: Path) -> Path:
    """A directory of 400,000 members that are not there."""
    entry = b"PK\x01\x02" + bytes(24) + b"\1\0" + bytes(16) + b"a"
    directory = entry * 400_000
    at.write_bytes(directory + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(directory), 0, 0))
    return at


def a_zip_member_that_expands_at_once(at: Path) -> Path:
    """A member of bzip2 that says it is 10 bytes and is 150 MB."""
    packer = bz2.BZ2Compressor(9)
    packed = b"".join(packer.compress(bytes(MB)) for _ in range(150)) + packer.flush()
    head = struct.pack("<4s5H3L2H", b"PK\3\4", 46, 0, 12, 0, 0, 0, len(packed), 10, 1, 0) + b"a"
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 46, 46, 0, 12, 0, 0, 0, len(packed), 10, 1, 0, 0, 0, 0, 0, 0) + b"a"
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(head) + len(packed), 0)
    at.write_bytes(head + packed + entry + end)
    return at


def an_xz_that_wants_a_large_dictionary(at: Path) -> Path:
    packed = bytearray(lzma.compress(bytes(10_240), check=lzma.CHECK_NONE))
    size = 4 * packed[12] + 4
    packed[12 + 4] = 38  # the dictionary: 2 GB
    packed[12 + size - 4 : 12 + size] = struct.pack("<L", binascii.crc32(packed[12 : 12 + size - 4]))
    at.write_bytes(packed)
    return at


ATTACKS: list[Callable[[Path], Path]] = [
    a_header_of_lists, a_header_of_objects, a_header_of_texts, metadata_of_many_keys, very_many_tensors,
    one_factor_of_64_mb, a_tar_whose_attributes_are_endless, a_tar_that_is_sparse_without_end,
    a_zip_of_nothing_but_names, a_zip_member_that_expands_at_once, an_xz_that_wants_a_large_dictionary,
]  # fmt: skip


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}


_RUN = """
import re, sys
from peft_assay.cli.main import run
code = run(["inspect", "--format", "json", *sys.argv[1:]])
sys.stdout.flush()
sys.stderr.write(re.search("VmHWM:\\s+([0-9]+) kB", open("/proc/self/status").read())[1])
sys.exit(code)
"""
"""ru_maxrss would count what the parent had before the child was another program."""


def _inspected(*sources: Path) -> tuple[list[dict], int]:
    """What `inspect` says of `sources` in one process, and the most memory that it had (bytes)."""
    command = [sys.executable, "-c", _RUN, *map(str, sources)]
    done = subprocess.run(command, env=_environment(), capture_output=True, timeout=300, check=False)
    assert done.returncode in {0, 3}, done.stderr[-500:]
    return json.loads(done.stdout), int(done.stderr) * 1024


def test_no_file_of_modest_size_takes_more_memory_than_is_stated(tmp_path):
    """All of them in one process: the most that it had is the most that any of them needs."""
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "adapter_config.json").write_text(json.dumps(config(r=2, lora_alpha=2)))
    (plain / "adapter_model.safetensors").write_bytes(safetensors(lora_tensors()))
    _, own = _inspected(plain, plain)
    sources = [attack(tmp_path / attack.__name__) for attack in ATTACKS]
    assert all(sum(f.stat().st_size for f in [s, *s.glob("*")] if f.is_file()) <= 65 * MB for s in sources)
    reports, most = _inspected(*sources)
    assert most - own < CAPPED < BOUND
    for attack, report in zip(ATTACKS, reports, strict=True):
        assert _says_why_not(report), attack.__name__


def _says_why_not(report: dict) -> bool:
    """Whether a report refuses the source, or has something in it that no built-in policy lets pass."""
    if "error" in report:
        return bool(report["error"]["where"] and report["error"]["nextStep"])
    seen = {observation["name"]: observation for observation in report["observations"]}
    return any(
        seen[name]["value"] != wanted and (seen[name]["reason"] or seen[name]["value"])
        for name, wanted in (("weights.canonical", True), ("weights.undeclared", []), ("delta.zero_modules", []))
    )


_PLAIN = """
import re, resource, sys
own = 1024 * int(re.search("VmData:\\s+([0-9]+) kB", open("/proc/self/status").read())[1])
resource.setrlimit(resource.RLIMIT_DATA, (own + int(sys.argv[1]),) * 2)
try:
    exec(sys.argv[2], {"path": sys.argv[3]})
except MemoryError:
    print("MemoryError")
"""


@pytest.mark.parametrize(
    ("attack", "reader"),
    [
        (a_header_of_objects, "import json; json.loads(open(path + '/adapter_model.safetensors', 'rb').read()[8:])"),
        (a_tar_whose_attributes_are_endless, "import tarfile; tarfile.open(path).getmembers()"),
        (a_tar_that_is_sparse_without_end, "import tarfile; tarfile.open(path).getmembers()"),
        (a_zip_of_nothing_but_names, "import zipfile; zipfile.ZipFile(path).namelist()"),
        (a_zip_member_that_expands_at_once, "import zipfile; zipfile.ZipFile(path).open('a').read(1 << 20)"),
        (an_xz_that_wants_a_large_dictionary, "import lzma; lzma.open(path).read(1)"),
    ],
    ids=lambda value: getattr(value, "__name__", "plain"),
)
def test_positive_control_a_plain_reader_takes_it(attack, reader, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _PLAIN, str(PLAIN), reader, str(attack(tmp_path / "a"))],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout == "MemoryError\n"


_WATCHED = """
import sys
from peft_assay.cli import main, watched
watched.MEMORY, watched.SECONDS = int(sys.argv[1]), int(sys.argv[2])
sys.argv[1:3] = ["inspect"]
main.main()
"""


def _watched(
    *arguments: object, memory: int = BOUND, seconds: int = 30, script: str = _WATCHED
) -> subprocess.CompletedProcess[str]:
    """`inspect` as its users have it, the wall moved to where ordinary files meet it."""
    command = [sys.executable, "-c", script, str(memory), str(seconds), *map(str, arguments)]
    return subprocess.run(command, env=_environment(), capture_output=True, text=True, timeout=120, check=False)


def _plain_adapter(at: Path) -> Path:
    return _adapter(at, {"a": _tensor("F32", [1], 0, 4)}, bytes(4))


def test_what_takes_more_than_the_bound_is_named_and_ends_nothing_else(tmp_path):
    large, plain = one_factor_of_64_mb(tmp_path / "large"), _plain_adapter(tmp_path / "plain")
    done = _watched("--format", "json", plain, large, plain, memory=60 * MB)
    reports = json.loads(done.stdout)
    assert done.returncode == Door.REFUSED
    assert ["observations" in report for report in reports] == [True, False, True]
    assert reports[1]["error"] == {
        "message": "over the limit: looking at it takes more than 60 MB of memory",
        "where": str(large),
        "nextStep": "name a folder that holds one adapter only; where it does, do not use it: "
        "ask its publisher what it is",
    }


def test_one_source_that_takes_more_than_the_bound(tmp_path):
    large = one_factor_of_64_mb(tmp_path / "large")
    done = _watched(large, memory=60 * MB)
    assert (done.returncode, done.stdout) == (Door.REFUSED, "")
    assert done.stderr.startswith(f"peft-assay: {large}: over the limit: looking at it takes more than 60 MB of memory")
    assert "next: name a folder" in done.stderr


def test_what_takes_more_time_than_the_bound_is_named(tmp_path):
    slow = _plain_adapter(tmp_path / "slow")
    (slow / "README.md").write_text("---\na: [" + "1," * 120_000 + "]\n---\n")
    done = _watched("--format", "sarif", slow, seconds=0)
    assert done.returncode == Door.REFUSED
    assert "takes more than 0 CPU-seconds for 64 MB" in done.stdout


def test_a_process_that_a_library_ends_is_a_refusal(tmp_path):
    """Whatever ended it: nobody has looked at the source, and that is said."""
    script = _WATCHED.replace("main.main()", "import os\nmain.run = lambda _: os.abort()\nmain.main()")
    done = _watched(tmp_path, script=script)
    assert done.returncode == Door.REFUSED
    assert f"peft-assay: {tmp_path}: the process that looked at it was ended by SIGABRT" in done.stderr


def test_an_ordinary_end_is_passed_on(tmp_path):
    assert _watched(_plain_adapter(tmp_path / "plain")).returncode == Door.PASSED
    assert _watched(tmp_path / "nowhere").returncode == Door.REFUSED
    assert _watched("--format", "neither", tmp_path).returncode == Door.USAGE


def test_the_bound_is_the_stated_one():
    assert (watched.MEMORY, watched.SECONDS, watched.FREE_BYTES) == (BOUND, 30, 64 * MB)
