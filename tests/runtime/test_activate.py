"""`activate`: what was certified is what is loaded, bit for bit; anything else raises and leaves the model as it was."""

import os
import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from peft_assay import activate
from peft_assay.core.errors import ActivationDenied, TrustError, UsageError
from peft_assay.pipeline.deployment import utc_now
from runtime.conftest import BENIGN, ZOO, Certified

pytestmark = [pytest.mark.model, pytest.mark.sandbox]


def logits(model):
    import torch

    ids = torch.arange(24, dtype=torch.long).reshape(2, 12) + 5
    with torch.inference_mode():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def fingerprint(model) -> tuple[str, tuple[str, ...], bool]:
    """State digest, module tree and PEFT's own marks of a model."""
    from peft_assay_loading.state import base_state

    return base_state(model), tuple(name for name, _ in model.named_modules()), hasattr(model, "peft_config")


def go(certified: Certified, model, adapter: Path | str, **changes):
    arguments = {"context": ZOO, "workspace": certified.folder, "trust": certified.trust, **changes}
    return activate(model, adapter, **arguments)


@pytest.mark.parametrize("name", BENIGN)
def test_logits_are_those_of_plain_peft_bit_for_bit(certified, base_model, name: str) -> None:
    import torch
    from peft import PeftModel

    source = ZOO / "adapters" / name
    plain = logits(PeftModel.from_pretrained(base_model(), source).eval())
    bare = base_model()
    before, alone = fingerprint(bare), logits(bare)
    active = go(certified, bare, source)
    assert torch.equal(logits(active.model), plain)
    assert not torch.equal(plain, alone)
    back = active.deactivate()
    assert torch.equal(logits(back), alone)
    assert fingerprint(back) == before
    with pytest.raises(ActivationDenied, match="deactivated"):
        _ = active.model


def test_another_base_is_told_apart_and_the_argument_that_mends_it_does(certified, base_model) -> None:
    """The dtype that a base is stored in, and the one declared: PASS and denial must not go round in a circle."""
    import torch
    from transformers import AutoModelForCausalLM

    half = AutoModelForCausalLM.from_pretrained(ZOO / "base", local_files_only=True, dtype=torch.bfloat16)
    with pytest.raises(ActivationDenied, match="it is in bfloat16, and the base was observed in float32") as denial:
        go(certified, half, ZOO / "adapters" / "lora")
    assert denial.value.check == "certificate"
    assert "dtype=torch.float32" in denial.value.next_step
    assert "certify SOURCE" not in denial.value.next_step
    larger = base_model()
    larger.resize_token_embeddings(290, mean_resizing=False)
    with pytest.raises(ActivationDenied, match=r"has shape \[290, 128\]"):
        go(certified, larger, ZOO / "adapters" / "lora")
    trained = base_model()
    with torch.no_grad():
        trained.model.norm.weight.mul_(2)
    with pytest.raises(ActivationDenied, match="the content of its tensors is not"):
        go(certified, trained, ZOO / "adapters" / "lora")
    mended = AutoModelForCausalLM.from_pretrained(ZOO / "base", local_files_only=True, dtype=torch.float32)
    go(certified, mended, ZOO / "adapters" / "lora").deactivate()


def test_a_second_adapter_on_one_model_is_refused_with_a_step_that_leads_on(certified, base_model) -> None:
    base = base_model()
    first = go(certified, base, ZOO / "adapters" / "lora")
    for model in (base, first.model):
        with pytest.raises(ActivationDenied, match="carries an adapter") as denial:
            go(certified, model, ZOO / "adapters" / "ia3")
        assert "deactivate" in denial.value.next_step
    go(certified, first.deactivate(), ZOO / "adapters" / "ia3").deactivate()


def test_an_alias_of_the_declared_surface_is_a_name_for_its_source(certified, base_model) -> None:
    active = go(certified, base_model(), "support")
    assert active.permission.files["adapter_config.json"] == (ZOO / "adapters/lora/adapter_config.json").read_bytes()


def denied(certified, model, adapter, check: str, says: str, **changes) -> None:
    before = fingerprint(model)
    with pytest.raises(ActivationDenied, match=says) as denial:
        go(certified, model, adapter, **changes)
    assert denial.value.check == check
    assert denial.value.next_step
    assert fingerprint(model) == before


def test_an_uncertified_adapter_is_denied(certified, base_model) -> None:
    denied(certified, base_model(), ZOO / "adapters/no-licence", "certificate", "no certificate")


def test_an_altered_adapter_is_denied(certified, base_model, tmp_path) -> None:
    """One byte of the weights, one space in the configuration, one file more: each is another artifact."""
    for number, alter in enumerate((_flip_weight_byte, _respace_config, _add_file)):
        copy = tmp_path / f"altered{number}"
        shutil.copytree(ZOO / "adapters/lora", copy)
        go(certified, base_model(), copy).deactivate()  # control: the unaltered copy is admitted
        alter(copy)
        denied(certified, base_model(), copy, "certificate", "no certificate")


def _flip_weight_byte(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)


def _respace_config(folder: Path) -> None:
    config = folder / "adapter_config.json"
    config.write_bytes(config.read_bytes() + b" ")


def _add_file(folder: Path) -> None:
    (folder / "extra.txt").write_text("x")


def test_an_adapter_that_intake_refuses_is_denied(certified, base_model) -> None:
    denied(certified, base_model(), ZOO / "adapters/escaping-symlink", "bytes", "intake refuses it")
    denied(certified, base_model(), ZOO / "adapters/absent", "bytes", "intake refuses it")


def test_a_revoked_adapter_is_denied_until_an_approver_lifts_it(certified, base_model) -> None:
    source = ZOO / "adapters/lora"
    go(certified, base_model(), source).deactivate()
    assert certified.run("revoke", str(source), "--reason", "test") == 0
    denied(certified, base_model(), source, "withdrawn", "withdrawn since .*: test")
    assert certified.run("certify", str(source)) == 12  # certifying it again does not lift the hold
    denied(certified, base_model(), source, "withdrawn", "withdrawn since")
    assert certified.run("revoke", "--lift", str(source), "--reason", "mistake") == 0
    go(certified, base_model(), source).deactivate()


def test_an_expired_certificate_is_denied(certified, base_model) -> None:
    """The list must be fresh at that time too, so it is signed anew: what is left is the certificate's own age."""
    from peft_assay.pipeline.deployment import Deployment, Place
    from peft_assay.pipeline.revoke import refresh

    later = utc_now() + timedelta(days=31)
    with Deployment.open(Place(ZOO, certified.folder, certified.trust)) as deployment:
        refresh(deployment, clock=lambda: later)
    denied(certified, base_model(), ZOO / "adapters/lora", "times", "expired", clock=lambda: later)


def test_stale_revocation_evidence_is_denied(certified, base_model) -> None:
    later = utc_now() + timedelta(days=8)
    denied(certified, base_model(), ZOO / "adapters/lora", "revocations", "fresh until", clock=lambda: later)


def test_a_foreign_context_is_denied_and_what_differs_is_said(certified, base_model, tmp_path) -> None:
    other = tmp_path / "other"
    shutil.copytree(ZOO, other, ignore=shutil.ignore_patterns("adapters", "build"), symlinks=True)
    document = other / "peft-assay.yaml"
    document.write_text(document.read_text().replace("answers customers' product questions", "approves loans"))
    denied(
        certified, base_model(), ZOO / "adapters/lora", "certificate", "another context.*context.purpose", context=other
    )


def test_another_base_is_denied(certified, base_model) -> None:
    """One value of one tensor, or one buffer: what was observed is not what would be served."""
    import torch

    for alter in (lambda m: m.lm_head.weight, lambda m: m.model.rotary_emb.inv_freq):
        model = base_model()
        with torch.no_grad():
            alter(model).view(-1)[0] += 1
        denied(certified, model, ZOO / "adapters/lora", "certificate", "conditions.base.state")


def test_a_base_that_already_carries_an_adapter_is_left_alone(certified, base_model) -> None:
    first = go(certified, base_model(), ZOO / "adapters/lora")
    kept = logits(first.model)
    with pytest.raises(ActivationDenied):
        go(certified, first.model, ZOO / "adapters/ia3")
    import torch

    assert torch.equal(logits(first.model), kept)


def test_a_rolled_back_workspace_is_not_trusted(certified, base_model, tmp_path) -> None:
    source = ZOO / "adapters/lora"
    shutil.copytree(certified.folder / ".peft-assay", tmp_path / "yesterday")
    assert certified.run("revoke", str(source), "--reason", "test") == 0
    shutil.rmtree(certified.folder / ".peft-assay")
    shutil.copytree(tmp_path / "yesterday", certified.folder / ".peft-assay")
    model = base_model()
    before = fingerprint(model)
    with pytest.raises(TrustError):
        go(certified, model, source)
    assert fingerprint(model) == before


def test_the_permission_ends_and_is_this_process_s_own(certified, base_model) -> None:
    now = [utc_now()]
    active = go(certified, base_model(), ZOO / "adapters/lora", clock=lambda: now[0])
    assert active.permission.process_id == os.getpid()
    assert active.permission.not_after <= now[0] + timedelta(days=7)
    now[0] = active.permission.not_after - timedelta(seconds=1)
    active.check()
    now[0] = active.permission.not_after
    with pytest.raises(ActivationDenied, match="ended") as denial:
        active.check()
    assert denial.value.check == "times"
    child = os.fork()
    if child == 0:
        try:
            now[0] = utc_now()
            active.check()
        except ActivationDenied as denial:
            os._exit(0 if denial.check == "process" else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_without_an_anchor_or_a_context_nothing_is_active(certified, base_model, tmp_path) -> None:
    with pytest.raises(TrustError, match="no trust anchor"):
        go(certified, base_model(), ZOO / "adapters/lora", trust=tmp_path / "nowhere")
    with pytest.raises(UsageError, match="there is no file"):
        go(certified, base_model(), ZOO / "adapters/lora", context=tmp_path / "nowhere")


def test_the_environment_chooses_no_trust(certified, base_model, tmp_path, monkeypatch) -> None:
    """An anchor planted where HOME and XDG_CONFIG_HOME point is not even looked at."""
    planted = tmp_path / "home/.config/peft-assay"
    shutil.copytree(certified.trust, planted)
    for name in ("HOME", "XDG_CONFIG_HOME", "PEFT_ASSAY_TRUST"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setattr("pwd.getpwuid", lambda uid: type("P", (), {"pw_dir": str(tmp_path / "passwd-home")})())
    with pytest.raises(TrustError, match="passwd-home"):
        go(certified, base_model(), ZOO / "adapters/lora", trust=None)


def test_an_adapter_hidden_inside_the_model_is_not_let_through(certified, base_model) -> None:
    """Injected below the top, an uncertified adapter would act beside the certified one. Control: PEFT lets it in."""
    from peft import LoraConfig, inject_adapter_in_model

    model = base_model()
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False), model.model)
    for forget in (False, True):
        if forget and hasattr(model.model, "peft_config"):
            del model.model.peft_config
        with pytest.raises(ActivationDenied, match="already carries an adapter"):
            go(certified, model, ZOO / "adapters/prompt")


def test_a_model_whose_forward_pass_was_altered_is_refused(certified, base_model) -> None:
    def hooked(model) -> None:
        model.model.layers[0].register_forward_hook(lambda module, inputs, output: output)

    def patched(model) -> None:
        model.model.norm.forward = lambda states: states

    for alter in (hooked, patched):
        model = base_model()
        alter(model)
        with pytest.raises(ActivationDenied, match="forward pass was altered"):
            go(certified, model, ZOO / "adapters/lora")


def test_a_workspace_swapped_for_a_link_to_an_old_one_is_not_opened(certified, base_model, tmp_path) -> None:
    """Write access to the project's folder alone must not bring a revoked adapter back."""
    from peft_assay.core.errors import StorageError

    source = ZOO / "adapters/lora"
    shutil.copytree(certified.folder / ".peft-assay", tmp_path / "old")
    assert certified.run("revoke", str(source), "--reason", "test") == 0
    shutil.rmtree(certified.folder / ".peft-assay")
    (certified.folder / ".peft-assay").symlink_to(tmp_path / "old")
    with pytest.raises(StorageError, match="not a link"):
        go(certified, base_model(), source)


def test_a_later_denial_ends_the_certificate(certified, base_model) -> None:
    """The policy said no since, and the authority signed that. A verdict that only the ledger has stops nothing: who
    can write the workspace can write one."""
    from peft_assay.core.digest import sha256
    from peft_assay.core.verdict import Outcome, RuleResult, Verdict
    from peft_assay.pipeline.deployment import Deployment
    from peft_assay.pipeline.place import Place
    from peft_assay.pipeline.reversals import reverse

    source = ZOO / "adapters/lora"
    artifact = go(certified, base_model(), source).permission.artifact
    with Deployment.open(Place(ZOO, certified.folder, certified.trust)) as deployment:
        (lock,) = deployment.workspace.certified_locks(artifact)
        result = RuleResult("task", Outcome.FAIL, "false", "it got worse", {}, "")
        verdict = Verdict(artifact, lock, sha256(b"policy"), (result,))
        deployment.workspace.record_verdict(verdict, policy=b"", observations=sha256(b""), at=utc_now())
    go(certified, base_model(), source)
    with Deployment.open(Place(ZOO, certified.folder, certified.trust)) as deployment:
        reverse(deployment, verdict, utc_now())
    denied(certified, base_model(), source, "times", "judged again, at .*: the policy said FAIL")
