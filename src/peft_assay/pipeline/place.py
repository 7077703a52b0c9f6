"""Where to act, as the invoker said it. Light: the command line imports it before it knows what it will need."""

from dataclasses import dataclass
from pathlib import Path

from peft_assay.core.errors import UsageError
from peft_assay.pipeline.documents import FILE_NAME, find_assay


@dataclass(frozen=True, slots=True)
class Place:
    """What the invoker says on the command line or in a call about where to act; None: found as documented."""

    context: Path | None = None
    workspace: Path | None = None
    """Folder that holds ``.peft-assay``; None: beside peft-assay.yaml."""
    trust: Path | None = None

    def context_path(self) -> Path:
        """The peft-assay.yaml in force; raises UsageError when there is none."""
        if self.context is None:
            return find_assay(Path.cwd())
        path = self.context / FILE_NAME if self.context.is_dir() else self.context
        if not path.is_file():
            raise UsageError(f"there is no file {path}", next_step=f"name the {FILE_NAME} with --context")
        return path.absolute()
