"""Hold a share of the cases back: the calendar and the words of the cases decide which.

With a freely chosen name of a rotation one could try 200 names, and some leave out just the cases that an adapter
fails. So the choice does not depend on anything that is easy to change: neither the adapter's bytes nor names, ids,
comments or the order of cases. The period is the quarter of the year of the certification. Of a case only the words of
its prompt count: letter case, white space and punctuation, an example of an answer, and the order of choices can be
changed without changing the question.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from peft_assay.core.suite import Case, content_of

SHARES = (0.1, 0.2, 0.3, 0.4, 0.5)
GRACE = timedelta(days=31)
"""The time for which the last quarter is still accepted."""
_DERIVED = "peft-assay/hold-back/v3"


def held_back(cases: Sequence[Case], share: float, period: str) -> frozenset[str]:
    """Return ids of the cases that are not in use: `share` of them, rounded down, chosen by digests of period and
    content.

    A case keeps its place in a period when other cases are added to the suite, and when its id changes.
    """
    ranked = sorted(cases, key=lambda case: (content_of(case, _DERIVED, period), case.id))
    return frozenset(case.id for case in ranked[: int(share * len(ranked) + 1e-9)])


def quarter(at: datetime) -> str:
    """Return the quarter of the year that `at` lies in."""
    return f"{at.year}-Q{(at.month + 2) // 3}"


def periods_in_force(now: datetime) -> tuple[str, ...]:
    """Return the periods that may be certified in: this quarter, and for a while the last one."""
    return tuple(dict.fromkeys((quarter(now), quarter(now - GRACE))))
