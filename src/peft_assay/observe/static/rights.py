"""rights.*: declared licences of adapter, datasets and base, as identifiers of the committed licence table.

Everything here is somebody's declaration and nothing is verified but that it was made: absent, unknown, placeholder and
family identifiers (`cc`, `other`) are unknown, and unknown is never "no restriction". An audit of dataset hosting sites
found licences omitted for over 70 % and wrong for over 50 % (Longpre et al., doi:10.1038/s42256-024-00878-8).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from peft_assay.core.artifact import CARD_FILE
from peft_assay.core.content import Content
from peft_assay.core.errors import DocumentError
from peft_assay.core.observation import Observation, ObservedBy, failed, ok
from peft_assay.core.parse import parse_yaml
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.tables import LicenceRow, licence_table

MAX_CARD_BYTES = 4 << 20
MAX_FRONT_MATTER_BYTES = 256 << 10
FAMILY = "FAMILY"
"""`ref` of ids that name no single licence."""
USE, LICENCE, COMMERCIAL, DATASETS, BASE = (
    "rights.commercial_use", "rights.licence", "rights.licence_commercial",
    "rights.datasets_commercial", "rights.base_licence_commercial"
)  # fmt: skip


def front_matter(files: Mapping[str, Content]) -> dict[str, Any]:
    """Metadata of the model card (YAML between two lines of ``---``); raises Unreadable when there is none."""
    content = files.get(CARD_FILE)
    if content is None:
        raise Unreadable(f"there is no model card ({CARD_FILE})")
    if content.body is None or content.size > MAX_CARD_BYTES:
        raise Unreadable(f"the model card has more than {MAX_CARD_BYTES} bytes")
    lines = content.body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").split(b"\n")
    if lines[0].rstrip() != b"---":
        raise Unreadable("the model card has no metadata (it does not begin with ---)")
    end = next((at for at, line in enumerate(lines[1:], 1) if line.rstrip() == b"---"), None)
    if end is None:
        raise Unreadable("the model card's metadata does not end (no second ---)")
    try:
        document = parse_yaml(b"\n".join(lines[1:end]), where=CARD_FILE, max_bytes=MAX_FRONT_MATTER_BYTES)
    except DocumentError as error:
        raise Unreadable(str(error)) from None
    if not isinstance(document, dict):
        raise Unreadable("the model card's metadata is not a mapping")
    return document


def known_licence(identifier: str) -> tuple[str, LicenceRow]:
    """The table's id and row; raises Unreadable for an id that the table does not have."""
    key = identifier.strip().lower()
    row = licence_table().licences.get(key)
    if row is None:
        raise Unreadable(f"licence {identifier[:80]!r} is not in the licence table")
    return key, row


def declared_licence(subject: StaticSubject) -> tuple[str, LicenceRow]:
    """The adapter's licence by override or by card; raises Unreadable when none is declared or the id says nothing."""
    override = subject.context.licence_overrides.get(subject.artifact.digest)
    if override is not None:
        return known_licence(override)
    value = front_matter(subject.files).get("license")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str) or not value.strip():
        raise Unreadable("the model card declares no licence (license:), or several")
    return known_licence(value)


def commercial(identifier: str) -> bool:
    """Whether that licence permits commercial use; raises Unreadable where the table does not say."""
    key, row = known_licence(identifier)
    if row.commercial is None:
        raise Unreadable(f"licence {key!r} does not decide commercial use by its id ({row.ref})")
    return row.commercial


def datasets_commercial(subject: StaticSubject) -> tuple[bool, str | None]:
    """Whether every declared dataset's licence permits commercial use, and which one does not.

    One that forbids it decides, whatever is unknown about others; raises Unreadable for anything else unknown.
    """
    declared = front_matter(subject.files).get("datasets")
    names = [declared] if isinstance(declared, str) else declared
    if not isinstance(names, list) or not names:
        raise Unreadable("no datasets declared")
    unknown: list[str] = []
    for name in names:
        licence = subject.context.datasets.get(name) if isinstance(name, str) else None
        if licence is None:
            unknown.append(f"dataset {str(name)[:80]!r} is not in the context's register")
            continue
        try:
            if not commercial(licence):
                return False, f"{name}: {licence}"
        except Unreadable as problem:
            unknown.append(f"dataset {name!r}: {problem}")
    if unknown:
        raise Unreadable("; ".join(unknown[:5]))
    return True, None


class RightsProbe:
    """rights.*; each term fails for its own reason."""

    id = "rights"
    version = "1"
    terms = (USE, LICENCE, COMMERCIAL, DATASETS, BASE)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Every unknown becomes a failed observation of its own term."""
        yield ok(USE, subject.context.commercial_use, by=ObservedBy.INTAKE)
        yield _observed(LICENCE, lambda: (_decided(subject), None))
        yield _observed(COMMERCIAL, lambda: (commercial(declared_licence(subject)[0]), None))
        yield _observed(DATASETS, lambda: datasets_commercial(subject))
        yield _observed(BASE, lambda: (commercial(_base_licence(subject)), None))


def _observed(term: str, look: Callable[[], tuple[bool | str, str | None]]) -> Observation:
    try:
        value, reason = look()
    except Unreadable as problem:
        return failed(term, str(problem), by=ObservedBy.INTAKE)
    return ok(term, value, by=ObservedBy.INTAKE, reason=reason)


def _decided(subject: StaticSubject) -> str:
    key, row = declared_licence(subject)
    if row.ref == FAMILY:
        raise Unreadable(f"licence {key!r} is a family or a placeholder, not a licence")
    return key


def _base_licence(subject: StaticSubject) -> str:
    if subject.context.base_licence is None:
        raise Unreadable("the context declares no licence of the base (base.licence)")
    return subject.context.base_licence
