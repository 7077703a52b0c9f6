"""stack.requirements and stack.unmet: what the adapter says it needs, against what the deployment's lock provides.

Said are: the PEFT that wrote the configuration (an older one drops the fields that it does not know, with a warning),
the library and PEFT version of the card, and a requirements.txt in the folder, which is read and never installed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from packaging.markers import UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from peft_assay.core.artifact import CARD_FILE, CONFIG_FILE
from peft_assay.core.observation import Observation, ObservedBy, Status, failed, ok
from peft_assay.observe.interface import Resolve, StaticSubject, Unreadable
from peft_assay.observe.static.front_matter import front_matter
from peft_assay.observe.static.reading import read_document

REQUIREMENTS_FILE = "requirements.txt"
MAX_BYTES = 256 << 10
MAX_LINES = 1_000
MAX_CHARACTERS = 500
"""Of one requirement."""
LIBRARIES: Mapping[str, str] = {
    "peft": "peft", "transformers": "transformers", "diffusers": "diffusers", "adapter-transformers": "adapters",
    "sentence-transformers": "sentence-transformers", "mlx": "mlx-lm",
}  # fmt: skip
"""Distribution by `library_name` of a card; others ask for nothing that is known here."""
_FRAMEWORK = re.compile(r"(?m)^-[ \t]+PEFT[ \t:]+([0-9][0-9A-Za-z.+@_-]{0,60})[ \t]*$")
"""What PEFT writes into a card, under "Framework versions"."""


@dataclass(frozen=True, slots=True)
class Need:
    """One requirement, and where the adapter says it."""

    requirement: Requirement
    where: str

    def __str__(self) -> str:
        return f"{self.requirement} ({self.where})"


def needs(subject: StaticSubject) -> Iterator[Need]:
    """Everything that the adapter says it needs; raises Unreadable where it cannot be told."""
    version = read_document(subject.files).get("peft_version")
    if version is not None:
        yield _peft(version, f"{CONFIG_FILE}: peft_version")
    yield from _of_card(subject)
    yield from _of_file(subject)


def _peft(version: object, where: str) -> Need:
    """At least the version that wrote it. A development version of PEFT ends in @ and its commit."""
    try:
        return Need(Requirement(f"peft>={Version(str(version).partition('@')[0])}"), where)
    except InvalidVersion:
        raise Unreadable(f"{where} is no version: {str(version)[:60]!r}") from None


def _of_card(subject: StaticSubject) -> Iterator[Need]:
    content = subject.files.get(CARD_FILE)
    if content is None:
        return
    try:
        library = front_matter(subject.files).get("library_name")
    except Unreadable:  # a card without metadata names no library
        library = None
    if isinstance(library, str) and library.lower() in LIBRARIES:
        yield Need(Requirement(LIBRARIES[library.lower()]), f"{CARD_FILE}: library_name")
    found = _FRAMEWORK.search((content.body or content.head).decode("utf-8-sig", "replace"))
    if found:
        yield _peft(found[1], f"{CARD_FILE}: framework versions")


def _of_file(subject: StaticSubject) -> Iterator[Need]:
    content = subject.files.get(REQUIREMENTS_FILE)
    if content is None:
        return
    lines = (content.body or b"").decode("utf-8-sig", "replace").splitlines()
    if content.body is None or content.size > MAX_BYTES or len(lines) > MAX_LINES:
        raise Unreadable(f"{REQUIREMENTS_FILE} is too long to be a list of requirements")
    for number, line in enumerate(lines, 1):
        text = line.partition(" #")[0].strip()
        if not text or text.startswith("#"):
            continue
        where = f"{REQUIREMENTS_FILE}: line {number}"
        try:
            requirement = Requirement(text) if len(text) <= MAX_CHARACTERS else None
        except (InvalidRequirement, RecursionError):
            requirement = None
        if requirement is None or requirement.url is not None:
            raise Unreadable(f"{where} is not a name with versions: what it asks for cannot be compared with a lock")
        yield Need(requirement, where)


def unmet(needed: Iterable[Need], locked: Mapping[str, str]) -> Iterator[str]:
    """Requirements that `locked` does not meet, with what it has instead; raises Unreadable where it cannot be told.

    Of extras nothing is known from a lock: the distribution itself is compared.
    """
    for need in needed:
        try:
            applies = need.requirement.marker is None or need.requirement.marker.evaluate()
        except (UndefinedComparison, UndefinedEnvironmentName):
            raise Unreadable(f"{need.where}: nobody can say when it applies") from None
        version = locked.get(canonicalize_name(need.requirement.name))
        if not applies:
            continue
        if version is None:
            yield f"{need}: the lock has no {need.requirement.name}"
        elif not need.requirement.specifier.contains(version, prereleases=True):
            yield f"{need}: the lock has {version}"


class RequirementsProbe:
    """stack.locked, stack.requirements, stack.resolves and stack.unmet."""

    id = "requirements"
    version = "1"
    terms = ("stack.locked", "stack.requirements", "stack.resolves", "stack.unmet")

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Whether there is a lock is always known; what the adapter needs fails where it cannot be told."""
        locked = subject.context.locked
        yield ok(self.terms[0], locked is not None, by=ObservedBy.INTAKE)
        try:
            needed = tuple(needs(subject))
            found = None if locked is None else tuple(unmet(needed, locked))
        except Unreadable as problem:
            yield from (failed(term, f"{self.id}: {problem}", by=ObservedBy.INTAKE) for term in self.terms[1:])
            return
        yield ok(self.terms[1], tuple(map(str, needed)), by=ObservedBy.INTAKE)
        yield _resolved(needed, subject.context.resolve)
        if found is None:
            reason = "the context declares no lock (context.stack.lock)"
            yield Observation("stack.unmet", Status.NOT_APPLICABLE, None, ObservedBy.INTAKE, reason)
        else:
            yield ok("stack.unmet", found, by=ObservedBy.INTAKE)


def _resolved(needed: Iterable[Need], resolve: Resolve | None) -> Observation:
    if resolve is None:
        reason = "the context does not ask for it (context.stack.resolve)"
        return Observation("stack.resolves", Status.NOT_APPLICABLE, None, ObservedBy.INTAKE, reason)
    answer = resolve([str(need.requirement) for need in needed])
    if answer.resolved is None:
        return failed("stack.resolves", f"the resolver could not say: {answer.said}", by=ObservedBy.INTAKE)
    return ok("stack.resolves", answer.resolved, by=ObservedBy.INTAKE, reason=answer.said or None)
