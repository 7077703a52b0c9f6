"""docs/how-to/write-a-policy.md, walked through literally: every command gives what the page shows."""

import contextlib
import io
import re
import shlex
import subprocess

import pytest

from docs.docs_support import DOCS
from peft_assay.cli.main import run

PAGE = (DOCS / "how-to" / "write-a-policy.md").read_text("utf-8")
BLOCK = re.compile(r"^```(console|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TAKES_TRUST = {"verify", "certify", "diff", "explain"}
CHANGING = (
    (r"sha256:[0-9a-f]{64}", "DIGEST"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "TIME"),
    (r"isolation level: \w+", "isolation level: ANY"),
    (r"\d+ adapters? \(\d+ observation sets?\): \d+ stay", "N adapters (N observation sets): N stay"),
    (r"rules\.\d+\.", "rules.N."),
    (r" --trust \S+", ""),
    (r"\d+ of \d+ tests hold; \d+ observations", "N of N tests hold; N observations"),
)
"""What differs from run to run, from host to host, with the size of the default policy, and because the world holds more
than one adapter."""


def steps():
    """Commands with what they print and how they end, and texts to append with the file that the page names."""
    for match in BLOCK.finditer(PAGE):
        kind, body = match.groups()
        if kind == "yaml":
            named = re.findall(r"at the end of `([\w.]+)`", PAGE[: match.start()])
            yield "append", named[-1], body, 0
            continue
        for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
            command, _, shown = part.partition("\n")
            ended = re.search(r"^\(exit code (\d+)\)\n", shown, re.MULTILINE)
            yield (
                "run",
                command,
                re.sub(r"^\(exit code \d+\)\n", "", shown, flags=re.MULTILINE),
                int(ended[1]) if ended else 0,
            )


def plain(text, world):
    text = text.replace(str(world.project), "/home/ada/my-zoo")
    for pattern, instead in CHANGING:
        text = re.sub(pattern, instead, text)
    return sorted(line.rstrip() for line in text.splitlines() if line.strip())


def typed(world, command):
    """A line of the page as a shell would take it: (exit code, what a person sees)."""
    words = shlex.split(command)
    if words[0] != "peft-assay":
        return subprocess.run(command, shell=True, cwd=world.project, check=False).returncode, ""
    target = world.project / words[words.index(">") + 1] if ">" in words else None
    arguments = words[1 : words.index(">")] if target else words[1:]
    trust = ["--trust", str(world.trust)] if set(arguments[:2]) & TAKES_TRUST else []
    seen, told = io.StringIO(), io.StringIO()
    with contextlib.chdir(world.project), contextlib.redirect_stdout(seen), contextlib.redirect_stderr(told):
        code = run([*arguments, *trust])
    if target is not None:
        target.write_text(seen.getvalue())
        return code, told.getvalue()
    return code, seen.getvalue() + told.getvalue()


@pytest.mark.sandbox
def test_a_newcomer_adds_a_rule_its_test_and_sees_it_deny(world):
    walked = 0
    for what, line, shown, code in steps():
        if what == "append":
            with (world.project / line).open("a") as file:
                file.write("\n" + shown if line == "policy.yaml" else shown)
            continue
        found = typed(world, line)
        assert found[0] == code, (line, found)
        assert plain(found[1], world) == plain(shown, world), line
        walked += 1
    assert walked == 16
