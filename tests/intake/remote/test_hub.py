"""Fetching from a Hub on loopback: pinned, resumed, checked, and every refusal told with its reason and next step."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub", reason="needs huggingface_hub (extra hub)")

from intake.remote.hub_server import Hub, Repository
from peft_assay.core.errors import IntakeError, UsageError
from peft_assay.intake import hub as source
from peft_assay.intake.admit import admit
from peft_assay.intake.interface import DEFAULT_LIMITS, WHOLE, Limits
from peft_assay.intake.reference import HubReference, ObjectReference, parse_reference

ONE, TWO = "1" * 40, "2" * 40
WEIGHTS = os.urandom(24_000_000)  # the library writes, and so resumes, in pieces of 10 MiB
FILES = {
    "adapter_config.json": b'{"peft_type": "LORA"}',
    "adapter_model.safetensors": WEIGHTS,
    "sub/README.md": b"# card",
}


@pytest.fixture
def world(monkeypatch, tmp_path):
    hub = Hub({"org/name": Repository({"main": ONE, "v1": ONE}, {ONE: dict(FILES), TWO: {**FILES, "LICENSE": b"MIT"}})})
    server = hub.serve()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    # Read when the library is first imported, which may have been in a test that was offline.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield hub
    server.shutdown()
    server.server_close()


def fetch(text: str, place: Path, told: list[str] | None = None, limits: Limits = DEFAULT_LIMITS):
    reference = parse_reference(text)
    assert isinstance(reference, HubReference)
    return source.fetch(reference, place, limits, (told if told is not None else []).append)


def refused(text: str, place: Path, why: str, **arguments) -> IntakeError:
    with pytest.raises(IntakeError, match=why) as refusal:
        fetch(text, place, **arguments)
    assert refusal.value.where
    assert "org/" in refusal.value.where
    assert refusal.value.next_step
    return refusal.value


def test_a_revision_is_resolved_once_and_pinned(world, tmp_path):
    told: list[str] = []
    fetched = fetch("org/name@v1", tmp_path / "place", told)
    assert fetched.pinned == f"hf://org/name@{ONE}"
    assert dict(admit(fetched.folder, hold=WHOLE).files) == FILES
    assert any(ONE in line and "pin it" in line for line in told)
    asked = [path for _, path in world.requests]
    assert sum(path.startswith("/api/models/") for path in asked) == 1
    assert all(f"/resolve/{ONE}/" in path for path in asked if not path.startswith("/api/"))
    assert not world.authorizations


def test_a_pinned_version_that_is_here_needs_no_network_and_is_checked_again(world, tmp_path):
    first = fetch(f"hf://org/name@{ONE}", tmp_path / "place")
    before = len(world.requests)
    again = fetch(f"hf://org/name@{ONE}", tmp_path / "place")
    assert (again.folder, len(world.requests)) == (first.folder, before)
    (again.folder / "adapter_model.safetensors").write_bytes(b"altered")
    (again.folder / "planted.py").write_bytes(b"altered")
    healed = fetch(f"hf://org/name@{ONE}", tmp_path / "place")
    assert dict(admit(healed.folder, hold=WHOLE).files) == FILES


def test_a_cut_is_resumed_where_it_stopped(world, tmp_path):
    world.cut_after = 15_000_000
    told: list[str] = []
    fetched = fetch("org/name@main", tmp_path / "place", told)
    assert dict(admit(fetched.folder, hold=WHOLE).files) == FILES
    assert world.ranges, "the rest was asked for, not the whole"
    assert world.served["adapter_model.safetensors"] <= len(WEIGHTS) + 15_000_000 - (10 << 20)


def test_a_killed_fetch_is_resumed_by_the_next(world, tmp_path):
    """The first process dies while the body is on its way; the second one asks for the rest."""
    world.cut_after = 15_000_000
    program = (
        "import sys, os, signal\nfrom pathlib import Path\n"
        "from peft_assay.intake import hub\nfrom peft_assay.intake.interface import DEFAULT_LIMITS\n"
        "from peft_assay.intake.reference import parse_reference\n"
        "hub._wait = lambda error, attempt: os.kill(os.getpid(), signal.SIGKILL)\n"
        "import huggingface_hub.utils._http as h\n"
        "h.time.sleep = lambda s: os.kill(os.getpid(), signal.SIGKILL)\n"
        "hub.fetch(parse_reference('org/name@main'), Path(sys.argv[1]), DEFAULT_LIMITS, print)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "place"], env=environment, timeout=120, check=False
    )
    assert done.returncode == -9
    fetched = fetch("org/name@main", tmp_path / "place")
    assert dict(admit(fetched.folder, hold=WHOLE).files) == FILES
    assert world.ranges


def test_a_tag_that_moved_is_told_with_both_commits(world, tmp_path):
    fetch("org/name@v1", tmp_path / "place")
    world.repositories["org/name"].refs["v1"] = TWO
    told: list[str] = []
    fetched = fetch("org/name@v1", tmp_path / "place", told)
    assert fetched.moved_from == ONE
    assert fetched.pinned.endswith(TWO)
    assert any("moved" in line and ONE in line and TWO in line for line in told)
    assert "LICENSE" in admit(fetched.folder).contents
    assert "LICENSE" not in admit(fetch(f"org/name@{ONE}", tmp_path / "place").folder).contents


def test_a_gated_repository_names_the_page_and_accepts_nothing(world, tmp_path):
    world.repositories["org/name"].gated = True
    refusal = refused("org/name@main", tmp_path, "gated")
    assert "accept the terms on http://127.0.0.1" in str(refusal.next_step)
    assert {command for command, _ in world.requests} <= {"GET", "HEAD"}


def test_a_private_or_absent_repository_and_an_absent_revision(world, tmp_path):
    assert "HF_TOKEN" in str(refused("org/other@main", tmp_path, "no such repository, or it is private").next_step)
    refused("org/name@nowhere", tmp_path, "no revision nowhere")
    refused("org/name@main:nosuch", tmp_path, "no files")


def test_the_user_s_token_is_used_and_never_told(world, tmp_path, monkeypatch):
    world.token = "hf_secretsecretsecret"
    refused("org/name@main", tmp_path, "private")
    monkeypatch.setenv("HF_TOKEN", world.token)
    told: list[str] = []
    assert fetch("org/name@main", tmp_path, told).pinned.endswith(ONE)
    assert world.token not in "".join(told)
    world.repositories["org/name"].altered["adapter_config.json"] = b"x" * len(FILES["adapter_config.json"])
    assert world.token not in str(refused("org/name@main", tmp_path / "other", "what arrived"))


def test_rate_limits_are_waited_for_and_told_or_refused_when_long(world, tmp_path, monkeypatch):
    slept: list[float] = []
    monkeypatch.setattr(source.time, "sleep", slept.append)
    world.busy = [(429, "7")]
    told: list[str] = []
    fetch("org/name@main", tmp_path / "a", told)
    assert slept == [7]
    assert any("429" in line and "7 s" in line for line in told)
    world.busy = [(429, "86400")]
    refusal = refused("org/name@main", tmp_path / "b", "asks to wait 86400 s")
    assert "what was fetched is kept" in str(refusal.next_step)
    world.busy = [(503, None)] * 20
    refused("org/name@main", tmp_path / "c", "answered 503")
    world.busy = []


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json"])
def test_content_that_is_not_what_was_announced_is_refused_and_not_kept(world, tmp_path, file):
    true = FILES[file]
    world.repositories["org/name"].altered[file] = bytes([true[0] ^ 1]) + true[1:]
    refusal = refused("org/name@main", tmp_path / "place", "what arrived is not what the commit has")
    assert file in refusal.message
    world.repositories["org/name"].altered.clear()
    assert dict(admit(fetch("org/name@main", tmp_path / "place").folder, hold=WHOLE).files) == FILES


def test_limits_are_judged_by_the_listing_before_a_byte_is_fetched(world, tmp_path):
    for limits in (Limits(files=2), Limits(file_bytes=1 << 20), Limits(total_bytes=1 << 20)):
        refused("org/name@main", tmp_path, "over the limit", limits=limits)
    assert all(path.startswith("/api/") for _, path in world.requests)


@pytest.mark.parametrize("path", ["../escape", "/etc/x", "a\\b", "a/../../b", "ADAPTER_CONFIG.JSON", "a\x1bb"])
def test_a_listing_with_paths_that_escape_or_collide_is_refused(world, tmp_path, path):
    world.repositories["org/name"].commits[ONE][path] = b"x"
    with pytest.raises(IntakeError):
        fetch("org/name@main", tmp_path / "place")
    assert all(asked.startswith("/api/") for _, asked in world.requests)


def test_a_size_that_is_not_true_is_refused(world, tmp_path):
    world.repositories["org/name"].announced["adapter_model.safetensors"] = 10
    with pytest.raises(IntakeError):
        fetch("org/name@main", tmp_path / "place")


def test_a_file_that_the_server_lists_and_does_not_have(world, tmp_path):
    world.missing.add("adapter_config.json")
    assert "adapter_config.json" in refused("org/name@main", tmp_path, "does not have it").message


def test_no_network_is_told_and_what_is_here_still_works(world, tmp_path, monkeypatch):
    monkeypatch.setattr(source.time, "sleep", lambda seconds: None)
    fetched = fetch(f"org/name@{ONE}", tmp_path)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "goes on where it stopped" in str(refused("org/name@main", tmp_path, "cannot be reached").next_step)
    assert fetch(f"org/name@{ONE}", tmp_path).folder == fetched.folder
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    refused("org/name@main", tmp_path, "HF_HUB_OFFLINE")


def test_a_subfolder_is_one_adapter(world, tmp_path):
    assert dict(admit(fetch("org/name@main:sub", tmp_path).folder, hold=WHOLE).files) == {"README.md": b"# card"}


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("adapters/lora", Path("adapters/lora")),
        ("./a@b", Path("./a@b")),
        ("/abs/a@b", Path("/abs/a@b")),
        ("org/name@main", HubReference("org/name", "main", None)),
        ("hf://org/name", HubReference("org/name", "main", None)),
        ("hf://org/name@refs/pr/1:sub/folder", HubReference("org/name", "refs/pr/1", "sub/folder")),
        ("s3://bucket/some prefix/", ObjectReference("s3", "bucket", "some prefix")),
    ],
)
def test_names(text, meant):
    assert parse_reference(text) == meant


def test_a_local_path_wins_over_a_name_that_looks_like_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "org").mkdir()
    (tmp_path / "org/name@main").mkdir()
    assert parse_reference("org/name@main") == Path("org/name@main")


@pytest.mark.parametrize(
    "text",
    [
        "hf://org",
        "hf://../name",
        "hf://org/name@../x",
        "hf://org/na me",
        "s3://bucket",
        "s3://b/../x",
        "ftp://x/y",
        "hf://o/n:../x",
    ],
)
def test_malformed_names_are_usage_errors(text):
    with pytest.raises(UsageError) as error:
        parse_reference(text)
    assert error.value.next_step
