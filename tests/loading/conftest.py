import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

ZOO = Path(__file__).parents[2] / "examples" / "zoo"
BENIGN = ("lora", "rslora", "dora", "ia3", "prefix", "prompt", "ptuning")

pytestmark = pytest.mark.model


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


def fresh_base(dtype=torch.float32):
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(ZOO / "base", dtype=dtype, local_files_only=True).eval()


@pytest.fixture
def base():
    return fresh_base()


@pytest.fixture
def base_in():
    return fresh_base


def adapter_files(name):
    folder = ZOO / "adapters" / name
    return (folder / "adapter_config.json").read_bytes(), (folder / "adapter_model.safetensors").read_bytes()


@pytest.fixture
def adapter():
    return adapter_files


@pytest.fixture
def edited():
    def edit(name, **fields):
        config, weights = adapter_files(name)
        return json.dumps(json.loads(config) | fields).encode(), weights

    return edit


@pytest.fixture
def logits():
    def compute(model):
        with torch.no_grad():
            return model(input_ids=torch.arange(4, 20)[None], attention_mask=torch.ones(1, 16, dtype=torch.long)).logits

    return compute


def shape_of(model):
    """Everything that could betray a left-over: modules by identity, attributes, hooks, configuration."""
    return (
        [(name, id(module), sorted(module.__dict__)) for name, module in model.named_modules()],
        [(name, id(parameter), parameter.requires_grad) for name, parameter in model.named_parameters()],
        model.config.to_dict(),
        model.training,
    )


@pytest.fixture
def shape():
    return shape_of
