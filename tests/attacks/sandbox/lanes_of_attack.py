"""Who attacks: the three lanes in which everything of this folder must hold."""

from pathlib import Path

from lanes.lane_support import Person, needs_namespaces, needs_root, stranger

LANES = {"root": "namespace", "plain": "namespace", "no-namespaces": "landlock"}
"""Lane -> the backend that is the strongest there."""


def lane_person(lane: str, home: Path) -> Person:
    """Somebody of that lane, at home in `home`; skips by name where this host has no such lane."""
    if lane == "root":
        needs_root("this is root's lane")
        home.chmod(0o755)
        person = Person(home)
    else:
        person = stranger(home, deny=("namespaces",) if lane == "no-namespaces" else ())
        home.chmod(0o755)
    if LANES[lane] == "namespace":
        needs_namespaces(person)
    return person
