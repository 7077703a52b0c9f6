"""After the gate: what was let in changes, outlives its permission or is passed on. The model itself refuses.

Each exhibit has its control: the same act without the guard answers, and otherwise than the certified adapter.
"""

import copy
import dataclasses
import io
import os
import pickle
from datetime import timedelta

import pytest

from peft_assay import activate
from peft_assay.core.errors import ActivationDenied
from peft_assay.pipeline.deployment import utc_now
from peft_assay.runtime.kept import Settings
from runtime.conftest import ZOO

pytestmark = [pytest.mark.model, pytest.mark.sandbox]
AT_ONCE = timedelta(0)


def go(certified, base_model, name: str = "lora", **more):
    place = {"context": ZOO, "workspace": certified.folder, "trust": certified.trust}
    return activate(base_model(), ZOO / "adapters" / name, **place, **more)


def logits(model):
    import torch

    ids = torch.arange(24, dtype=torch.long).reshape(2, 12) + 5
    with torch.no_grad():
        return model(input_ids=ids).logits


def generated(model):
    import torch

    with torch.no_grad():
        return model.generate(input_ids=torch.arange(5, 12)[None], max_new_tokens=2, do_sample=False, pad_token_id=0)


def refused(act, check: str, says: str | None = None) -> None:
    with pytest.raises(ActivationDenied, match=says) as denial:
        act()
    assert denial.value.check == check
    assert denial.value.next_step


def layer(model):
    return model.base_model.model.model.layers[0].self_attn.q_proj


def inner(model):
    return model.get_base_model().model.layers[1]


def _write(model):
    import torch

    with torch.no_grad():
        layer(model).lora_B["default"].weight.mul_(3)


def _replace(model):
    import torch

    inner(model).input_layernorm.weight = torch.nn.Parameter(torch.zeros(128))


def _load_another(model):
    model.load_adapter(str(ZOO / "adapters/rare-token"), "another")
    model.set_adapter("another")


def _mix(model):
    model.add_weighted_adapter(["default"], [3.0], "mixed", combination_type="linear")
    model.set_adapter("mixed")


def _hotswap(model):
    from peft.utils.hotswap import hotswap_adapter

    hotswap_adapter(model, str(ZOO / "adapters/rare-token"), "default")


def _hook(model):
    inner(model).mlp.register_forward_hook(lambda module, inputs, output: output * 2)


def _patch(model):
    inner(model).mlp.forward = lambda states: states


def _class(model):
    mlp = inner(model).mlp
    mlp.__class__ = type("Other", (type(mlp),), {"forward": lambda self, states: states})


def _epsilon(model):
    inner(model).input_layernorm.variance_epsilon = 0.3


def _activation(model):
    import torch

    inner(model).mlp.act_fn = torch.nn.ReLU()


CHANGES = {
    "scale": (lambda m: layer(m).set_scale("default", 5.0), "scale"),
    "another adapter": (_load_another, "adapters"),
    "a mixture": (_mix, "adapters"),
    "disabled": (lambda m: m.base_model.disable_adapter_layers(), "adapters"),
    "merged": (lambda m: m.merge_adapter(), "merged"),
    "written to": (_write, "tensors"),
    "another parameter": (_replace, "tensors"),
    "swapped in place": (_hotswap, "tensors"),
    "half": (lambda m: m.half(), "tensors"),
    "hook": (_hook, "hooks"),
    "patched": (_patch, "forward"),
    "class": (_class, "forward"),
    "epsilon": (_epsilon, "base"),
    "activation": (_activation, "tensors"),
    "attention's scaling": (lambda m: setattr(inner(m).self_attn, "scaling", 1.0), "scale"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noticed_before_the_next_answer(certified, base_model, name: str) -> None:
    """By a kept reference, the base inside, generate and check alike; the control answers, and otherwise or as another."""
    change, check = CHANGES[name]
    active = go(certified, base_model)
    model = active.model
    logits(model)
    change(model)
    for act in (lambda: logits(model), lambda: logits(model.get_base_model()), lambda: generated(model), active.check):
        refused(act, check)
    refused(lambda: active.model, check)


@pytest.mark.parametrize("name", [name for name in CHANGES if name not in ("merged", "half")])
def test_control_without_the_guard_it_answers_otherwise(base_model, name: str) -> None:
    import torch
    from peft import PeftModel

    model = PeftModel.from_pretrained(base_model(), ZOO / "adapters/lora").eval()
    before = logits(model)
    CHANGES[name][0](model)
    assert not torch.equal(logits(model), before)


def test_train_mode_autocast_and_the_dora_cache(certified, base_model) -> None:
    import torch
    from peft.helpers import DoraCaching

    model = go(certified, base_model, "dora").model
    model.train()
    refused(lambda: logits(model), "mode", "train mode")
    model.eval()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        refused(lambda: logits(model), "mode", "autocast")
    with DoraCaching():
        refused(lambda: logits(model), "mode", "DoraCaching")
    logits(model)


def test_what_is_undone_answers_again(certified, base_model) -> None:
    import torch

    active = go(certified, base_model)
    model = active.model
    before = logits(model)
    layer(model).set_scale("default", 5.0)
    refused(lambda: logits(model), "scale")
    layer(model).set_scale("default", 1.0)
    assert torch.equal(logits(model), before)
    active.check()


def test_writes_that_no_counter_counts_are_found_by_content(certified, base_model) -> None:
    """Control: version and address are the same; the answer is another one until content is looked at."""
    active = go(certified, base_model)
    weight = layer(active.model).lora_B["default"].weight
    told = weight._version, weight.data_ptr()
    weight.data.mul_(2)
    assert (weight._version, weight.data_ptr()) == told
    refused(active.check, "tensors", "lora_B.default.weight holds other values")
    model = active._model
    active._guard._sum()  # what runs in the background
    refused(lambda: logits(model), "tensors")


def test_code_that_is_replaced_later_is_found_in_the_background(certified, base_model, monkeypatch) -> None:
    """Control: the function is the library's module's own name, so no class and no module shows it; answers change."""
    import torch
    from transformers.models.llama import modeling_llama

    active = go(certified, base_model)
    model = active.model
    before = logits(model)
    with monkeypatch.context() as scope:
        scope.setattr(modeling_llama, "apply_rotary_pos_emb", lambda q, k, *rest, **more: (q, k))
        assert not torch.equal(logits(model), before)
        refused(active.check, "forward", "apply_rotary_pos_emb was replaced")
        active._guard._sum()  # what runs in the background
        refused(lambda: logits(model), "forward", "apply_rotary_pos_emb was replaced")
    active.check()
    assert torch.equal(logits(model), before)


def test_code_of_peft_that_was_replaced_before(certified, base_model, monkeypatch) -> None:
    """Control: the bare model has none of it, and the adapter answers otherwise."""
    import torch
    from peft.tuners.lora.layer import Linear

    own, before = Linear.forward, logits(go(certified, base_model).model)
    monkeypatch.setattr(Linear, "forward", lambda self, states, *rest, **more: own(self, states, *rest, **more) * 2)
    from peft import PeftModel

    assert not torch.equal(logits(PeftModel.from_pretrained(base_model(), ZOO / "adapters/lora").eval()), before)
    bare = base_model()
    refused(lambda: go(certified, lambda: bare), "load", "lora.layer.Linear.forward was replaced")
    assert not hasattr(bare, "peft_config")


def test_what_the_compiler_adds_to_a_module_is_nothing_replaced(certified, base_model) -> None:
    """Control: compiling leaves functions of its own beside the library's."""
    from transformers.models.llama import modeling_llama

    active, other = go(certified, base_model), base_model()
    other.compile(backend="eager")
    generated(other)
    active.model.get_base_model().compile(backend="eager")
    generated(active.model)
    assert any(name.startswith("__compiled_fn_") for name in vars(modeling_llama))
    active.check()
    go(certified, base_model).deactivate()


def test_lists_in_settings_that_change_in_place() -> None:
    """Control: the object that holds the list is the same, and so is the list."""
    from transformers import GenerationConfig

    settings = GenerationConfig(eos_token_id=[2, 3], bad_words_ids=[[5], [6]])
    look = Settings([("generation_config", settings, frozenset())])
    assert look.ask() is None
    settings.bad_words_ids[0].append(7)
    assert "bad_words_ids" in look.ask().message
    settings.bad_words_ids[0].pop()
    assert look.ask() is None
    settings.eos_token_id.append(4)
    assert "eos_token_id" in look.ask().message


def test_a_permission_in_a_log_shows_no_weights(certified, base_model) -> None:
    permission = go(certified, base_model).permission
    assert len(repr(permission)) < 2000 < sum(map(len, permission.files.values()))


def layer_ids():
    import torch

    return torch.arange(5, 12)[None]


def _same_parameter(model):
    import torch

    norm = inner(model).input_layernorm
    norm.weight = torch.nn.Parameter(norm.weight.detach().clone())


HONEST = {
    "eval": lambda m: m.eval(),
    "to the same device": lambda m: m.to("cpu"),
    "no gradients": lambda m: m.requires_grad_(requires_grad=False),
    "state": lambda m: m.state_dict(),
    "the adapter that is set already": lambda m: m.set_adapter("default"),
    "tied anew": lambda m: m.get_base_model().tie_weights(),
    "hidden states": lambda m: m(input_ids=layer_ids(), output_hidden_states=True),
    "drawn": lambda m: m.generate(input_ids=layer_ids(), max_new_tokens=2, do_sample=True, pad_token_id=0),
    "the same parameter anew": _same_parameter,
}


@pytest.mark.filterwarnings("ignore:Position ids are not supported")
@pytest.mark.parametrize("name", ["lora", "dora", "prompt"])
def test_ordinary_use_passes(certified, base_model, tmp_path, name: str) -> None:
    import torch

    active = go(certified, base_model, name)
    model = active.model
    before = logits(model)
    for use in HONEST.values():
        use(model)
    model.save_pretrained(tmp_path / "saved", save_embedding_layers=False)
    assert torch.equal(logits(model), before)
    active.check()
    active.deactivate()


def test_it_ends_for_every_reference(certified, base_model) -> None:
    now = [utc_now()]
    active = go(certified, base_model, clock=lambda: now[0])
    model, below = active.model, active.model.get_base_model()
    logits(model)
    now[0] = active.permission.not_after
    for act in (
        lambda: logits(model),
        lambda: logits(below),
        lambda: below.model(layer_ids()),
        lambda: generated(model),
    ):
        refused(act, "times", "ended")
    back = active.deactivate()
    logits(back)
    refused(lambda: logits(model), "times", "deactivated")


def test_a_clock_that_stands_still_does_not_stretch_it(certified, base_model, monkeypatch) -> None:
    begun = utc_now()
    active = go(certified, base_model, clock=lambda: begun)
    model = active.model
    logits(model)
    import time

    later = time.monotonic() + 8 * 86400
    monkeypatch.setattr("peft_assay.runtime.guard.time.monotonic", lambda: later)
    refused(lambda: logits(model), "times")


def test_a_revocation_reaches_a_model_that_answers(certified, base_model) -> None:
    """Control: until the look is due it goes on answering."""
    source = str(ZOO / "adapters/lora")
    at_once, later = go(certified, base_model, look_every=AT_ONCE), go(certified, base_model)
    model, patient = at_once.model, later.model
    logits(model)
    assert certified.run("revoke", source, "--reason", "incident") == 0
    refused(lambda: logits(model), "withdrawn", "incident")
    refused(lambda: generated(model), "withdrawn")
    logits(patient)
    refused(later.check, "withdrawn", "incident")
    assert certified.run("revoke", "--lift", source, "--reason", "mistake") == 0
    logits(model)


def test_where_the_list_cannot_be_read_there_is_no_answer(certified, base_model) -> None:
    model = go(certified, base_model, look_every=AT_ONCE).model
    logits(model)
    moved = certified.folder / "moved"
    (certified.folder / ".peft-assay").rename(moved)
    refused(lambda: logits(model), "revocations", "cannot be known")
    moved.rename(certified.folder / ".peft-assay")
    logits(model)


def test_a_forked_child_holds_nothing(certified, base_model) -> None:
    model = go(certified, base_model).model
    child = os.fork()
    if child == 0:
        try:
            logits(model)
        except ActivationDenied as denial:
            os._exit(0 if denial.check == "process" else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    logits(model)


def test_neither_model_nor_permission_is_copied(certified, base_model) -> None:
    import torch

    from peft_assay.runtime.active import ActiveAdapter

    active = go(certified, base_model)
    model = active.model
    for act in (
        lambda: copy.deepcopy(model),
        lambda: copy.deepcopy(layer(model)),
        lambda: logits(copy.copy(model.get_base_model())),
        lambda: pickle.dumps(model),
        lambda: torch.save(model, io.BytesIO()),
        lambda: copy.copy(active),
        lambda: copy.deepcopy(active.permission),
        lambda: pickle.dumps(active.permission),
    ):
        refused(act, "permission")
    longer = dataclasses.replace(active.permission, not_after=active.permission.not_after + timedelta(days=3650))
    refused(lambda: setattr(active, "permission", longer), "permission")
    refused(lambda: ActiveAdapter(longer, active._guard, model), "permission", "made by hand")
    refused(lambda: ActiveAdapter(dataclasses.replace(active.permission), active._guard, model), "permission")
    with pytest.raises(TypeError):
        active.permission.files["adapter_config.json"] = b"{}"
    active.check()
    object.__setattr__(active.permission, "not_after", longer.not_after)
    refused(active.check, "permission", "altered")


@pytest.mark.parametrize("how", ["merge_adapter", "merge_and_unload", "unmerged"])
def test_a_base_that_answers_as_the_adapter_is_not_given_back(certified, base_model, how: str) -> None:
    """Control: the base's tensors hold other bytes; as it was kept, it answers nothing any more."""
    from peft_assay_loading.state import base_state

    bare = base_model()
    state = base_state(bare)
    active = go(certified, lambda: bare)
    getattr(active.model, "merge_adapter" if how == "unmerged" else how)()
    if how == "unmerged":
        active._model.unmerge_adapter()
    refused(active.deactivate, "base", "overwritten")
    assert base_state(bare) != state
    refused(lambda: logits(bare), "base")
    refused(lambda: bare.model(layer_ids()), "base")


def test_a_trace_is_refused(certified, base_model) -> None:
    import torch

    model = go(certified, base_model).model
    refused(lambda: torch.jit.trace(model.get_base_model(), (layer_ids(),), strict=False), "mode", "traced")
