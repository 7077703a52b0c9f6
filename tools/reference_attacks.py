# ruff: noqa: E501 - prose, table rows and examples stand on one line, as they do in the page
"""The pages of attacks that the tests carry out: on the sandbox, and by an adapter."""

import sys
from pathlib import Path

from reference_tables import table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "attacks" / "sandbox"))

from attack_catalogue import ATTACKS, GROUPS, Attack
from attack_files import LIES

from attacks.adapter.museum import ACTIVATION, INTAKE, TOLD, UNREAD, Exhibit
from attacks.adapter.museum_catalogue import ALSO, EXHIBITS, ROWS

ELSEWHERE = (
    (
        "16",
        "the supervisor is killed",
        "`tests/attacks/sandbox/test_endings.py`: after SIGKILL in any phase (a worker starting, loading, waiting, in a job; a fresh process), in the three lanes, no process is left; nor after SIGTERM and SIGINT",
    ),
    (
        "18",
        "a fork of a process that used a thread pool",
        "`tests/sandbox/test_hygiene.py`: the canary fork of every worker does not come back, and each job gets a process of its own",
    ),
    (
        "18",
        "threads that a device's library made before a job's walls",
        "`tests/attacks/sandbox/test_helper_threads.py`: they are behind the same filters, and any other thread ends the job",
    ),
    (
        "13",
        "replies that end the run of others",
        "`tests/attacks/sandbox/test_hostile_replies.py`: every field of every reply at extremes; the others are judged as ever, and the culprit is named, void, exit code 4",
    ),
    (
        "17",
        "a worker that was changed after all",
        "`tests/attacks/sandbox/test_changed_workers.py`: its reference adapter answers otherwise; nothing that was observed since is signed, all of it is observed again, and the culprit alone is void; `tests/sandbox/test_hygiene.py`: nobody vouches for a worker that is gone",
    ),
    (
        "19",
        "a weaker level than asked for",
        "`tests/lanes/test_missing_walls.py`, `tests/attacks/sandbox/test_endings.py`: refused or recorded, never silent; `tests/lanes/test_without_walls.py`: what was observed without walls activates nothing; `tests/lanes/test_containers.py`: in a container whose runtime answers system calls first, what could not be seen is recorded",
    ),
    (
        "20",
        "other walls under the same attestation",
        "`tests/sandbox/test_attestation.py`: mounts, devices, filters, limits, base, harness, interpreter, kernel are in the signed attestation, and it changes with each",
    ),
)


def sandbox_attacks() -> str:
    """docs/reference/sandbox-attacks.md."""
    groups = "".join(_group(number, title) for number, title in GROUPS.items())
    elsewhere = table(["group", "attack", "its test"], [list(row) for row in ELSEWHERE])
    return (
        "# Attacks on the sandbox\n\n"
        "Every attack below is carried out by the tests (`tests/attacks/sandbox/test_attack_matrix.py`) from inside a job, in three "
        "lanes: root that drops to an unprivileged user, a plain user, and a plain user to whom namespaces are denied (the level "
        "`process`). It must be stopped, the supervisor must have seen what the table names, and the job that follows must be clean "
        "and answer with the same tokens as before. *Positive control*: the same deed, in a process without walls, succeeds; where a "
        "host or an unprivileged user cannot do it even so, the test says so and is skipped. *Silent* means that the kernel refuses "
        "without telling the supervisor: nothing is reported as seen then, and the adapter's results are not voided.\n\n"
        + groups
        + "## Beside the matrix\n\n"
        + elsewhere
        + "\n## What this does not cover\n\n"
        "Links, devices and `..` in an adapter's own folder, and files that change after they were hashed, are refused before a "
        "sandbox exists (`tests/attacks/intake`): a job gets bytes, never a folder. Where a reply is read, "
        "`tests/attacks/sandbox/test_hostile_children.py` has more forgeries, answers given before their question, and one job's "
        "words in another's record.\n\n"
        "At the level `process` a child can still find out whether a path exists and how large the file is, and the host's name: "
        "Landlock does not cover stat(2) and uname(2). It has nowhere to send it but into its answers.\n\n"
        "Bugs of the kernel itself, side channels between jobs (caches, timing), and a child that lies about its own answers: with "
        "code running inside, it can answer what it likes. Any event voids the results; a job that needs no forbidden call raises "
        "none. safetensors files carry no code, and [the threat model](../threat-model.md) says what follows from that.\n"
    )


def _group(number: int, title: str) -> str:
    if number == 15:
        rows = [
            [f"`{name}`", "strict loading, sealed limits", "no event: nothing is loaded", "the files themselves"]
            for name in LIES
        ]
    else:
        rows = [_row(attack) for attack in ATTACKS if attack.group == number]
    return (
        f"## {number}. {title.capitalize()}\n\n"
        + table(["attack", "stopped by", "the supervisor sees", "positive control"], rows)
        + "\n"
    )


def _row(attack: Attack) -> list[str]:
    seen = ", ".join(f"`{name}`" for name in attack.seen)
    if attack.succeeds:
        seen = "nothing: it reaches nobody else"
    elif attack.outcome == ("invalidOutput",):
        seen = seen or "the reply is refused"
    mechanism = attack.mechanism + (" (only at `namespace` and above)" if attack.namespaced else "")
    control = "does not end by itself" if attack.endless else "succeeds"
    if not attack.controlled:
        control = "a good reply is accepted" if attack.outcome == ("invalidOutput",) else "none outside a job"
    return [
        f"`{attack.name}`",
        mechanism,
        seen or "silent",
        control + (" (where the host allows it)" if attack.host_may_refuse else ""),
    ]


def adapter_attacks() -> str:
    """docs/reference/adapter-attacks.md."""
    by_name = {exhibit.name: exhibit for exhibit in EXHIBITS}
    shown = {row: [e for e in EXHIBITS if e.row == row] + [by_name[n] for n in ALSO.get(row, ())] for row in ROWS}
    return (
        "# Attacks by an adapter\n\n"
        "The museum: each way in which an adapter is known to attack whoever loads it, and what becomes of it here. Every line is a "
        "test of `tests/attacks/adapter`: a generator turns an ordinary adapter into the attack, a positive control shows what plain "
        "PEFT 0.21 or transformers 5 does with it, and the answer is checked with everything else as good as it can be. *Silently*: "
        "the plain loader says nothing at all (the control fails on any warning).\n\n"
        "The answer is the rule of the default policy that decides, or one of these:\n\n"
        "- *intake*: it never becomes an artifact.\n"
        "- *never read*: it may be admitted, because nothing here reads that part: the base, its tokenizer and its settings come from "
        "the context. It is told under the term that is named.\n"
        "- *told*: it is what PEFT does and adapters may do; it is told under the term that is named.\n"
        "- *activation*: nothing of the adapter's own; activation is made so that it cannot happen.\n\n"
        + "".join(
            f"## {row} {title[0].upper()}{title[1:]}\n\n"
            + table(
                ["exhibit", "a plain loader", "the answer", "told as", "see also"], [_exhibit(e) for e in shown[row]]
            )
            + "\n"
            for row, title in ROWS.items()
        )
        + "## Beside the museum\n\n"
        "Attacks on intake itself (archives, links, races, sizes) are in `tests/attacks/intake`, with the bound on what "
        "`inspect` may take ([threat model](../threat-model.md)); attacks from inside the sandbox are "
        "[on their own page](sandbox-attacks.md); trained backdoors are adapters of `examples/zoo`.\n"
    )


def _exhibit(exhibit: Exhibit) -> list[str]:
    answer = exhibit.answer if exhibit.answer in {INTAKE, UNREAD, TOLD, ACTIVATION} else f"`{exhibit.answer}`"
    links = ", ".join(f"[{_label(url)}]({url})" for url in exhibit.advisory)
    shown = "silently: " if exhibit.silent else ""
    terms = ", ".join(f"`{term}`" for term in exhibit.seen if term != "refusal")
    unshown = "" if exhibit.control else " (not run)"
    return [exhibit.name.replace("_", " "), shown + exhibit.plain + unshown, answer, terms, links]


def _label(url: str) -> str:
    parts = url.rstrip("/").split("/")
    if "github.com" in url and parts[-2] in {"issues", "pull"}:
        return f"{parts[-3]} {parts[-1]}"
    return parts[-1].partition("#")[0].replace("_-_ReDoS", "").replace("_", " ")
