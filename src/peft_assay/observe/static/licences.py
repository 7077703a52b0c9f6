"""Licence identifiers looked up in the reviewed table (tables/licences.json)."""

from difflib import get_close_matches
from functools import cache

from peft_assay.core.rights import GRANTS, Answer, Licence
from peft_assay.observe.static.tables import LicenceRow, licence_table

_ALIKE = 0.75
"""Similarity from which another id is worth a question: ``apache2`` is 0.82 from ``apache-2.0``."""
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
