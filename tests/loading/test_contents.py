"""Whether tensors hold what they held: every byte counts, and nothing but bytes, dtype and shape."""

import pytest
import torch

from peft_assay_loading.contents import Contents, content_sum


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.uint8, torch.bool])
@pytest.mark.parametrize("shape", [(), (1,), (7,), (300, 517), (0, 3)])
def test_equal_content_has_an_equal_sum_wherever_it_lies(dtype, shape) -> None:
    values = torch.randint(0, 2, shape).to(dtype)
    assert content_sum(values) == content_sum(values.clone())
    if len(shape) == 2:
        assert content_sum(values) == content_sum(values.t().contiguous().t())


def test_a_change_of_any_kind_is_noticed() -> None:
    """Control: PyTorch's version counter misses the writes through `.data`."""
    plain = torch.arange(200_000, dtype=torch.float32).reshape(400, 500)
    changes = (
        lambda t: t.data[399, 499:].mul_(2),
        lambda t: t.data.copy_(t.data[torch.tensor([1, 0, *range(2, 400)])]),  # two rows change places
        lambda t: t.data.neg_(),
        lambda t: t.detach().numpy().__setitem__((7, 7), 0.5),
    )
    for change in changes:
        tensor = plain.clone()
        before, counted = Contents([tensor]), tensor._version
        assert list(before.altered()) == []
        change(tensor)
        assert tensor._version == counted
        assert [id(t) for t in before.altered()] == [id(tensor)]
    assert content_sum(plain) != content_sum(plain.to(torch.float64))
    assert content_sum(plain) != content_sum(plain.reshape(500, 400))


def test_an_adapter_of_fused_experts_is_taken_off(tmp_path) -> None:
    """PEFT parametrizes the experts' tensor for each forward pass, which counts as a write and changes no byte."""
    from peft import LoraConfig, get_peft_model
    from transformers import MixtralConfig, MixtralForCausalLM

    from peft_assay_loading.errors import LoadingError
    from peft_assay_loading.load import attach, detach
    from peft_assay_loading.state import base_state

    def make():
        torch.manual_seed(0)
        sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
        return MixtralForCausalLM(
            MixtralConfig(vocab_size=64, num_key_value_heads=2, num_local_experts=4, **sizes)
        ).eval()

    names = ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]
    config = LoraConfig(r=2, target_modules=["q_proj"], target_parameters=names, init_lora_weights=False)
    get_peft_model(make(), config).save_pretrained(tmp_path)
    files = [(tmp_path / name).read_bytes() for name in ("adapter_config.json", "adapter_model.safetensors")]
    base = make()
    state = base_state(base)
    experts = base.model.layers[0].mlp.experts.down_proj
    counted = experts._version
    wrapped = attach(base, *files)
    with torch.no_grad():
        wrapped(input_ids=torch.arange(3, 20)[None])
    assert experts._version > counted  # control: by its counter it was written to
    assert base_state(detach(wrapped)) == state
    wrapped = attach(base, *files)
    experts.data[0, 0, 0] += 1
    with pytest.raises(LoadingError, match="overwritten"):
        detach(wrapped)
