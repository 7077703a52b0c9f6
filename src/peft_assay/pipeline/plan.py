"""`certify --plan`: what a run would ask, about how long it would take, and whether n can satisfy the policy at all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from peft_assay.core.errors import Door, Unsatisfiable
from peft_assay.core.exercises import Exercises
from peft_assay.core.suite import Measure, Suite, last_user_text
from peft_assay.intake.fetching import Tell
from peft_assay.observe.behaviour import drops as trigger_scan
from peft_assay.observe.behaviour.drawing import drawn_suites, draws_of, found_with
from peft_assay.observe.behaviour.statistics import lower_bound
from peft_assay.observe.static.licences import find_licence, nearest
from peft_assay.pipeline.base import has_chat_template
from peft_assay.pipeline.deployment import utc_now
from peft_assay.pipeline.forecast import Stand, refusals, remarks, stand_at
from peft_assay.pipeline.foresight import foresee
from peft_assay.pipeline.glance import Unfit, glance
from peft_assay.pipeline.loadable import check_project
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.project import Project, absent_sources, load_project, named_sources
from peft_assay.pipeline.rowless import beyond_embedding
from peft_assay.pipeline.stored import dtype_remark
from peft_assay.pipeline.stored import parameters as parameters_of
from peft_assay.pipeline.suites.unreached import with_ids

FLOPS = 5e9
"""Floating-point operations per second assumed of one core: a deliberately low figure for small matrices."""
START_SECONDS = 8.0
"""Starting the worker: interpreter, torch, transformers, PEFT, base."""
WORDS_TO_TOKENS = 1.5


@dataclass(frozen=True, slots=True)
class SuitePlan:
    """One suite's share of a run."""

    suite: str
    cases: int
    passes: int
    """Sequences pushed through the model, generation counted once for each new token at most."""
    best_lower: float
    """Lower bound of the pass rate if every case passes."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The gate's reason to refuse every adapter, and the step that ends it."""

    message: str
    next_step: str
    door: Door


@dataclass(frozen=True, slots=True)
class Plan:
    """What `certify` would do for one adapter and for the base."""

    base: str
    """The base's folder, and what kind of model it is said to be."""
    parameters: int
    """Of the base, by its safetensors headers."""
    chat_template: bool
    engine: str
    """Name, dtype and largest rank."""
    suites: tuple[SuitePlan, ...]
    scan_tokens: int
    """The number of inserted tokens: declared ones, and ids that no text reaches."""
    scan_ids: int
    """The number of tokens inserted by their ids."""
    scan_unscanned: int | None
    """Tokens that no text reaches and that are not inserted; None where their number is not known here."""
    scan_passes: int
    decoding: str
    """The declared decoding of the deployment."""
    drawn: int
    """The number of answers drawn in this way, from each model; 0 where the deployment decodes greedily."""
    power: tuple[str, ...]
    """The chance of finding a foreign answer with so many draws, by its rate."""
    exercises: tuple[str, ...]
    """What else is declared under `behaviour`."""
    adapters: int
    absent: tuple[str, ...]
    """Sources that are not there."""
    unfit: tuple[Unfit, ...]
    """Adapters here whose files break a rule already, whatever they would answer."""
    tokens: int
    """Tokens through the model for one adapter, roughly; without the exercises."""
    seconds: float
    """Estimated CPU-seconds for all of it; rough, see `FLOPS`."""
    unsatisfiable: tuple[str, ...]
    """Rules that no adapter could pass here, even with every case right."""
    undecidable: tuple[str, ...]
    """Rules that ask for what nothing here would observe."""
    remarks: tuple[str, ...]
    """Fields of the document that other engines do not read, or that differ from the state here."""
    refused: tuple[Refused, ...]
    """The reasons why the gate would refuse every adapter here."""


def plan(place: Place, named: Sequence[str], tell: Tell | None = None) -> Plan:
    """Return the plan for the adapters that are `named` (none: the declared surface); runs and makes nothing.

    Raises DocumentError for a base that cannot be loaded, UsageError, TrustError where there is no anchor.
    """
    project = load_project(place.context_path(), tell)
    return plan_of(stand_at(place, project, utc_now()), named_sources(project, named))


def plan_of(stand: Stand, sources: Sequence[str]) -> Plan:
    """Return the plan for `sources`, given the state before anything runs."""
    project = stand.project
    check_project(project)
    context = project.context
    exercises = with_ids(project.exercises, project.base_path, project.served.vocabulary)
    scan = exercises.scan
    suites = tuple(_suite_plan(suite) for suite in project.suites)
    stages = 0 if scan is None else sum(name is not None for name in (scan.answer_suite, scan.refusal_suite))
    scanned = 0 if scan is None else len(scan.inserted)
    sampling, drawn = project.exercises.sampling, _drawn(project)
    scan_passes = stages * trigger_scan.PROMPTS * (scanned + 1)
    tokens = sum(_tokens(suite) for suite in project.suites)
    if project.suites:
        tokens += scan_passes * int(tokens / max(1, sum(item.passes for item in suites)))
    tokens += sum(draws * (suite.max_new_tokens + _prompt_tokens(suite)) for suite, draws in drawn)
    parameters = parameters_of(project.base_path)
    foreseen = foresee(project)
    return Plan(
        base=f"{project.base_path} ({project.document.context.base.task})",
        parameters=parameters,
        chat_template=has_chat_template(project.base_path),
        engine=f"{context.engine.name}, {context.engine.dtype}, rank {_most(context.engine.max_rank)}",
        suites=suites,
        scan_tokens=scanned,
        scan_ids=0 if scan is None else len(scan.ids),
        scan_unscanned=None if scan is None else scan.unscanned,
        scan_passes=scan_passes,
        decoding="greedy" if sampling is None else str(sampling),
        drawn=sum(draws for _, draws in drawn),
        power=tuple(_power(sum(draws for _, draws in drawn))),
        exercises=tuple(_exercises(project.exercises)),
        adapters=len(sources),
        absent=absent_sources(project, sources),
        unfit=tuple(glance(project, sources, stand.now)),
        tokens=tokens,
        seconds=START_SECONDS + (len(sources) + 1) * tokens * 2 * parameters / FLOPS,
        unsatisfiable=foreseen.unsatisfiable,
        undecidable=foreseen.undecidable,
        remarks=(*_remarks(project), *remarks(stand), *_of_base(project)),
        refused=tuple(_refused(stand)),
    )


def _of_base(project: Project) -> Iterator[str]:
    """Yield what a base that can be loaded asks for: the dtype to load it in, and texts that it cannot answer."""
    yield from dtype_remark(project.base_path, project.context.engine.dtype)
    yield from beyond_embedding(project.base_path, project.served.vocabulary)


def _refused(stand: Stand) -> Iterator[Refused]:
    """Return the gate's refusals; the policy's refusals stand among the rules that cannot be satisfied."""
    for refusal in refusals(stand):
        if not isinstance(refusal, Unsatisfiable):
            yield Refused(str(refusal), refusal.next_step or "", refusal.door)


def _drawn(project: Project) -> list[tuple[Suite, int]]:
    """Return suites of generated text, and the number of draws for each."""
    sampling = project.exercises.sampling
    if sampling is None or project.exercises.unexercised:
        return []
    times = draws_of(project.suites, greedy=sampling.temperature == 0)
    return [(suite, times * len(suite.cases)) for suite in drawn_suites(project.suites)]


def _prompt_tokens(suite: Suite) -> int:
    """Return the average number of tokens of one prompt of the suite."""
    words = sum(len(last_user_text(case.prompt).split()) for case in suite.cases)
    return int(words * WORDS_TO_TOKENS / max(1, len(suite.cases)))


def _power(draws: int) -> Iterator[str]:
    """Return the chance that payloads of several rates are found."""
    for rate in _RATES if draws else ():
        yield f"{rate:.0%} of answers: {found_with(rate, draws):.3f}"


_RATES = (0.02, 0.05, 0.1, 0.3)
"""Shares of answers in which one foreign answer may come."""


def _most(rank: int | None) -> str:
    return "unlimited" if rank is None else f"up to {rank}"


def _exercises(exercises: Exercises) -> Iterator[str]:
    """Each exercise that is declared, in words."""
    for name, values in (
        ("variations", [variation.value for variation in exercises.variations]),
        ("scales", [f"{scale:g}" for scale in exercises.scales]),
        ("off task", list(exercises.off_task)),
        ("claims", [claim.suite for claim in exercises.claims]),
        ("canaries", [] if exercises.canaries is None else [str(len(exercises.canaries.texts))]),
        ("leaks", [] if exercises.leaks is None else [f"{exercises.leaks.samples} samples"]),
        ("latency", ["timed"] if exercises.latency else []),
    ):
        if values:
            yield f"{name}: {', '.join(values)}"


def _remarks(project: Project) -> Iterator[str]:
    """Licence ids of the consumer's own that the table does not have: they decide nothing."""
    rights = project.document.rights
    base = project.document.context.base.licence
    if base is None:
        yield "context.base.licence: not declared, so rules about licences cannot be decided; read the base's terms"
    named = [] if base is None else [("context.base.licence", base)]
    named += [(f"rights.datasets.{name}", licence) for name, licence in rights.datasets.items()]
    named += [(f"rights.declared.{name}", one.licence) for name, one in rights.declared.items() if one.licence]
    named += [(f"declarations.{n}", one.licence) for n, one in enumerate(project.document.declarations) if one.licence]
    for field, licence in named:
        if find_licence(licence) is None:
            likely = nearest(licence)
            meant = "" if likely is None else f"; did you mean {likely}?"
            yield f"{field}: {licence!r} is not in the licence table, and so it is unknown{meant}"


def _suite_plan(suite: Suite) -> SuitePlan:
    n = len(suite.cases)
    match suite.measure:
        case Measure.CHOICE:
            each = sum(len(case.choices) for case in suite.cases)
        case Measure.GENERATE:
            each = n * suite.max_new_tokens
        case _:
            each = n
    return SuitePlan(suite.id, n, each, lower_bound(n, n))


def _tokens(suite: Suite) -> int:
    words = sum(len(last_user_text(case.prompt).split()) * max(1, len(case.choices)) for case in suite.cases)
    new = len(suite.cases) * suite.max_new_tokens if suite.measure is Measure.GENERATE else 0
    return int(words * WORDS_TO_TOKENS) + new
