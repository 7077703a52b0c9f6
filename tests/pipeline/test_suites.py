"""Suites in a project: what they need from elsewhere, and what a lock says of it."""

import json

import pytest

from peft_assay.core.digest import sha256
from peft_assay.core.errors import DocumentError, TrustError
from peft_assay.pipeline.project import Observed, build_lock
from peft_assay.pipeline.suites.write import sign
from pipeline.suite_projects import CASES, TALKS, load, own_base, write_suite
from trust.test_suites import key_file, pem_of

NOTHING = Observed(sha256(b"state"), {}, sha256(b"harness"))
TALK = {"scorer": {"kind": "compliance"}}


def lock_of(project, observed=NOTHING):
    return build_lock(project, observed, sha256(b"artifact")).document


@pytest.fixture
def chatty(tmp_path):
    base = own_base(tmp_path / "base")
    (base / "chat_template.jinja").write_text("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}")
    return base


def test_the_system_prompt_is_put_before_conversations_and_stands_in_the_lock(tmp_path, chatty):
    own = [{"role": "system", "content": "mine"}, {"role": "user", "content": "hello 9"}]
    write_suite(
        tmp_path / "task", TALK, [*TALKS, {"id": "own", "messages": own}, {"id": "plain", "prompt": "as it is"}]
    )
    project = load(tmp_path, base=chatty, context={"systemPrompt": "Be brief."})
    suite = project.suites[0]
    asked = {case.id: suite.ask_form(case) for case in suite.cases}
    assert asked["c1"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hello 1"}]
    assert asked["own"] == own
    assert asked["plain"] == "as it is"
    assert lock_of(project)["conditions"]["systemPrompt"] == "Be brief."
    assert lock_of(load(tmp_path, base=chatty))["conditions"]["systemPrompt"] is None


def test_the_system_prompt_may_lie_in_a_file(tmp_path, chatty):
    write_suite(tmp_path / "task", TALK, TALKS)
    (tmp_path / "system.txt").write_text("Be\nbrief.\n")
    assert (
        load(tmp_path, base=chatty, context={"systemPrompt": {"file": "system.txt"}}).context.system_prompt
        == "Be\nbrief."
    )
    for content, why in ((b" \n", "is blank"), (b"\xff", "not UTF-8")):
        (tmp_path / "system.txt").write_bytes(content)
        with pytest.raises(DocumentError, match=why) as caught:
            load(tmp_path, base=chatty, context={"systemPrompt": {"file": "system.txt"}})
        assert "context.systemPrompt" in caught.value.where
    with pytest.raises(DocumentError, match="there is no file"):
        load(tmp_path, base=chatty, context={"systemPrompt": {"file": "absent.txt"}})


def test_conversations_need_the_base_s_chat_template(tmp_path):
    write_suite(tmp_path / "task", TALK, TALKS)
    with pytest.raises(DocumentError, match="the base has no chat template") as caught:
        load(tmp_path)
    assert caught.value.where.endswith("task/suite.yaml")


def test_labels_are_the_base_s_by_name(tmp_path):
    base = own_base(tmp_path / "base", id2label={"0": "bad", "1": "good"})
    cases = [{"id": "a", "prompt": "x", "expected": "good"}, {"id": "b", "prompt": "y", "expected": "bad"}]
    write_suite(tmp_path / "task", {"scorer": {"kind": "label"}}, cases)
    assert load(tmp_path, base=base).suites[0].scorer.labels == ("bad", "good")
    write_suite(
        tmp_path / "task", {"scorer": {"kind": "label"}}, [*cases, {"id": "c", "prompt": "z", "expected": "ugly"}]
    )
    with pytest.raises(DocumentError, match="case 'c' expects a label that the base has not; it has bad, good"):
        load(tmp_path, base=base)


@pytest.mark.parametrize("table", [None, {}, {"0": "only"}, {"0": "a", "2": "b"}, {"0": "a", "1": "a"}, ["a", "b"]])
def test_a_base_without_labels_classifies_nothing(tmp_path, table):
    base = own_base(tmp_path / "base", id2label=table)
    cases = [{"id": "a", "prompt": "x", "expected": "a"}, {"id": "b", "prompt": "y", "expected": "b"}]
    write_suite(tmp_path / "task", {"scorer": {"kind": "label"}}, cases)
    with pytest.raises(DocumentError, match="needs a base that classifies"):
        load(tmp_path, base=base)


def test_a_share_is_held_back_and_rotates(tmp_path):
    cases = [{"id": f"c{n}", "prompt": f"q {n}", "expected": f"a {n}"} for n in range(50)]

    def in_use(rotation, more=()):
        hold = None if rotation is None else {"share": 0.2, "period": rotation}
        write_suite(tmp_path / "task", {"holdBack": hold}, [*cases, *more])
        suite = load(tmp_path).suites[0]
        return suite, {case.id for case in suite.cases}

    first, used = in_use("2026-Q4")
    assert (len(used), first.held_back) == (40, 10)
    assert in_use("2026-Q4")[1] == used
    second, others = in_use("2027-Q1")
    assert others != used
    assert second.digest != first.digest
    assert len(in_use(None)[1]) == 50
    extra = [{"id": f"x{n}", "prompt": f"extra {n}", "expected": "e"} for n in range(5)]
    grown = in_use("2026-Q4", extra)[1]
    assert len(used & grown) >= 38, "cases keep their place when others are added"


def test_an_owner_s_signature_is_asked_for_where_the_project_says(tmp_path):
    file = write_suite(tmp_path / "task")
    key = key_file(tmp_path / "owner.pem")
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    (tmp_path / "owner.pub").write_bytes(pem_of(load_pem_private_key(key.read_bytes(), None)))
    owned = {"suites": [{"path": "task/suite.yaml", "owner": "ada"}], "owners": {"ada": "owner.pub"}}
    with pytest.raises(TrustError, match="is not signed, and ada's signature is asked for"):
        load(tmp_path, **owned)
    path, digest, public = sign(tmp_path / "task", key)
    project = load(tmp_path, **owned)
    assert path.name == "suite.dsse.json"
    assert (project.suites[0].digest, project.suites[0].owner) == (digest, public.keyid)
    assert lock_of(project)["suiteOwners"] == {"task": public.keyid}
    assert "suiteOwners" not in lock_of(load(tmp_path))
    write_suite(tmp_path / "task", cases=[*CASES, {"id": "new", "prompt": "p", "expected": "e"}])
    with pytest.raises(TrustError, match="changed after it was signed"):
        load(tmp_path, **owned)
    sign(file, key)
    load(tmp_path, **owned)
    sign(file, key_file(tmp_path / "other.pem"))
    with pytest.raises(TrustError, match="not pinned"):
        load(tmp_path, **owned)
    with pytest.raises(DocumentError, match="there is no owner 'eve'"):
        load(tmp_path, suites=[{"path": "task/suite.yaml", "owner": "eve"}])


def test_a_judge_s_suite_is_no_place_for_a_scan(tmp_path):
    (tmp_path / "tokens.txt").write_text("zq\n")
    judged = {"scorer": {"kind": "judge", "judge": "style"}}
    write_suite(tmp_path / "task", judged, [{"id": "a", "prompt": "p"}])
    with pytest.raises(DocumentError, match="'task' is not a suite of generated text without a judge"):
        load(tmp_path, scan={"tokens": "tokens.txt", "answers": "task"})


def test_judges_stand_in_the_conditions_only_where_there_are_any(tmp_path):
    write_suite(tmp_path / "task")
    project = load(tmp_path)
    assert "judges" not in lock_of(project)["conditions"]
    judged = Observed(NOTHING.base_state, {}, NOTHING.harness, {"style": sha256(b"judge")})
    assert lock_of(project, judged)["conditions"]["judges"] == {"style": sha256(b"judge")}
    assert json.dumps(lock_of(project, judged))
