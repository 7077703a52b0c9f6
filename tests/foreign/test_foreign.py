"""Each row of docs/foreign.md with the real tool: what it wrote is certified and served as the tool served it, or refused with a
true reason."""

import re
from types import SimpleNamespace

import pytest

from foreign import environments, world
from foreign.rows import ROWS, Answer, Row
from peft_assay import activate

pytestmark = [pytest.mark.model, pytest.mark.sandbox]


NO_ROW = SimpleNamespace(params={})


@pytest.fixture(scope="session")
def of_the_zoo(request, tmp_path_factory):
    """Certify, in one run, every adapter of this session's rows that was written for the zoo's base."""
    chosen = [
        item.callspec.params["row"]
        for item in request.session.items
        if "row" in getattr(item, "callspec", NO_ROW).params
    ]
    written = [world.folder_of(row) / "adapter" for row in chosen if not row.own_base and _there(row)]
    adapters = [folder for folder in written if folder.exists()]
    return world.certify(tmp_path_factory.mktemp("foreign") / "zoo", world.ZOO / "base", "causal-lm", adapters)


def _there(row: Row) -> bool:
    return not environments.failure(row.environment)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_row(row, request, seen, tmp_path):
    if not _there(row):
        said = environments.failure(row.environment)
        assert row.answer is Answer.NOT_INSTALLED, f"{row.environment} cannot be installed: {said}"
        assert row.says in said
        seen[row.id] = said.splitlines()[-1]
        return
    failed = world.folder_of(row) / "failed.txt"
    if failed.exists() or row.answer is Answer.UNWRITTEN:
        said = failed.read_text("utf-8") if failed.exists() else "it wrote the adapter"
        assert row.answer is Answer.UNWRITTEN, f"the tool itself failed: {said}"
        assert row.says in said
        seen[row.id] = said.splitlines()[0]
        return
    project = _project(row, request, tmp_path)
    seen[row.id] = CHECKS[row.answer](row, project)


def _project(row, request, tmp_path):
    if not row.own_base:
        return request.getfixturevalue("of_the_zoo")
    folder = world.folder_of(row)
    return world.certify(tmp_path / "own", folder / "base", row.task, [folder / "adapter"])


def _report(row, project):
    assert project.error is None, project.error
    return project.reports[str(world.folder_of(row) / "adapter")]


def _certified(row, project):
    """Check that it passes, and that the governed model answers as PEFT's own loader and as the writer did."""
    import json

    import torch
    from peft import PeftModel

    report = _report(row, project)
    assert report["outcome"] == "PASS", (report["decidingRule"], report["reason"], report["nextStep"])
    adapter = world.folder_of(row) / "adapter"
    active = activate(world.load_base(project.folder / "base", row.task), adapter, **project.place)
    ours = world.answers(active.model, row)
    plain = PeftModel.from_pretrained(world.load_base(project.folder / "base", row.task), adapter).eval()
    assert torch.equal(ours, world.answers(plain, row)), "activate and PeftModel.from_pretrained answer differently"
    told = world.folder_of(row) / "answers.json"
    if not told.exists():
        return ""
    theirs = torch.tensor(json.loads(told.read_text("utf-8")))
    assert ours.shape == theirs.shape
    bare = world.answers(world.load_base(project.folder / "base", row.task), row)
    furthest = float((ours - theirs).abs().max())
    assert furthest <= row.tolerance, f"a logit differs from the writer's by {furthest:g}"
    assert bare.shape != ours.shape or float((bare - theirs).abs().max()) > 10 * row.tolerance, "it has no effect"
    return "0" if furthest == 0 else f"{furthest:.0e}"


def _denied(row, project):
    report = _report(row, project)
    rule, _, words = row.says.partition(": ")
    assert (report["outcome"], report["decidingRule"]) == ("FAIL", rule), report["reason"]
    assert words in report["reason"], report["reason"]
    assert report["nextStep"]
    return report["reason"].partition(" Saw ")[2].partition("; needs ")[0].removesuffix(".")


def _refused(row, project):
    report = _report(row, project)
    assert report["outcome"] == "REFUSED", report["reason"]
    assert row.says in report["reason"], report["reason"]
    assert report["nextStep"]
    return ""


def _unserved(row, project):
    """Check that the base is named as what cannot be certified, not the adapter or the sandbox."""
    said = project.error["error"] if project.error else {"message": _report(row, project)["reason"]}
    assert re.search(row.says, said["message"]), said
    return ""


CHECKS = {
    Answer.CERTIFIED: _certified,
    Answer.DENIED: _denied,
    Answer.REFUSED: _refused,
    Answer.UNSERVED: _unserved,
}
