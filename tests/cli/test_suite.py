"""`suite new | lint | sign | import`: what they write, say and exit with."""

import json

import pytest

from cli.command_line import say
from peft_assay.core.suite import ScorerKind
from peft_assay.pipeline.suites.load import read_files
from pipeline.suite_projects import CASES, TALKS, write_project, write_suite
from trust.test_suites import key_file

FINDING = {"weight", "code", "case", "message", "nextStep"}


@pytest.mark.parametrize("kind", [kind.value for kind in ScorerKind])
def test_a_new_suite_of_every_kind_loads(tmp_path, kind):
    done = say("suite", "new", tmp_path / "mine", "--scorer", kind, "--format", "json")
    assert done.code == 0
    assert set(done.document) == {"written", "nextStep"}
    suite = read_files(tmp_path / "mine" / "suite.yaml").suite()
    assert (suite.id, suite.scorer.kind.value, len(suite.cases)) == ("mine", kind, 2)


def test_nothing_is_overwritten_and_names_are_checked(tmp_path):
    assert say("suite", "new", tmp_path / "mine").code == 0
    before = (tmp_path / "mine" / "suite.yaml").read_bytes()
    for arguments, why in (
        ((tmp_path / "mine",), "nothing is overwritten"),
        ((tmp_path / "1st",), "is no id of a suite"),
        ((tmp_path / "x", "--id", "A"), "is no id of a suite"),
        ((tmp_path / "x", "--scorer", "vibes"), "there is no scorer 'vibes'"),
    ):
        done = say("suite", "new", *arguments)
        assert done.code == 2
        assert why in done.err
        assert "next: " in done.err
    assert (tmp_path / "mine" / "suite.yaml").read_bytes() == before


def lint(*arguments):
    done = say("suite", "lint", *arguments, "--format", "json")
    return done.code, done.document


def test_lint_of_one_suite_knows_what_its_project_s_base_has_not(tmp_path):
    """As when all of a project are linted: a conversation cannot be asked of a base without a chat template."""
    write_suite(tmp_path / "task")
    write_project(tmp_path)
    talk = write_suite(tmp_path / "talk", header={"id": "talk", "scorer": {"kind": "compliance"}}, cases=TALKS)
    for named in (talk, talk.parent):
        done = say("suite", "lint", named)
        assert done.code == 2
        assert "the base has no chat template" in done.err


def test_a_suite_that_silence_passes_is_told_of_unless_another_must_be_answered(tmp_path):
    quiet = {"id": "quiet", "scorer": {"kind": "forbidden", "patterns": ["secret"]}}
    asked = [{key: value for key, value in case.items() if key != "expected"} for case in CASES]
    alone = write_suite(tmp_path / "quiet", header=quiet, cases=asked)
    (found,) = lint(alone)[1]["suites"]
    assert "silence-passes" in [finding["code"] for finding in found["findings"]]
    write_suite(tmp_path / "task")
    write_project(tmp_path, suites=("task/suite.yaml", "quiet/suite.yaml"))
    (found,) = lint(alone)[1]["suites"]
    assert "silence-passes" not in [finding["code"] for finding in found["findings"]]


def test_lint_says_what_each_rule_needs(tmp_path):
    write_suite(tmp_path / "task")
    code, document = lint(tmp_path / "task")
    assert code == 10
    found = document["suites"][0]
    assert (found["suite"], found["cases"], found["heldBack"], found["policy"]) == ("task", 10, 0, "builtin:default")
    assert {control["control"]: control["passes"] for control in found["controls"]} == {
        "silence": 0, "constant": 1, "echo": 0, "arbitrary": 0,
    }  # fmt: skip
    needs = {need["rule"]: need for need in found["needs"]}
    assert not needs["task"]["enough"]
    n = needs["task"]["needed"]
    assert all(set(finding) == FINDING for finding in found["findings"])
    assert [finding["code"] for finding in found["findings"]] == ["n-too-small"]
    write_suite(tmp_path / "task", cases=[{"id": str(k), "prompt": f"q {k}", "expected": f"a {k}"} for k in range(n)])
    code, document = lint(tmp_path / "task")
    assert code == 0
    assert document["suites"][0]["findings"] == []
    write_suite(
        tmp_path / "task", cases=[{"id": str(k), "prompt": f"q {k}", "expected": f"a {k}"} for k in range(n - 1)]
    )
    assert lint(tmp_path / "task")[0] == 10


def test_lint_of_a_project_counts_in_the_base_s_tokens(tmp_path):
    pytest.importorskip("tokenizers", reason="the tokenizers library is not installed")
    long = {"id": "long", "prompt": "how " * 600, "expected": "x"}
    cut = {"id": "cut", "prompt": "q", "expected": "how do i repair my watch how do i repair my watch"}
    write_suite(tmp_path / "task", {"maxNewTokens": 4}, [*CASES, long, cut])
    write_project(tmp_path)
    for arguments in ((tmp_path,), (tmp_path / "task",), (tmp_path / "peft-assay.yaml",)):
        code, document = lint(*arguments)
        assert code == 10
        found = document["suites"][0]
        assert found["countedInTokens"]
        by_code = {finding["code"]: finding for finding in found["findings"]}
        assert by_code["too-long-for-base"]["case"] == "long"
        assert "cut" in by_code["answer-cut-off"]["message"]


def test_lint_warns_of_constants_repeats_and_contradictions(tmp_path):
    cases = [{"id": f"y{n}", "prompt": f"q {n}", "expected": "yes"} for n in range(7)]
    cases += [
        {"id": "a", "prompt": "Hello there", "expected": "no"},
        {"id": "b", "prompt": "hello  there", "expected": "no"},
    ]
    cases += [{"id": "c", "prompt": "HELLO there", "expected": "maybe"}]
    write_suite(tmp_path / "task", cases=cases)
    found = {(f["code"], f["case"], f["weight"]) for f in lint(tmp_path / "task")[1]["suites"][0]["findings"]}
    assert {
        ("control-passes", None, "warning"),
        ("near-repeat", "b", "warning"),
        ("near-contradiction", "c", "warning"),
    } <= found
    choices = [
        {"id": str(n), "prompt": f"q {n}", "choices": ["longer one", "short"][:: 1 - 2 * (n % 2)], "answer": 1 - n % 2}
        for n in range(6)
    ]
    write_suite(tmp_path / "choice", {"id": "choice", "scorer": {"kind": "choice"}}, choices)
    messages = [f["message"] for f in lint(tmp_path / "choice")[1]["suites"][0]["findings"]]
    assert "the control shortest passes 6 of 6 cases" in messages
    assert "shortest" in say("suite", "lint", tmp_path / "choice").out


def test_lint_needs_something_to_look_at(tmp_path):
    for arguments in ((tmp_path / "absent",), (tmp_path,)):
        done = say("suite", "lint", *arguments, within=tmp_path)
        assert done.code == 2
        assert "there is no suite" in done.err
    assert say("suite", "lint", within=tmp_path).code == 2


def test_a_suite_is_signed_by_a_key_file(tmp_path):
    write_suite(tmp_path / "task")
    key = key_file(tmp_path / "owner.pem")
    done = say("suite", "sign", tmp_path / "task", "--key", key, "--format", "json")
    assert done.code == 0
    assert set(done.document) == {"written", "suite", "keyid"}
    assert (
        json.loads((tmp_path / "task" / "suite.dsse.json").read_bytes())["payloadType"]
        == "application/vnd.in-toto+json"
    )
    assert "signed sha256:" in say("suite", "sign", tmp_path / "task", "--key", key).out
    absent = say("suite", "sign", tmp_path / "task", "--key", tmp_path / "absent.pem")
    assert absent.code == 2
    assert "openssl genpkey" in absent.err
    key.chmod(0o644)
    assert say("suite", "sign", tmp_path / "task", "--key", key).code == 11
    write_project(tmp_path)
    assert say("suite", "sign", tmp_path, "--key", key).code == 2


def test_an_import_says_what_it_took_and_writes_nothing_when_refused(tmp_path):
    talks = [{"messages": [{"role": "user", "content": f"question number {'x' * n}"}]} for n in range(30)]
    (tmp_path / "logs.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in talks))
    arguments = ("suite", "import", tmp_path / "logs.jsonl", "--to", tmp_path / "chats")
    for more, why in (
        (("--confidentiality", "secret"), "none of public, internal, confidential"),
        (("--id", "A"), "is no id of a suite"),
    ):
        done = say(*arguments, *more)
        assert done.code == 2
        assert why in done.err
        assert not (tmp_path / "chats").exists()
    done = say(*arguments, "--cases", "20", "--period", "2026-Q3", "--source", "support desk", "--format", "json")
    assert done.code == 0
    assert set(done.document) == {"from", "written", "suite", "digest", "cases", "notes", "nextStep"}
    suite = read_files(tmp_path / "chats" / "suite.yaml").suite()
    assert (len(suite.cases), suite.source, suite.period, suite.confidentiality) == (
        20,
        "support desk",
        "2026-Q3",
        "confidential",
    )
    assert say(*arguments).code == 2
    absent = say("suite", "import", tmp_path / "logs.txt", "--to", tmp_path / "y")
    assert absent.code == 2
    assert "there is no such file" in absent.err
    (tmp_path / "logs.txt").write_text("x")
    assert (
        "neither a task (.yaml) nor chat logs (.jsonl)"
        in say("suite", "import", tmp_path / "logs.txt", "--to", tmp_path / "y").err
    )
