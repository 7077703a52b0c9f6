"""One pass: what is hashed, kept, watched and quarantined is the same; refused sources leave nothing behind."""

import hashlib
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peft_assay.core.content import END_BYTES
from peft_assay.core.errors import IntakeError, TrustError
from peft_assay.intake.admit import admit
from peft_assay.intake.interface import Hold, Limits
from peft_assay.store.blobs import LocalBlobs


class Everything:
    def __init__(self) -> None:
        self.seen = bytearray()

    def feed(self, chunk: memoryview) -> None:
        self.seen += chunk

    def finish(self) -> bytes:
        return bytes(self.seen)


def watch(path: str, size: int) -> Everything | None:
    return Everything() if path.endswith("w") else None


@settings(max_examples=30, deadline=None)
@given(size=st.sampled_from([0, 1, END_BYTES - 1, END_BYTES, END_BYTES + 1, 3 * END_BYTES, (1 << 20) + 17]))
def test_ends_whole_digest_and_sighting_are_of_the_same_bytes(size, tmp_path_factory):
    folder = tmp_path_factory.mktemp("a")
    body = os.urandom(size)
    (folder / "w").write_bytes(body)
    (folder / "x").write_bytes(b"x")
    for hold in (Hold(), Hold(END_BYTES, 1 << 30), Hold(0, 0)):
        admitted = admit(folder, hold=hold, watch=watch)
        content = admitted.contents["w"]
        assert content.sha256 == "sha256:" + hashlib.sha256(body).hexdigest()
        assert (content.head, content.tail) == (body[:END_BYTES], body[-END_BYTES:])
        assert content.body == (body if size <= hold.file_bytes else None)
        assert admitted.sightings == {"w": body}


def test_what_is_held_in_memory_is_bounded_in_all(tmp_path):
    for number in range(9):
        (tmp_path / f"{number}").write_bytes(bytes(1000))
    held = [c.body is not None for c in admit(tmp_path, hold=Hold(2000, 3500)).contents.values()]
    assert held == [True] * 3 + [False] * 6
    with pytest.raises(ValueError, match="not held"):
        _ = admit(tmp_path, hold=Hold(10, 10)).files


def test_the_quarantine_has_every_byte_or_nothing(tmp_path):
    folder, blobs = tmp_path / "a", LocalBlobs(tmp_path / "blobs")
    folder.mkdir()
    (folder / "a").write_bytes(b"first")
    (folder / "z").write_bytes(b"second")
    admitted = admit(folder, quarantine=blobs.draft)
    assert [blobs.get(f.sha256) for f in admitted.artifact.files] == [b"first", b"second"]
    (folder / "b").write_bytes(b"third")
    (folder / "y").symlink_to("z")
    with pytest.raises(IntakeError):
        admit(folder, quarantine=blobs.draft)
    kept = sorted(p.read_bytes() for p in (tmp_path / "blobs").rglob("*") if p.is_file())
    assert kept == [b"first", b"second"]


def test_an_archive_s_members_arrive_under_their_final_names(tmp_path):
    blobs = LocalBlobs(tmp_path / "blobs")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("top/w", b"weights")
        archive.writestr("top/.git/config", b"not read on")
    admitted = admit(tmp_path / "a.zip", watch=watch, quarantine=blobs.draft)
    assert dict(admitted.files) == {"w": b"weights"}
    assert admitted.sightings == {"w": b"weights"}
    assert len([p for p in (tmp_path / "blobs").rglob("*") if p.is_file()]) == 1


def test_a_blob_that_was_altered_is_not_taken_for_kept(tmp_path):
    folder, blobs = tmp_path / "a", LocalBlobs(tmp_path / "blobs")
    folder.mkdir()
    (folder / "a").write_bytes(b"first")
    digest = admit(folder, quarantine=blobs.draft).artifact.files[0].sha256
    place = blobs.place(digest)
    place.chmod(0o600)
    place.write_bytes(b"altered")
    with pytest.raises(TrustError, match="altered"):
        admit(folder, quarantine=blobs.draft)


KILLED = """
import os, signal, sys
from pathlib import Path
from peft_assay.intake.admit import admit
from peft_assay.store.blobs import LocalBlobs
class Killer:
    def feed(self, chunk): os.kill(os.getpid(), signal.SIGKILL)
    def finish(self): pass
folder, store = map(Path, sys.argv[1:])
admit(folder, watch=lambda path, size: Killer() if path == "z" else None, quarantine=LocalBlobs(store).draft)
"""


def test_kill_minus_nine_in_mid_intake_leaves_no_blob_and_its_drafts_are_swept(tmp_path):
    folder, store = tmp_path / "a", tmp_path / "blobs"
    folder.mkdir()
    (folder / "a").write_bytes(b"first")
    (folder / "z").write_bytes(b"second")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    killed = subprocess.run([sys.executable, "-c", KILLED, folder, store], env=environment, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (store / "sha256").exists()
    assert len(list((store / "drafts").iterdir())) == 2
    blobs = LocalBlobs(store)
    living = blobs.draft()
    admit(folder, quarantine=blobs.draft)
    assert len(list((store / "drafts").iterdir())) == 1, "the living writer's draft is left alone"
    living.drop()
    assert not list((store / "drafts").iterdir())


def test_a_sparse_giant_is_refused_without_being_read(tmp_path):
    with (tmp_path / "w").open("wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(IntakeError, match="sparse") as refusal:
        admit(tmp_path)
    assert refusal.value.where == "w"
    with (tmp_path / "w").open("wb") as file:  # a small one is nobody's problem
        file.truncate(4 << 20)
    assert admit(tmp_path).contents["w"].size == 4 << 20


def _cache(tmp_path: Path) -> Path:
    repository = tmp_path / "models--org--name"
    blob = hashlib.sha256(b"weights").hexdigest()
    (repository / "blobs").mkdir(parents=True)
    (repository / "blobs" / blob).write_bytes(b"weights")
    snapshot = repository / "snapshots" / ("c" * 40)
    (snapshot / "sub").mkdir(parents=True)
    (snapshot / "w").symlink_to(f"../../blobs/{blob}")
    (snapshot / "sub/w").symlink_to(f"../../../blobs/{blob}")
    return snapshot


def test_a_snapshot_of_the_hugging_face_cache_is_read_through_its_links(tmp_path):
    snapshot = _cache(tmp_path)
    assert dict(admit(snapshot).files) == {"w": b"weights", "sub/w": b"weights"}
    assert dict(admit(snapshot / "sub").files) == {"w": b"weights"}


@pytest.mark.parametrize(
    "target", ["../../blobs/../secret", "../../../blobs/" + "a" * 40, "../../blobs/" + "a" * 39, "/etc/hostname", "w"]
)
def test_but_no_other_link_is_followed_there(tmp_path, target):
    snapshot = _cache(tmp_path)
    (tmp_path / "models--org--name" / "secret").write_bytes(b"key")
    (snapshot / "x").symlink_to(target)
    with pytest.raises(IntakeError, match="symbolic link"):
        admit(snapshot)


def test_a_cache_blob_that_is_itself_a_link_is_not_followed(tmp_path):
    snapshot = _cache(tmp_path)
    name = "b" * 40
    (tmp_path / "models--org--name" / "blobs" / name).symlink_to("/etc/hostname")
    (snapshot / "x").symlink_to(f"../../blobs/{name}")
    with pytest.raises(IntakeError, match="cannot be read"):
        admit(snapshot)


def test_limits_are_judged_before_anything_is_read(tmp_path):
    (tmp_path / "w").write_bytes(bytes(100))
    with pytest.raises(IntakeError, match="more than 99"):
        admit(tmp_path, Limits(file_bytes=99))
