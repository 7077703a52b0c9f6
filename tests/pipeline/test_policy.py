"""Policies as people work with them: from the command line, on a workspace with real observations."""

import json

import pytest

from peft_assay.core.errors import Door
from peft_assay.evaluate.builtin import builtin_policy

STRICTER = builtin_policy("default").replace(b"floor: 0.7", b"floor: 0.99")
LAXER = b"""\
apiVersion: peft-assay/v1
kind: Policy
id: laxer
description: Anything whose configuration is strict.
rules:
  - id: config
    assert: config.strict
    why: A loader drops what it does not know.
"""


@pytest.fixture
def project(world):
    (world.project / "strict.yaml").write_bytes(STRICTER)
    (world.project / "lax.yaml").write_bytes(LAXER)
    return world


def policy(world, *arguments):
    """``policy`` without --trust, which only the commands on a workspace take."""
    import contextlib
    import io

    from peft_assay.cli.main import run

    out, err = io.StringIO(), io.StringIO()
    with contextlib.chdir(world.project), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["policy", *arguments])
    return code, out.getvalue(), err.getvalue()


def test_the_projects_own_policy_is_the_one_that_is_meant(project):
    code, out, _ = policy(project, "lint")
    assert (code, out) == (0, "builtin:default: 0 errors, 0 warnings\n")


def test_lint_counts_the_cases_that_the_suites_really_have(project):
    code, out, _ = policy(project, "lint", "strict.yaml", "--format", "json")
    found = json.loads(out)["findings"]
    assert code == Door.FAILED
    assert {(item["code"], item["rule"]) for item in found} == {("n-too-small", "task")}
    assert {"lookups", "refusals", "support_task"} == {
        name for name in ("lookups", "refusals", "support_task") if any(name in item["message"] for item in found)
    }
    assert policy(project, "lint", "strict.yaml", "--suite", "s=5000")[0] == 0


def test_lint_needs_no_project_when_suites_are_named(project, tmp_path):
    (tmp_path / "p.yaml").write_bytes(STRICTER)
    import contextlib

    with contextlib.chdir(tmp_path):
        from peft_assay.cli.main import run

        assert run(["policy", "lint", "p.yaml", "--suite", "s=60"]) == Door.FAILED
        assert run(["policy", "lint", "p.yaml"]) == Door.USAGE


@pytest.mark.parametrize("size", ["s", "s=0", "S=4", "s=-1", "s=4x"])
def test_a_suite_that_has_no_size_is_refused(project, size):
    code, _, err = policy(project, "lint", "lax.yaml", "--suite", size)
    assert code == Door.USAGE
    assert "--suite support=80" in err


def test_fixtures_are_written_once_and_then_hold(project):
    assert policy(project, "test", "lax.yaml")[0] == Door.USAGE
    code, out, _ = policy(project, "test", "lax.yaml", "--new")
    written = project.project / "lax.tests.yaml"
    assert (code, written.is_file()) == (0, True)
    assert "next: " in out
    before = written.read_bytes()
    code, _, err = policy(project, "test", "lax.yaml", "--new")
    assert code == Door.USAGE
    assert "left as it is" in err
    assert written.read_bytes() == before
    assert policy(project, "test", "lax.yaml")[0] == 0


def test_a_test_that_does_not_hold_says_what_was_expected_and_found(project):
    policy(project, "test", "lax.yaml", "--new")
    written = project.project / "lax.tests.yaml"
    written.write_text(written.read_text().replace("expect: FAIL", "expect: INDETERMINATE"))
    code, out, _ = policy(project, "test", "lax.yaml")
    assert code == Door.FAILED
    assert "expected: INDETERMINATE by config" in out
    assert "found:    FAIL by config" in out


def test_built_in_policies_come_with_their_tests(project):
    code, out, _ = policy(project, "test", "builtin:default", "--format", "json")
    document = json.loads(out)
    assert code == 0
    assert all(test["holds"] for test in document["tests"])
    assert policy(project, "test", "builtin:default", "--new")[0] == Door.USAGE


def test_explain_says_what_was_seen_and_what_would_have_to_change(world):
    done = world.json("policy", "explain", world.adapter("pickle-weights"))
    (adapter,) = done.document["adapters"]
    assert (done.code, adapter["outcome"]) == (0, "FAIL")
    rules = {rule["rule"]: rule for rule in adapter["rules"]}
    assert rules["pickle"]["changes"] == [
        {"name": "weights.pickle_files", "saw": ["adapter_model.bin"], "needs": []},
    ]
    assert rules["plan"]["saw"][0]["missing"].startswith("never instantiated")
    text = world.run("policy", "explain", world.adapter("pickle-weights")).out
    assert "would pass with weights.pickle_files = []" in text
    assert "saw weights.canonical = false: there is no adapter_model.safetensors\n" in text
    assert text.count("never instantiated") == 1, "one reason of many rules is said once"
    assert (
        "INDETERMINATE stack, plan, effect, isolation, events, contradictions, replay, lengths, controls, task" in text
    )
    assert rules["pickle"]["nextStep"].endswith(f"peft-assay inspect {world.adapter('pickle-weights')}")
    assert "(by the intake)" in world.run("policy", "explain", world.adapter("pickle-weights"), "--all").out
    assert "{artifact}" not in world.run("policy", "explain").out
    assert "PASS          effect: " in world.run("policy", "explain", world.adapter("lora"), "--all").out


def test_explain_names_the_evidence_that_answers_were_drawn_from(world):
    (adapter,) = world.json("policy", "explain", world.adapter("lora")).document["adapters"]
    task = next(rule for rule in adapter["rules"] if rule["rule"] == "task")
    assert all(item["evidence"].startswith("sha256:") for item in task["saw"])


def test_diff_says_who_would_be_denied_and_runs_nothing(project, monkeypatch):
    from peft_assay.sandbox import choose

    monkeypatch.setattr(choose, "choose", lambda *_, **__: pytest.fail("a sandbox was opened"))
    done = project.json("policy", "diff", "builtin:default", "strict.yaml")
    moved = {item["adapter"]: (item["before"], item["after"], item["rule"]) for item in done.document["moved"]}
    assert moved == {
        "lora": ("PASS", "FAIL", "task"),
        "prompt": ("PASS", "FAIL", "task"),
        "no-licence": ("INDETERMINATE", "FAIL", "task"),
    }
    assert done.document["sets"] == 4
    back = project.json("policy", "diff", "strict.yaml", "builtin:default").document
    assert {item["adapter"]: item["after"] for item in back["moved"]}["lora"] == "PASS"
    assert "denied     lora" in project.run("policy", "diff", "builtin:default", "strict.yaml").out


def test_diff_with_itself_moves_nobody(project):
    done = project.run("policy", "diff", "lax.yaml", "lax.yaml")
    assert done.out.startswith("4 adapters (4 observation sets): 4 stay as they are")


def test_a_policy_about_a_suite_that_was_never_asked_is_an_error(project):
    (project.project / "other.yaml").write_bytes(LAXER.replace(b"config.strict", b"suite.never.lower > 0.5"))
    done = project.run("policy", "diff", "builtin:default", "other.yaml")
    assert done.code == Door.USAGE
    assert "suite.never.lower" in done.err


def test_simulate_is_deterministic_and_bounded(project):
    arguments = ("simulate", "builtin:default", "--rate", "0.8", "--adapters", "20", "--format", "json")
    code, out, _ = policy(project, *arguments)
    assert (code, out) == policy(project, *arguments)[:2]
    document = json.loads(out)
    for chance in (document["adapter"], *(suite["refused"] for suite in document["suites"])):
        assert 0 <= chance["low"] <= chance["value"] <= chance["high"] <= 1
    assert 0 <= document["fleet"]["anyRefused"] <= 1
    assert document["fleet"]["expectedRefused"] == pytest.approx(20 * document["adapter"]["value"])
    assert "task" not in document["takenToPass"]
    worse = json.loads(policy(project, *arguments[:3], "0.7", *arguments[4:])[1])
    assert worse["adapter"]["value"] > document["adapter"]["value"]


def test_a_faultless_adapter_is_never_refused_by_chance(project):
    document = json.loads(policy(project, "simulate", "--rate", "1", "--format", "json")[1])
    assert document["adapter"]["value"] == 0
    assert "one good adapter is refused 0.0%" in policy(project, "simulate", "--rate", "1")[1]


@pytest.mark.parametrize("assertion", ["suite.*.kl_mean <= 0.5", "suite.*.lower >= 0.9 && suite.*.agreement > 0.9"])
def test_what_counts_cannot_say_is_taken_to_pass_and_named(project, assertion):
    (project.project / "drift.yaml").write_bytes(LAXER.replace(b"config.strict", assertion.encode()))
    document = json.loads(policy(project, "simulate", "drift.yaml", "--rate", "0.8", "--format", "json")[1])
    assert document["adapter"]["value"] == 0
    assert document["takenToPass"] == ["config"]


def test_lint_knows_what_the_best_suite_could_show(project):
    rule = b"suite.*.degenerate_upper <= 0.01 && suite.*.kl_mean <= 0.5 && suite.*.mcnemar_p > 0.05"
    (project.project / "drift.yaml").write_bytes(LAXER.replace(b"config.strict", rule))
    _, out, _ = policy(project, "lint", "drift.yaml", "--format", "json")
    found = [finding for finding in json.loads(out)["findings"] if finding["code"] == "n-too-small"]
    assert len(found) == 3
    assert "it needs at least 299 cases" in found[0]["message"]


def test_docs_has_a_section_for_every_rule(project):
    code, out, _ = policy(project, "docs", "strict.yaml")
    assert code == 0
    assert "`params.floor` = 0.99" in out
    assert out.count("It admits only when: ") == out.count("When it denies: ") == STRICTER.count(b"\n  - id: ")


def test_replay_reproduces_every_decision(world):
    done = world.json("verify", "--replay")
    assert (done.code, done.document) == (0, {"reproduced": 4, "unlike": [], "withoutGrounds": 0})
    assert world.run("verify", "--replay").out == "4 decisions reproduced, 0 came out otherwise\n"


def test_replay_uses_the_policy_of_then(world):
    (world.project / "strict.yaml").write_bytes(STRICTER)
    world.edit("policy: builtin:default", "policy: strict.yaml")
    assert world.json("verify", "--replay").document["reproduced"] == 4


def test_replay_notices_observations_that_were_altered(world):
    with world.open() as deployment:
        envelope = next(deployment.workspace.newest_observations())
    files = (path for path in (world.project / ".peft-assay").rglob("*") if path.is_file())
    (blob,) = [path for path in files if path.read_bytes() == envelope]
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes().replace(b"a", b"b", 1))
    assert world.run("verify", "--replay").code == Door.TRUST
    assert world.run("policy", "diff", "builtin:default", "builtin:default").code == Door.TRUST
