import contextlib
import json

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from peft_assay_loading import load  # noqa: E402
from peft_assay_loading.config import parse_config  # noqa: E402
from peft_assay_loading.errors import LoadingError  # noqa: E402
from peft_assay_loading.fitting import blank_copy, plan, required_shapes, shapes_of  # noqa: E402
from peft_assay_loading.load import attach, detach  # noqa: E402
from peft_assay_loading.plans import PlanUnmet  # noqa: E402
from peft_assay_loading.state import base_state  # noqa: E402

BENIGN = ("lora", "rslora", "dora", "ia3", "prefix", "prompt", "ptuning")

pytestmark = [
    pytest.mark.model,
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", BENIGN)
def test_bitwise_what_peft_itself_loads(name, dtype, base_in, adapter, logits, tmp_path):
    import peft

    config, weights = adapter(name)
    (tmp_path / "adapter_config.json").write_bytes(config)
    (tmp_path / "adapter_model.safetensors").write_bytes(weights)
    theirs = peft.PeftModel.from_pretrained(base_in(dtype), tmp_path)
    bare = logits(base_in(dtype))
    ours = attach(base_in(dtype), config, weights)
    assert type(ours) is type(theirs)
    assert not ours.training
    assert torch.equal(logits(ours), logits(theirs))
    assert not torch.equal(logits(ours), bare)


@pytest.mark.parametrize("name", BENIGN)
def test_detach_gives_back_the_base(name, base, adapter, logits, shape):
    before, state, answer = shape(base), base_state(base), logits(base)
    wrapped = attach(base, *adapter(name))
    wrapped.generate(input_ids=torch.arange(4, 8)[None], max_new_tokens=2, do_sample=False)  # PEFT leaves traces here
    assert detach(wrapped) is base
    assert shape(base) == before
    assert base_state(base) == state
    assert torch.equal(logits(base), answer)
    attach(base, *adapter("lora"))  # and it takes the next one


def refused(base, shape, config, weights, match):
    before, state = shape(base), base_state(base)
    with pytest.raises(LoadingError, match=match):
        attach(base, config, weights)
    assert shape(base) == before
    assert base_state(base) == state
    assert not hasattr(base, "peft_config")


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"init_lora_weights": "pissa"}, "init_lora_weights"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights"),
        ({"init_lora_weights": "olora"}, "init_lora_weights"),
        ({"init_lora_weights": "corda"}, "init_lora_weights"),
        ({"init_lora_weights": 1.5}, "init_lora_weights"),
        ({"megatron_config": {"a": 1}}, "megatron_config"),
        ({"peft_type": "XLORA", "adapters": {"0": "other/repo"}}, "adapters"),
        ({"peft_type": "NONE_SUCH"}, "peft_type"),
        ({"peft_type": ["LORA"]}, "peft_type"),
        ({"target_modules": ["no_such_module"]}, "does not fit"),
        ({"r": 0}, "does not fit|adapter_config"),
        ({"r": 4}, "another shape"),
        ({"rank_pattern": {"q_proj": 2_000_000_000}}, "another shape"),
        ({"target_modules": ["q_proj"]}, "undeclared"),
        ({"target_modules": ["q_proj", "k_proj", "v_proj", "up_proj", "down_proj"]}, "missing"),
        ({"modules_to_save": ["lm_head"]}, "missing"),
        ({"use_dora": True}, "missing"),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_no_trace(fields, match, base, edited, shape):
    refused(base, shape, *edited("lora", **fields), match)


def test_undeclared_tensors_are_named(base, adapter, shape):
    config, weights = adapter("overwrites-lm-head")
    with pytest.raises(PlanUnmet) as caught:
        attach(base, config, weights)
    assert caught.value.plan.extra == ("base_model.model.lm_head.weight",)
    assert caught.value.plan.missing == caught.value.plan.mismatched == ()


def test_tensors_of_another_adapter_are_undeclared(base, adapter, shape):
    import safetensors.torch

    config, weights = adapter("lora")
    tensors = safetensors.torch.load(weights)
    name = next(name for name in tensors if name.endswith("lora_A.weight"))
    tensors[name.replace("lora_A.weight", "lora_A.good.weight")] = tensors[name].clone()
    refused(base, shape, config, safetensors.torch.save(tensors), "undeclared")


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        b"\x00" * 8,
        b"\xff" * 64,
        b"\x02\x00\x00\x00\x00\x00\x00\x00{}"[:9],
        b"\x80\x04\x95.",
        b"\x04" + b"\x00" * 7 + b"null",
    ],
    ids=["empty", "empty-header", "huge-length", "cut", "pickle", "null-header"],
)
def test_files_that_are_no_safetensors_are_refused(weights, base, adapter, shape):
    refused(base, shape, adapter("lora")[0], weights, "header|missing")


def test_a_header_with_a_repeated_name_is_refused(base, adapter, shape):
    config, weights = adapter("lora")
    length = int.from_bytes(weights[:8], "little")
    header = weights[8 : 8 + length].decode().rstrip()
    first = next(iter(json.loads(header).keys() - {"__metadata__"}))
    entry = json.dumps(json.loads(header)[first])
    forged = ("{" + json.dumps(first) + ":" + entry + "," + header[1:]).encode()
    refused(base, shape, config, len(forged).to_bytes(8, "little") + forged + weights[8 + length :], "appears twice")


def test_a_failure_half_way_leaves_no_trace(base, adapter, shape, monkeypatch):
    import peft

    def broken(*_, **__):
        raise RuntimeError("half-way")

    monkeypatch.setattr(peft, "set_peft_model_state_dict", broken)
    for name in BENIGN:
        refused(base, shape, *adapter(name), "half-way")


def test_running_out_of_memory_half_way_leaves_no_trace(base, adapter, shape, monkeypatch):
    import peft

    def exhausted(*_, **__):
        raise MemoryError

    monkeypatch.setattr(peft, "set_peft_model_state_dict", exhausted)
    before = shape(base)
    with pytest.raises(MemoryError):
        attach(base, *adapter("lora"))
    assert shape(base) == before


def test_a_second_adapter_is_refused_and_the_first_stays(base, adapter, logits):
    wrapped = attach(base, *adapter("lora"))
    answer = logits(wrapped)
    for model in (wrapped, base):
        with pytest.raises(LoadingError, match="already"):
            attach(model, *adapter("dora"))
    assert torch.equal(logits(wrapped), answer)


def test_detach_only_takes_what_attach_made(base, adapter, tmp_path):
    import peft

    wrapped = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    with pytest.raises(LoadingError, match="not made by attach"):
        detach(wrapped)


def test_a_base_overwritten_meanwhile_is_reported(base, adapter):
    wrapped = attach(base, *adapter("lora"))
    with torch.no_grad():
        base.lm_head.weight.zero_()
    with pytest.raises(LoadingError, match="overwritten"):
        detach(wrapped)
    assert not hasattr(base, "peft_config")


def test_names_in_the_configuration_are_never_followed(base, edited, monkeypatch):
    import huggingface_hub
    import peft
    import transformers

    def reached(*_, **__):
        raise AssertionError("reached beyond the bytes")

    for module, name in (
        (huggingface_hub, "hf_hub_download"),
        (transformers.AutoTokenizer, "from_pretrained"),
        (transformers.AutoConfig, "from_pretrained"),
        (peft.PeftConfig, "from_pretrained"),
    ):
        monkeypatch.setattr(module, name, reached)
    redirected = {
        "base_model_name_or_path": "other/base",
        "revision": "main",
        "auto_mapping": {"base_model_class": "LlamaForCausalLM", "parent_library": "transformers.models.llama"},
    }
    attach(base, *edited("lora", **redirected))


def test_prompts_initialised_from_text_fetch_no_tokenizer(base, edited, logits, adapter, base_in):
    fields = {"prompt_tuning_init": "TEXT", "prompt_tuning_init_text": "x", "tokenizer_name_or_path": "other/tokenizer"}
    wrapped = attach(base, *edited("prompt", **fields))
    assert torch.equal(logits(wrapped), logits(attach(base_in(), *adapter("prompt"))))


def test_random_numbers_of_the_caller_are_left_alone(base, adapter):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    attach(base, *adapter("lora"))
    assert torch.equal(torch.rand(3), expected)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_plan_is_met_by_exactly_the_required_tensors(data, base, adapter):
    config = parse_config(adapter("lora")[0])
    required = required_shapes(base, config)
    assert plan(base, config, required).met
    name = data.draw(st.sampled_from(sorted(required)))
    assert plan(base, config, {k: v for k, v in required.items() if k != name}).missing == (name,)
    assert plan(base, config, required | {name: (*required[name], 1)}).mismatched == (name,)
    extra = data.draw(st.text(min_size=1).filter(lambda text: text not in required))
    assert plan(base, config, required | {extra: (1,)}).extra == (extra,)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=64))
def test_shapes_of_any_bytes_is_an_answer_or_a_refusal(weights):
    with contextlib.suppress(LoadingError):
        assert isinstance(shapes_of(weights), dict)


@pytest.mark.parametrize("name", BENIGN)
def test_a_blank_copy_made_before_gives_the_same_plan(name, base, adapter):
    config = parse_config(adapter(name)[0])
    blank = blank_copy(base)
    assert all(tensor.is_meta for tensor in (*blank.parameters(), *blank.buffers()))
    assert required_shapes(base, config, blank) == required_shapes(base, config)


def test_planning_only_looks(base, adapter, shape):
    before, state = shape(base), base_state(base)
    for name in BENIGN:
        config, weights = adapter(name)
        assert plan(base, parse_config(config), shapes_of(weights)).met
    assert shape(base) == before
    assert base_state(base) == state
    assert load.BEFORE not in base.__dict__
