"""fickling and modelscan beside our own look at pickles: in a process of their own, and never by unpickling."""

import io
import os
import pickle
import subprocess
import zipfile
from importlib.util import find_spec

import pytest

from observe_static.static_support import observed
from peft_assay.core.content import Content, content_of
from peft_assay.core.observation import Status
from peft_assay.observe.disassemble import SCANNERS, pickle_in
from peft_assay.observe.static import scanners

EXTRA = {"fickling": "scanners", "modelscan": "modelscan"}
CLEAN = {"fickling": "LIKELY_SAFE", "modelscan": "NO_ISSUES"}


class _Payload:
    def __init__(self, mark):
        self.mark = str(mark)

    def __reduce__(self):
        return os.mkdir, (self.mark,)


def _torch_zip(content, name="archive/data.pkl"):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


def _plain(content):
    return content


@pytest.fixture(params=SCANNERS)
def scanner(request):
    if find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed (extra {EXTRA[request.param]})")
    return request.param


@pytest.mark.parametrize("wrap", [_plain, _torch_zip])
def test_what_a_pickle_would_call_is_told_and_not_called(scanner, tmp_path, wrap):
    bad = wrap(pickle.dumps(_Payload(tmp_path / "ran")))
    found = observed(f"pickles.{scanner}", files={"a.bin": bad}).value
    assert len(found) == 1
    assert "MALICIOUS" in found[0] or "CRITICAL" in found[0]
    assert "mkdir" in found[0]
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(_Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").is_dir()


@pytest.mark.parametrize("wrap", [_plain, _torch_zip])
def test_plain_numbers_are_no_finding_and_no_praise(scanner, wrap):
    found = observed(f"pickles.{scanner}", files={"a.bin": wrap(pickle.dumps({"a": 1}))})
    assert found.value == (f"a.bin: {CLEAN[scanner]}",)
    assert observed(f"pickles.{scanner}").value == ()


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x80\x04" + b"(" * 100_000, b"PK\x03\x04 no zip"])
def test_what_a_scanner_cannot_read_has_no_clean_answer(scanner, content):
    (line,) = observed(f"pickles.{scanner}", files={"a.bin": content}).value
    assert line.startswith("a.bin: ")
    assert CLEAN[scanner] not in line


def test_a_pickle_that_breaks_off_behind_its_call_is_never_clean(scanner, tmp_path):
    """The form of the nullifAI files (ReversingLabs, 2025): what was loaded first runs before the loader complains."""
    broken = pickle.dumps(_Payload(tmp_path / "ran"))[:-1] + b"\xff" * 8
    (line,) = observed(f"pickles.{scanner}", files={"a.bin": broken}).value
    assert CLEAN[scanner] not in line


def test_a_scanner_has_no_more_memory_than_it_is_given(scanner, monkeypatch):
    """Two million instructions of one byte: some 200 MB, which it has not got here."""
    many = b"\x80\x04" + b"]" * (2 << 20) + b"."
    monkeypatch.setattr(scanners, "MEMORY", 200 << 20)
    assert scanners.scanned(scanner, "a.bin", content_of(many)) == f"a.bin: not scanned: {scanner} could not read it"
    few = pickle.dumps({"a": 1})
    assert scanners.scanned(scanner, "a.bin", content_of(few)) == f"a.bin: {CLEAN[scanner]}"


def test_large_and_many_pickles_are_named_as_not_scanned(monkeypatch):
    whole = content_of(b"x")
    assert "too many" in scanners.scanned("fickling", "a.bin", Content(9, whole.sha256, b"x", b"x", None))
    monkeypatch.setattr(scanners, "scanned", lambda scanner, path, content: f"{path}: x")
    monkeypatch.setattr(scanners, "find_spec", lambda name: object())
    for scanner in SCANNERS:
        found = observed(f"pickles.{scanner}", files={f"{n}.bin": b"x" for n in range(10)}).value
        assert [line for line in found if "more than 8" in line] == [
            "8.bin: not scanned: more than 8 pickles", "9.bin: not scanned: more than 8 pickles"
        ]  # fmt: skip


@pytest.mark.parametrize("said", [b"", b"null", b'["A"]', b'["A", 1]', b'{"A": "B", "C": "D"}', b'["A", "B", "C"]',
                                  b'["A", "' + b"b" * 5_000 + b'"]'])  # fmt: skip
def test_an_answer_is_two_texts_or_none(said, monkeypatch):
    def run(command, **_):
        return subprocess.CompletedProcess(command, 0, said, b"")

    monkeypatch.setattr(scanners.subprocess, "run", run)
    assert "could not read it" in scanners.scanned("modelscan", "a.bin", content_of(b"\x80\x04."))


@pytest.mark.parametrize("name", SCANNERS)
def test_without_the_scanner_it_does_not_apply(name, monkeypatch):
    monkeypatch.setattr(scanners, "find_spec", lambda name: None)
    observation = observed(f"pickles.{name}", files={"a.bin": b"\x80\x04."})
    assert (observation.status, observation.reason) == (
        Status.NOT_APPLICABLE, f"{name} is not installed (extra {EXTRA[name]})"
    )  # fmt: skip


@pytest.mark.parametrize("content", [_torch_zip(b"x", "other"), b"PK\x03\x04"])
def test_a_zip_that_is_not_torch_s_has_no_pickle_that_can_be_told(content):
    with pytest.raises((ValueError, zipfile.BadZipFile)):
        pickle_in(content)
