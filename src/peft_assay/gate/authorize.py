"""The gate: may exactly these bytes be active on this base, here and now?

The procedure, in order; the first check that fails decides (`deciding`), but for a withdrawal, which is said before a
missing certificate: to certify again would not lift it. Checks that build on a failed one are not reached, the others
still say what they find, so that every reason is known at once. `explain` gives all checks as values and `authorize`
raises on the one that decides: both read the same results. Nothing here reads a file or a clock.

1. anchor       Keys are pinned for authority and sandbox; in production none of them is a development key. 2.
revocations  The revocation list is there, signed by a pinned authority key that it does not itself withdraw, not stale
by its own end or by the anchor's, not from the future. Neither it nor the clock went back, and every list since the one
that was seen last (on first use: since the first) keeps what it followed. 3. certificate  There is a certificate for
this artifact in this context. 4. signature    Its signed bytes say so: a pinned authority key, PASSED, this artifact,
this lock. 5. observations Every observation it rests on is there, signed by a pinned sandbox key, about this artifact
under the lock's conditions, from a sandbox at or above the minimum level. 6. waivers      Every rule that it calls
waived has its waiver: not withdrawn, signed by a pinned approver key, about this artifact, rule and deployment,
accepting exactly what was observed, and in force. 7. times        It is not from the future, not expired and not ended
by a signed reversal (a later verdict that is not PASS). Its oldest observation is young enough. 8. withdrawn    No
revocation in force touches certificate, adapter, weights, policy, suite, base or key, and the files at hand do not have
the function of a withdrawn adapter. 9. bytes        The manifest computed from the files at hand is the certified one.
10. base        The base's state is the one in the lock.

Where the context and the anchor differ on age, isolation or production, the stricter one holds.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

from peft_assay.core.certificate import Activation
from peft_assay.core.errors import ActivationDenied, TrustError
from peft_assay.gate.checks import PROCEDURE, Case, Failed, Step, Unreached, seen_value
from peft_assay.gate.interface import Check, Denial, Evidence, State
from peft_assay.trust.anchor import TrustAnchor
from peft_assay.trust.capability import sealed
from peft_assay.trust.times import whole_seconds

WHILE_ACTIVE = tuple(step for step in PROCEDURE if step.name not in ("bytes", "base"))
"""The last two checks are about the files and the base in memory."""


def explain(evidence: Evidence, anchor: TrustAnchor, now: datetime) -> tuple[Check, ...]:
    """All ten checks in order. `now` is an aware time; raises UsageError otherwise."""
    return _decide(evidence, anchor, now)[0]


def authorize(evidence: Evidence, anchor: TrustAnchor, now: datetime) -> Activation:
    """Permission for exactly ``evidence.files`` in ``evidence.process_id``.

    Raises ActivationDenied naming the check that decided, or TrustError when what failed is trust itself
    (signatures, keys, altered or rolled-back evidence).
    """
    checks, case = _decide(evidence, anchor, now)
    _raise(checks)
    return sealed(_permission(evidence, anchor, case))


def confirm(evidence: Evidence, anchor: TrustAnchor, now: datetime) -> None:
    """Raise as `authorize` does where its permission holds no longer.

    All checks but ``bytes`` and ``base``: the process that loaded them compares them itself, and hashing takes long.
    """
    _raise(_decide(evidence, anchor, now, WHILE_ACTIVE)[0])


def _raise(checks: Sequence[Check]) -> None:
    no = deciding(checks)
    if no is not None and no.denial is Denial.TRUST:
        raise TrustError(no.message, where=f"gate check {no.number}, {no.name}", next_step=no.next_step)
    if no is not None:
        raise ActivationDenied(no.message, check=no.name, next_step=no.next_step)


def _permission(evidence: Evidence, anchor: TrustAnchor, case: Case) -> Activation:
    lengths = evidence.lock.lengths(lambda term: seen_value(case, term))
    return Activation(
        artifact=case.certificate.artifact,
        certificate=case.certificate.envelope,
        lock=case.certificate.lock,
        files=dict(evidence.files),
        granted_at=case.now,
        not_after=min(
            case.certificate.not_after,
            case.oldest + case.maximum_age,
            case.revocations.not_after,
            case.revocations.issued_at + anchor.revocation_maximum_age,
        ),
        process_id=evidence.process_id,
        prompt_tokens=lengths.prompt,
        answer_tokens=lengths.answer,
        beyond=lengths.beyond,
    )


def deciding(checks: Sequence[Check]) -> Check | None:
    """The check that says no: the first that does not hold, or a withdrawal where that one is not about trust.

    None where all hold.
    """
    first = next((check for check in checks if check.state is not State.HELD), None)
    if first is None or first.denial is Denial.TRUST:
        return first
    return next((check for check in checks if check.name == "withdrawn" and check.state is State.FAILED), first)


def _decide(
    evidence: Evidence, anchor: TrustAnchor, now: datetime, procedure: Sequence[Step] = PROCEDURE
) -> tuple[tuple[Check, ...], Case]:
    """The results for the first certificate that passes all checks, else for the one that came furthest."""
    results = []
    for envelope in evidence.certificates or (None,):
        case = Case(evidence, anchor, whole_seconds(now), envelope)
        checks = tuple(_run(case, procedure))
        results.append((checks, case))
    return max(results, key=lambda result: sum(check.state is State.HELD for check in result[0]))


def _run(case: Case, procedure: Sequence[Step]) -> Iterator[Check]:
    held: set[str] = set()
    for number, step in enumerate(procedure, start=1):
        missing = [name for name in step.needs if name not in held]
        if missing:
            yield Check(number, step.name, State.NOT_REACHED, f"needs: {', '.join(missing)}", None, None)
            continue
        try:
            yield Check(number, step.name, State.HELD, step.examine(case), None, None)
            held.add(step.name)
        except Unreached as unknown:
            yield Check(number, step.name, State.NOT_REACHED, f"needs: {unknown.needs}", None, None)
        except Failed as no:
            yield Check(number, step.name, State.FAILED, no.message, no.next_step, no.denial)
        except TrustError as error:
            yield Check(number, step.name, State.FAILED, str(error), error.next_step, Denial.TRUST)
