"""Waivers from the first FAIL to a certificate that ends when they do, as people do it: by the command line."""

import json
import re
from datetime import timedelta

import pytest

from peft_assay.core.errors import Door
from peft_assay.evaluate.builtin import builtin_policy
from peft_assay.pipeline.deployment import utc_now
from peft_assay.pipeline.evidence import certificate_in
from peft_assay.pipeline.sources import Located
from peft_assay.pipeline.verify import verify

DECIDED = ("--reason", "accepted in review 7", "--by", "Risk")


@pytest.fixture
def failing(world):
    """The world under a floor that `lora` misses: the rule `task` fails, every other one passes."""
    (world.project / "policy.yaml").write_bytes(builtin_policy("default").replace(b"floor: 0.7", b"floor: 0.99"))
    world.edit("policy: builtin:default", "policy: ./policy.yaml")
    return world


def waive(world, *more, adapter="lora"):
    return world.json("waive", world.adapter(adapter), *more)


def outcome(world):
    """What the policy says now of what was observed."""
    return world.json("policy", "explain", world.adapter("lora")).document["adapters"][0]["outcome"]


def certificate_of(world):
    with world.open() as deployment:
        (item,) = verify(deployment, [Located("lora", world.project / "adapters" / "lora")], clock=utc_now)
        return item.certificate


def test_from_a_fail_by_the_printed_command_to_a_certificate_and_back(failing):
    assert outcome(failing) == "FAIL"
    explained = failing.run("policy", "explain", failing.adapter("lora")).out
    printed = re.search(r"or have it accepted: (peft-assay waive --trust \S+ \S+ --rule task) ", explained)
    assert printed, explained
    signed = waive(failing, "--rule", "task", *DECIDED, "--valid", "5d")
    assert signed.code == Door.PASSED, signed.err
    assert signed.document["saw"]["suite.lookups.lower"] < 0.99

    done = failing.json("certify", failing.adapter("lora"))
    assert done.code == Door.PASSED, done.out
    entry = done.document[0]
    (task,) = [rule for rule in entry["rules"] if rule["id"] == "task"]
    assert (entry["outcome"], task["outcome"], task["waiver"]) == ("PASS", "WAIVED", signed.document["waiver"])
    assert [waiver["reason"] for waiver in entry["waivers"]] == ["accepted in review 7"]
    assert entry["certificate"]["waivers"] == {"task": signed.document["waiver"]}
    assert certificate_of(failing).not_after <= utc_now() + timedelta(days=5), "it outlives no waiver"

    code, verified = failing.verify()
    assert (code, verified["certificate"]["waivers"]) == (Door.PASSED, {"task": signed.document["waiver"]})
    assert failing.json("verify", "--replay").document["unlike"] == []

    withdrawn = waive(failing, "--withdraw", signed.document["waiver"])
    assert withdrawn.code == Door.PASSED, withdrawn.err
    code, denied = failing.verify()
    assert (code, denied["check"]) == (Door.DENIED, "waivers")
    assert denied["nextStep"].startswith("peft-assay certify ")
    assert failing.json("verify", "--replay").document["unlike"] == [], "it was in force then"
    assert outcome(failing) == "FAIL"
    assert waive(failing, "--withdraw", signed.document["waiver"]).code == Door.USAGE


def test_every_place_that_shows_a_verdict_shows_its_waivers(failing, tmp_path):
    hostile = "accepted <script>\x1b[2J"
    assert waive(failing, "--rule", "task", "--reason", hostile, "--by", "Risk").code == Door.PASSED
    text = failing.run("certify", failing.adapter("lora")).out
    assert re.search(r"^PASS .*\n  waived: task by Risk until .*: accepted <script>\\x1b\[2J$", text, re.MULTILINE)
    assert "waived: task by sha256:" in failing.run("verify", failing.adapter("lora")).out
    assert "accepted by waiver sha256:" in failing.run("policy", "explain", failing.adapter("lora"), "--all").out
    page = tmp_path / "report.html"
    assert failing.run("report", failing.adapter("lora"), "-o", str(page)).code == Door.PASSED
    written = page.read_text()
    assert "Admitted with waivers" in written
    assert "accepted &lt;script&gt;\\x1b[2J" in written
    assert "Waived</span> by Risk" in written
    assert 'class="banner WAIVED"' in written, "nobody takes it for one that every rule admits"
    every = failing.run("report", "-o", str(page))
    assert every.code == Door.PASSED
    table = page.read_text()
    assert '<span class="pill WAIVED"><span aria-hidden="true">≈</span> PASS, waived</span>' in table
    assert '<li class="WAIVED"><b>1</b> of them by waiver</li>' in table
    listed = failing.run("waive", failing.adapter("lora"), "--list").out
    assert re.search(r"lora: task by Risk until .*\n  waiver sha256:\S+ counts\n", listed)
    moved = failing.json("policy", "diff", "builtin:default", "policy.yaml").document
    assert "lora" not in {item["adapter"] for item in moved["moved"]}, "waived under both"


def test_a_waiver_ends_with_the_rule_as_it_was_and_not_with_others(failing):
    assert waive(failing, "--rule", "task", *DECIDED).code == Door.PASSED
    policy = failing.project / "policy.yaml"
    kept = policy.read_bytes()
    for old, new, found in (
        (b"floor: 0.99", b"floor: 0.98", "FAIL"),
        (b"margin: 0.25", b"margin: 0.9", "FAIL"),
        (b"sandbox.level >= ISOLATION_PROCESS", b"sandbox.level >= 1", "PASS"),
    ):
        assert old in kept
        policy.write_bytes(kept.replace(old, new))
        assert outcome(failing) == found, new
    policy.write_bytes(kept)
    assert outcome(failing) == "PASS", "positive control"


@pytest.mark.parametrize(
    ("adapter", "arguments", "said"),
    [
        ("lora", ["--rule", "task", *DECIDED], "passes: there is nothing to waive"),
        ("lora", ["--rule", "tasks", *DECIDED], "no rule 'tasks'"),
        ("lora", [], "names no rule"),
        ("lora", ["--rule", "task", "--list"], "exclude each other"),
        ("lora", ["--withdraw", "sha256:" + "0" * 64], "no such waiver"),
        (
            "pickle-weights",
            ["--rule", "pickle", *DECIDED],
            "weights.pickle_files, which no waiver reaches: it protects integrity",
        ),
        (
            "no-licence",
            ["--rule", "rights", *DECIDED],
            "rights.grants.commercial, which no waiver reaches: it protects rights",
        ),
        ("pickle-weights", ["--rule", "task", *DECIDED], "task is INDETERMINATE"),
    ],
)
def test_what_cannot_be_waived_says_why_and_what_to_do(world, adapter, arguments, said):
    done = world.json("waive", world.adapter(adapter), *arguments)
    assert done.code == Door.USAGE
    assert said in done.document["error"]["message"]
    assert done.document["error"]["nextStep"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--reason", " ", "--by", "b"], "a waiver has a reason"),
        (["--reason", "r"], "the name of who decided"),
        ([*DECIDED, "--valid", "400d"], "at most"),
        ([*DECIDED, "--valid", "soon"], "number of days"),
    ],
)
def test_a_waiver_that_says_too_little_is_a_usage_error(failing, arguments, said):
    done = failing.run("waive", failing.adapter("lora"), "--rule", "task", *arguments)
    assert (done.code, said in done.err) == (Door.USAGE, True), done.err


def test_what_was_never_judged_here_or_under_other_conditions_cannot_be_waived(failing):
    import shutil

    shutil.copytree(failing.project / "adapters" / "lora", failing.project / "adapters" / "new")
    (failing.project / "adapters" / "new" / "README.md").write_text("other bytes")
    assert (
        "certified or denied yet"
        in waive(failing, "--rule", "task", *DECIDED, adapter="new").document["error"]["message"]
    )
    failing.edit("dtype: float32", "dtype: bfloat16")
    refused = waive(failing, "--rule", "task", *DECIDED).document["error"]
    assert "other conditions" in refused["message"]
    assert refused["nextStep"].startswith("peft-assay certify ")


def test_a_waiver_altered_in_the_store_or_by_an_unpinned_key_counts_for_nothing(failing):
    signed = waive(failing, "--rule", "task", *DECIDED).document
    assert failing.json("certify", failing.adapter("lora")).document[0]["outcome"] == "PASS"
    trust = failing.trust / "trust.yaml"
    kept = trust.read_text()
    unpinned = re.sub(r"  approver:\n(  - .*\n(    .*\n)+)", "  approver: []\n", kept)
    assert unpinned != kept
    trust.write_text(unpinned)
    assert failing.verify()[0] == Door.TRUST
    trust.write_text(kept)
    assert failing.verify()[0] == Door.PASSED
    with failing.open() as deployment:
        artifact = signed["artifact"]
        envelope = deployment.workspace.waivers(artifact)[0]
        assert certificate_in(deployment, deployment.workspace.certificates(
            artifact, deployment.workspace.certified_locks(artifact)[-1])[0]).artifact == artifact  # fmt: skip
        payload = json.loads(envelope)
        payload["payload"] = payload["payload"][:-4] + "AAAA"
        forged = deployment.workspace.add_waiver(json.dumps(payload).encode(), artifact=artifact, at=utc_now())
    listed = waive(failing, "--list").document
    assert forged not in {item["waiver"] for item in listed["waivers"]}
    assert failing.verify()[0] == Door.PASSED
