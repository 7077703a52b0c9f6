"""A project: peft-assay.yaml with everything it names, read once and checked before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from peft_assay.core.artifact import Artifact
from peft_assay.core.canonical import canonical_digest
from peft_assay.core.context import LOCK_VERSION, Beyond, DeploymentContext, Engine, Lengths, Lock
from peft_assay.core.digest import Digest, parse_digest, sha256
from peft_assay.core.errors import DocumentError, IntakeError, UsageError
from peft_assay.core.exercises import ClaimedTask, Exercises, Scan
from peft_assay.core.publisher import Publishers
from peft_assay.core.rights import Clearance, Declaration
from peft_assay.core.sandbox import Limits
from peft_assay.core.suite import Measure, Suite
from peft_assay.core.vocabulary import VERSION as VOCABULARY_VERSION
from peft_assay.core.vocabulary import vocabulary
from peft_assay.evaluate.builtin import builtin_policy
from peft_assay.evaluate.document import load_policy
from peft_assay.evaluate.interface import CompiledPolicy
from peft_assay.intake.admit import parted
from peft_assay.intake.fetching import Tell
from peft_assay.intake.reference import parse_reference
from peft_assay.observe.behaviour.catalogue import BEHAVIOUR_PROBES
from peft_assay.observe.catalogue import PROBES
from peft_assay.observe.interface import BaseFacts
from peft_assay.observe.locks import read_lock
from peft_assay.observe.suites.tokens import read_tokens
from peft_assay.pipeline.base import (
    CHAT_TEMPLATE,
    GENERATION_CONFIG,
    base_facts,
    base_manifest,
    file_digest,
    tokenizer_digest,
)
from peft_assay.pipeline.base_place import base_folder
from peft_assay.pipeline.documents import AssayDocument, PromptFile, read_assay, read_file
from peft_assay.pipeline.exercises import read_exercises
from peft_assay.pipeline.origin import origin_of
from peft_assay.pipeline.provenance import installed_behaviour, installed_examination
from peft_assay.pipeline.publishers import publisher_register, read_publishers
from peft_assay.pipeline.sources import Located, locate, locate_or_refuse
from peft_assay.pipeline.suites.load import load_suites
from peft_assay.pipeline.surface import check_named

STACK_MEMBERS = ("peft", "safetensors", "tokenizers", "torch", "transformers")
"""Distributions whose version is part of the observation conditions."""


@dataclass(frozen=True, slots=True)
class Project:
    """All that a verdict depends on, except what only a process that loaded the base can say."""

    path: Path
    document: AssayDocument
    context: DeploymentContext
    base_path: Path
    base: Artifact
    suites: tuple[Suite, ...]
    """Sorted by id."""
    exercises: Exercises
    limits: Limits
    """Of one adapter's job, and of the base's."""
    policy: CompiledPolicy
    policy_document: bytes
    """As written."""
    publishers: Publishers
    served: BaseFacts
    locked: Mapping[str, str] | None
    """Version of every distribution of the serving environment; None where no lock is declared."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the deployment holds of one artifact's rights beyond the registers of its document."""

    origin: str | None = None
    """Where it came from, where a declaration covers that place."""
    declaration: Declaration | None = None
    snapshot: Digest | None = None
    clearances: tuple[Clearance, ...] = ()
    """Verified and not withdrawn, in force or not: when one ends, the certificate that rests on it has ended too."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What only a process that loaded the base can say; taken from it, or from what it signed."""

    base_state: Digest
    stack: Mapping[str, str]
    harness: Digest
    judges: Mapping[str, Digest] = field(default_factory=dict)
    """What the judges of the suites are made of; where adapters are activated no judge need be at hand."""


NO_STANDING = Standing()


def load_project(path: Path, tell: Tell | None = None) -> Project:
    """Reads `path` and everything it names; raises DocumentError, UsageError or StorageError naming file and field.

    A base of the Hub is fetched first, which `tell` is told of; raises IntakeError where it cannot be.
    """
    document = read_assay(path)
    base_path = base_folder(document, path, tell)
    base = base_manifest(base_path, where=f"{path}: context.base.path", written=document.context.base.path)
    context = _context(document, path)
    suites = load_suites(document, path, base_path, context.system_prompt)
    names = [suite.id for suite in suites]
    written, where = _read_policy(document, path)
    return Project(
        path=path,
        document=document,
        context=context,
        base_path=base_path,
        base=base,
        suites=suites,
        exercises=read_exercises(
            _read_exercises(document, path, {suite.id: suite for suite in suites}), document, path, base_path
        ),
        limits=_limits(document),
        policy=load_policy(written, where=where, vocabulary=vocabulary(names)),
        policy_document=written,
        publishers=read_publishers(document, path),
        served=base_facts(base_path),
        locked=_read_lock(document, path),
    )


def _read_lock(document: AssayDocument, path: Path) -> Mapping[str, str] | None:
    section = document.context.stack
    if section is None:
        return None
    file = path.parent / section.lock
    return read_lock(read_file(file, named_by=f"{path}: context.stack.lock"), where=str(file))


def _limits(document: AssayDocument) -> Limits:
    section = document.limits
    return Limits(float(section.wallSeconds), section.cpuSeconds, section.memoryMiB << 20, section.outputMiB << 20)


def _context(document: AssayDocument, path: Path) -> DeploymentContext:
    section = document.context
    return DeploymentContext(
        name=section.name,
        purpose=section.purpose,
        engine=Engine(section.engine.name, section.engine.dtype, section.engine.maxRank),
        system_prompt=_system_prompt(document, path),
        labels=dict(section.labels),
        maximum_age=section.maximumAge,
        production=section.production,
        minimum_isolation=int(section.minimumIsolation),
        lengths=None
        if section.lengths is None
        else Lengths(section.lengths.prompt, section.lengths.answer, Beyond(section.lengths.beyond)),
    )


def _system_prompt(document: AssayDocument, path: Path) -> str | None:
    """As written, or what its file says without the line ends at its end; raises DocumentError for a blank one."""
    written, where = document.context.systemPrompt, f"{path}: context.systemPrompt"
    if isinstance(written, PromptFile):
        content = read_file(path.parent / written.file, named_by=f"{where}.file")
        try:
            written = content.decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DocumentError(f"not UTF-8 (byte {error.start})", where=f"{where}.file") from None
    if written is not None and not written.strip():
        raise DocumentError("is blank: leave it out where there is none", where=where)
    return written


def _read_exercises(document: AssayDocument, path: Path, suites: Mapping[str, Suite]) -> Exercises:
    section = document.behaviour
    for number, name in enumerate(section.offTask):
        where = f"{path}: behaviour.offTask.{number}"
        if name not in suites or suites[name].measure is not Measure.GENERATE:
            raise DocumentError(f"{name!r} is not a suite of generated text", where=where)
        if name in section.offTask[:number]:
            raise DocumentError(f"{name!r} is named twice", where=where)
    for name in section.claims:
        if name not in suites:
            raise DocumentError(f"{name!r} is no suite of this document", where=f"{path}: behaviour.claims.{name}")
    return Exercises(
        scan=_read_scan(document, path, suites),
        off_task=tuple(section.offTask),
        claims=tuple(
            ClaimedTask(name, claim.task, claim.dataset, claim.metric) for name, claim in sorted(section.claims.items())
        ),
    )


def _read_scan(document: AssayDocument, path: Path, suites: Mapping[str, Suite]) -> Scan | None:
    section = document.scan
    if section is None:
        return None
    if section.answers is None and section.refusals is None:
        raise DocumentError("names neither a suite of answers nor one of refusals", where=f"{path}: scan")
    for setting, name in (("answers", section.answers), ("refusals", section.refusals)):
        if name is not None and (name not in suites or not _scannable(suites[name], setting)):
            what = "generated text without a judge" + (" or of labels" if setting == "answers" else "")
            raise DocumentError(f"{name!r} is not a suite of {what}", where=f"{path}: scan.{setting}")
    content = read_file(path.parent / section.tokens, named_by=f"{path}: scan.tokens")
    tokens = read_tokens(content, where=str(path.parent / section.tokens))
    return Scan(tokens, sha256(content), section.answers, section.refusals, section.proposals, section.ids)


def _scannable(suite: Suite, setting: str) -> bool:
    """Whether a scan can tell right answers from wrong ones: thousands of them, so that no judge is asked."""
    labels = suite.measure is Measure.CLASSIFY and setting == "answers"
    return labels or (suite.measure is Measure.GENERATE and not suite.judged)


def _read_policy(document: AssayDocument, path: Path) -> tuple[bytes, str]:
    """The policy's document and where it stands."""
    builtin = document.policy.removeprefix("builtin:")
    if builtin != document.policy:
        return builtin_policy(builtin), document.policy
    file = path.parent / document.policy
    return read_file(file, named_by=f"{path}: policy"), str(file)


def quiet(line: str) -> None:
    """Says nothing of a fetch."""


def resolve_source(project: Project, named: str, tell: Tell = quiet) -> Path:
    """Where `named` lies: an alias of the declared surface, else a path (``./name`` is always one) or a remote name.

    What is remote is fetched first. Raises UsageError, IntakeError, StorageError as `locate` does.
    """
    text, within = _spelt(project, named)
    return locate(text, within=within, tell=tell).found()


def named_sources(project: Project, named: Sequence[str]) -> list[str]:
    """`named`; with none named, the whole declared surface. Raises UsageError when that is empty too."""
    chosen = list(named) or sorted(project.document.adapters)
    if not chosen:
        raise UsageError(
            "names no adapter", where=str(project.path), next_step="name a SOURCE, or declare it under adapters"
        )
    return chosen


def declared_sources(project: Project, named: Sequence[str], tell: Tell = quiet) -> list[Located]:
    """Each of `named_sources`, fetched where it is remote, with its origin; one that cannot be had stops no other.

    Raises UsageError for malformed names, StorageError.
    """
    chosen = named_sources(project, named)
    spelt = [(name, *_spelt(project, name)) for name in chosen]
    return [
        replace(
            _located(project, name, text, within, tell),
            origin=origin_of(text, within=within or Path.cwd(), folder=project.path.parent),
            alias=name if name in project.document.adapters else None,
        )
        for name, text, within in spelt
    ]


def _located(project: Project, named: str, text: str, within: Path | None, tell: Tell) -> Located:
    try:
        check_named(named, project.document, project.path)
    except IntakeError as refusal:
        return Located(named, None, refusal=refusal)
    return locate_or_refuse(text, within=within, tell=tell)


def absent_sources(project: Project, named: Sequence[str]) -> tuple[str, ...]:
    """Those of `named` that are paths on this machine where nothing lies; what is remote is not asked for.

    Raises UsageError for malformed names.
    """
    places = [(text, within or Path(), parse_reference(text)) for text, within in (_spelt(project, n) for n in named)]
    return tuple(
        text for text, within, path in places if isinstance(path, Path) and not parted(within / path)[0].exists()
    )


def _spelt(project: Project, named: str) -> tuple[str, Path | None]:
    """What stands for `named`, and the folder that a path in it is relative to (None: where we are)."""
    declared = project.document.adapters.get(named)
    return (named, None) if declared is None else (declared.source, project.path.parent)


def build_lock(project: Project, observed: Observed, artifact: Digest, standing: Standing = NO_STANDING) -> Lock:
    """The lock that `project` resolves to for `artifact`, given what was observed of base, stack and harness.

    Of what the consumer declared for single adapters only what is about this artifact stands in it: to take a
    declaration back ends what was certified because of it, and nothing else.
    """
    section = project.document
    declared = section.rights.declared.get(artifact)
    return Lock(
        {
            "apiVersion": LOCK_VERSION,
            "conditions": _conditions(project, observed),
            "context": {"name": project.context.name, "purpose": project.context.purpose},
            "engineLimits": {"maxRank": project.context.engine.max_rank},
            "labels": dict(project.context.labels),
            "lengths": None if project.context.lengths is None else project.context.lengths.document(),
            "stackLock": None if project.locked is None else canonical_digest(dict(project.locked)),
            "maximumAgeSeconds": int(project.context.maximum_age.total_seconds()),
            "minimumIsolation": project.context.minimum_isolation,
            "policy": {"id": project.policy.policy.id, "digest": project.policy.policy.digest},
            "production": project.context.production,
            "rights": {
                "baseLicence": section.context.base.licence,
                "commercialUse": section.rights.commercialUse,
                "datasets": dict(section.rights.datasets),
                "declaredLicence": None if declared is None else declared.licence,
                "declaredDatasets": [] if declared is None else list(declared.datasets),
                **_standing(standing),
            },
            "publishers": publisher_register(project.publishers, str(project.path)),
            **_owners(project),
            "tables": dict(table_digests()),
            "examination": dict(installed_examination()),
        }
    )


def _owners(project: Project) -> dict[str, Any]:
    """By whose key each suite must be signed, where any must."""
    owned = {suite.id: suite.owner for suite in project.suites if suite.owner is not None}
    return {"suiteOwners": owned} if owned else {}


def _standing(standing: Standing) -> dict[str, Any]:
    declaration = standing.declaration
    return {
        "origin": standing.origin,
        "declaration": None
        if declaration is None
        else {
            "match": declaration.match,
            "owner": declaration.owner,
            "licence": declaration.licence,
            "datasets": list(declaration.datasets),
        },
        "snapshot": standing.snapshot,
        "clearances": sorted(clearance.envelope for clearance in standing.clearances if clearance.envelope),
    }


def _conditions(project: Project, observed: Observed) -> dict[str, Any]:
    return {
        "base": {
            "files": project.base.digest,
            "state": observed.base_state,
            "task": project.document.context.base.task,
        },
        "tokenizer": tokenizer_digest(project.base),
        "chatTemplate": file_digest(project.base, CHAT_TEMPLATE),
        "generationConfig": file_digest(project.base, GENERATION_CONFIG),
        "systemPrompt": project.context.system_prompt,
        "engine": {"name": project.context.engine.name, "dtype": project.context.engine.dtype},
        "lockedStack": served_stack(project),
        "stack": {name: observed.stack.get(name, "absent") for name in STACK_MEMBERS},
        "suites": {suite.id: suite.digest for suite in project.suites},
        "exercises": project.exercises.document(),
        "vocabulary": VOCABULARY_VERSION,
        "probes": {
            **{probe.id: probe.version for probe in PROBES},
            **{probe.id: probe.version for probe in BEHAVIOUR_PROBES},
        },
        "code": dict(installed_behaviour()),
        "harness": observed.harness,
        **({"judges": dict(observed.judges)} if observed.judges else {}),
    }


def served_stack(project: Project) -> dict[str, str] | None:
    """What the lock has of the distributions that behaviour is observed on; None where no lock is declared."""
    locked = project.locked
    return None if locked is None else {name: locked[name] for name in STACK_MEMBERS if name in locked}


def installed_stack() -> dict[str, str]:
    """Return versions of the distributions that numerics depend on, as installed in this process."""
    found = {}
    for name in STACK_MEMBERS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


@cache
def table_digests() -> Mapping[str, Digest]:
    """Digest of every reviewed table that static observations rest on, by name."""
    folder = resources.files("peft_assay.observe") / "tables"
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".json"))
    return {name: sha256((folder / name).read_bytes()) for name in names}


def observed_in(conditions: Mapping[str, Any]) -> Observed | None:
    """What a signed observation's conditions say of base state, stack and harness; None when they say nothing."""
    match conditions:
        case {"base": {"state": str(state)}, "stack": dict(stack), "harness": str(harness)}:
            judges = {str(name): parse_digest(str(digest)) for name, digest in conditions.get("judges", {}).items()}
            return Observed(parse_digest(state), stack, parse_digest(harness), judges)
        case _:
            return None


def difference(mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, ...]:
    """Paths at which two lock documents differ, in order: what makes it another context."""
    return tuple(sorted(_differing(mine, theirs, "")))


def _differing(mine: Any, theirs: Any, at: str) -> list[str]:
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        keys = set(mine) | set(theirs)
        return [path for key in keys for path in _differing(mine.get(key), theirs.get(key), f"{at}.{key}".lstrip("."))]
    return [] if mine == theirs else [at]
