"""Whether transformers has a model for a base's configuration, of the kind that the context declares.

Read from a table that is generated from transformers' own (tools/generate_architectures.py). Where a newer transformers
is installed, which may know more, only the worker says.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from peft_assay.core.errors import DocumentError

TABLE = Path(__file__).with_name("architectures.json")
CALLED = {
    "causal-lm": "causal language model",
    "seq2seq-lm": "sequence-to-sequence language model",
    "seq-cls": "sequence classifier",
}
_HEADLESS = "gives embeddings and has no head"
_IMAGES = "writes about images"
_MASKED = "fills masked words (an encoder)"


@cache
def table() -> Mapping[str, Any]:
    """Return the table of models."""
    document: Mapping[str, Any] = json.loads(TABLE.read_bytes())
    return document


def check_kind(folder: Path, config: Mapping[str, Any], task: str) -> None:
    """Raise DocumentError where no model of the kind `task` can be made of `config`, and that is certain."""
    where = f"{folder / 'config.json'}: model_type"
    kind, named = config.get("model_type"), _first(config.get("architectures"))
    if not isinstance(kind, str):
        raise DocumentError(
            f"names no model_type, so that no library knows what model it is (found {str(kind)[:40]!r})",
            where=where,
            next_step="fetch the base again, or save it with save_pretrained of transformers",
        )
    if _newer():
        return
    if kind not in table()["modelTypes"]:
        raise _unknown(config, kind, where)
    _check_head(config, kind, named, task, where)


def _unknown(config: Mapping[str, Any], kind: str, where: str) -> DocumentError:
    """Return the refusal of a model type that transformers does not have."""
    own, known = config.get("auto_map"), f"transformers {table()['transformers']} has no model type {kind[:60]!r}"
    if isinstance(own, dict) and own:
        code = str(next(iter(own.values())))[:80]
        return DocumentError(
            f"{known}: the base brings code of its own ({code}, trust_remote_code), which is never run here",
            where=where,
            next_step="name under context.base.path a version of the base that transformers loads without "
            "trust_remote_code: many publishers have one",
        )
    return DocumentError(
        known,
        where=where,
        next_step="install the transformers that the base asks for, where peft-assay allows it (pip install -U "
        "transformers); else name a base that the installed one knows",
    )


def _check_head(config: Mapping[str, Any], kind: str, named: str | None, task: str, where: str) -> None:
    """Raise DocumentError where the saved model has not the head that `task` needs."""
    tasks, others = table()["tasks"], table()["others"]
    loaded = tasks[task].get(kind)
    if loaded is not None and named in (None, loaded):
        return
    meaning = others.get(named)
    if loaded is None:
        is_one = meaning or next((f"is a {CALLED[one]}" for one in tasks if tasks[one].get(kind) == named), None)
        raise _other(f"model type {kind!r}", is_one, kind, named, task, where)
    if task == "seq-cls" or meaning == _IMAGES:
        return  # an adapter may bring the head, and a model of images and text has a part for text: the worker sees
    tied = config.get("tie_word_embeddings", True)  # where the embedding is the head, too, a model without one has it
    encodes = task == "causal-lm" and kind in table()["encoders"] and not config.get("is_decoder")
    if meaning in {_HEADLESS, _MASKED} and tied and not encodes:
        return
    if meaning is not None:
        raise _other(str(named), meaning, kind, named, task, where)
    if task == "causal-lm" and named in tasks["seq2seq-lm"].values():
        raise _other(str(named), f"is a {CALLED['seq2seq-lm']}", kind, named, task, where)


def _other(what: str, meaning: str | None, kind: str, named: str | None, task: str, where: str) -> DocumentError:
    """Return the refusal of a model of another kind, with the task under which it can be certified, if any."""
    fitting = [one for one, mapping in table()["tasks"].items() if one != task and mapping.get(kind) == named]
    said = f": it {meaning}" if meaning else ""
    if fitting:
        step = f"write task: {fitting[0]} under context.base, with suites for that kind of model"
    else:
        kinds = ", ".join(f"{CALLED[one]}s ({one})" for one in CALLED)
        step = f"name a base of a kind that is certified here: {kinds}; adapters of other models cannot be certified"
    return DocumentError(
        f"{what}{f' ({named})' if named and named != what else ''} is no {CALLED[task]} of transformers{said}, and "
        f"context.base.task is {task}",
        where=where,
        next_step=step,
    )


def _first(value: object) -> str | None:
    return value[0] if isinstance(value, list) and value and isinstance(value[0], str) else None


def _newer() -> bool:
    """Return whether a newer transformers is installed than the one that the table was made from."""
    try:
        return _release(version("transformers")) > _release(table()["transformers"])
    except PackageNotFoundError:
        return False


def _release(text: str) -> tuple[int, ...]:
    parts = text.split(".")[:2]
    return tuple(int(part) if part.isdecimal() else 0 for part in parts)
