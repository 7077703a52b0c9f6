"""Whether a base's folder can be loaded as what the context says it is: asked before anything runs.

What a sandbox would say of it comes late, and as the words of a library. Here each reason names the file, what was
found, and the step that ends it. What is not certain is left to the worker, which loads the base.
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft_assay.core.errors import DocumentError, StorageError
from peft_assay.pipeline.architectures import check_kind
from peft_assay.pipeline.project import Project
from peft_assay.pipeline.rowless import check_prompts
from peft_assay.pipeline.stored import DTYPES, check_tensors, dtypes_of, object_in, partial, stored_dtype
from peft_assay.sandbox.loading import base_files

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
_LOADERS = {
    "causal-lm": "AutoModelForCausalLM",
    "seq2seq-lm": "AutoModelForSeq2SeqLM",
    "seq-cls": "AutoModelForSequenceClassification",
}
_FOREIGN = (
    ("*.gguf", "weights of llama.cpp (GGUF)"),
    ("*.pth", "weights as their trainer wrote them (.pth)"),
    ("consolidated*.safetensors", "weights under the names of their makers' own code (consolidated)"),
    ("*.h5", "weights of TensorFlow (.h5)"),
    ("*.msgpack", "weights of Flax (.msgpack)"),
    ("*.onnx", "an ONNX graph"),
    ("*.npz", "arrays of NumPy or MLX (.npz)"),
)
_VOCABULARIES = (
    "tokenizer.json",
    "vocab.*",
    "*.model",
    "*.spm",
    "*.bpe",
    "*.tiktoken",
    "tekken.json",
    "tokenizer.*.json",
    "*.codes",
)
_BNB = "bitsandbytes"
_OF_BYTES = frozenset({"ByT5Tokenizer", "CanineTokenizer", "PerceiverTokenizer"})
"""Tokenizers whose tokens are bytes or characters: they have no file of words."""


def check_project(project: Project) -> None:
    """Raise DocumentError where the base of `project` cannot be loaded, or cannot read the prompts of its suites."""
    check_base(project.base_path, project.document.context.base.task)
    check_prompts(project.base_path, project.served.vocabulary, project.suites)


def check_base(folder: Path, task: str) -> None:
    """Raise DocumentError for the first thing that keeps the base at `folder` from being loaded as `task`.

    Raises StorageError where a file cannot be read.
    """
    for path in base_files(folder):
        _check_file(path)
    config = object_in(folder / "config.json")
    _check_weights(folder, task)
    _check_quantisation(folder, config, task)
    check_kind(folder, config, task)
    _check_tokenizer(folder)


def _check_file(path: Path) -> None:
    found = partial(path)
    if found is not None:
        raise DocumentError(f"the base cannot be loaded from it: {found.what}", where=str(path), next_step=found.step)
    try:
        if path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix == ".safetensors":
            check_tensors(path)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        said = " ".join(str(error).split())[:200]
        raise DocumentError(
            f"the base cannot be loaded from it: {said}",
            where=str(path),
            next_step="fetch it again: it is cut off or altered",
        ) from None
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(path)) from None


def _check_weights(folder: Path, task: str) -> None:
    """Raise DocumentError where transformers would find no weights, or not all of them."""
    if (folder / WEIGHTS).is_file():
        return
    if (folder / INDEX).is_file():
        absent = sorted(name for name in _indexed(folder / INDEX) if not (folder / name).is_file())
        if absent:
            named = ", ".join(absent[:3]) + (f" and {len(absent) - 3} more" if len(absent) > 3 else "")
            raise DocumentError(
                f"names files that are not there: {named}", where=str(folder / INDEX), next_step=_parts(folder, absent)
            )
        return
    message, step = _instead(folder, task)
    raise DocumentError(
        f"the base has neither {WEIGHTS} nor {INDEX}, {message}",
        where=str(folder),
        next_step=step,
    )


def _indexed(index: Path) -> set[str]:
    document = object_in(index).get("weight_map")
    return set(map(str, document.values())) if isinstance(document, dict) else set()


def _parts(folder: Path, absent: list[str]) -> str:
    """Return the step that ends missing shards."""
    split = sorted(path.name for name in absent[:1] for path in folder.glob(f"{name}.*"))
    if split:
        return f"join its parts ({', '.join(split[:3])}): cat {folder / absent[0]}.part* > {folder / absent[0]}"
    return f"fetch {absent[0]} and the others again: the download was not finished"


def _instead(folder: Path, task: str) -> tuple[str, str]:
    """Return what the folder holds in place of weights, and the step that leads on."""
    pickled = sorted(path.name for pattern in ("pytorch_model*.bin", "model*.bin") for path in folder.glob(pattern))
    if pickled:
        return (
            f"but {pickled[0]}: a pickle, which is never read here",
            "convert it where you trust its source, then name the new folder under context.base.path: "
            + _saved(folder, task, f"{folder}-safetensors"),
        )
    if split := sorted(path for path in folder.glob(f"{WEIGHTS}.*") if path.name != INDEX):
        names = ", ".join(path.name for path in split[:3])
        return f"but {names}: parts of one", f"join its parts: cat {folder / WEIGHTS}.* > {folder / WEIGHTS}"
    for pattern, called in _FOREIGN:
        if found := sorted(folder.glob(pattern)):
            return (
                f"but {found[0].name}: {called}",
                "name under context.base.path the model in the form of transformers, from which these were made",
            )
    if others := sorted(path.name for path in folder.glob("*.safetensors")):
        return (
            f"but {others[0]}, which transformers does not look for",
            f"if these are all its weights, call them {WEIGHTS}; else fetch the whole base again",
        )
    return "and no weights of any other kind", f"fetch the base again with its weights ({WEIGHTS}) into {folder}"


def _check_quantisation(folder: Path, config: Mapping[str, Any], task: str) -> None:
    """Raise DocumentError for a base that is loaded quantised: no worker here computes with such weights."""
    said = config.get("quantization_config") or config.get("compression_config")
    if not isinstance(said, dict):
        return
    method = str(said.get("quant_method") or (_BNB if _bits(said) in {4, 8} else "an unnamed method"))[:40]
    how = f"{method}, {_bits(said)} bits" if _bits(said) else method
    if dtypes_of(folder) <= set(DTYPES):
        found = f"its configuration asks for quantised weights ({how}), and the files hold {stored_dtype(folder)}"
        step = "take quantization_config out of config.json where you serve the weights as they are stored"
    else:
        found = f"the base is stored quantised ({how})"
        step = "name the model that it was made from under context.base.path, and serve that"
        if method == _BNB:
            plain = _saved(folder, task, f"{folder}-plain", dequantised=True)
            step += f"; or write its dequantised weights, and serve these: {plain}"
    raise DocumentError(
        f"{found}; adapters are observed on bases in float32, bfloat16 or float16: quantised weights are other "
        "numbers, and a certificate would not be about what you serve",
        where=f"{folder / 'config.json'}: quantization_config",
        next_step=step,
    )


def _bits(said: Mapping[str, Any]) -> int | None:
    bits = said.get("bits") or (4 if said.get("load_in_4bit") else 8 if said.get("load_in_8bit") else None)
    return bits if isinstance(bits, int) else None


def _saved(folder: Path, task: str, new: str, *, dequantised: bool = False) -> str:
    """Return the command that writes the base at `folder` to `new`, as ordinary weights with their tokenizer."""
    here, there = json.dumps(str(folder)), json.dumps(new)
    # save_original_format=False: transformers 5 cannot write a dequantised model in its original form
    how = (
        (f".dequantize().save_pretrained({there}, save_original_format=False)")
        if dequantised
        else (f".save_pretrained({there})")
    )
    code = (
        f"from transformers import {_LOADERS[task]} as M, AutoTokenizer as T; M.from_pretrained({here}){how}; "
        f"T.from_pretrained({here}).save_pretrained({there})"
    )
    return f"python -c {shlex.quote(code)}"


def _check_tokenizer(folder: Path) -> None:
    settings = folder / "tokenizer_config.json"
    said = object_in(settings) if settings.is_file() else {}
    own = said.get("auto_map")
    if isinstance(own, dict) and own.get("AutoTokenizer"):
        raise DocumentError(
            f"its tokenizer is code of the model's own ({_named(own['AutoTokenizer'])}), which is never run here",
            where=f"{settings}: auto_map",
            next_step="take auto_map out of it where tokenizer.json is beside and you serve it so; else name a base "
            "whose tokenizer is one of transformers",
        )
    if any(found for pattern in _VOCABULARIES for found in folder.glob(pattern)):
        return
    if said.get("tokenizer_class") in _OF_BYTES:
        return
    raise DocumentError(
        f"the base has no tokenizer: none of {', '.join(_VOCABULARIES[:3])} is there",
        where=str(folder),
        next_step='save the tokenizer that you serve it with beside it: python -c "from transformers import '
        f"AutoTokenizer; AutoTokenizer.from_pretrained('ITS NAME').save_pretrained('{folder}')\"",
    )


def _named(value: object) -> str:
    first = next((one for one in value if one), "") if isinstance(value, list) else value
    return str(first)[:80]
