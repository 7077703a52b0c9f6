"""The normal form beside PEFT itself: every update that PEFT can compute, from the files that PEFT writes."""

import json
from pathlib import Path

import numpy as np
import pytest

from fingerprint import rewritings as make
from peft_assay.fingerprint.digest import function_digest
from peft_assay.fingerprint.interface import Operation
from peft_assay.fingerprint.normal import normal_form

torch = pytest.importorskip("torch")
peft = pytest.importorskip("peft")

CONFIGS = {
    "lora": lambda: peft.LoraConfig(r=4, lora_alpha=6, target_modules=["one", "two"], alpha_pattern={"two": 3}),
    "rslora": lambda: peft.LoraConfig(r=3, lora_alpha=6, use_rslora=True, target_modules=["one", "two"]),
    "embedding": lambda: peft.LoraConfig(r=4, target_modules=["words"]),
    "loha": lambda: peft.LoHaConfig(r=4, alpha=6, target_modules=["one", "two"]),
    "lokr": lambda: peft.LoKrConfig(r=4, alpha=6, target_modules=["one", "two"], decompose_both=True),
    "vera": lambda: peft.VeraConfig(r=8, target_modules=["one"]),
    "gralora": lambda: peft.GraloraConfig(r=4, alpha=6, gralora_k=2, target_modules=["one"], hybrid_r=2),
    "delora": lambda: peft.DeloraConfig(r=4, target_modules=["one"]),
    "vblora": lambda: peft.VBLoRAConfig(r=4, num_vectors=9, vector_length=4, topk=2, target_modules=["one"]),
    "hra": lambda: peft.HRAConfig(r=4, target_modules=["one"]),
}


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(20, 16)
        self.one = torch.nn.Linear(16, 16)
        self.two = torch.nn.Linear(16, 24)

    def forward(self, ids):
        return self.two(self.one(self.words(ids)))


@pytest.mark.parametrize("name", CONFIGS)
def test_updates_are_those_that_peft_computes(name, tmp_path):
    torch.manual_seed(7)
    model = peft.get_peft_model(Small(), CONFIGS[name]())
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if parameter.requires_grad and "logits" not in path:
                parameter.normal_(std=0.3)
    model.save_pretrained(str(tmp_path))
    parts = {
        (part.module, part.operation): part
        for part in normal_form({path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()})
    }
    compared = 0
    for path, layer in model.base_model.model.named_modules():
        if not hasattr(layer, "get_delta_weight"):
            continue
        wanted = layer.get_delta_weight("default").detach().double().numpy()
        wanted = wanted - np.eye(len(wanted)) if name == "hra" else wanted
        part = parts.get((path, Operation.ADD)) or parts[path, Operation.ROTATE]
        found = part.left @ part.right if part.rows is None else part.rows(0, part.shape[0])
        found = found.T if name == "embedding" else found
        assert np.linalg.norm(found - wanted) <= 5e-6 * np.linalg.norm(wanted), path
        compared += 1
    assert compared >= 1


ZOO = Path(__file__).resolve().parents[2] / "examples" / "zoo"


def _logits(adapter):
    transformers = pytest.importorskip("transformers")
    base = transformers.AutoModelForCausalLM.from_pretrained(ZOO / "base", local_files_only=True).eval()
    ids = torch.tensor([[3, 7, 9, 20, 11, 14]])
    with torch.inference_mode():
        return peft.PeftModel.from_pretrained(base, adapter).eval()(input_ids=ids).logits[:, -6:]


@pytest.mark.parametrize(("name", "same"), [("prefix", True), ("prompt", False)])
def test_order_of_virtual_tokens_counts_where_it_counts_in_peft(name, same, tmp_path):
    """A prefix has no positions; a prompt's vectors have, so that another order of them is another adapter."""
    files = {path.name: path.read_bytes() for path in (ZOO / "adapters" / name).iterdir()}
    turned = {key: value[::-1] for key, value in make.tensors_of(files).items()}
    twin = make.rewritten(files, turned)
    for path, content in twin.items():
        (tmp_path / path).write_bytes(content)
    assert json.loads(twin[make.CONFIG])["peft_type"] in ("PREFIX_TUNING", "PROMPT_TUNING")
    apart = float((_logits(ZOO / "adapters" / name) - _logits(tmp_path)).abs().max())
    assert (apart < 1e-4) is same
    assert (function_digest(twin) == function_digest(files)) is same
