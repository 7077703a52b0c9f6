"""What is certain of single adapters before anything runs: the rules that their files break already.

The same probes and the same policy as in `certify`, on the same bytes: `certify --plan` and `certify` name one cause.
Rights are left out: what was cleared and adopted is in the workspace, which a plan does not need.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from peft_assay.core.digest import sha256
from peft_assay.core.errors import Door, IntakeError
from peft_assay.core.observation import ObservationSet
from peft_assay.core.verdict import Outcome
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.intake.admit import admit
from peft_assay.intake.reference import parse_reference
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.interface import BaseFacts
from peft_assay.observe.static.weights import watch_weights
from peft_assay.pipeline.project import Project
from peft_assay.pipeline.standing import static_subject

_ELSEWHERE = "rights."
_UNLOCKED = sha256(b"")


@dataclass(frozen=True, slots=True)
class Unfit:
    """An adapter that cannot pass, whatever it answers."""

    source: str
    message: str
    """The rule that its files break, or why they were not admitted."""
    next_step: str
    door: Door


class _Names(Mapping[str, float]):
    """The names of the base's tensors; no norm is computed, for a plan does not read the base's weights."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)

    def __getitem__(self, name: str) -> float:
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _named_only(base: BaseFacts | None) -> BaseFacts | None:
    return None if base is None else replace(base, norms=_Names(tuple(base.norms)))


def glance(project: Project, named: Sequence[str], now: datetime) -> Iterator[Unfit]:
    """Yield those of `named` that lie on this machine and cannot pass, each with its first reason."""
    for name in named:
        declared = project.document.adapters.get(name)
        place = parse_reference(name if declared is None else declared.source)
        if isinstance(place, Path):
            path = place if declared is None else project.path.parent / place
            if path.exists():
                yield from _unfit(project, name, path, now)


def _unfit(project: Project, name: str, path: Path, now: datetime) -> Iterator[Unfit]:
    try:
        admitted = admit(path, watch=watch_weights)
    except IntakeError as refusal:
        yield Unfit(name, str(refusal), refusal.next_step or "", Door.REFUSED)
        return
    subject = static_subject(project, admitted)
    subject = replace(subject, context=replace(subject.context, base=_named_only(subject.context.base), resolve=None))
    static = observe_static(subject)
    artifact = admitted.artifact.digest
    verdict = evaluate(project.policy, ObservationSet(artifact, _UNLOCKED, now, static), _UNLOCKED)
    for result in verdict.results:
        if result.outcome is Outcome.FAIL and not any(term.startswith(_ELSEWHERE) for term in result.saw):
            step = result.next_step.replace("{source}", shlex.quote(name))
            yield Unfit(name, f"{result.rule}: {result.explanation}", step, Door.FAILED)
            return
