"""What a bill of materials lists: the newest judgement of each adapter, with its lineage as it is declared now."""

from collections.abc import Sequence

from peft_assay.core.digest import parse_digest
from peft_assay.pipeline.certify import Certification
from peft_assay.pipeline.deployment import Clock, Deployment
from peft_assay.pipeline.origin import repository_of
from peft_assay.pipeline.project import quiet
from peft_assay.pipeline.reporting import certification_report, recorded
from peft_assay.pipeline.rights import show
from peft_assay.pipeline.sources import Located
from peft_assay.report.interface import BillEntry
from peft_assay.report.package_url import huggingface


def bill_entries(deployment: Deployment, sources: Sequence[Located], *, clock: Clock) -> tuple[BillEntry, ...]:
    """One entry for each of `sources`; of everything ever judged when none is named. Raises as `recorded` does."""
    return tuple(_entry(deployment, done, clock) for done in recorded(deployment, sources))


def _entry(deployment: Deployment, done: Certification, clock: Clock) -> BillEntry:
    if done.artifact is None or done.lock is None or done.record is None:
        raise AssertionError("what is recorded was judged")
    rights = show(deployment, done.artifact.digest, clock=clock, tell=quiet)
    repository = repository_of(done.source)
    return BillEntry(
        report=certification_report(deployment, done, clock()),
        lineage=rights.lineage,
        cleared=frozenset(rights.in_force),
        base_files=parse_digest(done.lock.document["conditions"]["base"]["files"]),
        observation=done.record.envelope,
        policy_id=deployment.project.policy.policy.id,
        package=None if repository is None else huggingface(*repository),
    )
