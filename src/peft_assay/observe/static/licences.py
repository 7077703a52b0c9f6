"""Licence identifiers looked up in the reviewed table (tables/licences.json)."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache

from peft_assay.core.rights import GRANTS, Answer, Licence
from peft_assay.observe.static.tables import LicenceRow, licence_table

_ALIKE = 0.75
"""Similarity from which another id is worth a question: ``apache2`` is 0.82 from ``apache-2.0``."""
_AND = ", "
"""Between the ids of several licences."""
_JOINED = re.compile(r"(?i)\)?\s+(?:and|or)\s+\(?")
_ANSWERS = {True: Answer.YES, False: Answer.NO, None: Answer.UNKNOWN}


@cache
def _by_key() -> dict[str, str]:
    """Table id by every spelling that means it: the Hub's id, and the SPDX id where exactly one row has it."""
    rows = licence_table().licences
    found = {row.spdx.lower(): key for key, row in rows.items() if row.spdx is not None}
    return {**found, **{key: key for key in rows}}


def find_licence(identifier: str) -> Licence | None:
    """The licence that `identifier` means, in any case and with blanks around it; None when the table has none."""
    key = _by_key().get(identifier.strip().lower())
    return None if key is None else _licence(key, licence_table().licences[key])


def stated_licence(identifiers: Sequence[str]) -> Licence | None:
    """Return what the field `license` of a card or a configuration declares; None where the table does not know all.

    Of several identifiers it is not said whether all of them hold or one is chosen; an SPDX expression is read alike. A
    grant is given where each gives it, refused where each refuses it, and unknown otherwise.
    """
    parts = [part.strip("() ") for identifier in identifiers for part in _JOINED.split(identifier.strip())]
    found = [find_licence(part) for part in parts]
    known = list({licence.id: licence for licence in found if licence is not None}.values())
    if not known or None in found:
        return None
    return known[0] if len(known) == 1 else _all_of(known)


def members_of(licence: Licence) -> frozenset[str]:
    """Return the ids of the licences that a licence of `stated_licence` is made of."""
    return frozenset(licence.id.split(_AND))


def _all_of(licences: Sequence[Licence]) -> Licence | None:
    """Return several licences as one; None where one of them is a family or a placeholder."""
    if not all(licence.is_one for licence in licences):
        return None
    grants = {
        grant: answers.pop() if len(answers := {licence.grants[grant] for licence in licences}) == 1 else Answer.UNKNOWN
        for grant in GRANTS
    }
    return Licence(
        _AND.join(licence.id for licence in licences), None, "alias", "several", grants,
        tuple(sorted({code for licence in licences for code in licence.obligations})),
        tuple(sorted({code for licence in licences for code in licence.restrictions})),
        "several licences are declared, and not whether all hold or one is chosen", licences[0].source,
    )  # fmt: skip


def nearest(identifier: str) -> str | None:
    """The id of the table that somebody who wrote `identifier` may have meant: to ask, and never to decide by."""
    found = get_close_matches(identifier.strip().lower(), licence_table().licences, n=1, cutoff=_ALIKE)
    return found[0] if found else None


def _licence(key: str, row: LicenceRow) -> Licence:
    grants = {grant: _ANSWERS[getattr(row.grants, grant)] for grant in GRANTS}
    return Licence(
        key, row.spdx, row.mapping, row.family, grants,
        tuple(row.obligations), tuple(row.restrictions), row.note, row.source,
    )  # fmt: skip
