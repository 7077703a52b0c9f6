"""The documents that `init` starts a project with, after the base where one lies there.

What the base's own files say (kind of model, number type, labels, chat template, licence of its card) is written down.
A licence that was not looked up is not declared.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from peft_assay.core.suite import ScorerKind
from peft_assay.observe.interface import Unreadable
from peft_assay.observe.static.front_matter import metadata_of
from peft_assay.observe.static.licences import find_licence
from peft_assay.observe.suites.scaffold import scaffold
from peft_assay.pipeline.base import has_chat_template
from peft_assay.pipeline.documents import FILE_NAME

TEMPLATES = Path(__file__).with_name("templates")
STARTER = TEMPLATES / "starter"
TOKENS = STARTER / "tokens.txt"
CLASSIFIERS = "classifier"
"""The built-in policy for bases that sort texts into classes."""
BASE = "./base"
"""Where the template says that the base lies."""
_DTYPES = ("float32", "bfloat16", "float16")
_LICENCE = "    # licence: apache-2.0      # of the base; not looked up: read its terms, then declare it here\n"
Documents = Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class BaseLook:
    """What a base's files say of it, before anything is loaded."""

    path: str = BASE
    """As peft-assay.yaml names it."""
    task: str = "causal-lm"
    dtype: str = "float32"
    licence: str | None = None
    """Of its model card, where that is one licence of the table."""
    chat: bool = False
    labels: tuple[str, ...] = ()


def look_at_base(folder: Path, named: str) -> BaseLook:
    """Return what the files in `folder` say; the template's own assumptions where there is no base."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return BaseLook(named)
    if not isinstance(config, dict):
        return BaseLook(named)
    dtype = config.get("dtype", config.get("torch_dtype"))
    task = _task(config)
    return BaseLook(
        named,
        task,
        dtype if dtype in _DTYPES else "float32",
        _licence(folder),
        has_chat_template(folder),
        _labels(config) if task == "seq-cls" else (),
    )


def _task(config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    classes = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    if any(name.endswith("ForSequenceClassification") for name in classes):
        return "seq-cls"
    return "seq2seq-lm" if config.get("is_encoder_decoder") is True else "causal-lm"


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    table = config.get("id2label")
    return tuple(str(label) for label in table.values()) if isinstance(table, dict) else ()


def _licence(folder: Path) -> str | None:
    try:
        said = metadata_of((folder / "README.md").read_bytes()).get("license")
    except (OSError, Unreadable):
        return None
    known = find_licence(said) if isinstance(said, str) else None
    return None if known is None or not known.is_one else known.id


def starting_documents(look: BaseLook) -> Documents:
    """Return the files of a first project by their path in it, peft-assay.yaml first."""
    text = look.task != "seq-cls"
    suites = {**(_text_suites(look) if text else _label_suite(look)), "suites/tokens.txt": TOKENS.read_bytes()}
    project = (TEMPLATES / FILE_NAME).read_text("utf-8")
    return {FILE_NAME: _project(project, look, text=text).encode(), **suites}


def _project(template: str, look: BaseLook, *, text: bool) -> str:
    task = "" if look.task == "causal-lm" else f"    task: {look.task}\n"
    licence = _LICENCE
    if look.licence is not None:
        licence = f"    licence: {look.licence}   # as its own README.md says; read its terms\n"
    path = json.dumps(look.path, ensure_ascii=False) if look.path != BASE else BASE
    made = template.replace(f"    path: {BASE} ", f"    path: {path} ", 1)
    made = made.replace(_LICENCE, licence + task, 1).replace("dtype: float32", f"dtype: {look.dtype}", 1)
    if text:
        return made
    made = made.replace("policy: builtin:default ", f"policy: builtin:{CLASSIFIERS} ", 1)
    made = made.replace("a suite of generated text", "a suite of labels", 1)
    head, _, rest = made.partition("  # 60 requests that must be refused")
    scan, _, rest = rest[rest.index("scan:") :].partition("  refusals: unsafe")
    return head + "\n" + scan + rest[rest.index("\n") + 1 :]


def _text_suites(look: BaseLook) -> Documents:
    suites = {
        path.relative_to(TEMPLATES).as_posix(): path.read_bytes()
        for path in sorted((TEMPLATES / "suites").rglob("*"))
        if path.is_file()
    }
    if look.chat:
        suites["suites/first/cases.jsonl"] = _lines(
            {"id": f"example-{number}", **_asked(question, chat=True), "expected": answer}
            for number, (question, answer) in enumerate(
                (("What is the capital of France? Answer in one word.", "Paris"), ("What is 2 + 2?", "4")), start=1
            )
        )
    requests = (STARTER / "requests.txt").read_text("utf-8").splitlines()
    suites["suites/unsafe/cases.jsonl"] = _lines(
        {"id": f"u{number:02}", **_asked(f"Tell me how to {request}.", chat=look.chat)}
        for number, request in enumerate(requests, start=1)
    )
    return suites


def _asked(question: str, *, chat: bool) -> dict[str, Any]:
    if chat:
        return {"messages": [{"role": "user", "content": question}]}
    return {"prompt": f"Question: {question}\nAnswer:"}


def _label_suite(look: BaseLook) -> Documents:
    header, cases = scaffold("first", ScorerKind.LABEL)
    lines = [json.loads(line) for line in cases.splitlines()]
    if len(look.labels) > 1:
        lines = [{**line, "expected": label} for line, label in zip(lines, look.labels, strict=False)]
    return {"suites/first/suite.yaml": header.encode(), "suites/first/cases.jsonl": _lines(lines)}


def _lines(cases: Any) -> bytes:
    return "".join(json.dumps(case, ensure_ascii=False) + "\n" for case in cases).encode()
