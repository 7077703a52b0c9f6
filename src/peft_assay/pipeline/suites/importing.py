"""`suite import`: the files that an import may read, the process that renders its templates, the suite it writes."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from peft_assay.core.errors import DocumentError, UsageError
from peft_assay.core.parse import parse_json
from peft_assay.observe.suites.importing.chat_logs import import_chat_logs
from peft_assay.observe.suites.importing.interface import Imported, ReadFile, Template
from peft_assay.observe.suites.importing.lm_eval import import_task
from peft_assay.observe.suites.read import read_suite
from peft_assay.pipeline.documents import read_file
from peft_assay.pipeline.suites.write import CASES_FILE, suite_id, write_suite

RENDERER = "peft_assay.observe.suites.importing.templates"
CPU_SECONDS = 10
WALL_SECONDS = 60.0
"""Of the process that renders templates."""
CONFIDENTIALITY = ("public", "internal", "confidential")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the invoker said of the suite to be."""

    name: str | None = None
    cases: int = 200
    """Most conversations drawn from chat logs."""
    judge: str | None = None
    source: str | None = None
    period: str | None = None
    confidentiality: str | None = None


def import_file(file: Path, to: Path, wanted: Wanted) -> Mapping[str, Any]:
    """Imports `file` into the folder `to`; gives what was done, as a document.

    Raises UsageError, DocumentError naming file, line and field, StorageError. Nothing is written unless the suite that
    comes out is one that certifying would accept.
    """
    if wanted.confidentiality is not None and wanted.confidentiality not in CONFIDENTIALITY:
        raise UsageError(
            f"{wanted.confidentiality!r} is none of {', '.join(CONFIDENTIALITY)}", where="--confidentiality"
        )
    name = suite_id(to, wanted.name)
    imported = _imported(file, wanted)
    header = _header(name, imported, file, wanted)
    lines = [{"id": f"c{number}", **case} for number, case in enumerate(imported.cases, start=1)]
    cases = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines).encode()
    suite = read_suite(header, cases, where=str(file))
    written = write_suite(to, header, cases)
    return {
        "from": str(file),
        "written": [str(path) for path in written],
        "suite": suite.id,
        "digest": suite.digest,
        "cases": len(suite.cases),
        "notes": list(imported.notes),
        "nextStep": f"read what was taken, then: peft-assay suite lint {to}",
    }


def _imported(file: Path, wanted: Wanted) -> Imported:
    where = str(file)
    if not file.is_file():
        raise UsageError("there is no such file", where=where, next_step="peft-assay suite import --help")
    content = read_file(file)
    match file.suffix.lower():
        case ".yaml" | ".yml":
            if wanted.judge is not None:
                raise UsageError("a task has its own scorer", where="--judge", next_step="leave --judge out")
            return import_task(content, reader(file.parent), render, where=where)
        case ".jsonl":
            return import_chat_logs(content, cases=wanted.cases, judge=wanted.judge, where=where)
    raise UsageError(
        "neither a task (.yaml) nor chat logs (.jsonl)", where=where, next_step="peft-assay suite import --help"
    )


def _header(name: str, imported: Imported, file: Path, wanted: Wanted) -> bytes:
    given = dict(imported.header)
    document = {
        "apiVersion": "peft-assay/v1",
        "kind": "Suite",
        "id": name,
        "version": given.pop("version", "1"),
        "description": given.pop("description"),
        "source": wanted.source or file.name,
        "period": wanted.period,
        "confidentiality": wanted.confidentiality or given.pop("confidentiality"),
        **{key: value for key, value in given.items() if key != "confidentiality"},
        "cases": CASES_FILE,
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110).encode()


def reader(folder: Path) -> ReadFile:
    """Reads files that lie in `folder`, also after links are followed; nothing else on this machine is reached."""
    root = folder.resolve()

    def read(name: str, field: str) -> bytes:
        try:
            path = (root / name).resolve()
            inside = path.is_relative_to(root) and "://" not in name and not Path(name).is_absolute()
        except (OSError, ValueError, RuntimeError):
            inside = False
        if not inside:
            raise DocumentError(f"{name[:200]!r} is not a file below the task's own folder", where=field)
        return read_file(path, named_by=field)

    return read


def render(templates: Sequence[Template], documents: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """Renders in a process that is limited in time and memory; raises DocumentError naming field and document."""
    question = {
        "templates": [{"text": template.text, "literal": template.literal} for template in templates],
        "documents": list(documents),
    }
    done = _ask_renderer(json.dumps(question).encode(), templates[0].field if templates else "task")
    if "problem" in done:
        template = templates[int(done["template"]) - 1]
        which = f"document {done['document']}: " if done["document"] else ""
        raise DocumentError(f"{which}{done['problem']}", where=template.field)
    rows: list[list[Any]] = done["rendered"]
    return rows


def _ask_renderer(question: bytes, where: str) -> Mapping[str, Any]:
    slow = DocumentError("its templates take too long or too much to render", where=where)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-m", RENDERER, str(CPU_SECONDS)],
            input=question,
            capture_output=True,
            timeout=WALL_SECONDS,
            check=False,
            env={},
            cwd="/",
        )
    except subprocess.TimeoutExpired:
        raise slow from None
    if done.returncode != 0:
        raise slow
    value = parse_json(done.stdout, where=where, max_bytes=len(done.stdout))
    if not isinstance(value, dict) or not {"rendered", "problem"} & set(value):
        raise slow
    return value
