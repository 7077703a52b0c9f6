"""Digests of the code that observes and evaluates: an edit of a word list or a scorer makes another examination.

Each probe has the digest of its module, of everything that this imports inside our package, and of the tables that
these read. Digests are of source files and not of compiled ones, so that an editable installation and one from a
wheel have the same. Imports are found in the source text, anywhere in a module.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import peft_assay
from peft_assay.core.digest import Digest, sha256
from peft_assay.core.errors import StorageError
from peft_assay.observe.behaviour.catalogue import BEHAVIOUR_PROBES
from peft_assay.observe.catalogue import PROBES
from peft_assay.observe.static.tables import READERS

PACKAGE = "peft_assay"
TABLES = f"{PACKAGE}.observe.static.tables"
_FROM = re.compile(rf"^[ \t]*from[ \t]+({PACKAGE}[\w.]*)[ \t]+import[ \t]+(\([^)]*\)|[^\n]+)", re.MULTILINE)
_IMPORT = re.compile(rf"^[ \t]*import[ \t]+[^\n]*?\b({PACKAGE}[\w.]*)", re.MULTILINE)
_NAME = re.compile(r"\w+")
_COMMENT = re.compile(r"#[^\n]*")
_READS_FILES = re.compile(r"\bimportlib(?:\.| import )resources\b")

CONDUCT = (
    f"{PACKAGE}.observe.behaviour.claims",
    f"{PACKAGE}.observe.behaviour.observe",
    f"{PACKAGE}.observe.behaviour.reference",
    f"{PACKAGE}.observe.behaviour.tested",
)
"""Code that asks the probes in their order, and voids answers; with all its imports that belong to no probe."""
SUITES = (f"{PACKAGE}.observe.suites.read", f"{PACKAGE}.observe.suites.tokens")
"""Code that turns a suite's files into cases, and reads a file of tokens for the scan."""
LOOKED_AT = (f"{PACKAGE}.observe.locks", f"{PACKAGE}.observe.unsafe")
"""Code that reads the lock of the serving environment, and decides which rules are not instantiated."""
SUPERVISED = (
    f"{PACKAGE}.pipeline.answers",
    f"{PACKAGE}.pipeline.bank",
    f"{PACKAGE}.pipeline.observing",
    f"{PACKAGE}.pipeline.suites.judges",
    f"{PACKAGE}.sandbox.conversation",
    f"{PACKAGE}.sandbox.replies",
)
"""Code that reads replies, banks and judges' verdicts, and selects what is kept: these files without their imports."""
PRESENTED = (
    f"{PACKAGE}.pipeline.base",
    f"{PACKAGE}.pipeline.candidates",
    f"{PACKAGE}.pipeline.norms",
    f"{PACKAGE}.pipeline.resolution",
    f"{PACKAGE}.pipeline.standing",
    f"{PACKAGE}.pipeline.withdrawn",
)
"""Code that prepares the static probes' other inputs, such as the norms of the base; these files alone."""
EVALUATION = (f"{PACKAGE}.evaluate.document", f"{PACKAGE}.evaluate.evaluate", f"{PACKAGE}.evaluate.waive")


@dataclass(frozen=True, slots=True)
class _Source:
    """One module as its text has it."""

    lines: frozenset[str]
    """``<sha256>  <path>`` of its file, and of the tables that it reads."""
    imports: frozenset[str]


class Sources:
    """The source files of one installed package, each read once."""

    def __init__(self, folder: Path) -> None:
        """Take `folder`, which holds the package `peft_assay`."""
        self._folder = folder
        self._sources: dict[str, _Source] = {}
        self._paths: dict[str, Path | None] = {}

    def digest(self, modules: Iterable[str]) -> Digest:
        """Return sha256 over the lines ``<sha256>  <path>`` of the files of `modules` and of the tables that
        they read.
        """
        lines = {line for name in modules for line in self._source(name).lines}
        return sha256("".join(sorted(lines)).encode())

    def reached(self, *modules: str) -> frozenset[str]:
        """Return `modules` and everything that they import inside the package, the packages around each included.

        The outermost package is left out: it has a version and a door that is opened on demand, and nothing imports it.
        Raises StorageError where a source file is not installed.
        """
        found: set[str] = set()
        waiting = list(modules)
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                waiting.extend(self._source(name).imports)
        return frozenset(found)

    def _source(self, name: str) -> _Source:
        if name not in self._sources:
            path = self._path(name)
            if path is None:
                raise StorageError(
                    f"the source of {name} is not installed, so that nothing says which code observes",
                    where=str(self._folder / PACKAGE),
                    next_step="install peft-assay from its wheel, with its .py files",
                )
            content = _content(path)
            text = content.decode("utf-8")
            parents = name.split(".")
            around = {".".join(parents[:count]) for count in range(2, len(parents))}
            imports = frozenset({*self._named(text), *around} - {PACKAGE})
            tables = (
                [] if name == TABLES else [self._line(found, _content(found)) for found in self._tables(path, text)]
            )
            self._sources[name] = _Source(frozenset({self._line(path, content), *tables}), imports)
        return self._sources[name]

    def _line(self, path: Path, content: bytes) -> str:
        return f"{sha256(content)}  {path.relative_to(self._folder).as_posix()}\n"

    def _named(self, text: str) -> Iterator[str]:
        for module, names in _FROM.findall(text):
            yield module
            for name in _NAME.findall(_COMMENT.sub("", names)):
                if self._path(f"{module}.{name}") is not None:
                    yield f"{module}.{name}"
        yield from _IMPORT.findall(text)

    def _tables(self, path: Path, text: str) -> Iterator[Path]:
        """Return tables by the functions that read them; code that reads other files beside itself counts as reading
        them all.
        """
        for reader, table in READERS.items():
            if reader in text:
                yield self._folder / PACKAGE / "observe" / "tables" / table
        if _READS_FILES.search(text):
            beside = (entry for entry in path.parent.rglob("*") if entry.is_file())
            yield from (entry for entry in beside if entry.suffix not in {".py", ".pyc"})

    def _path(self, name: str) -> Path | None:
        if name not in self._paths:
            below = self._folder.joinpath(*name.split("."))
            choices = (below.with_suffix(".py"), below / "__init__.py")
            self._paths[name] = next((path for path in choices if path.is_file()), None)
        return self._paths[name]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(path)) from None


def behaviour_code(sources: Sources) -> dict[str, Digest]:
    """Return the code that asks adapters and evaluates their answers, by probe: part of the observation conditions."""
    probes = {probe.id: sources.reached(type(probe).__module__) for probe in BEHAVIOUR_PROBES}
    return {
        **{name: sources.digest(modules) for name, modules in probes.items()},
        "conduct": sources.digest({*sources.reached(*CONDUCT).difference(*probes.values()), *SUPERVISED}),
        "suites.read": sources.digest(sources.reached(*SUITES)),
    }


def examining_code(sources: Sources) -> dict[str, Mapping[str, Digest] | Digest]:
    """Return the code that examines files, by probe, and the evaluator: part of the lock. An edit of it runs no adapter
    again.
    """
    return {
        "probes": {
            **{probe.id: sources.digest(sources.reached(type(probe).__module__)) for probe in PROBES},
            "catalogue": sources.digest({f"{PACKAGE}.observe.catalogue", *sources.reached(*LOOKED_AT), *PRESENTED}),
        },
        "evaluation": sources.digest(sources.reached(*EVALUATION)),
    }


@cache
def installed() -> Sources:
    """Return the sources of the package that runs."""
    return Sources(Path(peft_assay.__file__).absolute().parents[1])


@cache
def installed_behaviour() -> Mapping[str, Digest]:
    """Return `behaviour_code` of the package that runs, computed once."""
    return behaviour_code(installed())


@cache
def installed_examination() -> Mapping[str, Mapping[str, Digest] | Digest]:
    """Return `examining_code` of the package that runs, computed once."""
    return examining_code(installed())


def in_words(paths: Iterable[str]) -> tuple[str, ...]:
    """Return differences between two locks, with differences of code in words."""
    rest, probes, before = [], set(), False
    for path in paths:
        if path in {"conditions.code", "examination"}:
            before = True
        elif path.startswith(("conditions.code.", "examination.probes.")):
            probes.add(path.partition("code." if path.startswith("cond") else "probes.")[2])
        elif path == "examination.evaluation":
            rest.append("the code that evaluates policies")
        else:
            rest.append(path)
    if before:
        rest.append(
            "the code that observes and evaluates, which certificates of before peft-assay recorded it do not name"
        )
    if probes:
        rest.append(f"the code that observes ({', '.join(sorted(probes))})")
    return tuple(rest)
