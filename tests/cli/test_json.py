"""`--format json` of each command: valid JSON with the documented fields, in success and in failure."""

import json

import pytest

from pipeline.certified_world import ADAPTERS, OUTCOMES

pytestmark = pytest.mark.sandbox
ADAPTER = {
    "format", "adapter", "source", "context", "generatedAt", "outcome", "door", "decidingRule", "reason", "nextStep",
    "rules", "artifact", "lock", "policy", "observedAt", "isolation", "attempts", "waivers", "certificate",
}  # fmt: skip
RULE = {"id", "outcome", "assertion", "explanation", "saw", "waiver", "nextStep"}
CERTIFICATE = {
    "envelope", "artifact", "lock", "policy", "observations", "observedAt", "issuedAt", "notAfter", "keyid", "waivers",
}  # fmt: skip
VERIFICATION = {
    "format", "adapter", "source", "valid", "door", "check", "message", "reasons", "nextStep", "certificate",
}  # fmt: skip
DOORS = {"PASS": 0, "FAIL": 10, "INDETERMINATE": 13}


def test_certify_gives_a_list_in_the_order_asked(pristine):
    done = pristine.certified
    assert done.code == 10
    assert [entry["adapter"] for entry in done.document] == list(ADAPTERS)
    for entry in done.document:
        assert set(entry) >= ADAPTER
        assert entry["door"] == DOORS[entry["outcome"]] == DOORS[OUTCOMES[entry["adapter"]]]
        assert all(set(rule) == RULE for rule in entry["rules"])
        assert entry["rules"]
        if entry["outcome"] == "PASS":
            assert set(entry["certificate"]) == CERTIFICATE
            assert entry["decidingRule"] is None
        else:
            assert entry["certificate"] is None
            assert entry["decidingRule"] in {rule["id"] for rule in entry["rules"]}
            assert entry["reason"]
            assert entry["nextStep"].strip()


def test_progress_is_not_among_the_results(pristine):
    assert "[0/4] starting the sandbox" in pristine.certified.err
    assert "[3/4] pickle-weights" in pristine.certified.err
    json.loads(pristine.certified.out)


def test_verify_gives_a_list(world):
    done = world.json("verify", *map(world.adapter, ADAPTERS))
    assert [set(entry) >= VERIFICATION for entry in done.document] == [True] * 4
    assert [entry["valid"] for entry in done.document] == [True, True, False, False]
    assert done.code == 12


def test_inspect_gives_observations(world):
    document = world.json("inspect", world.adapter("lora")).document
    assert set(document) >= {"format", "source", "kind", "artifact", "observations"}
    assert {"name", "status", "value", "observedBy", "reason", "evidence"} == set(document["observations"][0])


def test_plan_runs_nothing(world):
    before = ledger_size(world)
    document = world.json("certify", "--plan", world.adapter("lora")).document
    assert set(document) >= {"suites", "scan_tokens", "scan_passes", "adapters", "tokens", "seconds", "unsatisfiable"}
    assert document["adapters"] == 1
    assert document["unsatisfiable"] == []
    assert ledger_size(world) == before


def ledger_size(world):
    with world.open() as deployment:
        return deployment.workspace.ledger_size()


def test_revoke_gives_the_list(world):
    made = world.json("revoke", world.adapter("lora"), "--reason", "r").document
    assert set(made) >= {"sequence", "notAfter", "revocations"}
    assert [set(entry) for entry in made["revocations"]] == [{"scope", "target", "reason", "at", "function"}]
    assert world.json("revoke", "--list").document == {**made, "touches": None}
    assert world.json("revoke", "--refresh").document["sequence"] == made["sequence"] + 1


def test_init_says_what_it_made_and_kept(world):
    again = world.json("init", ".").document
    assert again["made"] == []
    assert any(path.endswith("peft-assay.yaml") for path in again["kept"])
    assert again["trust"].endswith("trust.yaml")


def test_report_says_where_it_is(world):
    document = world.json("report", "-o", "out.html").document
    assert document["report"] == "out.html"
    assert sorted(document["adapters"]) == sorted(ADAPTERS)
    page = (world.project / "out.html").read_text()
    assert "<script" not in page.lower() or "src=" not in page.lower()
    for name in ADAPTERS:
        assert name in page


@pytest.mark.parametrize(
    ("arguments", "door"),
    [
        (["certify", "--format", "json", "--no-such"], 2),
        (["certify", "--format=json", "--isolation", "paper", "x"], 2),
        (["inspect", "--format", "json", "gone"], 3),
        (["verify", "--format", "json", "--context", "gone", "x"], 2),
        (["revoke", "--format", "json"], 2),
        (["report", "--format", "json", "-o", "no/such/folder.html"], 74),
        (["init", "--format", "json", "peft-assay.yaml/below"], 74),
        (["verify", "--format", "json", "--workspace", "adapters", "x"], 74),
    ],
)
def test_errors_are_documents_too(world, arguments, door):
    done = world.run(*arguments)
    assert done.code == door, done
    body = done.document
    assert body["door"] == door
    assert set(body["error"]) == {"message", "where", "nextStep"}
    assert body["error"]["message"]
    assert body["error"]["nextStep"] or door == 3
    assert done.err == ""
