"""Fetching from an S3 server on loopback: listed, limited, resumed in pieces, refused when it changes."""

import os

import pytest

pytest.importorskip("obstore", reason="needs obstore (extra objects)")

from intake.remote.s3_server import Bucket, serving
from peft_assay.core.errors import IntakeError
from peft_assay.intake import objects
from peft_assay.intake.admit import admit
from peft_assay.intake.interface import DEFAULT_LIMITS, WHOLE, Limits
from peft_assay.intake.reference import ObjectReference, parse_reference

FILES = {"adapter_config.json": b"{}", "adapter_model.safetensors": os.urandom(20_000_000), "sub/a.txt": b"text"}


@pytest.fixture
def bucket(monkeypatch):
    objects = {f"team/lora/{path}": body for path, body in FILES.items()} | {"team/other/x": b"x"}
    with serving(Bucket(objects), monkeypatch) as made:
        yield made


def fetch(place, limits=DEFAULT_LIMITS, told=None):
    reference = parse_reference("s3://bucket/team/lora/")
    assert isinstance(reference, ObjectReference)
    return objects.fetch(reference, place, limits, (told if told is not None else []).append)


def test_the_objects_under_the_prefix_become_one_adapter(bucket, tmp_path):
    told: list[str] = []
    fetched = fetch(tmp_path, told=told)
    assert dict(admit(fetched.folder, hold=WHOLE).files) == FILES
    assert fetched.pinned.startswith("s3://bucket/team/lora@sha256:")
    assert len(told) == 3
    served = bucket.served
    again = fetch(tmp_path)
    assert (again.folder, again.pinned, bucket.served) == (fetched.folder, fetched.pinned, served)


def test_a_version_that_changed_is_another_version(bucket, tmp_path):
    first = fetch(tmp_path)
    bucket.objects["team/lora/adapter_config.json"] = b"[]"
    second = fetch(tmp_path)
    assert first.pinned != second.pinned
    assert admit(second.folder, hold=WHOLE).files["adapter_config.json"] == b"[]"


def test_what_was_altered_here_is_fetched_again(bucket, tmp_path):
    folder = fetch(tmp_path).folder
    (folder / "adapter_config.json").write_bytes(b"[]")
    (folder / "planted").write_bytes(b"")
    assert dict(admit(fetch(tmp_path).folder, hold=WHOLE).files) == FILES


def test_a_break_is_resumed_where_it_stopped(bucket, tmp_path):
    bucket.fail_after = 9_000_000
    with pytest.raises(IntakeError, match="broke off") as refusal:
        fetch(tmp_path)
    assert "goes on where it stopped" in str(refusal.value.next_step)
    bucket.fail_after, before = None, bucket.served
    assert dict(admit(fetch(tmp_path).folder, hold=WHOLE).files) == FILES
    assert bucket.served - before < len(FILES["adapter_model.safetensors"])


def test_an_object_that_changes_meanwhile_is_refused(bucket, tmp_path):
    bucket.change = {"team/lora/adapter_model.safetensors": os.urandom(20_000_000)}
    with pytest.raises(IntakeError, match="changed while it was fetched"):
        fetch(tmp_path)


def test_limits_absence_and_denial_are_told(bucket, tmp_path):
    for limits in (Limits(files=2), Limits(file_bytes=1000), Limits(total_bytes=1000)):
        with pytest.raises(IntakeError, match="over the limit"):
            fetch(tmp_path, limits)
    assert bucket.served == 0
    with pytest.raises(IntakeError, match="no files"):
        objects.fetch(ObjectReference("s3", "bucket", "nowhere"), tmp_path, DEFAULT_LIMITS, print)
    bucket.denied = True
    with pytest.raises(IntakeError, match="credentials"):
        fetch(tmp_path)


@pytest.mark.parametrize("key", ["team/lora/A.TXT", "team/lora/sub/A.txt"])
def test_names_that_collide_are_refused(bucket, tmp_path, key):
    bucket.objects[key] = b"1"
    bucket.objects[key.swapcase().replace("TEAM/LORA", "team/lora")] = b"2"
    with pytest.raises(IntakeError):
        fetch(tmp_path)
    assert bucket.served == 0


def test_a_pinned_version_is_that_version_or_none(bucket, tmp_path):
    pinned = fetch(tmp_path).pinned
    reference = parse_reference(pinned)
    assert isinstance(reference, ObjectReference)
    assert (reference.prefix, len(reference.version or "")) == ("team/lora", 64)
    assert objects.fetch(reference, tmp_path, DEFAULT_LIMITS, lambda line: None).pinned == pinned
    bucket.objects["team/lora/adapter_config.json"] = b"[]"
    with pytest.raises(IntakeError, match="another version now"):
        objects.fetch(reference, tmp_path, DEFAULT_LIMITS, lambda line: None)
