"""`policy diff`: every stored observation set under two policies. Reads and evaluates; runs no inference."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from peft_assay.core.digest import Digest
from peft_assay.core.errors import DocumentError
from peft_assay.core.verdict import Outcome, Verdict
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.evaluate.interface import CompiledPolicy
from peft_assay.pipeline.deployment import Deployment
from peft_assay.pipeline.policy.read import PolicyText
from peft_assay.trust.observations import ObservationRecord


@dataclass(frozen=True, slots=True)
class Moved:
    """One observation set about which the policies differ."""

    name: str
    artifact: Digest
    before: Outcome
    after: Outcome
    rule: str | None
    """The rule that decides now; where it is admitted now, the rule that decided before."""
    explanation: str


@dataclass(frozen=True, slots=True)
class Difference:
    """What another policy would change."""

    counts: Mapping[tuple[Outcome, Outcome], int]
    moved: tuple[Moved, ...]
    unread: Mapping[str, int]
    """Why a set could not be judged by both policies -> how many."""

    @property
    def sets(self) -> int:
        """Observation sets that were judged."""
        return sum(self.counts.values())


def diff(deployment: Deployment, old: PolicyText, new: PolicyText) -> Difference:
    """Both policies over the newest observation set of each artifact and conditions.

    Raises TrustError for altered evidence, and DocumentError when a policy can be read with no set's suites.
    """
    pairs = _Compiled(old, new)
    names = deployment.workspace.sources()
    counts: Counter[tuple[Outcome, Outcome]] = Counter()
    moved = []
    for record in newest_records(deployment):
        compiled = pairs.for_suites(tuple(sorted(record.conditions.get("suites", {}))))
        if compiled is None:
            continue
        lock = record.envelope  # no lock is meant: the two verdicts are compared with each other only
        before, after = (evaluate(policy, record.observations, lock) for policy in compiled)
        counts[before.outcome, after.outcome] += 1
        if before.outcome is not after.outcome:
            digest = record.artifact.digest
            moved.append(_moved(names.get(digest, digest), digest, before, after))
    if not counts and pairs.problem is not None:
        raise pairs.problem
    return Difference(counts, tuple(moved), dict(pairs.unread))


def newest_records(deployment: Deployment) -> Iterator[ObservationRecord]:
    """The newest observation set of each artifact and conditions, verified, by the time it was recorded."""
    for envelope in deployment.workspace.newest_observations():
        yield deployment.record_of(envelope)


def _moved(source: str, artifact: Digest, before: Verdict, after: Verdict) -> Moved:
    deciding = after.deciding or before.deciding
    rule, why = (None, "") if deciding is None else (deciding.rule, deciding.explanation)
    return Moved(Path(source).name or source, artifact, before.outcome, after.outcome, rule, why)


class _Compiled:
    """Both policies, compiled once for each set of suites that is met."""

    def __init__(self, old: PolicyText, new: PolicyText) -> None:
        self._texts = (old, new)
        self._known: dict[tuple[str, ...], tuple[CompiledPolicy, CompiledPolicy] | DocumentError] = {}
        self.unread: Counter[str] = Counter()
        self.problem: DocumentError | None = None

    def for_suites(self, suites: tuple[str, ...]) -> tuple[CompiledPolicy, CompiledPolicy] | None:
        if suites not in self._known:
            self._known[suites] = self._compile(suites)
        found = self._known[suites]
        if isinstance(found, DocumentError):
            self.problem = found
            self.unread[f"suites {', '.join(suites) or 'none'}: {found}"] += 1
            return None
        return found

    def _compile(self, suites: tuple[str, ...]) -> tuple[CompiledPolicy, CompiledPolicy] | DocumentError:
        try:
            old, new = (text.compiled(suites) for text in self._texts)
        except DocumentError as problem:
            return problem
        return old, new
