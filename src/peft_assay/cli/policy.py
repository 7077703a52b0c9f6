"""`peft-assay policy`: check, test, explain, compare, simulate and print policies."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from peft_assay.cli import output
from peft_assay.cli.options import Context, Format, OutputFormat, Sources, Trust, WorkspaceFolder, place
from peft_assay.core.errors import Door, UsageError

if TYPE_CHECKING:
    from peft_assay.evaluate.fixtures import Trials

policy = typer.Typer(
    name="policy",
    help="Check, test, explain and compare policies. Nothing here runs an adapter.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Named = Annotated[
    str | None,
    typer.Argument(help="Policy: a file, or builtin:NAME. Default: the one of peft-assay.yaml.", metavar="[POLICY]"),
]
SuiteSizes = Annotated[
    list[str] | None,
    typer.Option("--suite", help="Suite and number of its cases, instead of peft-assay.yaml's.", metavar="ID=N"),
]
Fixtures = Annotated[
    Path | None,
    typer.Option("--fixtures", help="Tests of the policy. Default: NAME.tests.yaml beside NAME.yaml.", metavar="FILE"),
]
_SIZE = re.compile(r"([a-z][a-z0-9_]{0,63})=([1-9][0-9]{0,5})")


@policy.command(short_help="Find what loads and is still wrong, and rules that cannot deny.")
def lint(
    named: Named = None,
    suite: SuiteSizes = None,
    context: Context = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Find what loads and is still wrong: rules that can never deny or never pass, too few cases, gaps."""
    from peft_assay.evaluate.lint import Weight
    from peft_assay.evaluate.lint import lint as check
    from peft_assay.pipeline.policy.ideal import best_case
    from peft_assay.pipeline.policy.read import setting
    from peft_assay.report import policy as shown

    meant = setting(place(context, None, None), named, _sizes(suite))
    found = [
        (item.weight.value, item.code, item.rule, item.message, item.next_step)
        for item in check(meant.compiled, meant.suites, best_case)
    ]
    if output_format is Format.JSON:
        output.document(shown.lint_document(meant.policy.name, found))
    else:
        output.result(shown.lint_text(meant.policy.name, found))
    raise typer.Exit(int(Door.FAILED if any(item[0] == Weight.ERROR.value for item in found) else Door.PASSED))


@policy.command(name="test", short_help="Judge written-down observations and compare the outcomes.")
def run_fixtures(
    named: Named = None,
    fixtures: Fixtures = None,
    new: Annotated[bool, typer.Option("--new", help="Write a first set of fixtures and run nothing.")] = False,
    suite: SuiteSizes = None,
    context: Context = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Judge written-down observations; compare outcome and denying rules with what must be. Exit 10 when not so."""
    from peft_assay.pipeline.policy.read import read_policy, setting
    from peft_assay.pipeline.policy.trials import run_tests, write_fixtures
    from peft_assay.report import policy as shown

    where = place(context, None, None)
    if new:
        written = write_fixtures(setting(where, named, _sizes(suite)), fixtures)
        if output_format is Format.JSON:
            output.document({"written": str(written)})
        else:
            output.result(shown.written_text(str(written), named or ""))
        return
    done = run_tests(read_policy(named, None if named is not None else where.context_path()), fixtures)
    document = shown.trials_document(done.policy, done.fixtures, _trials(done.trials), _generated(done.trials))
    if output_format is Format.JSON:
        output.document(document)
    else:
        output.result(shown.trials_text(document))
    raise typer.Exit(int(Door.PASSED if done.trials.hold else Door.FAILED))


def _trials(trials: "Trials") -> list[dict[str, object]]:
    return [
        {
            "name": trial.fixture.name,
            "holds": trial.holds,
            "expected": {"outcome": trial.fixture.expect.value, "by": sorted(trial.fixture.by)},
            "found": {"outcome": trial.verdict.outcome.value, "by": sorted(trial.denying)},
        }
        for trial in trials.trials
    ]


def _generated(trials: "Trials") -> dict[str, object]:
    return {
        "dropped": trials.dropped,
        "openWithout": list(trials.open_without),
        "neverDenying": list(trials.never_denying),
        "baseDenied": list(trials.base_denied),
    }


@policy.command(short_help="Say which rule saw what, and what would have to change.")
def explain(
    sources: Sources = None,
    every: Annotated[bool, typer.Option("--all", help="Rules that pass, too.")] = False,
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Say of each judged adapter which rule saw what, and what would have to change. Default: all that were judged."""
    from peft_assay.pipeline.deployment import Deployment
    from peft_assay.pipeline.policy.explain import explain_recorded
    from peft_assay.pipeline.project import declared_sources
    from peft_assay.report import policy as shown

    where = place(context, workspace, trust)
    with Deployment.open(where) as deployment:
        chosen = declared_sources(deployment.project, sources, output.note) if sources else []
        found = explain_recorded(deployment, chosen)
    documents = [
        shown.explanation_document(item.judged.name, item.judged.source, item, where.options) for item in found
    ]
    if output_format is Format.JSON:
        output.document({"adapters": documents})
    else:
        output.result(shown.explanations_text(documents, every=every))


@policy.command(short_help="Judge what was observed by two policies: who would move?")
def diff(
    old: Annotated[str, typer.Argument(help="Policy: a file, or builtin:NAME.", metavar="OLD")],
    new: Annotated[str, typer.Argument(help="Policy: a file, or builtin:NAME.", metavar="NEW")],
    context: Context = None,
    workspace: WorkspaceFolder = None,
    trust: Trust = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Judge every stored observation set by both policies: who would be admitted, denied, undecided."""
    from peft_assay.pipeline.deployment import Deployment, utc_now
    from peft_assay.pipeline.policy.diff import diff as compare
    from peft_assay.pipeline.policy.read import read_policy
    from peft_assay.report import policy as shown

    with Deployment.open(place(context, workspace, trust)) as deployment:
        found = compare(deployment, read_policy(old), read_policy(new), now=utc_now())
    counts, adapters = (
        {(before.value, after.value): n for (before, after), n in counted.items()}
        for counted in (found.counts, found.adapters)
    )
    moved = [(m.name, m.artifact, m.before.value, m.after.value, m.rule, m.explanation) for m in found.moved]
    document = shown.difference_document(old, new, counts, adapters, moved, found.unread)
    if output_format is Format.JSON:
        output.document(document)
    else:
        output.result(shown.difference_text(document))


@policy.command(short_help="Estimate how often a good adapter is refused by chance.")
def simulate(
    named: Named = None,
    rate: Annotated[float, typer.Option("--rate", min=0, max=1, help="True pass rate of a good adapter.")] = 0.95,
    base_rate: Annotated[
        float | None, typer.Option("--base-rate", min=0, max=1, help="True pass rate of the base. Default: the same.")
    ] = None,
    adapters: Annotated[int, typer.Option("--adapters", min=1, max=100_000, help="Good adapters of the fleet.")] = 1,
    suite: SuiteSizes = None,
    context: Context = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Estimate how often a good adapter is refused by chance at the suites' numbers of cases, alone and in a fleet."""
    from peft_assay.pipeline.policy.read import setting
    from peft_assay.pipeline.policy.simulate import simulate as draw
    from peft_assay.report import policy as shown

    meant = setting(place(context, None, None), named, _sizes(suite))
    drawn = draw(
        meant.compiled, meant.suites, rate=rate, base_rate=rate if base_rate is None else base_rate, adapters=adapters
    )
    document = shown.simulation_document(meant.policy.name, drawn)
    if output_format is Format.JSON:
        output.document(document)
    else:
        output.result(shown.simulation_text(document))


@policy.command(short_help="Print a policy as it is written, to begin one of your own.")
def show(named: Named = None, context: Context = None, output_format: OutputFormat = Format.TEXT) -> None:
    """Print a policy as it is written: peft-assay policy show builtin:default > policy.yaml begins one of your own."""
    from peft_assay.pipeline.policy.read import read_policy
    from peft_assay.report import policy as shown

    found = read_policy(named, None if named is not None else place(context, None, None).context_path())
    if output_format is Format.JSON:
        output.document({"policy": found.name, "document": found.content.decode("utf-8", "backslashreplace")})
    else:
        output.result(shown.written_policy(found.content))


@policy.command(short_help="Print a policy as a page, one section for each rule.")
def docs(
    named: Named = None,
    suite: SuiteSizes = None,
    context: Context = None,
    output_format: OutputFormat = Format.TEXT,
) -> None:
    """Print a policy as a page for people who do not read expressions: Markdown, one section for each rule."""
    from peft_assay.evaluate.witness import conditions_of, terms_of
    from peft_assay.pipeline.policy.read import setting
    from peft_assay.report import policy as shown

    meant = setting(place(context, None, None), named, _sizes(suite))
    compiled = meant.compiled
    rules = [
        (
            item.rule.id,
            item.rule.why,
            item.rule.assertion,
            item.rule.next_step,
            [(t.name, t.meaning) for t in terms_of(conditions_of(item))],
        )
        for item in compiled.rules
    ]
    document = shown.policy_document(compiled.policy.id, compiled.policy.digest, compiled.parameters, rules)
    if output_format is Format.JSON:
        output.document(document)
    else:
        output.result(shown.policy_text(document))


def _sizes(suites: list[str] | None) -> dict[str, int]:
    sizes = {}
    for text in suites or []:
        match = _SIZE.fullmatch(text)
        if match is None:
            raise UsageError(
                f"{text!r} is not a suite and its number of cases", where="--suite", next_step="--suite support=80"
            )
        sizes[match[1]] = int(match[2])
    return sizes
