"""classify: what a folder is when it is no adapter."""

import json
import re
from pathlib import Path

import pytest

from observe_static.other_tools import TOOLS
from observe_static.static_support import config, subject
from peft_assay.core.content import content_of as _content
from peft_assay.observe.static.header import LFS_POINTER
from peft_assay.observe.static.kind import classify
from peft_assay.observe.static.kinds import DESCRIPTIONS, Kind
from peft_assay.pipeline.inspection import kind_words

PEFT = json.dumps(config()).encode()


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        ({path: kept.body for path, kept in subject().files.items()}, Kind.PEFT_ADAPTER),
        ({"adapter_config.json": PEFT, "adapter_model.bin": b"x"}, Kind.PEFT_ADAPTER),
        ({"adapter_config.json": PEFT}, Kind.PEFT_CONFIG_ONLY),
        ({"adapter_config.json": PEFT, "adapter_model.safetensors": LFS_POINTER}, Kind.PEFT_UNFETCHED),
        ({"adapter_config.json": PEFT, "adapter_model.safetensors": b""}, Kind.PEFT_EMPTY),
        ({"adapter_config.json": PEFT, "adapter_model.safetensors.partaa": b"x"}, Kind.PEFT_IN_PARTS),
        ({"adapter_config.json": PEFT, "adapter_model.safetensorsaa": b"x"}, Kind.PEFT_IN_PARTS),
        ({"adapter_config.json": PEFT, "adapter_model.safetensors.001": b"x"}, Kind.PEFT_IN_PARTS),
        ({"adapter_config.json": PEFT, "adapter_model.bin.part-00": b"x"}, Kind.PEFT_IN_PARTS),
        ({"adapter_config.json": PEFT, "adapter_model.safetensors.incomplete": b"x"}, Kind.PEFT_UNFINISHED),
        ({"adapter_config.json": PEFT, "adapter_model.safetensors.crdownload": b"x"}, Kind.PEFT_UNFINISHED),
        ({"adapter_config.json": PEFT, "adapter_model.safetensors.bak": b"x"}, Kind.PEFT_MISNAMED),
        ({"adapter_config.json": PEFT, "adapter_model.pt": b"x"}, Kind.PEFT_MISNAMED),
        ({"adapter_config.json": PEFT, "model.safetensors": b"x"}, Kind.PEFT_MISNAMED),
        ({"adapter_config.json": PEFT, "training_args.bin": b"x", "optimizer.pt": b"x"}, Kind.PEFT_CONFIG_ONLY),
        ({"adapter_config.json": LFS_POINTER}, Kind.CONFIG_UNFETCHED),
        ({"adapter_config.json": b""}, Kind.CONFIG_EMPTY),
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


@pytest.mark.parametrize("kind", Kind)
def test_a_sentence_has_one_what_one_why_and_one_step(kind):
    what, why, step = kind_words(DESCRIPTIONS[kind])
    assert what and "docs/how-to" not in what + why
    for page in re.findall(r"docs/\S+\.md", step):
        assert (Path(__file__).parents[2] / page).is_file()


def test_the_folders_of_several_adapters_are_named_in_order_and_hostile_names_are_counted():
    folders = ["checkpoint-500", "checkpoint-1000", "\x1b[2Jx", "a; rm -rf /", *(f"x{n}" for n in range(9))]
    files = {f"{folder}/adapter_config.json": _content(PEFT) for folder in folders}
    assert classify(files).description.endswith("x1, x2, x3, x4, x5, x6, x7, x8, 5 more")
    few = {path: body for path, body in files.items() if path.startswith(("check", "a;"))}
    assert classify(few).description.endswith("name one of them: checkpoint-500, checkpoint-1000, 1 more")


def test_of_an_adapter_with_checkpoints_below_it_is_said_which_is_meant():
    files = {path: kept.body for path, kept in subject().files.items()}
    files |= {"checkpoint-5/adapter_model.safetensors": b"", "checkpoint-10/adapter_config.json": PEFT}
    found = classify({path: _content(body) for path, body in files.items()})
    assert found.description == "a PEFT adapter, the one at the top (not those in checkpoint-5, checkpoint-10)"


def test_every_kind_has_its_sentence():
    assert set(DESCRIPTIONS) == set(Kind)
    assert all("; " in words for kind, words in DESCRIPTIONS.items() if kind not in {Kind.PEFT_ADAPTER, Kind.UNKNOWN})
