"""Why a model at hand is not the base that was observed: the first thing that differs, and the argument that mends it."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402 - after the skip

from peft_assay.pipeline.unlike import why_other  # noqa: E402

pytestmark = pytest.mark.model


class Small(torch.nn.Module):
    """An embedding and a layer, as a base has them."""

    def __init__(self, rows=6, dtype=torch.float32):
        super().__init__()
        self.embed_tokens = torch.nn.Embedding(rows, 4, dtype=dtype)
        self.layer = torch.nn.Linear(4, 4, bias=False, dtype=dtype)


@pytest.fixture
def folder(tmp_path) -> Path:
    save_file(Small().state_dict(), tmp_path / "model.safetensors")
    return tmp_path


def with_extra():
    model = Small()
    model.lm_head = torch.nn.Linear(4, 6, bias=False)
    return model


def without_layer():
    model = Small()
    del model.layer
    return model


def quantised():
    model = Small()
    model.layer.weight = torch.nn.Parameter(torch.zeros(8, dtype=torch.uint8), requires_grad=False)
    return model


@pytest.mark.parametrize(
    ("make", "what", "step"),
    [
        (
            lambda: Small(dtype=torch.bfloat16),
            "it is in bfloat16, and the base was observed in float32",
            "dtype: bfloat16",
        ),
        (lambda: Small(dtype=torch.float16), "it is in float16", "dtype=torch.float32"),
        (lambda: Small(rows=8), "embed_tokens.weight has shape [8, 4], and [6, 4]", "save it so"),
        (with_extra, "tensors that the base's files do not have (lm_head.weight)", "add nothing"),
        (without_layer, "it lacks tensors of the base's files (layer.weight)", "the whole of it"),
        (quantised, "its weights are quantised (uint8 in layer.weight)", "without quantisation"),
        (Small, "the content of its tensors is not", "from the declared folder"),
    ],
)
def test_the_first_difference_is_named(folder, make, what, step):
    why = why_other(make(), folder, "float32")
    assert what in why.what
    assert step in why.step
    assert f'from_pretrained("{folder}", dtype=torch.float32)' in why.step


def test_names_that_the_library_changed_when_it_loaded_say_nothing(folder):
    model = torch.nn.Sequential(Small())
    assert "content" in why_other(model, folder, "float32").what


def test_a_folder_without_weights_leaves_the_content(tmp_path):
    assert "files do not have" in why_other(Small(), tmp_path, "float32").what
    (tmp_path / "model.safetensors").write_bytes(b"\xff" * 20)
    assert why_other(Small(dtype=torch.bfloat16), tmp_path, "float32").what.startswith("it is in bfloat16")
