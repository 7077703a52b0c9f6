# ruff: noqa: E501 - prose, table rows and examples stand on one line, as they do in the page
"""Pages that are tables of the code: exit codes, vocabulary, isolation."""

from collections.abc import Iterable, Sequence

from peft_assay.core import errors
from peft_assay.core.errors import DOOR_MEANINGS, DOOR_PRECEDENCE, AssayError, Door
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.core.vocabulary import STATIC_TERMS, VERSION, Term, suite_terms
from peft_assay.core.waiver import PROTECTED, Protected
from peft_assay.evaluate.builtin import builtin_policy
from peft_assay.evaluate.expression import names_in
from peft_assay.observe.behaviour.catalogue import BEHAVIOUR_PROBES
from peft_assay.observe.behaviour.interface import Plan
from peft_assay.observe.behaviour.observe import SANDBOX_TERMS, SERVED_TERM
from peft_assay.observe.catalogue import PROBES
from peft_assay.pipeline.attempts import TERM
from peft_assay.sandbox.microsuite import ATTACKS, NAMESPACE_ONLY

LEVELS = {
    IsolationLevel.NONE: "an attack came through that every level must stop: nothing is observed at all",
    IsolationLevel.PROCESS: "own unprivileged user where started by root, Landlock, system call filter, limits",
    IsolationLevel.NAMESPACE: "besides, own mounts, processes, network, IPC and host name (bubblewrap)",
    IsolationLevel.NAMESPACE_CGROUP: "besides, a control group that was seen to bound memory and number of processes",
    IsolationLevel.USER_KERNEL: "a kernel in user space, such as gVisor. No backend yet",
    IsolationLevel.VM: "a virtual machine. No backend yet",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; pipes in cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def exit_codes() -> str:
    """docs/reference/exit-codes.md."""
    classes = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, AssayError)]
    raised = {door: [f"`{item.__name__}`" for item in classes if item.door is door] for door in Door}
    rows = [[str(int(door)), meaning, ", ".join(raised[door])] for door, meaning in DOOR_MEANINGS.items()]
    order = ", ".join(str(int(door)) for door in DOOR_PRECEDENCE)
    return (
        "# Exit codes\n\n"
        "Every error class of the library has one exit code, and every exit code one meaning. `inspect`, `init`, `report` "
        "and `revoke` give 0 when they did what they were asked.\n\n"
        + table(["code", "meaning", "error class"], rows)
        + f"\nWith several adapters one code stands for all: the first of these that occurred: {order}. "
        "Code 0 means that all of them passed. When nothing was examined the code is 2, never 0.\n\n"
        "With `--format json` an error is a document on standard output, "
        '`{"error": {"message", "where", "nextStep"}, "door"}`, where `door` is the exit code.\n'
    )


def vocabulary() -> str:
    """docs/reference/vocabulary.md."""
    static = [_row(term) for term in STATIC_TERMS]
    suites = [_row(term) for term in suite_terms("<id>")]
    return (
        f"# Vocabulary, version {VERSION}\n\n"
        "Every name that a policy may use, with its type in CEL. A name stands for one observation. When there is no usable "
        "observation of it (not made, failed, of another type), every rule that speaks of it is INDETERMINATE.\n\n"
        "## Terms of every context\n\n"
        + table(["term", "type", "meaning", "observed by", "rules of the default policy"], static)
        + "\n## Terms of each suite\n\n"
        "`<id>` is the suite's `id`. In an assertion, `suite.*` means every suite of the context.\n\n"
        + table(["term", "type", "meaning", "observed by", "rules of the default policy"], suites)
        + "\nBounds are one-sided at 95 %. A pass rate's bound is exact (Clopper-Pearson); the bound of a paired "
        "difference splits the error over two exact bounds, so it is conservative for every n.\n\n"
        "## What no waiver reaches\n\n"
        "A rule that speaks of one of these terms can never be [waived](../how-to/waive-a-rule.md), whatever the rule is called.\n\n"
        + table(["protects", "terms"], [[kind.value, _protected(kind)] for kind in Protected])
    )


def _protected(kind: Protected) -> str:
    return ", ".join(f"`{name}`" for name, found in PROTECTED.items() if found is kind)


def _row(term: Term) -> list[str]:
    return [f"`{term.name}`", f"`{term.kind.value}`", term.meaning, _observer(term.name), ", ".join(_rules(term.name))]


def _observer(name: str) -> str:
    for probe in PROBES:
        if name in probe.terms:
            return f"[{probe.id}](../probes/{probe.id}.md)"
    if name == SERVED_TERM or name.startswith("suite."):
        return "[behaviour](../probes/behaviour.md)"
    for behavioural in BEHAVIOUR_PROBES:
        if name in behavioural.terms(Plan(())):
            return "[behaviour](../probes/behaviour.md)"
    if name == TERM:
        return "[behaviour](../probes/behaviour.md)"
    if name in SANDBOX_TERMS:
        return "[sandbox](isolation.md)"
    raise LookupError(f"nobody observes {name}")


def _rules(name: str) -> list[str]:
    import yaml

    rules = yaml.safe_load(builtin_policy("default"))["rules"]
    spoken = name.replace("suite.<id>.", "suite.*.")
    return [
        f"`{rule['id']}`"
        for rule in rules
        if spoken in names_in(f"{rule['assert']} {rule.get('when', '')}")
        or (spoken.startswith("suite.*.") and spoken in rule["assert"].split())
    ]


def isolation() -> str:
    """docs/reference/isolation.md."""
    levels = [[f"`{level.name.lower()}`", str(int(level)), LEVELS[level]] for level in IsolationLevel]
    attacks = [
        [
            f"`{name}`",
            ", ".join(f"`{call}`" for call in calls) or "refused silently by the kernel",
            "`namespace`" if name in NAMESPACE_ONLY else "`process`",
        ]
        for name, calls in ATTACKS.items()
    ]
    return (
        "# Isolation levels\n\n"
        "A level is what the sandbox's start-up attacks showed, never what was asked for. It stands in every signed "
        "observation (`observer.attestation.level`) and is the term `sandbox.level` of a policy, where "
        "`ISOLATION_PROCESS` and so on name the numbers.\n\n"
        + table(["level", "number", "walls"], levels)
        + "\n## The start-up attacks\n\n"
        "Before it meets an adapter, each sandbox runs these attacks from inside, through the same launcher. An attack "
        "counts as stopped when it failed, left no trace outside, and, where system calls are named, the supervisor saw one "
        "of them refused.\n\n" + table(["attack", "the supervisor must have seen", "needed from level"], attacks)
    )
