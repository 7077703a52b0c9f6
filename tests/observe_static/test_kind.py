"""classify: what a folder is when it is no adapter."""

import json

import pytest

from observe_static.other_tools import TOOLS
from observe_static.static_support import config, subject
from peft_assay.core.content import content_of as _content
from peft_assay.observe.static.header import LFS_POINTER
from peft_assay.observe.static.kind import classify
from peft_assay.observe.static.kinds import DESCRIPTIONS, Kind

PEFT = json.dumps(config()).encode()


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({path: kept.body for path, kept in subject().files.items()}, Kind.PEFT_ADAPTER),
        ({"adapter_config.json": PEFT, "adapter_model.bin": b"x"}, Kind.PEFT_ADAPTER),
        ({"adapter_config.json": PEFT}, Kind.PEFT_CONFIG_ONLY),
        ({"adapter_config.json": PEFT, "adapter_model.safetensors": LFS_POINTER}, Kind.PEFT_UNFETCHED),
        ({"adapter_config.json": b'{"lora_parameters": {}}', "adapters.safetensors": b""}, Kind.MLX_ADAPTER),
        ({"adapters.safetensors": b""}, Kind.MLX_ADAPTER),
        ({"pytorch_lora_weights.safetensors": b""}, Kind.DIFFUSERS_LORA),
        ({"config.json": b"{}", "model.safetensors": b""}, Kind.FULL_MODEL),
        ({"checkpoint-5/adapter_config.json": PEFT}, Kind.TRAINER_FOLDER),
        ({"adapter_config.json": b"{"}, Kind.BROKEN_CONFIG),
        ({"adapter_config.json": b'{"peft_type": ["LORA"]}'}, Kind.FOREIGN_CONFIG),
        ({"README.md": b""}, Kind.UNKNOWN),
    ],
)
def test_kinds(files, kind):
    found = classify({path: _content(body) for path, body in files.items()})
    assert found.kind is kind
    assert found.description


@pytest.mark.parametrize("tool", TOOLS)
def test_what_other_tools_leave_is_named_with_what_to_do(tool):
    kind, files = TOOLS[tool]
    found = classify({path: _content(body) for path, body in files.items()})
    assert found.kind is kind
    assert kind is Kind.PEFT_ADAPTER or "; " in found.description


def test_every_kind_has_its_sentence():
    assert set(DESCRIPTIONS) == set(Kind)
    assert all("; " in words for kind, words in DESCRIPTIONS.items() if kind not in {Kind.PEFT_ADAPTER, Kind.UNKNOWN})
