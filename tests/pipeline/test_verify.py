"""Each reason for which the gate denies, end to end: documents, workspace, anchor, clock."""

import errno
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from peft_assay.core.certificate import Scope
from peft_assay.core.digest import sha256
from peft_assay.core.errors import Door, TrustError
from peft_assay.pipeline import elsewhere
from peft_assay.pipeline import revoke as acts
from peft_assay.pipeline.deployment import Deployment, utc_now
from peft_assay.pipeline.elsewhere import RecordedElsewhere, record_activation
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.sources import Located
from peft_assay.pipeline.verify import verify
from peft_assay.store import snapshot
from peft_assay.store import workspace as workspaces
from peft_assay.trust.roles import Role
from pipeline.certified_world import World

pytestmark = pytest.mark.sandbox


def check_at(world, clock, name="lora"):
    with world.open() as deployment:
        (found,) = verify(deployment, [Located(world.adapter(name), Path(world.adapter(name)))], clock=clock)
    failed = [check for check in found.checks if check.state.value == "failed"]
    return found.door, failed[0].name if failed else None


def denied(world, door, check, says="", name="lora"):
    code, entry = world.verify(name)
    assert (code, entry["valid"], entry["check"]) == (door, False, check), entry
    assert says in entry["message"]
    assert entry["certificate"] is None
    assert entry["nextStep"]


def test_what_is_certified_is_admitted_and_only_that(world):
    code, entry = world.verify()
    assert (code, entry["valid"], entry["check"], entry["reasons"]) == (0, True, None, [])
    assert entry["certificate"]["observations"]
    for name in ("no-licence", "pickle-weights"):
        denied(world, 12, "certificate", "no certificate", name)


@pytest.mark.parametrize(("name", "said"), [("pickle-weights", "FAIL"), ("no-licence", "INDETERMINATE")])
def test_after_a_verdict_that_is_no_pass_the_step_is_its_report_and_not_the_same_certify(world, name, said):
    code, entry = world.verify(name)
    assert (code, entry["check"]) == (Door.DENIED, "certificate")
    assert entry["message"] == f"there is no certificate: the policy said {said}"
    command = entry["nextStep"].removeprefix("peft-assay ").split()
    assert command[0] == "report"
    shown = world.run(*command)
    assert (shown.code, "written to report.html" in shown.out) == (Door.PASSED, True)
    assert "Next" in (world.project / "report.html").read_text()
    world.edit("name: zoo-support", "name: zoo-sales")  # in another context it was not judged
    assert world.verify(name)[1]["nextStep"].startswith("peft-assay certify")


def test_the_end_of_the_list_is_said_where_it_comes_before_that_of_the_certificate(world):
    entry = world.verify()[1]
    assert entry["revocationListUntil"] < entry["certificate"]["notAfter"]
    shown = world.run("verify", world.adapter("lora")).out
    line = next(line for line in shown.splitlines() if "ends earlier" in line)
    assert f"peft-assay revoke --trust {world.trust} --refresh renews it" in line or "revoke --refresh" in line
    assert world.verify("pickle-weights")[1]["revocationListUntil"] is None


@pytest.mark.parametrize("file", ["README.md", "adapter_config.json", "adapter_model.safetensors", "extra.txt"])
def test_one_byte_in_any_file_is_another_adapter(world, file):
    path = Path(world.adapter("lora")) / file
    content = bytearray(path.read_bytes() if path.exists() else b"")
    content[-1:] = b" " if content[-1:] != b" " else b"\n"
    path.write_bytes(content)
    code, entry = world.verify()
    assert code in (3, 12)
    assert not entry["valid"]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("answers customers'", "approves customers'", "context.purpose"),
        ("name: zoo-support", "name: zoo-sales", "context.name"),
        ("maxRank: 32", "maxRank: 16", "engineLimits.maxRank"),
        ("team: support", "team: sales", "labels.team"),
        ("maximumAge: 30d", "maximumAge: 29d", "maximumAgeSeconds"),
        ("zoo/forum-scrape-nc: cc-by-nc-4.0", "zoo/forum-scrape-nc: cc-by-4.0", "rights.datasets"),
        ("commercialUse: true", "commercialUse: false", "rights.commercialUse"),
        ("  answers: support_task", "  answers: refusals", "conditions.exercises.scan.answerSuite"),
        ("    licence: apache-2.0", "    licence: mit", "rights.baseLicence"),
    ],
)
def test_another_context_is_denied_and_says_what_differs(world, old, new, says):
    world.edit(old, new)
    denied(world, 12, "certificate", says)
    world.edit(new, old)
    assert world.verify()[0] == 0


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("base/config.json", "conditions.base.files"),
        ("base/tokenizer_config.json", "conditions.tokenizer"),
        ("base/generation_config.json", "conditions.generationConfig"),
        ("suites/refusals/suite.yaml", "conditions.suites.refusals"),
        ("suites/tokens.txt", "conditions.exercises.scan.digest"),
    ],
)
def test_what_the_lock_names_cannot_change_unnoticed(world, file, says):
    path = world.project / file
    path.write_bytes(path.read_bytes() + b"\n" + (b"zq999\n" if "tokens" in file else b""))
    denied(world, 12, "certificate", says)


def test_a_revoked_adapter_stays_denied_until_a_lift(world):
    assert world.run("revoke", world.adapter("lora"), "--reason", "complaint 17").code == 0
    denied(world, 12, "withdrawn", "complaint 17")
    assert world.verify("prompt")[0] == 0
    assert world.run("revoke", "--lift", world.adapter("lora"), "--reason", "unfounded").code == 0
    assert world.verify()[0] == 0


def test_a_withdrawal_is_said_first_whatever_else_is_wrong(world):
    """Certified for another context and withdrawn: to certify again would end WITHHELD."""
    assert world.run("revoke", world.adapter("lora"), "--reason", "complaint 17").code == 0
    world.edit("team: support", "team: sales")
    denied(world, 12, "withdrawn", "complaint 17")
    _, entry = world.verify()
    reasons = {reason["check"]: reason["message"] for reason in entry["reasons"]}
    assert "now different: labels.team" in reasons["certificate"]
    assert "now different" not in entry["message"]
    assert f"revoke --trust {world.trust} --lift {world.adapter('lora')} --reason" in entry["nextStep"]
    assert world.run("revoke", "--lift", world.adapter("lora"), "--reason", "unfounded").code == 0
    denied(world, 12, "certificate", "another context")


def targets(world):
    with world.open() as deployment:
        envelope = deployment.workspace.newest_revocation_list()
        assert envelope is not None
        lock = world.verify()[1]["certificate"]
        return {
            Scope.CERTIFICATE: lock["envelope"],
            Scope.ADAPTER: lock["artifact"],
            Scope.WEIGHTS: sha256((Path(world.adapter("lora")) / "adapter_model.safetensors").read_bytes()),
            Scope.POLICY: lock["policy"],
            Scope.SUITE: deployment.project.suites[0].digest,
            Scope.BASE: deployment.project.base.digest,
            Scope.KEY: deployment.anchor.keys_of(Role.SANDBOX)[0].keyid,
        }


@pytest.mark.parametrize("scope", list(Scope))
def test_each_scope_of_a_withdrawal_reaches_the_adapter(world, scope):
    target = targets(world)[scope]
    assert world.run("revoke", target, "--scope", scope.value, "--reason", "r").code == 0
    denied(world, 12, "withdrawn", f"({scope.value} {target})")
    assert world.run("revoke", "--lift", target, "--scope", scope.value, "--reason", "r").code == 0
    assert world.verify()[0] == 0


def test_weights_are_revoked_under_any_card(world):
    assert world.run("revoke", world.adapter("lora"), "--scope", "weights", "--reason", "r").code == 0
    denied(world, 12, "withdrawn", "weights")
    assert world.verify("prompt")[0] == 0


def test_an_alias_is_revoked_by_its_name(world):
    assert world.run("revoke", "support", "--reason", "r").code == 0
    denied(world, 12, "withdrawn")


def test_the_authority_s_own_key_revoked_ends_all_trust(world):
    with world.open() as deployment:
        keyid = deployment.anchor.keys_of(Role.AUTHORITY)[0].keyid
    world.run("revoke", keyid, "--scope", "key", "--reason", "leaked")
    assert world.verify()[0] == 11
    assert world.verify("prompt")[0] == 11


@pytest.mark.parametrize(
    ("delta", "door", "check"),
    [
        ({"days": 6}, Door.PASSED, None),
        ({"days": 8}, Door.DENIED, "revocations"),
        ({"minutes": -3}, Door.PASSED, None),
    ],
)
def test_time_passes(world, delta, door, check):
    assert check_at(world, world.later(**delta)) == (door, check)


def test_a_certificate_expires_although_the_list_is_fresh(world):
    for days, expected in ((29, (Door.PASSED, None)), (31, (Door.DENIED, "times"))):
        clock = world.later(days=days)
        with world.open() as deployment:
            acts.refresh(deployment, clock=clock)
        assert check_at(world, clock) == expected


def test_a_clock_put_back_is_noticed(world):
    with pytest.raises(TrustError, match="clock was put back"):
        check_at(world, world.later(days=-1))


def test_a_workspace_put_back_is_noticed(world, tmp_path):
    shutil.copytree(world.project / ".peft-assay", tmp_path / "yesterday")
    assert world.run("revoke", world.adapter("lora"), "--reason", "r").code == 0
    shutil.rmtree(world.project / ".peft-assay")
    shutil.copytree(tmp_path / "yesterday", world.project / ".peft-assay")
    for command in (["verify"], ["certify"], ["revoke", "--refresh"]):
        done = world.run(*command, *([] if "--refresh" in command else [world.adapter("lora")]))
        assert done.code == 11
        assert "put back" in done.err or "have been seen on this host" in done.err


def test_another_anchor_trusts_none_of_it(world, tmp_path):
    from peft_assay.trust.anchor import create_development_anchor

    create_development_anchor(tmp_path / "other")
    other = World(world.root)
    shutil.rmtree(world.trust)
    shutil.copytree(tmp_path / "other", world.trust)
    for name in ("lora", "no-licence"):
        assert other.verify(name)[0] == 11


@pytest.mark.parametrize("role", ["authority", "approver"])
def test_a_signing_key_that_is_not_pinned_signs_nothing(world, role, tmp_path):
    from peft_assay.trust.anchor import create_development_anchor

    assert world.run("revoke", world.adapter("prompt"), "--reason", "r").code == 0
    create_development_anchor(tmp_path / "other")
    shutil.copy(tmp_path / "other/keys" / f"{role}.pem", world.trust / "keys" / f"{role}.pem")
    done = world.run("revoke", "--lift", world.adapter("prompt"), "--reason", "r")
    assert done.code == 11
    assert f"the key of role {role} at hand is not one that the trust anchor pins" in done.err
    denied(world, 12, "withdrawn", name="prompt")


def blob(world, digest):
    path = next(
        p
        for p in (world.project / ".peft-assay/blobs").rglob("*")
        if p.is_file() and digest.split(":")[1].endswith(p.name[-40:])
    )
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("which", ["envelope", "observations"])
@pytest.mark.parametrize("how", ["altered", "absent", "empty"])
def test_evidence_that_is_altered_or_gone_is_no_evidence(world, which, how):
    certificate = world.verify()[1]["certificate"]
    digest = certificate["envelope"] if which == "envelope" else certificate["observations"][0]
    path = blob(world, digest)
    if how == "absent":
        path.unlink()
    else:
        path.write_bytes(b"" if how == "empty" else path.read_bytes().replace(b"A", b"B", 1))
    done = world.json("verify", world.adapter("lora"))
    assert done.code == 11
    assert "Traceback" not in done.err
    other = world.json("verify", world.adapter("prompt"))
    assert other.code == 11  # every reader begins with one check of the whole workspace
    assert digest[-40:] in other.out + other.err  # by the file that holds it


def test_production_refuses_development_keys_before_all_else(world):
    world.edit("maximumAge: 30d", "maximumAge: 30d\n  production: true")
    denied(world, 11, "anchor", "production refuses development keys")


def test_verifying_many_gives_one_code_and_each_its_own(world):
    done = world.json("verify", *(world.adapter(name) for name in ("lora", "no-licence", "prompt")), "gone")
    assert [entry["door"] for entry in done.document] == [0, 12, 0, 3]
    assert done.code == 3
    assert world.json("verify", world.adapter("lora"), world.adapter("no-licence")).code == 12


def test_a_workspace_that_may_only_be_read_is_verified_and_says_where_marks_are(world, monkeypatch):
    real = snapshot.only_readable
    monkeypatch.setattr(workspaces, "only_readable", lambda database: database.is_file())
    before = {path: path.stat().st_mtime_ns for path in (world.project / ".peft-assay").iterdir() if path.is_file()}
    done = world.run("verify", world.adapter("lora"))
    assert (done.code, done.out.split()[0]) == (0, "VALID")
    assert f"may only be read: nothing is recorded there; this host's marks are in {world.trust / 'state'}" in done.err
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert real(world.project / ".peft-assay" / "absent") is False


def test_an_activation_is_recorded_beside_the_marks_where_the_workspace_may_only_be_read(world, monkeypatch):
    permission = SimpleNamespace(artifact=sha256(b"a"), lock=sha256(b"l"), not_after=utc_now())
    monkeypatch.setattr(workspaces, "only_readable", lambda database: database.is_file())
    place = Place(world.project / "peft-assay.yaml", None, world.trust)
    with Deployment.open(place, reading=True) as deployment:
        with pytest.warns(RecordedElsewhere, match=r"recorded in .*activations\.jsonl, and peft-assay revoke does not"):
            record_activation(deployment, permission, at=utc_now())
        (line,) = (world.trust / "state" / "activations.jsonl").read_text().splitlines()
        assert json.loads(line)["artifact"] == permission.artifact
        monkeypatch.setattr(elsewhere, "append_durably", _read_only)
        with pytest.warns(RecordedElsewhere, match="recorded nowhere"):
            record_activation(deployment, permission, at=utc_now())


def _read_only(path, line):
    raise OSError(errno.EROFS, "Read-only file system")
