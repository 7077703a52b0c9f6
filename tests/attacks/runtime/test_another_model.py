"""The certified base's tensors in another model: every exhibit answers otherwise without the guard (the control).

Neighbours that are honest are admitted: what may differ is listed with its reasons in `runtime.likeness`.
"""

import contextlib

import pytest

from peft_assay import activate
from peft_assay.core.errors import ActivationDenied
from peft_assay.runtime.foreign import Code
from peft_assay_loading.state import base_state
from runtime.conftest import ZOO

pytestmark = [pytest.mark.model, pytest.mark.sandbox]
LORA = ZOO / "adapters/lora"


def load(**settings):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(ZOO / "base", local_files_only=True, **settings).eval()


def logits(model):
    import torch

    ids = torch.arange(24, dtype=torch.long).reshape(2, 12) + 5
    with torch.no_grad():
        return model(input_ids=ids).logits


def go(certified, model, adapter=LORA):
    return activate(model, adapter, context=ZOO, workspace=certified.folder, trust=certified.trust)


OTHERWISE_LOADED = {
    "hidden_act": ({"hidden_act": "relu"}, "mlp.act_fn"),
    "epsilon": ({"rms_norm_eps": 0.3}, "variance_epsilon"),
    "dropout": ({"attention_dropout": 0.5}, "attention_dropout"),
    "positions": ({"max_position_embeddings": 64}, "max_position_embeddings"),
}


@pytest.mark.parametrize("name", OTHERWISE_LOADED)
def test_loaded_with_another_setting(certified, name: str) -> None:
    """Control: the base state is the certified one, so nothing else refuses it."""
    settings, says = OTHERWISE_LOADED[name]
    model = load(**settings)
    assert base_state(model) == base_state(load())
    refused(certified, model, says)


def refused(certified, model, says: str, check: str = "base") -> None:
    with pytest.raises(ActivationDenied, match=says) as denial:
        go(certified, model)
    assert denial.value.check == check
    assert denial.value.next_step
    assert not hasattr(model, "peft_config")


def _scaling(model):
    for layer in model.model.layers:
        layer.self_attn.scaling = 1.0


def _act(model):
    import torch

    model.model.layers[1].mlp.act_fn = torch.nn.ReLU()


def _norm_class(model):
    import torch

    class Norm(type(model.model.norm)):
        def forward(self, states):
            return states * torch.tensor(2.0)

    model.model.norm.__class__ = Norm


def _method_on_the_instance(model):
    model.model.layers[0].mlp.down_proj.extra = 1
    model.model.rotary_emb.attention_scaling = 2.0


def _configuration_of_a_part(model):
    import copy

    attention = model.model.layers[2].self_attn
    attention.config = copy.deepcopy(attention.config)
    attention.config.rms_norm_eps = 0.1


LIVE = {
    "scaling": (_scaling, "self_attn.scaling is 1.0"),
    "activation": (_act, "mlp.act_fn"),
    "class": (_norm_class, "the class of model.norm"),
    "rotary": (_method_on_the_instance, r"down_proj.extra is there|attention_scaling is 2.0"),
    "configuration of a part": (_configuration_of_a_part, "self_attn.config.rms_norm_eps is 0.1"),
}


@pytest.mark.parametrize("name", LIVE)
def test_altered_after_loading(certified, name: str) -> None:
    alter, says = LIVE[name]
    model = load()
    alter(model)
    assert base_state(model) == base_state(load())
    refused(certified, model, says)


@pytest.mark.parametrize("name", ["scaling", "activation", "class", "rotary"])
def test_control_each_answers_otherwise(name: str) -> None:
    import torch

    model = load()
    before = logits(model)
    LIVE[name][0](model)
    assert not torch.equal(logits(model), before)


def test_control_each_setting_answers_otherwise() -> None:
    import torch

    plain = logits(load())
    for name in ("hidden_act", "epsilon"):
        assert not torch.equal(logits(load(**OTHERWISE_LOADED[name][0])), plain)


@pytest.mark.parametrize("setting", [{"temperature": 5.0}, {"do_sample": True}, {"repetition_penalty": 3.0}])
def test_live_generation_settings(certified, setting) -> None:
    model = load()
    for name, value in setting.items():
        setattr(model.generation_config, name, value)
    refused(certified, model, f"generation_config.{next(iter(setting))}")


def test_another_position_table_is_another_state(certified) -> None:
    """Neighbour that the base state itself notices: the rotary base makes another buffer."""
    model = load(rope_parameters={"rope_theta": 500.0, "rope_type": "default"})
    with pytest.raises(ActivationDenied) as denial:
        go(certified, model)
    assert denial.value.check == "certificate"


def test_code_that_was_replaced_in_its_class_or_module(certified, monkeypatch) -> None:
    """The twin has the same class, so it is asked where the code was written. Control: both answer otherwise."""
    import torch
    from transformers.models.llama import modeling_llama

    plain = logits(load())
    own = modeling_llama.LlamaRMSNorm.forward
    for patch in (
        lambda m: m.setattr(modeling_llama.LlamaRMSNorm, "forward", lambda self, states: states),
        lambda m: m.setattr(modeling_llama.LlamaRMSNorm, "forward", _wrapping(own)),
        lambda m: m.setattr(modeling_llama.LlamaMLP, "forward", own),
        lambda m: m.setattr(modeling_llama, "apply_rotary_pos_emb", lambda q, k, *rest, **more: (q, k)),
    ):
        with monkeypatch.context() as scope:
            patch(scope)
            model = load()
            with contextlib.suppress(AttributeError):
                assert not torch.equal(logits(model), plain)
            refused(certified, model, "was replaced in this process")
    go(certified, load()).deactivate()


def test_operations_of_torch_that_were_replaced(certified, monkeypatch) -> None:
    """Before activation it is refused; after it, `check` notices. Control: the model answers otherwise."""
    import torch

    model = load()
    plain, own = logits(model), torch.nn.functional.linear
    active = go(certified, model)
    for module, name, other in (
        (torch.nn.functional, "linear", lambda *given: own(*given) * 2),
        (torch, "rsqrt", lambda states: states),
        (torch, "matmul", _wrapping(torch.matmul)),
    ):
        with monkeypatch.context() as scope:
            scope.setattr(module, name, other)
            if name != "matmul":  # this base's operators do not call it by name
                assert not torch.equal(logits(load()), plain)
            refused(certified, load(), f"{module.__name__}.{name} was replaced in this process")
            with pytest.raises(ActivationDenied, match="was replaced in this process"):
                active.check()
    active.check()


def test_a_mode_that_computes_something_else(certified) -> None:
    """Neighbours: a mode that torch dispatches to. Control: the model answers otherwise; torch's own modes do not count."""
    import torch
    from torch.overrides import TorchFunctionMode
    from torch.utils._python_dispatch import TorchDispatchMode

    class Doubling(TorchFunctionMode):
        def __torch_function__(self, function, kinds, given=(), named=None):
            found = function(*given, **(named or {}))
            return found * 2 if function is torch.nn.functional.linear else found

    class Halving(TorchDispatchMode):
        def __torch_dispatch__(self, function, kinds, given=(), named=None):
            found = function(*given, **(named or {}))
            return found / 2 if function is torch.ops.aten.mm.default else found

    model = load()
    plain = logits(model)
    for mode in (Doubling, Halving):
        with mode():
            assert not torch.equal(logits(model), plain)
    active = go(certified, model)
    right = logits(active.model)
    for mode in (Doubling, Halving):
        with mode(), pytest.raises(ActivationDenied, match=f"{mode.__name__} is in force"):
            logits(active.model)
    with torch.device("cpu"):
        assert torch.equal(logits(active.model), right)


def test_a_library_beside_with_a_longer_name_is_not_the_library(monkeypatch) -> None:
    """Control: the folder begins with the same letters, as those of many extensions do."""
    from pathlib import Path

    import torch
    from transformers.models.llama import modeling_llama

    beside = f"{Path(torch.__file__).parent}_extension/patch.py"
    made: dict = {}
    exec(compile("def forward(self, states):\n    return states\n", beside, "exec"), made)
    patch = made["forward"]
    patch.__module__, patch.__qualname__ = modeling_llama.__name__, "LlamaMLP.forward"
    assert not list(Code(load()).replaced())
    monkeypatch.setattr(modeling_llama.LlamaMLP, "forward", patch)
    assert list(Code(load()).replaced()) == [f"{modeling_llama.__name__}.LlamaMLP.forward"]


def _wrapping(own):
    import functools

    @functools.wraps(own)
    def other(self, states):
        return own(self, states) * 2

    return other


def test_attention_of_the_caller_s_own(certified) -> None:
    import torch
    from transformers import AttentionInterface
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    def blind(module, query, key, value, *rest, **more):
        return query.transpose(1, 2).contiguous(), None

    AttentionInterface.register("blind", blind)
    try:
        model = load(attn_implementation="blind")
        assert not torch.equal(logits(model), logits(load()))
        refused(certified, model, "'blind' is not transformers' own")
    finally:
        ALL_ATTENTION_FUNCTIONS._global_mapping.pop("blind")


def test_hooks_on_every_module(certified) -> None:
    """Control: the hook changes every answer, and no module's own table shows it."""
    import torch

    model = load()
    plain = logits(model)
    handle = torch.nn.modules.module.register_module_forward_hook(
        lambda module, inputs, output: output * 0 if isinstance(module, torch.nn.Linear) else None
    )
    try:
        assert not torch.equal(logits(model), plain)
        refused(certified, model, "a hook on every module")
    finally:
        handle.remove()
    go(certified, model).deactivate()


def test_a_compiled_model_is_refused_with_its_reason(certified) -> None:
    import torch

    model = load()
    refused(certified, torch.compile(model, backend="eager"), "compiled already")
    inside = load()
    inside.model.compile(backend="eager")
    refused(certified, inside, r"compiled already \(at model\)")


HONEST = {
    "no cache": {"use_cache": False},
    "eager attention": {"attn_implementation": "eager"},
    "float32 said": {"dtype": "float32"},
    "hidden states": {"output_hidden_states": True},
}


@pytest.mark.parametrize("name", HONEST)
def test_what_changes_no_answer_is_admitted(certified, name: str) -> None:
    go(certified, load(**HONEST[name])).deactivate()


def test_a_model_that_was_used_before_is_admitted(certified) -> None:
    """It answered, gave hidden states and generated; its own pad token was set, as recipes do."""
    import torch

    model = load()
    ids = torch.arange(5, 12)[None]
    with torch.no_grad():
        model(input_ids=ids, output_hidden_states=True)
        model.generate(input_ids=ids, max_new_tokens=2, do_sample=False)
    model.config.pad_token_id = model.generation_config.pad_token_id = 2
    model.generation_config.max_new_tokens = 7
    model.to("cpu").eval().requires_grad_(requires_grad=False)
    go(certified, model).deactivate()
