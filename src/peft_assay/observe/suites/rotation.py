"""Holding a share of the cases back: which ones follows from the calendar and from what the cases say.

A freely chosen name of a rotation is a lottery ticket: of 200 of them some leave out just the cases that an adapter
fails. So nothing that costs nothing to change has a say: neither the adapter's bytes nor names, ids, comments or the
order of cases, and the period is the quarter of the year in which is certified. Of a case the words of its prompt
decide: letter case, white space and punctuation, an example of an answer, and the order of choices can be changed
without another question.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from peft_assay.core.suite import Case, content_of

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
GRACE = timedelta(days=31)
"""How long the quarter that ended is still taken."""
_DERIVED = "peft-assay/hold-back/v3"


def held_back(cases: Sequence[Case], share: float, period: str) -> frozenset[str]:
    """Ids of the cases that are not in use: `share` of them, rounded down, chosen by digests of period and content.

    A case keeps its place in a period whatever else is added to the suite, and whatever it is called.
    """
    ranked = sorted(cases, key=lambda case: (content_of(case, _DERIVED, period), case.id))
    return frozenset(case.id for case in ranked[: int(share * len(ranked) + 1e-9)])


def quarter(at: datetime) -> str:
    """The quarter of the year that `at` lies in."""
    return f"{at.year}-Q{(at.month + 2) // 3}"


def periods_in_force(now: datetime) -> tuple[str, ...]:
    """The periods that may be certified in: this quarter, and for a while the last one."""
    return tuple(dict.fromkeys((quarter(now), quarter(now - GRACE))))
