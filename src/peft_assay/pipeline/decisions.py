"""What approvers signed about artifacts, clearances and waivers alike, as far as it stands."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from peft_assay.core.digest import Digest
from peft_assay.core.errors import TrustError
from peft_assay.core.rights import Clearance
from peft_assay.core.waiver import Waiver
from peft_assay.pipeline.deployment import Deployment
from peft_assay.trust.keys import PublicKey
from peft_assay.trust.roles import Role

Decision = TypeVar("Decision", Clearance, Waiver)


def standing_decisions(
    deployment: Deployment, envelopes: Iterable[bytes], read: Callable[[bytes, Sequence[PublicKey]], Decision]
) -> tuple[Decision, ...]:
    """Those of `envelopes` that a pinned approver signed and whose key nobody withdrew, by time, in force or not.

    One that does not verify, or whose approver's key is withdrawn, decides nothing: that is the safe side.
    """
    envelopes = tuple(envelopes)
    if not envelopes:
        return ()
    record = deployment.revocations()
    withdrawn = set() if record is None else {entry.target for entry in record.list.revocations}
    found = []
    for envelope in envelopes:
        try:
            decision = read(envelope, deployment.anchor.keys_of(Role.APPROVER))
        except TrustError:
            continue
        if decision.keyid not in withdrawn:
            found.append(decision)
    return tuple(sorted(found, key=lambda decision: (decision.at, decision.envelope or "")))


def about(artifact: Digest | None, decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
    """Return `decisions`; raises TrustError where one that is filed under `artifact` is about another one.
    None: any.
    """
    for decision in decisions:
        if artifact not in (None, decision.artifact):
            where = f"{type(decision).__name__.lower()} {decision.envelope}"
            raise TrustError("it is filed under another adapter than it is about", where=where)
    return decisions
