"""Coverage-guided fuzzing of everything that reads hostile bytes: ``make fuzz`` (FUZZ_SECONDS, default 1800).

Each target has a law, not only "does not crash": what a strict reader accepts, the library's reader accepts too; what
was refused names a place; nothing but our own errors is ever raised. Inputs that broke a law are written to
``.fuzz/<target>/`` and, once understood, kept in tests/fuzz/seeds/<target>/ where test_seeds.py replays them.
"""

import argparse
import io
import json
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
LORA = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"], "alpha_pattern": {"q": 2}}


def json_reader(content: bytes) -> None:
    """A document has one meaning: what we accept, Python's own parser reads as the same value."""
    from peft_assay.core.errors import DocumentError
    from peft_assay.core.parse import parse_json

    try:
        value = parse_json(content, where="fuzz")
    except DocumentError as error:
        assert error.where
        return
    assert json.loads(content.decode("utf-8-sig")) == value


def yaml_reader(content: bytes) -> None:
    from peft_assay.core.errors import DocumentError
    from peft_assay.core.parse import parse_yaml

    try:
        parse_yaml(content, where="fuzz", max_bytes=1 << 16)
    except DocumentError as error:
        assert error.where


def safetensors_reader(content: bytes) -> None:
    """What is canonical here is accepted by the format's own reader, with the same names, dtypes and shapes."""
    from safetensors import deserialize

    from peft_assay.observe.static.weights import WeightsWatcher, sighting_of

    seen = sighting_of(content)
    watcher = WeightsWatcher(len(content))
    for at in range(0, len(content), 7):
        watcher.feed(memoryview(content)[at : at + 7])
    assert watcher.finish().problem == seen.problem
    if seen.problem is None:
        theirs = {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in deserialize(content)}
        assert theirs == {tensor.name: (tensor.dtype, tensor.shape) for tensor in seen.tensors}


def archive_reader(content: bytes) -> None:
    """An archive has one meaning: what we admit, Python's own readers read as the same files."""
    from peft_assay.core.errors import IntakeError
    from peft_assay.intake.admit import admit
    from peft_assay.intake.interface import Limits

    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.write(content)
        file.flush()
        try:
            admitted = admit(Path(file.name), Limits(total_bytes=1 << 22, file_bytes=1 << 21))
        except IntakeError as refusal:
            assert refusal.where
            assert refusal.next_step
            return
        assert all(not path.startswith("/") and ".." not in path.split("/") for path in admitted.contents)
        theirs = _plainly_read(content)
        ours = sorted(admitted.files.values())
        assert all(ours.count(body) <= theirs.count(body) for body in ours)
        assert len(ours) == len(theirs) or any(name in content for name in (b".git", b"__", b".DS_Store", b".cache"))


def _plainly_read(content: bytes) -> list[bytes]:
    if content.startswith(b"PK"):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return sorted(archive.read(member) for member in archive.infolist() if not member.is_dir())
    with tarfile.open(fileobj=io.BytesIO(content)) as tarred:
        members = [member for member in tarred.getmembers() if not member.isdir()]
        assert all(member.isreg() for member in members)
        return sorted(body.read() for member in members if (body := tarred.extractfile(member)) is not None)


def adapter(content: bytes) -> None:
    """Any configuration, card and weights: every term observed exactly once, nothing raised."""
    from peft_assay.core.artifact import Artifact, File
    from peft_assay.core.content import content_of
    from peft_assay.core.context import Engine
    from peft_assay.observe.catalogue import PROBES, observe_static
    from peft_assay.observe.interface import BaseFacts, StaticContext, StaticSubject
    from peft_assay.observe.static.kind import classify
    from peft_assay.observe.static.weights import sighting_of

    parts = dict(
        zip(
            ("README.md", "adapter_config.json", "adapter_model.safetensors", "requirements.txt"),
            content.split(b"\xff\xfe\xfd", 3),
            strict=False,
        )
    )
    contents = {path: content_of(body) for path, body in sorted(parts.items())}
    artifact = Artifact(tuple(File(path, kept.size, kept.sha256) for path, kept in contents.items()))
    seen = {path: sighting_of(body) for path, body in parts.items() if path.endswith(".safetensors")}
    context = StaticContext(Engine("sglang", "float16", 64), base=BaseFacts(positions=64), locked={"peft": "0.21.2"})
    subject = StaticSubject(artifact, contents, context, seen)
    observed = observe_static(subject)
    assert [o.name for o in observed] == sorted(term for probe in PROBES for term in probe.terms)
    broken = [o.reason for o in observed if o.reason and "the probe broke" in o.reason]
    assert not broken, broken
    classify(contents)


def suite(content: bytes) -> None:
    """Any header and cases: a suite whose scorer takes any text, or an error that names its place."""
    from peft_assay.core.errors import DocumentError
    from peft_assay.core.suite import Measure, ScorerKind
    from peft_assay.observe.behaviour.scorers.catalogue import text_scorer
    from peft_assay.observe.suites.controls import run_controls
    from peft_assay.observe.suites.lint import lint
    from peft_assay.observe.suites.read import read_suite

    header, _, cases = content.partition(b"\xff\xfe\xfd")
    try:
        found = read_suite(header, cases, where="fuzz")
    except DocumentError as error:
        assert error.where
        return
    assert found.cases
    assert len({case.id for case in found.cases}) == len(found.cases)
    lint(found)
    assert all(0 <= control.passes <= control.n for control in run_controls(found))
    if found.measure is Measure.GENERATE and found.scorer.kind is not ScorerKind.JUDGE:
        assert text_scorer(found)(found.cases[0], cases.decode("utf-8", "replace")) in (True, False)


def lock_reader(content: bytes) -> None:
    """Whatever is a lock says for each distribution which one version it is."""
    from packaging.version import Version

    from peft_assay.core.errors import DocumentError
    from peft_assay.observe.locks import read_lock

    for name in ("pylock.toml", "requirements.lock"):
        try:
            locked = read_lock(content, where=name)
        except DocumentError as error:
            assert error.where
            continue
        assert locked
        if name == "pylock.toml":
            assert all(Version(version) for version in locked.values())


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (json_reader, yaml_reader, safetensors_reader, archive_reader, adapter, lock_reader, suite)
}


def weights(**shapes: list[int]) -> bytes:
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 4 * shape[0] * shape[1]
        header[f"base_model.model.q_proj.{name}.weight"] = {
            "dtype": "F32",
            "shape": shape,
            "data_offsets": [at, at + size],
        }
        at += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(at)


def suite_of(kind: str) -> bytes:
    from peft_assay.core.suite import ScorerKind
    from peft_assay.observe.suites.scaffold import scaffold

    header, cases = scaffold("task", ScorerKind(kind))
    return header.encode() + b"\xff\xfe\xfd" + cases.encode()


def beginnings(target: str) -> list[bytes]:
    """Sound inputs to start from."""
    sound = weights(lora_A=[2, 4], lora_B=[4, 2])
    config, card = json.dumps(LORA).encode(), b"---\nlicense: mit\ndatasets: [a/b]\n---\n# card\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a/adapter_config.json", config)
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a/README.md"), io.BytesIO())
    flat = io.BytesIO()
    with tarfile.open(fileobj=flat, mode="w") as archive:
        member = tarfile.TarInfo("a/README.md")
        member.size = 3
        archive.addfile(member, io.BytesIO(b"abc"))
    piped = io.BytesIO()
    piped.seekable = lambda: False  # type: ignore[method-assign]
    with zipfile.ZipFile(piped, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("adapter_config.json", config)
        archive.writestr("README.md", card)
    named = io.BytesIO()
    with tarfile.open(fileobj=named, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(tarfile.TarInfo("f\u00fcr/" + "l" * 101), io.BytesIO())
    return {
        "json_reader": [config, b'{"a": [1.5e3, null, "\\u0041"]}'],
        "yaml_reader": [b"a: [1, {b: c}]\nd: |\n  text\n", card],
        "safetensors_reader": [sound, weights(x=[1, 1])],
        "archive_reader": [packed.getvalue(), piped.getvalue(), tarred.getvalue(), flat.getvalue(), named.getvalue()],
        "suite": [suite_of(kind) for kind in ("exact", "regex", "jsonSchema", "toolCall", "forbidden", "label")],
        "adapter": [
            b"\xff\xfe\xfd".join((card, config, sound)),
            b"\xff\xfe\xfd".join((card, config, sound, b"peft>=0.1; python_version > '3'\n# x\n")),
            b"\xff\xfe\xfd".join((b"", b'{"peft_type":"IA3"}', sound)),
        ],
        "lock_reader": [
            b"peft==0.21.2 \\\n  --hash=sha256:00\ntorch==2.13.0+cpu ; python_version > '3'\n",
            (
                b'lock-version = "1.0"\ncreated-by = "x"\n[[packages]]\nname = "peft"\nversion = "1"\n'
                b'sdist = { name = "peft-1.tar.gz", url = "https://x/", hashes = { sha256 = "00" } }\n'
            ),
        ],
    }[target]


def fuzz(name: str, seconds: int, place: Path) -> None:
    """Runs one target in this process; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["peft_assay"]):
        import peft_assay.intake.admit
        import peft_assay.observe.catalogue
        import peft_assay.observe.locks
        import peft_assay.observe.static.weights
        import peft_assay.observe.suites.read  # noqa: F401
    corpus = place / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(beginnings(name)):
        (corpus / f"sound-{number}").write_bytes(content)
    options = [
        f"-max_total_time={seconds}",
        "-max_len=8192",
        "-timeout=20",
        "-rss_limit_mb=2048",
        f"-artifact_prefix={place}/{name}-",
    ]
    atheris.Setup(
        [sys.argv[0], *options, str(corpus), *map(str, (HERE / "seeds" / name).glob("*"))][: 2 + len(options)],
        TARGETS[name],
    )
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=1800, help="in all, shared by the targets")
    parser.add_argument("--target", choices=sorted(TARGETS))
    parser.add_argument("--place", type=Path, default=Path(".fuzz"))
    arguments = parser.parse_args()
    if arguments.target:
        fuzz(arguments.target, arguments.seconds, arguments.place)
        return
    arguments.place.mkdir(exist_ok=True)
    broke = []
    for name in TARGETS:
        share = arguments.seconds // len(TARGETS)
        command = [sys.executable, __file__, "--target", name, "--seconds", str(share), "--place", str(arguments.place)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        told = [line for line in done.stderr.splitlines() if line.startswith("Done") or "DONE" in line]
        print(f"{name}: {told[-1] if told else 'ended early'} (exit {done.returncode})", flush=True)
        if done.returncode:
            broke.append(name)
            print(done.stderr[-2000:], flush=True)
    print(f"crashes {len(broke)} 0 {'holds' if not broke else 'falls short: ' + ', '.join(broke)}")
    sys.exit(bool(broke))


if __name__ == "__main__":
    main()
