"""`policy diff`: every stored observation set under two policies. Reads and evaluates; runs no inference."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from peft_assay.core.context import Lock
from peft_assay.core.digest import Digest
from peft_assay.core.errors import DocumentError
from peft_assay.core.verdict import Outcome, Verdict
from peft_assay.core.waiver import Waiver
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.evaluate.interface import CompiledPolicy
from peft_assay.evaluate.waive import waive
from peft_assay.pipeline.deployment import Deployment
from peft_assay.pipeline.policy.read import PolicyText
from peft_assay.pipeline.project import build_lock, observed_in
from peft_assay.pipeline.sources import short_name
from peft_assay.pipeline.waivers import waivers_of
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
    """Of observation sets."""
    adapters: Mapping[tuple[Outcome, Outcome], int]
    """Of adapters, each by its newest observation set."""
    moved: tuple[Moved, ...]
    unread: Mapping[str, int]
    """Why a set could not be judged by both policies -> how many."""

    @property
    def sets(self) -> int:
        """Observation sets that were judged."""
        return sum(self.counts.values())


def diff(deployment: Deployment, old: PolicyText, new: PolicyText, *, now: datetime) -> Difference:
    """Both policies over the newest observation set of each artifact and conditions, with what is waived at `now`.

    Raises TrustError for altered evidence, and DocumentError when a policy can be read with no set's suites.
    """
    deployment.look(now)
    pairs, waived = _Compiled(old, new), _Waived(deployment, now)
    sources = deployment.workspace.sources()
    counts: Counter[tuple[Outcome, Outcome]] = Counter()
    adapters: dict[Digest, tuple[Outcome, Outcome]] = {}
    moved = []
    for record in newest_records(deployment):
        compiled = pairs.for_suites(tuple(sorted(record.conditions.get("suites", {}))))
        if compiled is None:
            continue
        before, after = (waived.verdict(policy, record) for policy in compiled)
        counts[before.outcome, after.outcome] += 1
        adapters[record.artifact.digest] = before.outcome, after.outcome  # in order of time: the newest set counts
        if before.outcome is not after.outcome:
            digest = record.artifact.digest
            name = short_name(Path(sources.get(digest, digest)))
            moved.append(_moved(name, digest, before, after))
    if not counts and pairs.problem is not None:
        raise pairs.problem
    return Difference(counts, Counter(adapters.values()), tuple(moved), dict(pairs.unread))


def newest_records(deployment: Deployment) -> Iterator[ObservationRecord]:
    """The newest observation set of each artifact and conditions, verified, by the time it was recorded."""
    for envelope in deployment.workspace.newest_observations():
        yield deployment.record_of(envelope)


def _moved(name: str, artifact: Digest, before: Verdict, after: Verdict) -> Moved:
    deciding = after.deciding or before.deciding
    rule, why = (None, "") if deciding is None else (deciding.rule, deciding.explanation)
    return Moved(name, artifact, before.outcome, after.outcome, rule, why)


class _Waived:
    """Verdicts with the waivers that a workspace holds, read once."""

    def __init__(self, deployment: Deployment, now: datetime) -> None:
        self._project = deployment.project
        self._now = now
        self._kept: dict[Digest, list[Waiver]] = {}
        for waiver in waivers_of(deployment):
            self._kept.setdefault(waiver.artifact, []).append(waiver)

    def verdict(self, policy: CompiledPolicy, record: ObservationRecord) -> Verdict:
        """The verdict in the project as it is now, for the conditions of `record`."""
        artifact = record.artifact.digest
        # No lock is meant: the two verdicts are compared with each other only.
        verdict = evaluate(policy, record.observations, record.envelope)
        kept, observed = self._kept.get(artifact, ()), observed_in(record.conditions)
        if not kept or observed is None:
            return verdict
        lock = build_lock(self._project, observed, artifact)
        here = Lock({**lock.document, "conditions": record.conditions}).circumstances
        return waive(policy, verdict, kept, circumstances=here, now=self._now)


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
