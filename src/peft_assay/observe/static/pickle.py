"""weights.pickle_files: files that a loader would unpickle, by name and by content.

Unpickling runs code; `weights_only=True` narrows that and has had holes of its own (CVE-2025-32434, CVE-2026-24747).
Nothing here opens a pickle: names and first bytes decide. First bytes alone accuse others: a safetensors file begins
with the length of its header, any number; a list of words may begin like the oldest pickles. What has another reading,
and no reading as a pickle, is none.
"""

import io
import re
from collections.abc import Iterable, Mapping
from typing import Any

from peft_assay.core.content import Content
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.header import LENGTH_BYTES, MAX_HEADER_BYTES, read_header
from peft_assay.observe.static.weights import Sighting

_SUFFIXES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz")
_PROTOCOL = re.compile(rb"\x80[\x02-\x05]")
_LEGACY_TEXT = re.compile(rb"(\(dp?\d|\(lp?\d|c[\w.]+\n\w+\n)")
_BEGINNING = re.compile(_PROTOCOL.pattern + rb"|" + _LEGACY_TEXT.pattern)
_ACTS = frozenset({"REDUCE", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD", "PERSID", "BINPERSID", "STOP"})
"""Instructions that call something, or end a pickle that is read whole."""
_ARGUMENT = re.compile(rb"[ILFSVpgPci][\s0-9+\-'\"]")
"""An instruction of the text protocol whose argument is no word: readers differ in the numbers and texts they take."""


def is_pickle(path: str, content: Content, seen: Any = None) -> bool:
    """Return whether `path` is named like a pickle or begins like one (protocol 2 to 5, text protocol, torch's zip).

    `seen` is what a watcher saw of the file: a canonical safetensors file of that name is no pickle.
    """
    head = content.head
    if path.lower().endswith(_SUFFIXES):
        return True
    if head.startswith(b"PK\x03\x04") and (b"data.pkl" in head or b"data.pkl" in content.tail):
        return True
    if path.lower().endswith(".safetensors"):
        return bool(_BEGINNING.match(head)) and not _is_canonical(content, seen) and _acts(content)
    return bool(_PROTOCOL.match(head)) or (bool(_LEGACY_TEXT.match(head)) and _acts(content))


def pickles(subject: StaticSubject) -> Mapping[str, Content]:
    """Return the pickles among the files of `subject`, in path order."""
    return {p: content for p, content in subject.files.items() if is_pickle(p, content, subject.sightings.get(p))}


def _is_canonical(content: Content, seen: Any) -> bool:
    """Return whether the whole file has one reading as safetensors; of a beginning, whether it looks like one."""
    if isinstance(seen, Sighting):
        return seen.problem is None
    held = content.head if content.body is None else content.body
    end = LENGTH_BYTES + int.from_bytes(held[:LENGTH_BYTES], "little")
    if not LENGTH_BYTES < end <= min(content.size, MAX_HEADER_BYTES):
        return False
    if end > len(held):  # only looked at in passing: whoever admits the file has it watched
        return held[LENGTH_BYTES:].startswith(b'{"')
    try:
        read_header(held[:end], content.size)
    except Unreadable:
        return False
    return True


def _acts(content: Content) -> bool:
    """Return whether a file that begins like a pickle goes on like one, as far as its head tells.

    A list of words ends as a pickle at a word that is no instruction, before anything was called.
    """
    import pickletools  # only here: no other part of an inspection imports what can load a pickle

    stream, at = io.BytesIO(content.head), 0
    try:
        for instruction, _, _ in pickletools.genops(stream):
            if instruction.name in _ACTS:
                return True
            at = stream.tell()
    except ValueError:
        cut = stream.tell() == len(content.head) < content.size
        return cut or _ARGUMENT.match(content.head, at) is not None
    return True


class PickleProbe:
    """weights.pickle_files, in path order, at any depth."""

    id = "pickle"
    version = "2"
    terms = ("weights.pickle_files",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """All such files of the artifact, whether or not anything would load them today."""
        yield ok(self.terms[0], tuple(pickles(subject)), by=ObservedBy.INTAKE)
