"""fickling beside our own look at pickles: in a process of its own, and never by unpickling."""

import io
import os
import pickle
import zipfile

import pytest

from observe_static.static_support import observed
from peft_assay.core.content import Content, content_of
from peft_assay.core.observation import Status
from peft_assay.observe.disassemble import pickle_in
from peft_assay.observe.static import scanners


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


@pytest.fixture
def _installed():
    pytest.importorskip("fickling", reason="needs fickling (extra scanners)")


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("wrap", [lambda content: content, _torch_zip])
def test_what_a_pickle_would_call_is_told_and_not_called(tmp_path, wrap):
    found = observed("pickles.fickling", files={"a.bin": wrap(pickle.dumps(_Payload(tmp_path / "ran")))}).value
    assert len(found) == 1
    assert "MALICIOUS" in found[0]
    assert "mkdir" in found[0]
    assert not (tmp_path / "ran").exists()
    pickle.loads(pickle.dumps(_Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").is_dir()


@pytest.mark.usefixtures("_installed")
def test_plain_numbers_are_no_finding_and_no_praise():
    assert observed("pickles.fickling", files={"a.bin": pickle.dumps({"a": 1})}).value == ("a.bin: LIKELY_SAFE",)
    assert observed("pickles.fickling").value == ()


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x80\x04" + b"(" * 100_000, b"PK\x03\x04 no zip"])
def test_what_fickling_cannot_read_is_not_scanned(content):
    (line,) = observed("pickles.fickling", files={"a.bin": content}).value
    assert line.startswith("a.bin: ")


def test_large_and_many_pickles_are_named_as_not_scanned(monkeypatch):
    whole = content_of(b"x")
    assert "too many" in scanners.scanned("a.bin", Content(9, whole.sha256, b"x", b"x", None))
    monkeypatch.setattr(scanners, "scanned", lambda path, content: f"{path}: x")
    monkeypatch.setattr(scanners, "find_spec", lambda name: object())
    found = observed("pickles.fickling", files={f"{n}.bin": b"x" for n in range(10)}).value
    assert [line for line in found if "more than 8" in line] == [
        "8.bin: not scanned: more than 8 pickles", "9.bin: not scanned: more than 8 pickles"
    ]  # fmt: skip


def test_without_fickling_it_does_not_apply(monkeypatch):
    monkeypatch.setattr(scanners, "find_spec", lambda name: None)
    observation = observed("pickles.fickling", files={"a.bin": b"\x80\x04."})
    assert (observation.status, observation.reason) == (
        Status.NOT_APPLICABLE, "fickling is not installed (extra scanners)"
    )  # fmt: skip


@pytest.mark.parametrize("content", [_torch_zip(b"x", "other"), b"PK\x03\x04"])
def test_a_zip_that_is_not_torch_s_has_no_pickle_that_can_be_told(content):
    with pytest.raises((ValueError, zipfile.BadZipFile)):
        pickle_in(content)
