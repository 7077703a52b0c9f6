"""The programs of docs/how-to/convert-an-adapter.md, on files as the tools write them: the function stays what it was.

`make test-foreign` has the tools themselves; here the expected weights are computed by each tool's own formula.
"""

import json
import re
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from peft_assay.intake.admit import admit
from peft_assay.observe.static.kind import classify
from peft_assay.observe.static.kinds import Kind
from peft_assay_loading.load import attach

ROOT = Path(__file__).parents[2]
BASE = ROOT / "examples/zoo/base"
PAGE = (ROOT / "docs/how-to/convert-an-adapter.md").read_text()
PROGRAMS = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE, re.DOTALL))
QUERY, DOWN = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed + sum(shape))) / 10


def run(name, *arguments, monkeypatch):
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
    exec(compile(PROGRAMS[name], name, "exec"), {"__name__": "__main__"})


def adapted(base, logits, folder):
    """The logits with the converted adapter, by the loader that serves it."""
    assert classify(admit(folder).contents).kind is Kind.PEFT_ADAPTER
    config, weights = (folder / "adapter_config.json").read_bytes(), (folder / "adapter_model.safetensors").read_bytes()
    return logits(attach(base, config, weights))


def changed(base, logits, deltas):
    """The logits of the base with these changes of its weights."""
    with torch.no_grad():
        for module, delta in deltas.items():
            base.get_submodule(module).weight += delta
    return logits(base)


def shape_of(base, module):
    return tuple(base.get_submodule(module).weight.shape)


def locon(out, inner, rank):
    up, down = drawn(out, rank), drawn(rank, inner)
    return {"lora_up.weight": up, "lora_down.weight": down}, up @ down


def loha(out, inner, rank):
    parts = {
        f"hada_w{n}_{side}": drawn(*size, seed=n)
        for n in (1, 2)
        for side, size in (("a", (out, rank)), ("b", (rank, inner)))
    }
    return parts, (parts["hada_w1_a"] @ parts["hada_w1_b"]) * (parts["hada_w2_a"] @ parts["hada_w2_b"])


def lokr(out, inner, rank):
    """128 = 8 * 16 and 344 = 8 * 43, as both libraries split them."""
    rows, columns = ((8, 16) if size == 128 else (8, 43) for size in (out, inner))
    parts = {
        "lokr_w1": drawn(rows[0], columns[0]),
        "lokr_w2_a": drawn(rows[1], rank),
        "lokr_w2_b": drawn(rank, columns[1]),
    }
    return parts, torch.kron(parts["lokr_w1"], parts["lokr_w2_a"] @ parts["lokr_w2_b"])


@pytest.mark.parametrize("algorithm", [locon, loha, lokr])
def test_lycoris(algorithm, base_in, logits, tmp_path, monkeypatch):
    tensors, deltas = {}, {}
    for module, alpha in ((QUERY, 2.0), (DOWN, 8.0)):
        parts, delta = algorithm(*shape_of(base_in(), module), 4)
        tensors |= {f"lycoris_{module.replace('.', '_')}.{part}": tensor for part, tensor in parts.items()}
        tensors[f"lycoris_{module.replace('.', '_')}.alpha"] = torch.tensor(alpha)
        deltas[module] = delta * alpha / 4
    save_file(tensors, tmp_path / "lycoris.safetensors")
    assert classify(admit(tmp_path).contents).kind is Kind.LYCORIS
    run("lycoris", BASE, tmp_path / "lycoris.safetensors", tmp_path / "peft", monkeypatch=monkeypatch)
    expected = changed(base_in(), logits, deltas)
    torch.testing.assert_close(adapted(base_in(), logits, tmp_path / "peft"), expected, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(expected, logits(base_in()), atol=1e-2)


def test_lycoris_of_another_algorithm_is_not_converted_to_something_else(tmp_path, monkeypatch):
    save_file({"lycoris_model_layers_0_self_attn_q_proj.diff": drawn(128, 128)}, tmp_path / "lycoris.safetensors")
    assert classify(admit(tmp_path).contents).kind is Kind.LYCORIS_UNHELD
    with pytest.raises(KeyError):
        run("lycoris", BASE, tmp_path / "lycoris.safetensors", tmp_path / "peft", monkeypatch=monkeypatch)


def test_mlx(base_in, logits, tmp_path, monkeypatch):
    (tmp_path / "mlx").mkdir()
    tensors, deltas = {}, {}
    for module in (QUERY, DOWN):
        out, inner = shape_of(base_in(), module)
        a, b = drawn(inner, 4), drawn(4, out)
        tensors |= {f"{module}.lora_a": a, f"{module}.lora_b": b}
        deltas[module] = 10.0 * (a @ b).T
    save_file(tensors, tmp_path / "mlx/adapters.safetensors")
    settings = {"lora_parameters": {"rank": 4, "scale": 10.0}, "model": "zoo/base", "fine_tune_type": "lora"}
    (tmp_path / "mlx/adapter_config.json").write_text(json.dumps(settings))
    assert classify(admit(tmp_path / "mlx").contents).kind is Kind.MLX_ADAPTER
    run("mlx", tmp_path / "mlx", tmp_path / "peft", monkeypatch=monkeypatch)
    expected = changed(base_in(), logits, deltas)
    torch.testing.assert_close(adapted(base_in(), logits, tmp_path / "peft"), expected, rtol=1e-4, atol=1e-4)


def test_adapterhub(base_in, logits, tmp_path, monkeypatch):
    (tmp_path / "hub").mkdir()
    a, b = drawn(4, 128), drawn(128, 4)
    torch.save({f"{QUERY}.loras.s.lora_A": a, f"{QUERY}.loras.s.lora_B": b}, tmp_path / "hub/pytorch_adapter.bin")
    settings = {"config": {"architecture": "lora", "composition_mode": "add", "r": 4, "alpha": 8}, "name": "s"}
    (tmp_path / "hub/adapter_config.json").write_text(json.dumps({**settings, "model_name": "zoo/base"}))
    assert classify(admit(tmp_path / "hub").contents).kind is Kind.ADAPTER_HUB_LORA
    run("adapterhub", tmp_path / "hub", tmp_path / "peft", monkeypatch=monkeypatch)
    expected = changed(base_in(), logits, {QUERY: 2 * b @ a})
    torch.testing.assert_close(adapted(base_in(), logits, tmp_path / "peft"), expected, rtol=1e-4, atol=1e-4)


def test_a_lora_without_its_type(base_in, adapter, logits, tmp_path, monkeypatch):
    config, weights = adapter("lora")
    plain = {name: json.loads(config)[name] for name in ("r", "lora_alpha", "target_modules")}
    (tmp_path / "adapter_config.json").write_text(json.dumps(plain))
    (tmp_path / "adapter_model.safetensors").write_bytes(weights)
    assert classify(admit(tmp_path).contents).kind is Kind.PEFT_UNTYPED
    run("typed", tmp_path / "adapter_config.json", "CAUSAL_LM", monkeypatch=monkeypatch)
    assert torch.equal(adapted(base_in(), logits, tmp_path), logits(attach(base_in(), config, weights)))


@pytest.mark.parametrize("init", [True, "bat"])
def test_bone(init, base_in, logits, tmp_path, monkeypatch):
    import peft

    wrapped = peft.get_peft_model(base_in(), peft.MissConfig(r=8, init_weights=init, target_modules=["q_proj"]))
    for name, parameter in wrapped.named_parameters():
        if "miss_" in name:
            parameter.data = drawn(*parameter.shape)
    wrapped.save_pretrained(tmp_path / "bone")
    settings = json.loads((tmp_path / "bone/adapter_config.json").read_text())
    (tmp_path / "bone/adapter_config.json").write_text(json.dumps({**settings, "peft_type": "BONE"}))
    tensors = load_file(tmp_path / "bone/adapter_model.safetensors")
    old = {name.replace("miss_", "bone_"): tensor for name, tensor in tensors.items()}
    save_file(old, tmp_path / "bone/adapter_model.safetensors")
    assert classify(admit(tmp_path / "bone").contents).kind is Kind.PEFT_BONE
    run("bone", tmp_path / "bone", tmp_path / "peft", monkeypatch=monkeypatch)
    assert torch.equal(adapted(base_in(), logits, tmp_path / "peft"), logits(wrapped.eval()))


def test_every_program_of_the_page_is_run_but_the_one_that_needs_diffusers():
    assert set(PROGRAMS) == {"lycoris", "mlx", "adapterhub", "typed", "bone", "diffusers_to_peft"}
