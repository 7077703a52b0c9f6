"""A task of EleutherAI's lm-evaluation-harness as a suite, with the same numbers: its YAML, with local data.

What is not understood is refused by name rather than read otherwise than its authors meant it: functions, filters,
other output types, random few-shot examples. What the harness does with the rest was read from its release 0.4.13
(lm_eval/api/task.py, lm_eval/api/model.py); a test compares both on one model.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json, parse_yaml, validate
from peft_assay.observe.suites.cases import MAX_CASES
from peft_assay.observe.suites.importing.fields import Fields
from peft_assay.observe.suites.importing.interface import Imported, ReadFile, Render

INCLUDED = 5
"""Most documents that one may include, one in the other."""
MAX_GENERATED = 4096
Documents = Sequence[Mapping[str, Any]]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Data(_Closed):
    data_files: str | list[str] | dict[str, str | list[str]]


class _Metric(_Closed):
    metric: str
    aggregation: str = "mean"
    higher_is_better: bool = True


class _FewShot(_Closed):
    sampler: str = "default"
    split: str | None = None


class _Generation(_Closed):
    until: str | list[str] | None = None
    do_sample: Literal[False] = False
    temperature: float | int = 0
    max_gen_toks: int = Field(default=256, ge=1, le=MAX_GENERATED)


class _Filter(_Closed):
    function: str
    kwargs: dict[str, Any] | None = None
    regex_pattern: str | None = None
    group_select: int | None = None


class _Filtering(_Closed):
    name: str
    filter: list[_Filter]


class Task(_Closed):
    """The part of a task's YAML that is understood."""

    task: str
    task_alias: str | None = None
    tag: str | list[str] | None = None
    dataset_path: Literal["json"]
    dataset_name: None = None
    dataset_kwargs: _Data
    training_split: str | None = None
    validation_split: str | None = None
    test_split: str | None = None
    fewshot_split: str | None = None
    output_type: Literal["multiple_choice", "generate_until"] = "generate_until"
    doc_to_text: str
    doc_to_target: str | int
    doc_to_choice: str | list[str] | dict[str, str] | None = None
    description: str = ""
    target_delimiter: str = " "
    fewshot_delimiter: str = "\n\n"
    fewshot_config: _FewShot = _FewShot()
    num_fewshot: int = Field(default=0, ge=0, le=100)
    metric_list: list[_Metric] | None = None
    generation_kwargs: _Generation | None = None
    repeats: Literal[1] = 1
    filter_list: list[_Filtering] | None = None
    should_decontaminate: bool = False
    doc_to_decontamination_query: str | None = None
    metadata: dict[str, Any] | None = None


def import_task(content: bytes, read: ReadFile, render: Render, *, where: str) -> Imported:
    """The suite that a task describes; raises DocumentError naming file and field for what is not understood."""
    task = read_task(content, read, where=where)
    _check(task, where)
    tested, shots = _documents(task, read, where)
    features = {name for document in (*tested, *shots) for name in document}
    rows = [{name: document.get(name) for name in features} for document in (*tested, *shots)]
    fields = Fields.of(task, rows, render, where=where)
    contexts = [_context(task, fields, at, _shots(task, rows, at, len(tested))) for at in range(len(tested))]
    make = _choice_case if task.output_type == "multiple_choice" else _text_case
    cases = [make(task, fields, at, context, where) for at, context in enumerate(contexts)]
    kept, notes = _distinct(cases)
    return Imported(_header(task), kept, (*notes, *_unread(task)))


def read_task(content: bytes, read: ReadFile, *, where: str) -> Task:
    """The task with what it includes; raises DocumentError."""
    merged = _merged(content, read, where, INCLUDED)
    if "group" in merged:
        raise DocumentError("a group of tasks; import each of them", where=f"{where}: group")
    return validate(Task, merged, where=where)


def _merged(content: bytes, read: ReadFile, where: str, left: int) -> dict[str, Any]:
    if b"!function" in content:
        line = content[: content.index(b"!function")].count(b"\n") + 1
        raise DocumentError(
            f"line {line}: names a function, which is code",
            where=where,
            next_step="write the field as a template, or the data as it is to be",
        )
    document = parse_yaml(content, where=where)
    if not isinstance(document, dict):
        raise DocumentError("not a mapping", where=where)
    included = document.pop("include", None)
    if included is None:
        return document
    if not isinstance(included, str):
        raise DocumentError("include: not the name of one file", where=where)
    if left == 0:
        raise DocumentError(f"include: more than {INCLUDED} documents in one another", where=where)
    return {**_merged(read(included, f"{where}: include"), read, included, left - 1), **document}


def _documents(task: Task, read: ReadFile, where: str) -> tuple[Documents, Documents]:
    """Those that are tested, and those that examples are taken from."""
    split = task.test_split or task.validation_split
    if split is None:
        raise DocumentError("neither test_split nor validation_split says what is tested", where=where)
    tested = _split(task, split, read, where)
    if task.num_fewshot == 0:
        return tested, []
    source = task.fewshot_config.split or task.fewshot_split
    if task.fewshot_config.sampler != "first_n" or source is None:
        raise DocumentError(
            "examples are drawn at random; only those of a fixed split and order can be imported",
            where=f"{where}: num_fewshot",
            next_step="set fewshot_split, and fewshot_config: {sampler: first_n}; or num_fewshot: 0",
        )
    return tested, _split(task, source, read, where)


def _split(task: Task, split: str, read: ReadFile, where: str) -> Documents:
    files = task.dataset_kwargs.data_files
    named = files.get(split) if isinstance(files, dict) else files if split == "train" else None
    if named is None:
        raise DocumentError(f"has no files for split {split!r}", where=f"{where}: dataset_kwargs.data_files")
    at = f"{where}: dataset_kwargs.data_files"
    rows = [row for name in ([named] if isinstance(named, str) else named) for row in _rows(read(name, at), name)]
    if not 1 <= len(rows) <= MAX_CASES:
        raise DocumentError(f"split {split!r} has {len(rows)} documents; a suite has 1 to {MAX_CASES}", where=at)
    return rows


def _rows(content: bytes, name: str) -> list[Mapping[str, Any]]:
    """A list of objects, or objects line by line."""
    if content.lstrip()[:1] == b"[":
        values = list(enumerate(parse_json(content, where=name, max_bytes=len(content)), start=1))
    else:
        lines = [(number, line) for number, line in enumerate(content.splitlines(), start=1) if line.strip()]
        values = [(number, parse_json(line, where=f"{name}: line {number}")) for number, line in lines]
    for number, value in values:
        if not isinstance(value, dict):
            raise DocumentError(f"document {number} is not an object", where=name)
    return [value for _, value in values]


def _shots(task: Task, rows: Documents, at: int, tested: int) -> list[int]:
    """Indices of the examples: the first of their split, without the document itself where it is among them."""
    pool = range(tested, len(rows))
    same = (task.fewshot_config.split or task.fewshot_split) == task.test_split
    chosen = [row for row in pool if not (same and rows[row] == rows[at])][: task.num_fewshot]
    if len(chosen) < task.num_fewshot:
        raise DocumentError(f"num_fewshot: {task.num_fewshot} examples of {len(chosen)}", where=f"task {task.task}")
    return chosen


def _context(task: Task, fields: Fields, at: int, shots: Sequence[int]) -> str:
    """What the model is shown: description, examples, and the document's own text."""
    examples = ""
    for shot in shots:
        target = fields.answer(shot)
        examples += fields.text(shot) + (task.target_delimiter + target + task.fewshot_delimiter if target else "")
    return fields.description(at) + examples + fields.text(at)


def _choice_case(task: Task, fields: Fields, at: int, context: str, where: str) -> dict[str, Any]:
    """The harness moves white space at the context's end to the continuation; so does the case."""
    choices, gold = fields.choices(at), fields.gold(at)
    prompt = context.rstrip()
    joint = context[len(prompt) :] + task.target_delimiter
    problem = None
    if not prompt:
        problem = "its context is blank"
    elif not all((joint + choice)[:1].isspace() for choice in choices):
        problem = "no white space parts the context from a choice (target_delimiter)"
    elif not 0 <= gold < len(choices):
        problem = "its target is none of its choices"
    elif not 2 <= len(set(choices)) == len(choices) <= 26:
        problem = "its choices are not 2 to 26, each once"
    if problem is not None:
        raise DocumentError(f"document {at + 1}: {problem}", where=where)
    return {"prompt": prompt, "choices": [joint + choice for choice in choices], "answer": gold}


def _text_case(_task: Task, fields: Fields, at: int, context: str, where: str) -> dict[str, Any]:
    expected = fields.answer(at)
    if not context.strip() or not expected.strip():
        raise DocumentError(f"document {at + 1}: its context or its target is blank", where=where)
    return {"prompt": context, "expected": expected}


def _distinct(cases: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[str]]:
    first: dict[str, dict[str, Any]] = {}
    for case in cases:
        first.setdefault(case["prompt"], case)
    dropped = len(cases) - len(first)
    told = f"{dropped} documents repeat a prompt and were left out: the harness's numbers count them"
    return list(first.values()), [told] if dropped else []


def _header(task: Task) -> dict[str, Any]:
    head: dict[str, Any] = {"description": f"task {task.task} of lm-evaluation-harness", "confidentiality": "internal"}
    version = (task.metadata or {}).get("version")
    if isinstance(version, str | int | float) and not isinstance(version, bool):
        head["version"] = str(version)
    if task.output_type == "multiple_choice":
        return {**head, "scorer": {"kind": "choice"}}
    generation = task.generation_kwargs or _Generation()
    until = generation.until if generation.until is not None else task.fewshot_delimiter
    ends = [text for text in ([until] if isinstance(until, str) else until) if text]
    scorer = {"kind": "exact", "verbatim": True} | ({"until": ends} if ends else {})
    return {**head, "scorer": scorer, "maxNewTokens": generation.max_gen_toks}


def _check(task: Task, where: str) -> None:
    """Raises DocumentError where the metric that a suite counts is not the task's, or choices are not given."""
    if task.output_type == "multiple_choice" and task.doc_to_choice is None:
        raise DocumentError("multiple_choice has choices", where=f"{where}: doc_to_choice")
    wanted = "acc" if task.output_type == "multiple_choice" else "exact_match"
    _check_filters(task, where)
    if task.metric_list is not None and all(item.metric != wanted for item in task.metric_list):
        raise DocumentError(f"without {wanted}, which is what a suite counts", where=f"{where}: metric_list")


def _check_filters(task: Task, where: str) -> None:
    """Raises DocumentError for filters that change an answer before it is compared; taking the first changes none."""
    for at, filtering in enumerate(task.filter_list or ()):
        for one in filtering.filter:
            if one.function != "take_first":
                raise DocumentError(
                    f"filter {filtering.name} is {one.function}: it changes answers before they are compared, and a "
                    "suite compares what was answered",
                    where=f"{where}: filter_list.{at}",
                    next_step="leave it out for exact answers, or write the suite with scorer regex: "
                    "peft-assay suite new FOLDER --scorer regex",
                )


def _unread(task: Task) -> list[str]:
    wanted = "acc" if task.output_type == "multiple_choice" else "exact_match"
    others = [item.metric for item in task.metric_list or () if item.metric != wanted]
    return [f"metrics not imported: {', '.join(others)}"] if others else []
