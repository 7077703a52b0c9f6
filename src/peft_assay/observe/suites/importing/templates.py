"""Jinja templates of imported tasks, rendered in a process of their own that cannot take long, much or anything else.

The environment is Jinja's immutable sandbox with what lm-evaluation-harness offers: strict undefined names, trailing
newlines kept, and its one filter. A template can still loop and multiply, which no sandbox of the language stops; the
process's limits do.
"""

import ast
import json
import re
import resource
import sys
from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

MEMORY_BYTES = 1 << 30
MAX_RENDERED = 1 << 20
"""Characters of one rendered template."""
MAX_TOTAL = 64 << 20


class Refused(ValueError):
    """What a template made is more than is kept."""


def render_all(question: Mapping[str, Any]) -> dict[str, Any]:
    """Renders each template for each document.

    ``{"templates": [{"text", "literal"}], "documents": [{...}]}`` gives ``{"rendered": [[...]]}``, rows by document; a
    literal is what the rendered text says as a Python literal, strings and lists of strings only. What cannot be
    rendered gives ``{"problem", "template", "document"}``, both counted from 1; document 0 is the template itself.
    """
    environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["regex_replace"] = _regex_replace
    at = (1, 0)
    total = 0
    rendered: list[list[Any]] = []
    try:
        templates = []
        for number, wanted in enumerate(question["templates"], start=1):
            at = (number, 0)
            templates.append((environment.from_string(wanted["text"]), wanted["literal"]))
        for row, document in enumerate(question["documents"], start=1):
            values = []
            for number, (template, literal) in enumerate(templates, start=1):
                at = (number, row)
                text = template.render(**document)
                total += len(text)
                if len(text) > MAX_RENDERED or total > MAX_TOTAL:
                    raise Refused(f"more than {MAX_RENDERED} characters, or {MAX_TOTAL} in all")
                values.append(ast.literal_eval(text.strip()) if literal else text)
            rendered.append(values)
        return {"rendered": rendered}
    except MemoryError:
        problem = "it takes too much memory"
    except Exception as error:  # noqa: BLE001 - a template can raise what it likes; here nothing else is running
        problem = f"{type(error).__name__}: {error}"[:500]
    return {"problem": problem, "template": at[0], "document": at[1]}


def _regex_replace(text: str, pattern: str, repl: str, count: int = 0) -> str:
    """lm-evaluation-harness's filter of this name."""
    return re.sub(pattern, repl, text, count=count)


def main() -> None:
    """Limits itself to the CPU-seconds that its argument says, then answers the one question on standard input."""
    seconds = int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))
    json.dump(render_all(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
