"""Bad input: one clear error with the path or field at fault and the right exit code; never a certificate."""

import json
import os
import shutil
from pathlib import Path

import pytest

from acceptance.conftest import ZOO, Project


def fails(project: Project, door: int, *says: str, arguments: tuple[str, ...]) -> str:
    done = project.run(*arguments)
    assert done.returncode == door, done.stderr + done.stdout
    for text in says:
        assert text in done.stderr + done.stdout
    assert project.certificates() == 0
    return done.stderr


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("name: zoo-support", "name: Zoo Support", "context.name"),
        ("purpose: answers customers' product questions in the house style", "purpose: ''", "context.purpose"),
        ("path: ./base", "path: ./nowhere", "context.base.path"),
        ("path: ./base", "path: ./suites", "has no config.json"),
        ("licence: apache-2.0", "licence: 7", "context.base.licence"),
        ("dtype: float32", "dtype: float8", "context.engine.dtype"),
        ("maxRank: 32", "maxRank: 0", "context.engine.maxRank"),
        ("maxRank: 32", "maxRank: true", "context.engine.maxRank"),
        ("maxRank: 32", "maxRank: 32\n    max_rank: 64", "context.engine.max_rank"),
        ("maximumAge: 30d", "maximumAge: 30", "context.maximumAge"),
        ("maximumAge: 30d", "maximumAge: a while", "context.maximumAge"),
        ("policy: builtin:default", "policy: builtin:lenient", "lenient"),
        ("policy: builtin:default", "policy: ./missing.yaml", "peft-assay.yaml: policy"),
        ("./suites/lookups/suite.yaml", "./suites/missing/suite.yaml", "suites.1"),
        ("./suites/lookups/suite.yaml", "./suites/support_task/suite.yaml", "two suites have the id"),
        ("tokens: ./suites/tokens.txt", "tokens: ./suites/none.txt", "scan.tokens"),
        ("answers: support_task", "answers: lookups", "scan.answers"),
        ("rights:", "wrongs:", "wrongs"),
        ("kind: Assay", "kind: Assay\nkind: Assay", "appears twice"),
        ("apiVersion: peft-assay/v1", "apiVersion: peft-assay/v9", "apiVersion"),
        ("context:\n", "context: &c\n", None),
        ("labels:", "labels: *c", "aliases"),
    ],
)
def test_a_bad_field_is_named(project: Project, lora: str, old: str, new: str, says: str | None) -> None:
    project.replace(old, new)
    if says is not None:
        fails(project, 2, says, "peft-assay.yaml" if "lenient" not in new else "lenient", arguments=("certify", lora))
    else:
        assert project.run("certify", "--plan", lora).returncode == 0  # control: an anchor alone does no harm


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"context: [", b"\xff\xfe", b"just text", b"a: !!python/object:os.system {}"]
)
def test_a_document_that_is_none_is_named(project: Project, lora: str, content: bytes) -> None:
    project.document.write_bytes(content)
    fails(project, 2, "peft-assay.yaml", arguments=("certify", lora))


def test_an_empty_policy_is_refused(project: Project, lora: str) -> None:
    project.replace("builtin:default", "./policy.yaml")
    (project.folder / "policy.yaml").write_text(
        "apiVersion: peft-assay/v1\nkind: Policy\nid: empty\ndescription: d\nrules: []\n"
    )
    fails(project, 2, "policy.yaml", "rules", arguments=("certify", lora))


def test_a_policy_that_names_an_unknown_observation_is_refused(project: Project, lora: str) -> None:
    project.replace("builtin:default", "./policy.yaml")
    (project.folder / "policy.yaml").write_text(
        "apiVersion: peft-assay/v1\nkind: Policy\nid: typo\ndescription: d\n"
        "rules:\n- {id: task, assert: 'suite.suport_task.lower > 0.9', why: w}\n"
    )
    fails(project, 2, "policy.yaml", "suport_task", arguments=("certify", lora))


def test_an_empty_suite_is_refused(project: Project, lora: str) -> None:
    (project.folder / "suites/lookups/cases.jsonl").write_text("\n")
    fails(project, 2, "0 cases", "lookups", arguments=("certify", lora))


@pytest.mark.parametrize(
    ("case", "says"),
    [
        ('{"id": "a", "prompt": "p"}', "expected"),
        ('{"id": "a", "prompt": "p", "expected": "e", "answer": 0, "choices": ["x", "y"]}', "choices"),
        ('{"id": "a", "prompt": "", "expected": "e"}', "prompt"),
        ('{"id": "a", "id": "b", "prompt": "p", "expected": "e"}', "appears twice"),
        ('{"id": "a", "prompt": "p", "expected": "e", "note": 1}', "note"),
        ("not json", "line 1"),
    ],
)
def test_a_bad_case_is_named_by_its_line(project: Project, lora: str, case: str, says: str) -> None:
    (project.folder / "suites/support_task/cases.jsonl").write_text(case + "\n")
    fails(project, 2, "line 1", says, arguments=("certify", lora))


def test_sources_that_cannot_be_read(project: Project, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    text = tmp_path / "notes.txt"
    text.write_text("not an archive")
    for source in (tmp_path / "absent", empty, text):
        message = fails(project, 3, arguments=("certify", str(source), "--format", "json"))
        assert message == "" or "Traceback" not in message


@pytest.mark.skipif(os.getuid() == 0, reason="root reads everything")
def test_an_unreadable_adapter(project: Project, lora: str, tmp_path: Path) -> None:
    copy = tmp_path / "locked"
    shutil.copytree(lora, copy)
    (copy / "adapter_model.safetensors").chmod(0)
    fails(project, 3, "adapter_model.safetensors", arguments=("certify", str(copy)))


def test_no_project_and_no_anchor(project: Project, lora: str, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = project.run("certify", lora, "--context", str(elsewhere))
    assert (done.returncode, "init" in done.stderr or "--context" in done.stderr) == (2, True)
    shutil.rmtree(project.trust)
    fails(project, 11, "no trust anchor", "init", arguments=("certify", lora))


def test_an_anchor_inside_what_is_judged_is_refused(project: Project, lora: str) -> None:
    inside = project.folder / "trust"
    shutil.copytree(project.trust, inside)
    done = Project(project.folder, inside).run("certify", lora)
    assert (done.returncode, "inside what is being judged" in done.stderr) == (11, True)


@pytest.mark.sandbox
def test_the_wrong_signing_key(project: Project, lora: str, tmp_path: Path) -> None:
    """A key that the anchor does not pin signs nothing, however well it is formed."""
    other = Project(tmp_path / "elsewhere", tmp_path / "other")
    other.folder.mkdir()
    assert other.run("init").returncode == 0
    for name in ("authority", "sandbox"):
        shutil.copy(other.trust / "keys" / f"{name}.pem", project.trust / "keys" / f"{name}.pem")
    fails(project, 11, "not one that the trust anchor pins", arguments=("certify", lora))


def test_production_refuses_development_keys(project: Project, lora: str) -> None:
    """Certifying is possible; the gate says no, and says why."""
    project.replace("maximumAge: 30d", "maximumAge: 30d\n  production: true")
    done = project.run("verify", lora)
    assert (done.returncode, "development keys" in done.stdout) == (11, True)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("certify", "--no-such-option"),
        ("no-such-command",),
        ("inspect",),
        ("inspect", "a", "--fail-on", "sometimes"),
        ("discover",),
        ("certify", "x", "--format", "xml"),
        ("certify", "x", "--isolation", "paper"),
        ("revoke",),
        ("revoke", "x"),
        ("revoke", "--lift", "--list"),
        ("revoke", "not-a-digest", "--reason", "r"),
        ("revoke", "sha256:12", "--reason", "r", "--scope", "policy"),
    ],
)
def test_wrong_usage(project: Project, arguments: tuple[str, ...]) -> None:
    done = project.run_apart(*arguments, *(["--trust", str(project.trust)] if arguments[:1] == ("revoke",) else []))
    assert done.returncode == 2, done.stderr + done.stdout
    assert done.stderr or "Usage" in done.stdout


@pytest.mark.parametrize("command", ["certify", "verify", "report", "revoke", "inspect"])
def test_errors_are_json_when_json_was_asked_for(project: Project, command: str) -> None:
    arguments = {
        "revoke": ("revoke", "nonsense", "--reason", "r"),
        "report": ("report",),
        "inspect": ("inspect", "gone", "x", "y"),
    }
    chosen = (*arguments.get(command, (command, "gone")), "--format", "json")
    done = project.run(*chosen) if command != "inspect" else project.run_apart(*chosen)
    document = json.loads(done.stdout)
    if isinstance(document, list):
        assert document[0]["door"] == done.returncode == 3
    else:
        assert document["door"] == done.returncode
        assert document["error"]["message"]


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to mount a small file system")
@pytest.mark.sandbox
def test_a_full_disk_leaves_a_workspace_that_works(project: Project, lora: str, tmp_path: Path) -> None:
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)], check=True)
    try:
        assert project.run("init", "--workspace", str(small)).returncode == 0
        filler = small / "filler"
        filler.write_bytes(b"\0" * (os.statvfs(small).f_bavail * os.statvfs(small).f_frsize - 60_000))
        done = project.run("certify", lora, "--workspace", str(small))
        assert done.returncode == 74, done.stdout + done.stderr
        filler.unlink()
        assert Project(small, project.trust).certificates() == 0
        assert project.run("certify", str(ZOO / "adapters/prompt"), "--workspace", str(small)).returncode == 0
        assert Project(small, project.trust).certificates() == 1
    finally:
        subprocess.run(["umount", str(small)], check=True)
