"""A verdict that is not PASS, after a PASS: it is signed into the revocation list, which lies outside the workspace.

The ledger has every verdict, but an attacker who can write the workspace can write verdicts too. The certificate is
signed, so the reversal that ends it is signed as well. A later PASS makes a later certificate, which no earlier
reversal touches.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from peft_assay.certify.revoke import next_list
from peft_assay.core.certificate import Reversal
from peft_assay.core.errors import TrustError
from peft_assay.core.verdict import Outcome, Verdict
from peft_assay.pipeline.deployment import Deployment
from peft_assay.pipeline.evidence import certificate_in
from peft_assay.trust.revocations import RevocationRecord
from peft_assay.trust.roles import Role

_LATER = timedelta(seconds=1)
"""Times in statements are whole seconds: this is the least later time."""


def reverse(deployment: Deployment, verdict: Verdict, now: datetime) -> None:
    """Sign that `verdict`, which is not PASS, ends the certificates of the same adapter and context.

    There is nothing to sign where no certificate is left that an earlier reversal has not ended.
    """
    issued = _last_issued(deployment, verdict)
    earlier = _last_reversal(deployment, verdict)
    if verdict.outcome is Outcome.PASS or issued is None or (earlier is not None and earlier.at >= issued):
        return
    sealer = deployment.sealer(Role.AUTHORITY)
    said = Reversal(verdict.artifact, verdict.lock, verdict.outcome.value, max(now, issued))

    def following(previous: RevocationRecord | None, others: Sequence[RevocationRecord]) -> bytes:
        return next_list(previous, merge=others, now=now, sealer=sealer, reverse=[said])

    deployment.publish(following, now)


def issued_after(deployment: Deployment, verdict: Verdict, now: datetime) -> datetime:
    """Return `now`, or the first time after the last reversal about the subject of `verdict`, where that is later."""
    earlier = _last_reversal(deployment, verdict)
    return now if earlier is None else max(now, earlier.at + _LATER)


def _last_reversal(deployment: Deployment, verdict: Verdict) -> Reversal | None:
    record = deployment.revocations()
    return None if record is None else record.list.reversal_of(verdict.artifact, verdict.lock)


def _last_issued(deployment: Deployment, verdict: Verdict) -> datetime | None:
    """Return when the last certificate of the same adapter and context was issued; unverified certificates admit
    nothing and do not count.
    """
    found = []
    for envelope in deployment.workspace.certificates(verdict.artifact, verdict.lock):
        try:
            found.append(certificate_in(deployment, envelope).issued_at)
        except TrustError:
            continue
    return max(found, default=None)
