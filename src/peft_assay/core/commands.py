"""Next commands as people read them: where the asked-for command was told where to act, the next one is told so too."""

import re
import shlex
from collections.abc import Mapping

Options = Mapping[str, str]
"""Options that say where to act, as they were given: ``{"--trust": "keys"}``."""

NONE: Options = {}
PLACE = ("--context", "--workspace", "--trust")
TAKEN: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("certify", "verify", "revoke", "report", "waive"), PLACE),
    **dict.fromkeys(("rights show", "rights clear", "rights snapshot", "rights drift"), PLACE),
    **dict.fromkeys(("policy explain", "policy diff"), PLACE),
    **dict.fromkeys(("policy lint", "policy test", "policy simulate", "policy show", "policy docs"), ("--context",)),
    "suite lint": ("--context",),
    "init": ("--workspace", "--trust"),
}
"""Command to those of the options that it takes; a test compares it with the command line itself."""
_COMMAND = re.compile(r"\bpeft-assay ((?:(?:rights|policy|suite) )?[a-z]+)\b")


def command(name: str, source: str, options: Options) -> str:
    """The command `name` about `source`, quoted for a shell, with those of `options` that it takes."""
    return f"{with_options(f'peft-assay {name}', options)} {shlex.quote(source)}"


def with_options(step: str, options: Options) -> str:
    """`step` with `options` behind every command in it that takes them, but for those that the step gives itself."""
    given = {name: value for name, value in options.items() if name not in step}

    def extended(found: re.Match[str]) -> str:
        taken = TAKEN.get(found[1], ())
        return found[0] + "".join(f" {name} {shlex.quote(value)}" for name, value in given.items() if name in taken)

    return _COMMAND.sub(extended, step) if given else step
