"""Pickles, values that are not finite, names that nothing declares."""

import io
import itertools
import struct
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe_static.static_support import CONTEXT, MODULE, config, f32, lora_tensors, observed, safetensors
from peft_assay.core.context import Engine
from peft_assay.core.observation import Status
from peft_assay.observe.interface import StaticContext
from peft_assay.observe.static.nonfinite import FIRST_INFINITE
from peft_assay.observe.static.weights import WeightsWatcher, sighting_of


def _zip_with(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, b"x")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("adapter_model.bin", b"anything"),
        ("training_args.BIN", b""),
        ("deep/er/rng_state.pth", b""),
        ("innocent.txt", b"\x80\x02}q\x00."),
        ("innocent.json", b"cos\nsystem\n(S'id'\ntR."),
        ("innocent.md", _zip_with("archive/data.pkl")),
    ],
)
def test_pickles_by_name_and_by_content(path, content):
    assert observed("weights.pickle_files", files={path: content}).value == (path,)


def test_files_that_are_none():
    files = {"LICENSE": b"Apache", "notes.zip": _zip_with("a.txt"), "tokenizer.json": b"{}", "a.md": b"cheese\nis good"}
    assert observed("weights.pickle_files", files=files).value == ()


def test_unexpected_files_are_named_and_expected_ones_are_not():
    files = {"chat_template.jinja": b"", "LICENSE.txt": b"", "NOTICE": b"", "config.json": b"{}", "0/README.md": b""}
    assert observed("artifact.unexpected_files", files=files).value == (
        "0/README.md",
        "chat_template.jinja",
        "config.json",
    )


def _with(dtype: str, content: bytes, serving: str = "float32"):
    size = {"F16": 2, "BF16": 2, "F64": 8, "F8_E4M3": 1, "F8_E5M2": 1, "I32": 4}.get(dtype, 4)
    tensors = {**lora_tensors(), f"{MODULE}.lora_A.weight": (dtype, [len(content) // size], content)}
    context = StaticContext(Engine("peft", serving, 32), CONTEXT.datasets, CONTEXT.base_licence)
    return observed("weights.nonfinite", weights=safetensors(tensors), context=context)


@pytest.mark.parametrize(
    ("dtype", "content", "serving", "count"),
    [
        ("F32", f32(1, float("nan")), "float32", 1),
        ("F32", f32(1, float("-inf")), "float32", 1),
        ("F32", f32(-3.4e38), "float32", 0),
        ("F32", f32(-3.4e38), "bfloat16", 1),
        ("F32", f32(65519.996), "float16", 0),
        ("F32", f32(-65520.0), "float16", 1),
        ("F16", struct.pack("<e", 65504.0), "bfloat16", 0),
        ("F16", b"\x00\xfc", "float32", 1),
        ("BF16", b"\x7f\x47", "float16", 0),
        ("BF16", b"\x80\x47", "float16", 1),
        ("F64", struct.pack("<d", 1e300), "float32", 1),
        ("F64", struct.pack("<d", 1e300), "float64", 0),
        ("F8_E4M3", b"\x7e", "float32", 0),
        ("F8_E4M3", b"\xff", "float32", 1),
        ("F8_E5M2", b"\x7c", "float32", 1),
        ("I32", b"\xff\xff\xff\x7f", "float32", 0),
    ],
)
def test_not_finite_as_stored_or_as_cast(dtype, content, serving, count):
    assert _with(dtype, content, serving).value == count


@settings(max_examples=200)
@given(
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=40),
    values=st.lists(st.floats(width=32), min_size=3, max_size=99),
)
def test_in_whatever_pieces_a_file_comes_the_same_is_seen(sizes, values):
    body = f32(*values)

    def name(n):
        return f"{MODULE}.lora_{n}.weight"

    odd = safetensors(
        {
            name("A"): ("F32", [1, len(values)], body),
            "x": ("U8", [3], b"abc"),
            name("B"): ("F32", [len(values), 1], body),
        }
    )
    watcher, at = WeightsWatcher(len(odd)), 0
    for size in itertools.cycle(sizes):
        watcher.feed(memoryview(odd)[at : at + size])
        at += size
        if at >= len(odd):
            break
    seen, whole = watcher.finish(), sighting_of(odd)
    assert (seen.tensors, seen.magnitudes, seen.problem) == (whole.tensors, whole.magnitudes, None)
    assert (seen.updates, seen.updates_problem) == (whole.updates, whole.updates_problem)
    expected = max(int.from_bytes(f32(v), "little") & 0x7FFFFFFF for v in values)
    assert seen.magnitudes[name("A")] == seen.magnitudes[name("B")] == expected


def test_an_unknown_serving_dtype_or_absent_weights_fail():
    assert _with("F32", f32(1), "int4").status is Status.FAILED
    assert observed("weights.nonfinite", without=("adapter_model.safetensors",)).status is Status.FAILED


@pytest.mark.model
@pytest.mark.parametrize("stored", sorted(FIRST_INFINITE))
@pytest.mark.parametrize("serving", ["float32", "float16", "bfloat16", "float64"])
def test_thresholds_are_what_torch_does(stored, serving):
    torch = pytest.importorskip("torch")
    dtype = {
        "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "F16": torch.float16, "BF16": torch.bfloat16,
        "F32": torch.float32, "F64": torch.float64,
    }[stored]  # fmt: skip
    signed = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    threshold = FIRST_INFINITE[stored][serving]
    bits = torch.tensor([threshold, threshold - 1], dtype=signed).view(dtype).to(getattr(torch, serving))
    assert bits.isfinite().tolist() == [False, True]


PLAIN = ("F32", [1], f32(1))


def _undeclared(*names: str, **fields):
    tensors = {**lora_tensors(), **dict.fromkeys(names, PLAIN)}
    return observed("weights.undeclared", weights=safetensors(tensors), configuration=config(**fields)).value


@pytest.mark.parametrize(
    "name",
    [
        "base_model.model.lm_head.weight",
        "base_model.model.model.embed_tokens.weight",
        f"{MODULE}.base_layer.weight",
        f"{MODULE}.weight",
        f"{MODULE}.bias",
        f"{MODULE}.lora_A.good.weight",
        f"{MODULE}.lora_A.0.weight",
        f"{MODULE}.lora_A",
        f"{MODULE}.lora_magnitude_vector",
        f"{MODULE}.lora_B.bias",
        f"{MODULE}.base_layer.lora_A.weight",
        f"{MODULE}.ia3_l",
        "base_model.model.model.layers.0.self_attn.k_proj.lora_A.weight",
        "base_model.model.model.xq_proj.lora_A.weight",
        "base_model.model.score.weight",
        "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta",
        "prompt_embeddings",
        "lora_A.weight",
    ],
)
def test_names_that_a_plain_lora_does_not_declare(name):
    assert _undeclared(name) == (name,)


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        (f"{MODULE}.lora_magnitude_vector", {"use_dora": True}),
        (f"{MODULE}.lora_magnitude_vector.weight", {"use_dora": True}),
        (f"{MODULE}.lora_B.bias", {"lora_bias": True}),
        (f"{MODULE}.bias", {"bias": "all"}),
        (f"{MODULE}.base_layer.bias", {"bias": "lora_only"}),
        ("base_model.model.score.weight", {"modules_to_save": ["score"]}),
        ("base_model.model.score.dense.bias", {"modules_to_save": ["score"]}),
        ("base_model.model.pre_score.bias", {"modules_to_save": ["score"]}),
        (f"{MODULE}.base_layer.lora_A.weight", {"target_parameters": ["q_proj.weight"]}),
        ("base_model.model.a.k.lora_A.weight", {"target_modules": r".*\.(q_proj|k)"}),
        ("base_model.model.a.embed_tokens.token_adapter.trainable_tokens_delta", {"trainable_token_indices": [1]}),
    ],
)
def test_names_that_a_field_declares(name, fields):
    assert _undeclared(name, **fields) == ()


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("base_model.model.lm_head.original_module.weight", {"modules_to_save": ["lm_head"]}),
        ("base_model.model.lm_head.base_layer.weight", {"modules_to_save": ["lm_head"]}),
        ("base_model.model.lm_head.modules_to_save.other.weight", {"modules_to_save": ["lm_head"]}),
        ("base_model.model.lm_head.weight", {"modules_to_save": [""]}),
        ("base_model.model.lm_head.weight", {"bias": "all"}),
    ],
)
def test_declaring_does_not_open_the_way_around_the_adapter(name, fields):
    assert _undeclared(name, **fields) == (name,)


@pytest.mark.parametrize("kind", ["PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING"])
def test_soft_prompts_hold_one_tensor_and_no_module_s(kind):
    tensors = {"prompt_embeddings": PLAIN, "base_model.model.lm_head.weight": PLAIN, f"{MODULE}.lora_A.weight": PLAIN}
    found = observed("weights.undeclared", weights=safetensors(tensors), configuration=config(kind))
    assert found.value == ("base_model.model.lm_head.weight", f"{MODULE}.lora_A.weight")


def test_without_a_readable_header_or_configuration_it_fails():
    assert observed("weights.undeclared", weights=b"").status is Status.FAILED
    assert observed("weights.undeclared", configuration={"peft_type": "NEW"}).status is Status.FAILED
