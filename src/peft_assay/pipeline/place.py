"""Where to act, as the invoker said it. Light: the command line imports it before it knows what it will need."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from peft_assay.core.commands import Options, with_options
from peft_assay.core.errors import UsageError
from peft_assay.pipeline.documents import FILE_NAME, find_assay


@dataclass(frozen=True, slots=True)
class Place:
    """What the invoker says on the command line or in a call about where to act; None: found as documented."""

    context: Path | None = None
    workspace: Path | None = None
    """Folder that holds ``.peft-assay``; None: beside peft-assay.yaml."""
    trust: Path | None = None

    @property
    def options(self) -> Options:
        """What the invoker said, as options of a command line."""
        said = {"--context": self.context, "--workspace": self.workspace, "--trust": self.trust}
        return {name: str(path) for name, path in said.items() if path is not None}

    def again(self, step: str) -> str:
        """`step`, every command in it told where to act as the invoker told this one."""
        return with_options(step, self.options)

    def about(self, step: str, source: str) -> str:
        """`again`, with `source` in the place that a step of the gate's leaves open."""
        return re.sub(r"\b(SOURCE|TARGET)\b", lambda _: shlex.quote(source), self.again(step))

    def context_path(self) -> Path:
        """The peft-assay.yaml in force; raises UsageError when there is none."""
        if self.context is None:
            return find_assay(Path.cwd())
        path = self.context / FILE_NAME if self.context.is_dir() else self.context
        if not path.is_file():
            raise UsageError(f"there is no file {path}", next_step=f"name the {FILE_NAME} with --context")
        return path.absolute()
