"""Rights from the first INDETERMINATE to a certificate that ends when what it stands on does."""

import json
import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from peft_assay.core.digest import sha256
from peft_assay.core.errors import Door, TrustError, UsageError
from peft_assay.core.observation import ObservationSet, ObservedBy, ok, sort_observations
from peft_assay.core.verdict import Outcome
from peft_assay.core.vocabulary import vocabulary
from peft_assay.evaluate.document import load_policy
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.pipeline import rights as acts
from peft_assay.pipeline.deployment import utc_now

POLICY = """\
apiVersion: peft-assay/v1
kind: Policy
id: rights-only
description: Rights of the whole lineage; what it does is another policy's question.
rules:
  - id: rights
    assert: rights.grants.commercial && size(rights.lineage_conflicts) == 0
    why: Somebody's licence does not permit it.
    next: "look at the lineage: peft-assay rights show {source}"
"""
OWNED = """
declarations:
  - match: adapters/no-*
    owner: Risk Models
    licence: apache-2.0
    datasets: [zoo/support-dialogues]
"""


@pytest.fixture
def silent(world):
    """The world, judged by rights alone; the adapter's card declares nothing."""
    (world.project / "rights.yaml").write_text(POLICY)
    text = world.document.read_text()
    lines = [line for line in text.splitlines() if not line.startswith("policy:")]
    world.document.write_text("\n".join([*lines, "policy: rights.yaml", ""]))
    return world


def show(world, name="no-licence"):
    done = world.json("rights", "show", world.adapter(name))
    return done.code, done.document


def clear(world, *more, source=None):
    return world.json(
        "rights",
        "clear",
        source or world.adapter("no-licence"),
        "--grant",
        "commercial",
        "--reason",
        "letter 118",
        "--by",
        "Legal",
        *more,
    )


def test_from_unknown_by_the_printed_command_to_a_certificate_and_back(silent):
    first = silent.json("certify", silent.adapter("no-licence")).document
    entry = first[0] if isinstance(first, list) else first
    assert entry["outcome"] == "INDETERMINATE", entry
    code, document = show(silent)
    assert (code, document["answers"]["commercial"]) == (Door.INDETERMINATE, "unknown")
    named = f"--trust {silent.trust} {silent.adapter('no-licence')}"
    assert document["next"][0].startswith(f"peft-assay rights clear {named} --grant commercial")
    printed = re.search(r"peft-assay rights clear (sha256:[0-9a-f]{64}) --grant commercial", json.dumps(entry))
    assert printed[1] == document["artifact"]
    cleared = clear(silent, "--valid", "5d", source=printed[1])
    assert cleared.code == Door.PASSED, cleared.err
    assert cleared.document["answered"] == "unknown"
    assert show(silent)[1]["answers"]["commercial"] == "yes"

    done = silent.json("certify", silent.adapter("no-licence"))
    assert done.code == Door.PASSED, done.out
    code, _ = silent.verify("no-licence")
    assert code == Door.PASSED
    with silent.open() as deployment:
        artifact = document["artifact"]
        locks = deployment.workspace.certified_locks(artifact)
        from peft_assay.pipeline.evidence import certificate_in

        certificate = certificate_in(deployment, deployment.workspace.certificates(artifact, locks[0])[0])
        assert certificate.not_after <= utc_now() + timedelta(days=5), "it outlives no clearance"

    withdrawn = silent.json(
        "rights", "clear", silent.adapter("no-licence"), "--withdraw", cleared.document["clearance"]
    )
    assert withdrawn.code == Door.PASSED, withdrawn.out
    code, denied = silent.verify("no-licence")
    assert code == Door.DENIED
    assert "rights.clearances" in str(denied)
    assert show(silent)[1]["answers"]["commercial"] == "unknown"


def test_a_declaration_covers_what_comes_from_its_place_and_ends_with_it(silent):
    silent.document.write_text(silent.document.read_text() + OWNED)
    assert show(silent)[1]["answers"]["commercial"] == "yes"
    done = silent.json("certify", silent.adapter("no-licence"))
    assert done.code == Door.PASSED, done.out
    assert silent.verify("no-licence")[0] == Door.PASSED
    silent.edit("owner: Risk Models", "owner: Somebody Else")
    assert silent.verify("no-licence")[0] == Door.DENIED
    silent.edit("owner: Somebody Else", "owner: Risk Models")
    assert silent.verify("no-licence")[0] == Door.PASSED
    silent.edit(OWNED, "")
    code, denied = silent.verify("no-licence")
    assert code == Door.DENIED
    assert "rights.declaration" in str(denied)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--grant", "everything", "--reason", "r", "--by", "b"], "no grant"),
        (["--grant", "commercial", "--reason", " ", "--by", "b"], "reason"),
        (["--grant", "commercial", "--reason", "r"], "name of who decided"),
        (["--grant", "commercial", "--reason", "r", "--by", "b", "--valid", "400d"], "at most"),
        (["--grant", "commercial", "--reason", "r", "--by", "b", "--valid", "soon"], "number of days"),
        (["--grant", "commercial", "--withdraw", "sha256:" + "0" * 64], "takes no"),
        (["--withdraw", "sha256:" + "0" * 64], "no such clearance"),
    ],
)
def test_a_clearance_that_says_too_little_is_a_usage_error(world, arguments, said):
    done = world.run("rights", "clear", world.adapter("no-licence"), *arguments)
    assert done.code == Door.USAGE
    assert said in done.err


def test_what_is_permitted_needs_no_clearance_and_a_no_needs_insistence(world):
    done = clear(world, source=world.adapter("lora"))
    assert done.code == Door.USAGE
    assert "needs no clearance" in done.out
    card = world.project / "adapters" / "no-licence" / "README.md"
    card.write_text("---\nlicense: cc-by-nc-4.0\ndatasets: [zoo/support-dialogues]\n---\n")
    done = clear(world)
    assert done.code == Door.USAGE
    assert "--although-refused" in done.out
    insisted = clear(world, "--although-refused")
    assert (insisted.code, insisted.document["answered"]) == (Door.PASSED, "no")
    assert show(world)[1]["answers"]["commercial"] == "yes"
    card.write_text("---\nlicense: cc-by-nc-4.0\ndatasets: [zoo/support-dialogues]\n---\nother bytes\n")
    assert show(world)[1]["answers"]["commercial"] == "no", "it was for other bytes"


def test_an_altered_or_foreign_clearance_clears_nothing(world, tmp_path):
    done = clear(world)
    artifact = done.document["artifact"]
    with world.open() as deployment:
        envelope = deployment.workspace.clearances(artifact)[0]
        other = "sha256:" + "1" * 64
        deployment.workspace.add_clearance(envelope, artifact=other, at=utc_now())
        deployment.workspace.add_clearance(envelope.replace(b"sig", b"gis"), artifact=artifact, at=utc_now())
        from peft_assay.pipeline.standing import clearances_of

        with pytest.raises(TrustError, match="filed under another adapter"):
            clearances_of(deployment, other)
        assert len(clearances_of(deployment, artifact)) == 1


def test_a_clearance_ends_with_its_approver_s_key(world):
    done = clear(world)
    assert show(world)[1]["answers"]["commercial"] == "yes"
    assert world.run("revoke", done.document["keyid"], "--scope", "key", "--reason", "lost").code == Door.PASSED
    assert show(world)[1]["answers"]["commercial"] == "unknown"


def test_unknown_digests_and_expired_clearances(world):
    done = world.run("rights", "show", "sha256:" + "2" * 64)
    assert done.code == Door.USAGE
    assert "not admitted" in done.err
    assert world.run("rights", "show", "sha256:short").code == Door.USAGE
    clear(world, "--valid", "5d")
    with world.open() as deployment:
        for delta, expected in ((timedelta(days=4), "yes"), (timedelta(days=6), "unknown")):
            later = lambda delta=delta: utc_now() + delta  # noqa: E731
            view = acts.show(deployment, world.adapter("no-licence"), clock=later, tell=str)
            assert view.answer("commercial") == expected
        with pytest.raises(UsageError, match="no such clearance"):
            acts.withdraw(deployment, "sha256:" + "3" * 64, view.artifact, clock=later)


def test_text_output_names_claims_answers_and_commands(world):
    card = world.project / "adapters" / "no-licence" / "README.md"
    card.write_text('---\nlicense: "other\\e[2J"\ndatasets: [zoo/support-dialogues]\nbase_model: elsewhere/base\n---\n')
    done = world.run("rights", "show", world.adapter("no-licence"))
    assert done.code == Door.INDETERMINATE
    assert "\x1b" not in done.out
    for words in (
        "README.md: license: other\\x1b[2J [not in the licence table] by card",
        "commercial      unknown",
        "conflict        base-differs",
        "undisclosed",
        "next: peft-assay rights clear ",
    ):
        assert words in done.out, done.out
    cleared = world.run(
        "rights", "clear", world.adapter("no-licence"), "--grant", "commercial", "--reason", "r", "--by", "b"
    )
    assert "cleared: commercial for sha256:" in cleared.out
    assert "commercial      yes (cleared)" in world.run("rights", "show", world.adapter("no-licence")).out


def test_what_the_base_s_own_folder_says_is_compared_with_what_is_declared(world):
    base = (world.project / yaml.safe_load(world.document.read_text())["context"]["base"]["path"]).resolve()
    copied = world.root / "base-with-card"
    shutil.copytree(base, copied)
    (copied / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    (copied / "LICENSE").write_bytes((Path(__file__).parents[2] / "LICENSE").read_bytes())
    text = world.document.read_text()
    named = yaml.safe_load(text)["context"]["base"]["path"]
    world.document.write_text(text.replace(f"path: {named}", f"path: {copied}"))
    done = world.json("rights", "show", world.adapter("lora"))
    node = next(node for node in done.document["nodes"] if node["kind"] == "base")
    assert [(claim["source"], claim["licence"]) for claim in node["claims"]] == [
        ("declared", "apache-2.0"),
        ("card", "cc-by-nc-4.0"),
        ("licence-file", "apache-2.0"),
    ]
    assert "licence-disagrees" in [conflict["code"] for conflict in done.document["conflicts"]]


def test_an_artifact_s_digest_finds_the_place_it_was_last_tried_from(silent):
    silent.document.write_text(silent.document.read_text() + OWNED)
    silent.json("certify", silent.adapter("no-licence"))
    _, document = show(silent)
    by_digest = silent.json("rights", "show", document["artifact"])
    assert by_digest.document["lineage"] == document["lineage"]
    assert "fleet" in [claim["source"] for claim in by_digest.document["nodes"][0]["claims"]]


def test_a_policy_for_internal_evaluation_tolerates_unknown_rights_for_a_short_time_only():
    tolerant = POLICY.replace(
        "rights.grants.commercial && size(rights.lineage_conflicts) == 0",
        "size(rights.unknown_nodes) == 0 || (!context.production && context.maximum_age_hours <= 336)",
    )
    compiled = load_policy(tolerant.encode(), where="policy", vocabulary=vocabulary([]))
    for unknown, production, hours, expected in (
        ((), True, 8760, Outcome.PASS),
        (("adapter: no licence",), False, 336, Outcome.PASS),
        (("adapter: no licence",), False, 337, Outcome.FAIL),
        (("adapter: no licence",), True, 1, Outcome.FAIL),
    ):
        observed = ObservationSet(
            sha256(b"a"),
            sha256(b"c"),
            utc_now(),
            sort_observations(
                ok(name, value, by=ObservedBy.INTAKE)
                for name, value in (
                    ("rights.unknown_nodes", unknown),
                    ("context.production", production),
                    ("context.maximum_age_hours", hours),
                )
            ),
        )
        assert evaluate(compiled, observed, sha256(b"l")).outcome is expected, (unknown, production, hours)


def test_what_one_adapter_was_trained_on_can_be_declared_where_its_card_says_nothing(silent):
    card = silent.project / "adapters" / "no-licence" / "README.md"
    card.write_text("---\nlicense: apache-2.0\n---\n")
    code, before = show(silent)
    assert (code, before["answers"]["commercial"]) == (Door.INDETERMINATE, "unknown")
    assert any("nobody says what it was trained on" in what for what in before["unknown"])
    declared = (
        f"  declared:\n    {before['artifact']}:\n      datasets: [zoo/support-dialogues]\n      reason: letter 118\n"
    )
    silent.edit("rights:\n", f"rights:\n{declared}")
    code, after = show(silent)
    assert (code, after["answers"]["commercial"]) == (Door.PASSED, "yes")
    assert ["peft-assay.yaml: rights.declared"] in [edge["evidence"] for edge in after["edges"]]
    silent.edit("datasets: [zoo/support-dialogues]", "datasets: [zoo/forum-scrape-nc]")
    assert show(silent)[1]["answers"]["commercial"] == "no", "what is declared can also forbid"
    silent.edit("      datasets: [zoo/forum-scrape-nc]\n", "")
    refused = silent.run("rights", "show", silent.adapter("no-licence"))
    assert refused.code == Door.USAGE
    assert "declares neither a licence nor datasets" in refused.err
