"""An embedding saved beside an adapter is no part of its function; what the adapter declares to replace is."""

import json
import struct

import pytest

from peft_assay.fingerprint.digest import function_digest

LORA = {
    "base_model.model.a.q_proj.lora_A.weight": ([1, 2], (1.0, 2.0)),
    "base_model.model.a.q_proj.lora_B.weight": ([2, 1], (3.0, 4.0)),
}
CONFIG = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["q_proj"]}


def files(more=None, **fields):
    header, body = {}, b""
    for name, (shape, values) in {**LORA, **(more or {})}.items():
        content = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(content)]}
        body += content
    encoded = json.dumps(header).encode()
    weights = struct.pack("<Q", len(encoded)) + encoded + body
    return {"adapter_config.json": json.dumps(CONFIG | fields).encode(), "adapter_model.safetensors": weights}


@pytest.mark.parametrize(
    "name",
    ["lm_head.weight", "model.embed_tokens.weight", "model.embed_tokens.base_layer.weight", "lm_head.bias", "n.weight"],
)
def test_a_withdrawn_adapter_does_not_come_back_by_adding_one(name):
    with_one = files({f"base_model.model.{name}": ([2], (5.0, 6.0))})
    assert function_digest(with_one) == function_digest(files())


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("lm_head.weight", {"modules_to_save": ["lm_head"]}),
        ("score.weight", {"task_type": "SEQ_CLS"}),
        ("classifier.out_proj.bias", {"task_type": "SEQ_CLS", "modules_to_save": None}),
        ("a.q_proj.bias", {"bias": "all"}),
    ],
)
def test_what_it_declares_to_replace_is_its_function(name, fields):
    one, other = (files({f"base_model.model.{name}": ([2], (5.0, value))}, **fields) for value in (6.0, 7.0))
    assert function_digest(one) != function_digest(other)
    assert function_digest(one) != function_digest(files(**fields))
