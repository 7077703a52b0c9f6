"""Holding a share of the cases back: whoever learns the cases of one rotation has not learnt those of the next."""

from collections.abc import Sequence

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.suite import Case


def held_back(cases: Sequence[Case], share: float, rotation: str) -> frozenset[str]:
    """Ids of the cases that are not in use: `share` of them, rounded down, chosen by digests of rotation and case.

    A case keeps its place in a rotation whatever else is added to the suite.
    """
    ranked = sorted(cases, key=lambda case: canonical_digest([rotation, case.id, repr(case.prompt)]))
    return frozenset(case.id for case in ranked[: int(share * len(ranked))])
