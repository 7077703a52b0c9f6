"""A base that cannot be certified is named before anything runs: which file, what was found, and a step that leads on."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from observe_static.static_support import safetensors
from peft_assay.core.digest import sha256
from peft_assay.core.errors import DocumentError, Door
from peft_assay.core.suite import Case, Measure, Message, Scorer, ScorerKind, Suite
from peft_assay.pipeline.base import base_manifest
from peft_assay.pipeline.documents import read_assay
from peft_assay.pipeline.loadable import check_base
from peft_assay.pipeline.rowless import beyond_embedding, check_prompts
from peft_assay.pipeline.stored import dtype_remark, own_dtype, parameters
from peft_assay.sandbox.loading import base_files
from pipeline.bare_world import bare_world
from pipeline.certified_world import ZOO, World, copy_of

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 3460000\n"


@pytest.fixture
def base(tmp_path):
    return Path(shutil.copytree(ZOO / "base", tmp_path / "base"))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return bare_world(tmp_path_factory.mktemp("bases"))


@pytest.fixture
def project(made, tmp_path):
    return copy_of(made, tmp_path / "world")


def configure(folder, **fields):
    path = folder / "config.json"
    document = json.loads(path.read_bytes()) | fields
    path.write_text(json.dumps({name: value for name, value in document.items() if value != "absent"}))


def refused(folder, task="causal-lm"):
    """The refusal, which names a file and has a next step that is not about the sandbox."""
    with pytest.raises(DocumentError) as refusal:
        check_base(folder, task)
    error = refusal.value
    assert str(folder) in error.where
    assert error.next_step
    assert "doctor" not in error.next_step
    assert "sandbox" not in f"{error.message} {error.next_step}"
    return error


def asking(*asked):
    cases = tuple(one if isinstance(one, Case) else Case("c0", one, "a") for one in asked)
    return Suite(
        "s", "1", sha256(b"s"), Measure.GENERATE, Scorer(ScorerKind.EXACT), cases, 8, None, "public", "t", None
    )


def test_an_ordinary_base_is_not_refused(base):
    check_base(base, "causal-lm")
    assert list(dtype_remark(base, "float32")) == []
    assert list(beyond_embedding(base, 286)) == []


WEIGHTS = [
    ({"pytorch_model.bin": b"PK"}, "pytorch_model.bin: a pickle", "save_pretrained"),
    ({"pytorch_model-00001-of-00002.bin": b"PK"}, "a pickle", "save_pretrained"),
    ({"model-Q4_K_M.gguf": b"GGUF"}, "llama.cpp (GGUF)", "in the form of transformers"),
    ({"consolidated.safetensors": b""}, "consolidated", "in the form of transformers"),
    ({"consolidated.00.pth": b""}, ".pth", "in the form of transformers"),
    ({"tf_model.h5": b""}, "TensorFlow", "in the form of transformers"),
    ({"flax_model.msgpack": b""}, "Flax", "in the form of transformers"),
    ({"model.safetensors.partaa": b"x", "model.safetensors.partab": b"y"}, "parts of one", "cat "),
    ({"model.fp16.safetensors": b""}, "does not look for", "call them model.safetensors"),
    ({"adapter_model.safetensors": b""}, "does not look for", "fetch the whole base"),
    ({}, "no weights of any other kind", "fetch the base again"),
]


@pytest.mark.parametrize(("files", "found", "step"), WEIGHTS)
def test_what_lies_in_place_of_weights_is_named(base, files, found, step):
    (base / "model.safetensors").unlink()
    for name, content in files.items():
        (base / name).write_bytes(content)
    error = refused(base)
    assert found in error.message
    assert step in error.next_step


CUT = [
    ("model.safetensors", b"", "empty (0 bytes)", "fetch model.safetensors again"),
    (
        "model.safetensors",
        POINTER,
        "a Git LFS pointer of 130 bytes in place of the file of 3460000 bytes",
        "git lfs pull",
    ),
    ("tokenizer.json", POINTER, "a Git LFS pointer", 'git lfs pull --include "tokenizer.json"'),
    ("tokenizer.model", POINTER, "a Git LFS pointer", "git lfs pull"),
    ("config.json", b"", "empty (0 bytes)", "fetch config.json again"),
    (
        "model.safetensors",
        (ZOO / "base" / "model.safetensors").read_bytes()[:-1],
        "with its tensors it would have",
        "cut off",
    ),
    ("model.safetensors", b"<html>not found</html>", "fewer than its header", "fetch it again"),
]


@pytest.mark.parametrize(("name", "content", "found", "step"), CUT)
def test_a_file_that_is_not_whole_is_named(base, name, content, found, step):
    (base / name).write_bytes(content)
    error = refused(base)
    assert Path(error.where).name == name
    assert found in error.message.replace(str(len(POINTER)), "130")
    assert step in error.next_step


def test_shards_that_are_not_there_are_named(base):
    weights = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (base / "model.safetensors").rename(base / weights["a"])
    (base / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weights}))
    error = refused(base)
    assert "not there: model-00002-of-00002.safetensors" in error.message
    (base / "model-00002-of-00002.safetensors.partaa").write_bytes(b"x")
    assert "cat " in refused(base).next_step
    (base / "model-00002-of-00002.safetensors").write_bytes(safetensors({"b": ("F32", [1], bytes(4))}))
    check_base(base, "causal-lm")


QUANTISED = [
    ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "bitsandbytes, 4 bits", "dequantize()"),
    ({"load_in_8bit": True}, "bitsandbytes, 8 bits", "save_original_format=False"),
    ({"quant_method": "gptq", "bits": 4}, "gptq, 4 bits", "the model that it was made from"),
    ({"quant_method": "awq", "bits": 4}, "awq, 4 bits", "the model that it was made from"),
    ({"quant_method": "mxfp4"}, "(mxfp4)", "the model that it was made from"),
    ({"quant_method": "fp8"}, "(fp8)", "the model that it was made from"),
]


@pytest.mark.parametrize(("said", "how", "step"), QUANTISED)
def test_a_quantised_base_is_named_with_its_method(base, said, how, step):
    configure(base, quantization_config=said)
    asked = refused(base)
    assert f"asks for quantised weights ({how.strip('()')})" in asked.message
    assert "take quantization_config out" in asked.next_step
    (base / "model.safetensors").write_bytes(safetensors({"w": ("U8", [2], b"ab"), "s": ("F32", [1], bytes(4))}))
    error = refused(base)
    assert f"stored quantised ({how.strip('()')})" in error.message
    assert step in error.next_step


KINDS = [
    (
        {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]},
        "causal-lm",
        "writes down speech",
    ),
    (
        {"model_type": "whisper", "architectures": ["WhisperForConditionalGeneration"]},
        "seq2seq-lm",
        "writes down speech",
    ),
    ({"model_type": "bert", "architectures": ["BertModel"]}, "causal-lm", "gives embeddings"),
    ({"model_type": "bert", "architectures": ["BertForMaskedLM"]}, "causal-lm", "an encoder"),
    ({"model_type": "roberta", "architectures": ["RobertaForMaskedLM"]}, "seq2seq-lm", "an encoder"),
    ({"model_type": "llama", "architectures": ["LlamaModel"], "tie_word_embeddings": False}, "causal-lm", "no head"),
    ({"model_type": "vit", "architectures": ["ViTForImageClassification"]}, "causal-lm", "sorts images"),
    ({"model_type": "wav2vec2", "architectures": ["Wav2Vec2ForCTC"]}, "causal-lm", "writes down speech"),
    ({"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"]}, "causal-lm", "writes about images"),
    ({"model_type": "bert", "architectures": ["BertForTokenClassification"]}, "causal-lm", "labels each token"),
    ({"model_type": "clip", "architectures": ["CLIPModel"]}, "seq-cls", "gives embeddings"),
]


@pytest.mark.parametrize(("fields", "task", "meaning"), KINDS)
def test_a_model_of_another_kind_is_named_for_what_it_is(base, fields, task, meaning):
    configure(base, **fields)
    error = refused(base, task)
    assert meaning in error.message
    assert f"context.base.task is {task}" in error.message


@pytest.mark.parametrize(
    ("fields", "task", "right"),
    [
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, "causal-lm", "seq2seq-lm"),
        ({"model_type": "bart", "architectures": ["BartForConditionalGeneration"]}, "causal-lm", "seq2seq-lm"),
        ({"model_type": "bert", "architectures": ["BertForSequenceClassification"]}, "seq2seq-lm", "seq-cls"),
        ({}, "seq2seq-lm", "causal-lm"),
    ],
)
def test_the_task_that_fits_is_named_and_is_then_taken(base, fields, task, right):
    configure(base, **fields)
    assert f"write task: {right} under context.base" in refused(base, task).next_step
    check_base(base, right)


HONEST = [
    ({"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"]}, "causal-lm"),
    ({"model_type": "llama4", "architectures": ["Llama4ForConditionalGeneration"]}, "causal-lm"),
    ({"model_type": "qwen3_5", "architectures": ["Qwen3_5ForConditionalGeneration"]}, "causal-lm"),
    ({"model_type": "llama", "architectures": ["LLaMAForCausalLM"]}, "causal-lm"),
    ({"model_type": "qwen3", "architectures": ["Qwen3Model"], "tie_word_embeddings": True}, "causal-lm"),
    ({"architectures": "absent"}, "causal-lm"),
    ({"model_type": "bert", "architectures": ["BertLMHeadModel"], "is_decoder": True}, "causal-lm"),
    ({"model_type": "roberta", "architectures": ["RobertaForMaskedLM"]}, "seq-cls"),
    ({"auto_map": {"AutoModelForCausalLM": "modeling_phi3.Phi3ForCausalLM"}, "model_type": "phi3"}, "causal-lm"),
    ({"quantization_config": None}, "causal-lm"),
]


@pytest.mark.parametrize(("fields", "task"), HONEST)
def test_what_may_be_loaded_is_left_to_the_worker(base, fields, task):
    configure(base, **fields)
    check_base(base, task)


def test_code_of_the_base_s_own_is_never_run_and_named(base):
    configure(base, model_type="x_model", auto_map={"AutoConfig": "configuration_x.XConfig"})
    error = refused(base)
    assert "configuration_x.XConfig" in error.message
    assert "trust_remote_code" in error.next_step
    configure(base, auto_map="absent")
    assert "pip install -U transformers" in refused(base).next_step
    configure(base, model_type="absent")
    assert "names no model_type" in refused(base).message


def test_a_newer_transformers_may_know_more_and_is_asked(base, monkeypatch):
    configure(base, model_type="x_model")
    refused(base)
    monkeypatch.setattr("peft_assay.pipeline.architectures.version", lambda _: "99.0")
    check_base(base, "causal-lm")


def test_a_base_without_a_tokenizer_is_named(base):
    (base / "tokenizer.json").unlink()
    assert "no tokenizer" in refused(base).message
    (base / "tokenizer_config.json").write_text('{"tokenizer_class": "ByT5Tokenizer"}')
    check_base(base, "causal-lm")  # of bytes: it has no file of words
    (base / "tokenizer_config.json").unlink()
    assert "save the tokenizer" in refused(base).next_step
    (base / "vocab.txt").write_text("a\n")
    check_base(base, "causal-lm")


def test_a_tokenizer_that_is_code_is_named(base):
    (base / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["tokenization_x.XTokenizer", null]}}')
    error = refused(base)
    assert "tokenization_x.XTokenizer" in error.message
    assert "auto_map" in error.next_step


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("added_tokens.json", {"<x>": 300}),
        ("tokenizer_config.json", {"added_tokens_decoder": {"300": {"content": "<x>"}}}),
        ("tokenizer.json", {"model": {"vocab": [["a", 0.0]] * 300 + [["<x>", 0.0]]}}),
        ("tokenizer.json", {"model": {"vocab": {"<x>": 300}}, "added_tokens": [{"id": 1, "content": "a"}]}),
        ("tokenizer.json", {"added_tokens": [{"id": 300, "content": "<x>"}]}),
    ],
)
def test_tokens_beyond_the_embedding_are_a_remark(base, name, document):
    (base / name).write_text(json.dumps(document))
    (remark,) = beyond_embedding(base, 300)
    assert "300 for '<x>'" in remark
    assert list(beyond_embedding(base, 301)) == list(beyond_embedding(base, None)) == []


def test_a_case_with_such_a_token_is_named_before_it_is_asked(base):
    (base / "added_tokens.json").write_text('{"<x>": 300}')
    talk = Case("c2", (Message("system", "be <x> kind"), Message("user", "hello")))
    for case in (Case("c1", "say <x>", "a"), talk):
        suite = asking("fine", case)
        with pytest.raises(DocumentError, match="token 300") as refusal:
            check_prompts(base, 300, [suite])
        assert refusal.value.where == f"suite s: case {case.id}"
        check_prompts(base, 301, [suite])
    check_prompts(base, 300, [asking("fine")])


def test_the_dtype_that_a_base_is_loaded_in_is_compared_with_the_declared_one(base):
    assert own_dtype(base) == "float32"  # by config.json, whatever its files hold
    configure(base, dtype="absent", torch_dtype="bfloat16")
    (remark,) = dtype_remark(base, "float32")
    assert "dtype=torch.float32" in remark
    assert "write dtype: bfloat16" in remark
    assert list(dtype_remark(base, "bfloat16")) == []
    configure(base, torch_dtype="absent")
    assert own_dtype(base) == "bfloat16"  # as most of it is stored
    (base / "model.safetensors").write_bytes(safetensors({"a": ("F16", [3], bytes(6)), "b": ("F32", [1], bytes(4))}))
    assert (own_dtype(base), parameters(base)) == ("float16", 4)
    (base / "model.safetensors").write_bytes(b"\xff" * 9)
    assert own_dtype(base) is None


@pytest.mark.parametrize(("said", "written"), [("bfloat16", "bfloat16"), (None, "float32")])
def test_init_writes_the_dtype_of_a_base_that_is_there_already(tmp_path, said, written):
    world = World(tmp_path)
    world.project.mkdir()
    if said is not None:
        shutil.copytree(ZOO / "base", world.project / "base")
        configure(world.project / "base", dtype=said)
    assert world.run("init", ".").code == Door.PASSED
    assert read_assay(world.document).context.engine.dtype == written


FOLDERS = [
    ({"snapshots/abc/config.json": "{}", "refs/main": "abc"}, "Hugging Face cache", "snapshots/abc"),
    ({"inner/config.json": "{}"}, "a folder in it has", "/inner"),
    ({"model_index.json": "{}"}, "pipeline of diffusers", "language model"),
    ({"x.gguf": "GGUF"}, "llama.cpp", "form of transformers"),
    ({"params.json": "{}"}, "params.json", "-hf"),
    ({"adapter_config.json": "{}"}, "is an adapter", "the base that you serve"),
    ({"README.md": ""}, "no config.json", "config.json"),
]


@pytest.mark.parametrize(("files", "found", "step"), FOLDERS)
def test_a_folder_that_is_no_base_is_named_for_what_it_is(tmp_path, files, found, step):
    for name, content in files.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    with pytest.raises(DocumentError) as refusal:
        base_manifest(tmp_path / "folder", where="peft-assay.yaml: context.base.path")
    assert found in refusal.value.message
    assert step in refusal.value.next_step


def test_a_folder_that_is_not_there_may_be_meant_as_a_repository(tmp_path):
    for written, meant in (("org/name", True), ("./base", False), ("base", False), ("/srv/base", False)):
        with pytest.raises(DocumentError, match="no such folder") as refusal:
            base_manifest(tmp_path / "none", where="w", written=written)
        assert (f"hf://{written}@COMMIT" in refusal.value.next_step) == meant
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DocumentError, match="it is a file"):
        base_manifest(tmp_path / "file", where="w")


def cached(base, root):
    """`base` as the Hugging Face cache keeps it: links into ../../blobs."""
    snapshot = root / "models--org--base" / "snapshots" / ("0" * 40)
    blobs = root / "models--org--base" / "blobs"
    for folder in (snapshot, blobs):
        folder.mkdir(parents=True)
    for number, path in enumerate(sorted(base.iterdir())):
        path.rename(blobs / f"{number:040x}")
        (snapshot / path.name).symlink_to(f"../../blobs/{number:040x}")
    return snapshot


def test_a_snapshot_of_the_cache_is_the_base_that_it_links_to(base, tmp_path):
    plain = base_manifest(base, where="w")
    snapshot = cached(base, tmp_path / "hub")
    check_base(snapshot, "causal-lm")
    assert base_manifest(snapshot, where="w").digest == plain.digest, "its content is digested, not its links"
    assert {path.name for path in base_files(snapshot)} == {file.path for file in plain.files}
    (snapshot / "model.safetensors").resolve().write_bytes(b"")
    assert "empty (0 bytes)" in refused(snapshot).message
    (snapshot / "config.json").resolve().unlink()
    with pytest.raises(DocumentError, match="a link that leads nowhere") as refusal:
        base_manifest(snapshot, where="w")
    assert "cp -rL" in refusal.value.next_step


@pytest.mark.parametrize("arguments", [("--plan",), ()])
def test_plan_and_certify_say_the_same_of_a_base_before_anything_runs(project, arguments):
    world = project
    base = world.project / "base"
    (base / "model.safetensors").rename(base / "pytorch_model.bin")
    done = world.run("certify", *arguments, str(ZOO / "adapters" / "lora"))
    assert done.code == Door.USAGE
    assert "pytorch_model.bin: a pickle" in done.err
    assert "python -c " in done.err
    assert "sandbox" not in done.err


def _joined(world, step):
    subprocess.run(step.partition(": ")[2], shell=True, check=True)


def _path(world, step):
    world.edit("path: ./base", "path: " + step.partition(": ")[2].strip())


def _task(world, step):
    world.edit("task: seq2seq-lm", re.search(r"task: [a-z0-9-]+", step)[0])


def _in_parts(world):
    whole = world.project / "base" / "model.safetensors"
    content = whole.read_bytes()
    for number, part in enumerate((content[:1000], content[1000:])):
        whole.with_name(f"model.safetensors.parta{'ab'[number]}").write_bytes(part)
    whole.unlink()


def _in_cache(world):
    cached(world.project / "base", world.project / "hub")
    world.edit("path: ./base", "path: ./hub/models--org--base")


def _in_folder(world):
    (world.project / "base").rename(world.project / "inner")
    (world.project / "base").mkdir()
    (world.project / "inner").rename(world.project / "base" / "inner")


def _of_another_task(world):
    world.edit("    licence: apache-2.0", "    task: seq2seq-lm\n    licence: apache-2.0")


def _marked_quantised(world):
    configure(world.project / "base", quantization_config={"quant_method": "gptq", "bits": 4})


def _unmarked(world, step):
    assert "take quantization_config out" in step
    configure(world.project / "base", quantization_config="absent")


def _moved(world, step):
    world.edit("path: ./hub/models--org--base", "path: " + step.partition(": ")[2].strip())


@pytest.mark.parametrize(
    ("spoil", "follow"),
    [
        (_in_parts, _joined),
        (_in_cache, _moved),
        (_in_folder, _path),
        (_of_another_task, _task),
        (_marked_quantised, _unmarked),
    ],
)
def test_following_the_step_leads_on(project, spoil, follow):
    """What is printed is done, and then the plan has nothing left to say."""
    world = project
    spoil(world)
    done = world.run("certify", "--plan", str(ZOO / "adapters" / "lora"))
    assert done.code == Door.USAGE
    follow(world, done.err.partition("next: ")[2].strip())
    again = world.run("certify", "--plan", str(ZOO / "adapters" / "lora"))
    assert again.code == Door.PASSED, again.err
