"""All PEFT types with PEFT's default settings: bitwise what PEFT itself loads, and the base as it was afterwards."""

import warnings

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

from loading.type_defaults import OTHERS, TYPES_OF_TWO, save_trained, small_base  # noqa: E402
from peft_assay.observe.static.tables import peft_table  # noqa: E402
from peft_assay_loading.errors import LoadingError  # noqa: E402
from peft_assay_loading.load import attach, conversions_of, detach  # noqa: E402
from peft_assay_loading.state import base_state  # noqa: E402

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]
TYPES = sorted(peft_table().types)


def saved(kind, folder):
    try:
        return save_trained(kind, small_base(), folder)
    except ImportError as absent:
        pytest.skip(str(absent))


def files(folder):
    return (folder / "adapter_config.json").read_bytes(), (folder / "adapter_model.safetensors").read_bytes()


def from_pretrained(folder):
    import peft

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peft.PeftModel.from_pretrained(small_base(), folder).eval()


@pytest.mark.parametrize("kind", [kind for kind in TYPES if kind not in TYPES_OF_TWO | OTHERS])
def test_default_settings_give_bitwise_what_peft_itself_loads(kind, tmp_path, logits, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = saved(kind, tmp_path)
    theirs, base = logits(from_pretrained(folder)), small_base()
    bare, state = logits(base), base_state(base)
    ours = attach(base, *files(folder))
    assert torch.equal(logits(ours), theirs)
    assert not torch.equal(theirs, bare), "the control: such an adapter changes answers"
    assert base_state(ours) == state
    assert conversions_of(ours) == ()
    detach(ours)
    assert base_state(base) == state
    assert torch.equal(logits(base), bare)


@pytest.mark.parametrize("kind", sorted(TYPES_OF_TWO))
def test_types_that_ask_for_a_task_load_and_answer_as_under_peft_nothing_without_one(kind, tmp_path, logits):
    folder = saved(kind, tmp_path)
    wrapped = attach(small_base(), *files(folder))
    for model in (from_pretrained(folder), wrapped):
        with pytest.raises(ValueError, match="task_ids"):
            logits(model)


def test_an_adapter_made_of_others_is_refused_by_name(base, tmp_path):
    config = b'{"peft_type": "XLORA", "adapters": {"0": "other/adapter"}, "task_type": "CAUSAL_LM", "hidden_size": 8}'
    with pytest.raises(LoadingError, match="adapters reaches beyond"):
        attach(base, config, b"\x02\x00\x00\x00\x00\x00\x00\x00{}")


def pruned_adalora(base, folder):
    """AdaLoRA as it is saved after its budget was given out: some modules keep few ranks, some none."""
    import peft

    budget = {"init_r": 4, "target_r": 1, "tinit": 0, "tfinal": 1, "deltaT": 1, "total_step": 3}
    config = peft.AdaLoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj"], **budget)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = peft.get_peft_model(base, config)
        adapted = [parameter for name, parameter in model.named_parameters() if "lora_" in name]
        for parameter in adapted:
            parameter.data.add_(torch.randn_like(parameter) * 0.3)
        for step in range(1, budget["total_step"]):
            for parameter in adapted:
                parameter.grad = torch.randn_like(parameter)
            model.base_model.update_and_allocate(step)
    model.save_pretrained(folder)


def test_adalora_after_training_is_loaded_though_modules_have_no_rank_left(tmp_path, logits):
    import safetensors.torch

    pruned_adalora(small_base(), tmp_path)
    config, weights = files(tmp_path)
    assert any(0 in tensor.shape for tensor in safetensors.torch.load(weights).values()), "the control"
    assert b"false" in config.split(b'"rank_pattern"')[1]
    ours = attach(small_base(), config, weights)
    assert torch.equal(logits(ours), logits(from_pretrained(tmp_path)))
    assert not torch.equal(logits(ours), logits(small_base()))
    detach(ours)


def test_what_peft_saved_after_pruning_is_unobjectionable_before_it_is_run(tmp_path):
    from observe_static.static_support import CONTEXT
    from peft_assay.fingerprint.digest import function_digest
    from peft_assay.intake.admit import admit
    from peft_assay.observe.catalogue import observe_static
    from peft_assay.observe.interface import StaticSubject
    from peft_assay.observe.static.weights import watch_weights

    pruned_adalora(small_base(), tmp_path)
    admitted = admit(tmp_path, watch=watch_weights)
    subject = StaticSubject(admitted.artifact, admitted.contents, CONTEXT, admitted.sightings)
    found = {o.name: o.value for o in observe_static(subject)}
    assert (found["weights.canonical"], found["config.strict"], found["weights.nonfinite"]) == (True, True, 0)
    assert found["weights.undeclared"] == found["weights.misnamed"] == found["bounds.exceeded"] == ()
    assert found["bounds.max_rank"] >= 1
    assert function_digest({path.name: path.read_bytes() for path in tmp_path.iterdir()}).startswith("sha256:")
