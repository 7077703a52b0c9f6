"""Which code observes and evaluates stands in the lock: an edit of it is noticed, and re-observes what rests on it."""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import peft_assay
from peft_assay.core.errors import Door, StorageError
from peft_assay.observe.behaviour.catalogue import BEHAVIOUR_PROBES
from peft_assay.observe.catalogue import PROBES
from peft_assay.pipeline.provenance import Sources, behaviour_code, examining_code, in_words, installed

SOURCE = Path(peft_assay.__file__).parent
REFUSALS = "observe/behaviour/scorers/refusal.py"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """The package's sources, copied; whoever edits a file puts it back."""
    folder = tmp_path_factory.mktemp("tree")
    shutil.copytree(SOURCE, folder / "peft_assay", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def digests(folder):
    sources = Sources(folder)
    examined = examining_code(sources)
    return {**behaviour_code(sources), **examined["probes"], "evaluation": examined["evaluation"]}


def imported(folder, name, known):
    """Our modules that `name` reaches, by Python's own parser, without the outermost package."""
    found, waiting = set(), [name]
    while waiting:
        at = waiting.pop()
        path = next((p for p in paths_of(folder, at) if p.is_file()), None)
        if at in found or path is None or at == "peft_assay":
            continue
        found.add(at)
        if at not in known:
            known[at] = set(names_in(path.read_text()))
        waiting.extend(known[at])
        waiting.append(at.rpartition(".")[0])
    return found


def paths_of(folder, name):
    below = folder.joinpath(*name.split("."))
    return below.with_suffix(".py"), below / "__init__.py"


def names_in(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "no relative imports"
            if node.module.split(".")[0] == "peft_assay":
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "peft_assay")


def test_an_edit_of_any_module_or_table_changes_the_digests_that_rest_on_it_and_no_other(tree):
    known = {}
    probes = {probe.id: type(probe).__module__ for probe in (*BEHAVIOUR_PROBES, *PROBES)}
    reached = {name: imported(tree, module, known) for name, module in probes.items()}
    before = digests(tree)
    files = {
        path for modules in reached.values() for module in modules for path in paths_of(tree, module) if path.is_file()
    }
    assert len(files) > 100
    for path in sorted({*files, *(tree / "peft_assay/observe/tables").glob("*.json")}):
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        after = digests(tree)
        path.write_bytes(content)
        changed = {name for name in probes if before[name] != after[name]}
        if path.suffix == ".json":
            assert changed, path
            continue
        own = {name for name, modules in reached.items() if any(path in paths_of(tree, module) for module in modules)}
        assert changed == own, path


def test_every_module_of_the_observing_and_evaluating_rooms_is_of_some_digest(tree):
    before = digests(tree)
    for path in sorted((tree / "peft_assay" / "observe").rglob("*.py")):
        if path.name == "__init__.py" or "importing" in path.parts or path.name in NOT_OBSERVING:
            continue
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        assert digests(tree) != before, path
        path.write_bytes(content)


NOT_OBSERVING = {
    "lint.py",
    "scaffold.py",
    "disassemble.py",
    "kept.py",
    "certain.py",
    "controls.py",
    "kind.py",
    "kinds.py",
    "lookalikes.py",
}
"""What reads the consumer's own files, writes, or tells a source's kind: no observation rests on it."""


def changed_by(tree, file, edit=b"\n# another\n"):
    path = tree / "peft_assay" / file
    content, before = path.read_bytes(), digests(tree)
    path.write_bytes(content + edit)
    after = digests(tree)
    path.write_bytes(content)
    return {name for name in before if before[name] != after[name]}


def test_the_list_of_refusals_is_of_what_scores_and_of_nothing_static(tree):
    changed = changed_by(tree, REFUSALS)
    assert {"suites", "scan", "variation"} <= changed
    assert not changed & {probe.id for probe in PROBES}
    assert not changed & {"evaluation", "load"}


def test_what_judges_and_what_looks_at_files_are_apart_from_what_asks(tree):
    behaviour = {probe.id for probe in BEHAVIOUR_PROBES} | {"conduct"}
    assert changed_by(tree, "evaluate/evaluate.py") == {"evaluation"}
    assert changed_by(tree, "observe/static/secrets.py") == {"secrets", "leaks"}
    assert not changed_by(tree, "observe/tables/licences.json", b" ") & (behaviour | {"bounds", "delta", "secrets"})
    assert changed_by(tree, "observe/behaviour/statistics.py") <= behaviour
    assert changed_by(tree, "observe/behaviour/reference.py") == {"conduct"}
    assert changed_by(tree, "report/terminal.py") == set()


@pytest.mark.parametrize(
    ("file", "digest"),
    [
        ("pipeline/norms.py", "catalogue"),
        ("pipeline/standing.py", "catalogue"),
        ("pipeline/bank.py", "conduct"),
        ("pipeline/observing.py", "conduct"),
        ("pipeline/suites/judges.py", "conduct"),
        ("sandbox/replies.py", "conduct"),
        ("cli/verify.py", None),
        ("report/terminal.py", None),
        ("gate/checks.py", None),
        ("pipeline/doctor.py", None),
        ("sandbox/remedies.py", None),
    ],
)
def test_what_observes_outside_its_room_has_a_digest_and_what_only_shows_has_none(tree, file, digest):
    assert changed_by(tree, file) == ({digest} if digest else set())


def test_compiled_files_other_folders_and_order_make_no_difference(tree, tmp_path):
    assert digests(tree) == digests(SOURCE.parent), "a copy has the digests of the editable installation"
    other = tmp_path / "elsewhere"
    shutil.copytree(tree, other)
    (other / "peft_assay/observe/__pycache__").mkdir()
    (other / "peft_assay/observe/__pycache__/catalogue.cpython-311.pyc").write_bytes(b"junk")
    assert digests(other) == digests(tree)


def test_sources_that_are_not_there_are_an_error_and_not_a_digest(tree, tmp_path):
    other = tmp_path / "bare"
    shutil.copytree(tree, other)
    (other / "peft_assay" / REFUSALS).unlink()
    with pytest.raises(StorageError, match="refusal is not installed") as error:
        digests(other)
    assert error.value.next_step


def test_differences_of_code_are_said_in_words():
    assert in_words(("conditions.code", "examination", "labels.a")) == (
        "labels.a",
        "the code that observes and evaluates, which certificates of before peft-assay recorded it do not name",
    )
    assert in_words(("conditions.code.scan", "examination.probes.bounds", "examination.evaluation")) == (
        "the code that evaluates policies",
        "the code that observes (bounds, scan)",
    )
    assert installed().digest(["peft_assay.observe.catalogue"])


def verify(world, tree):
    """`verify` by the package in `tree`."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-m", "peft_assay", "verify", world.adapter("lora"), "--trust", str(world.trust)]
    return subprocess.run(
        command, check=False, cwd=world.project, env=environment, capture_output=True, text=True, timeout=120
    )


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("file", "says"),
    [
        (REFUSALS, "the code that observes ("),
        ("observe/behaviour/statistics.py", "the code that observes ("),
        ("observe/static/delta.py", "delta"),
        ("pipeline/norms.py", "the code that observes (catalogue)"),
        ("observe/tables/engines.json", "the code that observes ("),
        ("evaluate/expression.py", "the code that evaluates policies"),
    ],
)
def test_verify_notices_an_edit_of_what_observes_or_evaluates(world, tree, file, says):
    intact = verify(world, tree)
    assert intact.returncode == Door.PASSED, intact.stdout + intact.stderr
    path = tree / "peft_assay" / file
    content = path.read_bytes()
    path.write_bytes(content + b"\n")
    done = verify(world, tree)
    path.write_bytes(content)
    assert done.returncode == Door.DENIED, done.stdout + done.stderr
    assert "certified only for another context" in done.stdout
    assert says in done.stdout
    assert "next: peft-assay certify" in done.stdout


@pytest.mark.sandbox
@pytest.mark.model
def test_an_edit_of_what_judges_runs_nothing_and_one_of_a_scorer_observes_again(world, monkeypatch):
    from peft_assay.pipeline import project

    code = dict(project.installed_behaviour())
    examined = dict(project.installed_examination())
    monkeypatch.setattr(project, "installed_examination", lambda: {**examined, "evaluation": "sha256:" + "0" * 64})
    assert world.verify()[0] == Door.DENIED
    (entry,) = world.json("certify", world.adapter("lora")).document
    assert (entry["outcome"], entry["reused"]) == ("PASS", True)
    assert world.verify()[0] == Door.PASSED
    monkeypatch.setattr(project, "installed_behaviour", lambda: {**code, "suites": "sha256:" + "0" * 64})
    assert world.verify()[0] == Door.DENIED
    (entry,) = world.json("certify", world.adapter("lora")).document
    assert (entry["outcome"], entry["reused"]) == ("PASS", False)
    assert entry["certificate"]["observedAt"] == entry_of_first(world), (
        "what the model answered was kept, and not asked again"
    )


def entry_of_first(world):
    """When the oldest answers that are kept were given."""
    with world.open() as deployment:
        records = [
            deployment.record_of(deployment.workspace.blobs.get(digest))
            for entry in deployment.workspace.history()
            if (digest := entry.happened.get("observations") or entry.happened.get("envelope"))
            and entry.kind.value == "observed"
        ]
    return min(record.started_at for record in records).strftime("%Y-%m-%dT%H:%M:%SZ")
