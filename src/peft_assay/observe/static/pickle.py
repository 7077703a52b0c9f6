"""weights.pickle_files: files that a loader would unpickle, by name and by content.

Unpickling runs code; `weights_only=True` narrows that and has had holes of its own (CVE-2025-32434, CVE-2026-24747).
Nothing here opens a pickle: names and first bytes decide.
"""

import re
from collections.abc import Iterable

from peft_assay.core.content import Content
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject

_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz")
_PROTOCOL = re.compile(rb"\x80[\x02-\x05]")
_LEGACY_TEXT = re.compile(rb"(?s)(\(dp?\d|\(lp?\d|c[\w.]+\n\w+\n)")


def is_pickle(path: str, content: Content) -> bool:
    """Whether `path` is named like a pickle or begins like one (protocol 2 to 5, text protocol, torch's zip)."""
    head = content.head
    if path.lower().endswith(_SUFFIXES) or _PROTOCOL.match(head) or _LEGACY_TEXT.match(head):
        return True
    return head.startswith(b"PK\x03\x04") and (b"data.pkl" in head or b"data.pkl" in content.tail)


class PickleProbe:
    """weights.pickle_files, in path order, at any depth."""

    id = "pickle"
    version = "1"
    terms = ("weights.pickle_files",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """All such files of the artifact, whether or not anything would load them today."""
        found = tuple(path for path, content in subject.files.items() if is_pickle(path, content))
        yield ok(self.terms[0], found, by=ObservedBy.INTAKE)
