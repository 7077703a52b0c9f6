# ruff: noqa: E501 - prose, table rows and examples stand on one line, as they do in the page
"""docs/reference/sandbox-attacks.md: a table of every attack on the sandbox that the tests carry out."""

import sys
from pathlib import Path

from reference_tables import table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "attacks" / "sandbox"))

from attack_catalogue import ATTACKS, GROUPS, Attack
from attack_files import LIES

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
        "17",
        "a worker that was changed after all",
        "`tests/sandbox/test_hygiene.py`: its reference adapter answers otherwise, and what it observed is void",
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
