"""What commands write with: results to standard output, errors and progress to standard error."""

import shutil
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from peft_assay.cli.options import Format
from peft_assay.core.commands import NONE, Options, with_options
from peft_assay.core.errors import AssayError, DocumentError, ObservationError, StorageError, TrustError
from peft_assay.report import sink


def result(text: sink.Rendered) -> None:
    """A result, to standard output."""
    sink.write(text, sys.stdout)


def is_terminal() -> bool:
    """Whether standard output is somebody's terminal."""
    return sys.stdout.isatty()


def width() -> int:
    """Columns to draw in."""
    return max(60, min(shutil.get_terminal_size((100, 24)).columns, 160))


def document(content: Mapping[str, Any]) -> None:
    """A JSON result."""
    result(sink.json_text(content))


_NEXT_STEPS: tuple[tuple[type[AssayError], str], ...] = (
    (DocumentError, "correct it there; peft-assay certify --plan checks every document and runs nothing"),
    (StorageError, "make room or mend the permissions there, then run it again"),
    (ObservationError, "see what the sandbox lacks here: peft-assay doctor"),
    (TrustError, "find out who changed it before going on"),
)
"""What to do where the place that raised an error of this kind names nothing more precise."""


def problem(error: AssayError, output: Format, options: Options = NONE) -> None:
    """An error: one line and the next step for people, a document for programs. `options` are said again there."""
    step = error.next_step or next((step for kind, step in _NEXT_STEPS if isinstance(error, kind)), None)
    error.next_step = None if step is None else with_options(step, options)
    if output is Format.JSON:
        body = {"message": error.message, "where": error.where, "nextStep": error.next_step}
        document({"error": body, "door": int(error.door)})
    else:
        sink.write(sink.error(error), sys.stderr)


def note(line: str) -> None:
    """One line beside the result, on stderr."""
    sink.write(sink.phrase("{}\n", line), sys.stderr)


class Steps:
    """Progress of a run over several adapters: a bar with the time left on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=sink.error_console(),
            transient=True,
            disable=not self._live,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Says what is being done now."""
        shown = sink.phrase("{}", what)
        if not self._live:
            sink.write(sink.phrase("[{}/{}] {}", done, total, what) + "\n", sys.stderr)  # type: ignore[arg-type]
        elif self._task is None:
            self._task = self._progress.add_task(shown, total=total, completed=done)
        else:
            self._progress.update(self._task, description=shown, completed=done, total=total)
