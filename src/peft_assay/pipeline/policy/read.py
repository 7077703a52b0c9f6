"""Policies by the name that somebody gives them, compiled for the suites that they will meet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from peft_assay.core.errors import UsageError
from peft_assay.core.vocabulary import vocabulary
from peft_assay.evaluate.builtin import builtin_policy
from peft_assay.evaluate.document import load_policy
from peft_assay.evaluate.interface import CompiledPolicy
from peft_assay.pipeline.documents import read_assay, read_file
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.project import Project, load_project

BUILTIN = "builtin:"


@dataclass(frozen=True, slots=True)
class PolicyText:
    """One policy as written."""

    name: str
    """As it was asked for, or as peft-assay.yaml names it."""
    content: bytes
    where: str

    def compiled(self, suites: Iterable[str]) -> CompiledPolicy:
        """Checked against the vocabulary of `suites`; raises DocumentError."""
        return load_policy(self.content, where=self.where, vocabulary=vocabulary(suites))

    @property
    def file(self) -> Path | None:
        """Where it lies, unless it came with the package."""
        return None if self.name.startswith(BUILTIN) else Path(self.where)


@dataclass(frozen=True, slots=True)
class Setting:
    """A policy and the suites, with their number of cases, that it is to be read with."""

    policy: PolicyText
    suites: Mapping[str, int]

    @property
    def compiled(self) -> CompiledPolicy:
        """The policy for exactly these suites."""
        return self.policy.compiled(self.suites)


def read_policy(named: str | None, project_path: Path | None = None) -> PolicyText:
    """The policy `named`: ``builtin:NAME`` or a file; None: the one that the project names.

    Raises UsageError when nothing is named, StorageError when a file cannot be read.
    """
    if named is None:
        if project_path is None:
            raise UsageError("names no policy", next_step="name a policy file, or builtin:default")
        declared = read_assay(project_path).policy
        if declared.startswith(BUILTIN):
            return read_policy(declared)
        file = project_path.parent / declared
        return PolicyText(declared, read_file(file, named_by=f"{project_path}: policy"), str(file))
    if named.startswith(BUILTIN):
        return PolicyText(named, builtin_policy(named.removeprefix(BUILTIN)), named)
    return PolicyText(named, read_file(Path(named), named_by=named), named)


def setting(place: Place, named: str | None, suites: Mapping[str, int]) -> Setting:
    """The policy `named` in the project at `place`; with `suites` given, for these and without a project.

    Raises UsageError when neither suites nor a project are at hand.
    """
    if suites and named is not None:
        return Setting(read_policy(named), suites)
    try:
        project = load_project(place.context_path())
    except UsageError as problem:
        step = "name a policy and its suites: peft-assay policy lint FILE --suite support=80"
        raise UsageError(problem.message, where=problem.where, next_step=step) from None
    return Setting(read_policy(named, project.path), suites or cases_of(project))


def cases_of(project: Project) -> dict[str, int]:
    """Number of cases of each suite."""
    return {suite.id: len(suite.cases) for suite in project.suites}
