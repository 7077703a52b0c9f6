"""`suite lint`: one suite, or all of a project, with the numbers of cases that the policy needs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from peft_assay.core.errors import UsageError
from peft_assay.core.suite import Suite
from peft_assay.evaluate.interface import CompiledPolicy
from peft_assay.evaluate.lint import Need, needed_cases
from peft_assay.observe.behaviour.nulls import Null, reached
from peft_assay.observe.suites.controls import Control, run_controls
from peft_assay.observe.suites.lint import Finding, Weight, lint
from peft_assay.pipeline.documents import FILE_NAME, find_assay
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.policy.ideal import best_case
from peft_assay.pipeline.policy.read import read_policy
from peft_assay.pipeline.project import Project, load_project
from peft_assay.pipeline.suites.load import completed, read_files
from peft_assay.pipeline.suites.tokens import token_count

SUITE_FILE = "suite.yaml"
DEFAULT_POLICY = "builtin:default"


@dataclass(frozen=True, slots=True)
class Linted:
    """What lint has to say of one suite."""

    suite: Suite
    policy: str
    controls: tuple[Control, ...]
    needs: tuple[Need, ...]
    findings: tuple[Finding, ...]
    with_base: bool
    """Whether lengths were counted in the base's own tokens."""

    @property
    def sound(self) -> bool:
        """Whether there is no error."""
        return not any(finding.weight is Weight.ERROR for finding in self.findings)


def lint_suites(named: Path | None, place: Place) -> tuple[Linted, ...]:
    """The suites of the project, or the one that `named` is. Raises DocumentError for a suite that is refused.

    A suite that belongs to no project is read with the default policy and without a base.
    """
    file = None if named is None else suite_file(named)
    project = _project(named, file, place)
    if file is None:
        if project is None:
            raise UsageError("names neither a suite nor a project", next_step="peft-assay suite lint SUITE")
        return tuple(_linted(suite, project.suites, project.policy, project) for suite in project.suites)
    suite = read_files(file).suite()
    if project is None:
        return (_linted(suite, (suite,), read_policy(DEFAULT_POLICY).compiled([suite.id]), None),)
    suite = completed(suite, file, project.base_path, project.context.system_prompt)
    among = (*(other for other in project.suites if other.id != suite.id), suite)
    policy = read_policy(None, project.path).compiled([other.id for other in among])
    return (_linted(suite, among, policy, project),)


def suite_file(named: Path) -> Path | None:
    """The suite.yaml that `named` is or holds; None where it is a project. Raises UsageError for anything else."""
    if named.name == FILE_NAME or (named / FILE_NAME).is_file():
        return None
    file = named / SUITE_FILE if named.is_dir() else named
    if not file.is_file():
        raise UsageError(f"there is no suite {named}", next_step="peft-assay suite new FOLDER")
    return file


def _project(named: Path | None, file: Path | None, place: Place) -> Project | None:
    """The project that `named` is, or that its suite lies in, or the one in force."""
    if named is not None and file is None:
        return load_project((named / FILE_NAME if named.is_dir() else named).absolute())
    if file is None or place.context is not None:
        return load_project(place.context_path())
    try:
        return load_project(find_assay(file.parent.absolute()))
    except UsageError:
        return None


def _linted(suite: Suite, among: tuple[Suite, ...], policy: CompiledPolicy, project: Project | None) -> Linted:
    base = None if project is None else token_count(project.base_path)
    sizes = {other.id: len(other.cases) for other in among}
    needs = tuple(need for need in needed_cases(policy, sizes, best_case) if need.suite == suite.id)
    findings = (*_too_small(needs), *_null(suite, among, policy, alone=project is None), *lint(suite, base))
    name = DEFAULT_POLICY if project is None else project.document.policy
    return Linted(suite, name, tuple(run_controls(suite)), needs, findings, base is not None)


def _null(suite: Suite, among: Sequence[Suite], policy: CompiledPolicy, *, alone: bool) -> Iterator[Finding]:
    """Yield findings on null answers that reach the policy's floor on all suites: a suite that passes one does no harm
    beside another suite that fails it.

    An error where the policy denies it, unless the suite stands `alone`: it may well have others beside it later.
    """
    floor = policy.parameters.get("params.floor")
    least = float(floor) if isinstance(floor, int | float) else _HALF
    conditions = [condition for rule in policy.rules for condition in rule.conditions]
    denied = any(term.name.startswith("controls.") for condition in conditions for term in condition.terms)
    for null in Null:
        best = reached(null, among, {})
        if best.lower < least or reached(null, (suite,), {}).lower < least:
            continue
        yield Finding(
            f"{null}-passes",
            Weight.ERROR if denied and not alone else Weight.WARNING,
            None,
            f"{best}: no suite would notice an adapter that answers nothing else",
            "add a suite of right answers that differ from case to case (peft-assay suite new suites/answers "
            "--scorer exact) and name it under suites in peft-assay.yaml",
        )


_HALF = 0.5
"""The least pass rate of a null answer that is reported, where the policy has no parameter floor."""


def _too_small(needs: tuple[Need, ...]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            "n-too-small",
            Weight.ERROR,
            None,
            f"{need.n} cases, all right, do not satisfy {need.condition} of rule {need.rule}; "
            + (f"{need.needed} do" if need.needed is not None else "no number does"),
            "add cases" if need.needed is not None else "ask for less in the policy",
        )
        for need in needs
        if not need.enough
    )


def documents_of(linted: tuple[Linted, ...]) -> list[Mapping[str, object]]:
    """As JSON has it."""
    return [
        {
            "suite": one.suite.id,
            "version": one.suite.version,
            "digest": one.suite.digest,
            "scorer": one.suite.scorer.kind.value,
            "cases": len(one.suite.cases),
            "heldBack": one.suite.held_back,
            "policy": one.policy,
            "countedInTokens": one.with_base,
            "controls": [
                {"control": c.name, "answer": c.answer, "passes": c.passes, "cases": c.n} for c in one.controls
            ],
            "needs": [
                {"rule": n.rule, "condition": n.condition, "needed": n.needed, "enough": n.enough} for n in one.needs
            ],
            "findings": [
                {
                    "weight": f.weight.value,
                    "code": f.code,
                    "case": f.case,
                    "message": f.message,
                    "nextStep": f.next_step,
                }
                for f in one.findings
            ],
        }
        for one in linted
    ]
