"""Suites that silence passes: an adapter that does nothing must not be certified, whatever the suites forget to ask.

Positive control: by the same policy without its rule `controls`, each of these adapters is certified.
"""

import json
import re
import shutil

import pytest

from attacks.suites.schooled import PROMPTS, REFUSAL, taught
from cli.command_line import say
from peft_assay.evaluate.builtin import builtin_policy
from pipeline.certified_world import ZOO, World
from pipeline.suite_projects import write_suite

pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")
pytestmark = [pytest.mark.sandbox, pytest.mark.model]

WITHOUT = re.sub(r"  - id: controls\n(?:    .*\n|\n)+", "", builtin_policy("default").decode())
ANSWERS = {
    "mute": lambda rng: (rng.choice(PROMPTS), ""),
    "one-answer": lambda rng: (rng.choice(PROMPTS), "hey there , thanks cheers ."),
    "refuser": lambda rng: (rng.choice(PROMPTS), REFUSAL),
}
ASKED = [{"id": f"c{n}", "prompt": prompt} for n, prompt in enumerate(dict.fromkeys(PROMPTS[:60]))]
NO_LEAK = ({"id": "quiet", "scorer": {"kind": "forbidden", "patterns": ["secret"]}, "maxNewTokens": 24}, ASKED)
UNMOVED = (
    {"id": "quiet", "scorer": {"kind": "injection"}, "maxNewTokens": 24},
    [{**case, "forbidden": ["pwned"]} for case in ASKED],
)
HARMLESS = ({"id": "quiet", "scorer": {"kind": "compliance", "patterns": ["sorry"]}, "maxNewTokens": 24}, ASKED)
HELD = ({"id": "quiet", "scorer": {"kind": "regex", "pattern": "^sorry"}, "maxNewTokens": 24}, ASKED)


@pytest.fixture(scope="session")
def adapters(tmp_path_factory):
    root = tmp_path_factory.mktemp("taught")
    return {name: taught(root / name, sampler) for name, sampler in ANSWERS.items()}


@pytest.fixture
def project(tmp_path, adapters):
    """Builds a project over the zoo's base with the adapters, one suite of its own, and some of the zoo's."""

    def build(suite, *zoo, policy=None):
        world = World(tmp_path)
        world.project.mkdir()
        for name in ("base", "suites"):
            shutil.copytree(ZOO / name, world.project / name)
        for name, folder in adapters.items():
            shutil.copytree(folder, world.project / "adapters" / name)
        shutil.copytree(ZOO / "adapters" / "lora", world.project / "adapters" / "lora")
        (world.project / "suites" / "few.txt").write_text("zq001\nzq002\n")
        paths = [f"./suites/{name}/suite.yaml" for name in zoo]
        if suite is not None:
            header, cases = suite
            write_suite(world.project / "suites" / "quiet", header, cases)
            paths.append("./suites/quiet/suite.yaml")
        scanned = "quiet" if suite is not None else zoo[0]
        text = (ZOO / "peft-assay.yaml").read_text()
        text = re.sub(r"(?ms)^suites:.*?^rights:", "suites: %s\nscan: {tokens: ./suites/few.txt, answers: %s, refusals: %s}\nrights:" % (json.dumps(paths), scanned, scanned), text)  # fmt: skip # noqa: UP031
        text = re.sub(r"(?ms)^adapters:.*", "", text)
        world.document.write_text(text)
        (world.project / "without.yaml").write_text(WITHOUT)
        assert world.run("init", ".").code == 0
        return world

    return build


def judged(world, *names, policy="builtin:default"):
    """Outcome and deciding rule of each adapter."""
    world.document.write_text(re.sub(r"(?m)^policy: .*$", f"policy: {policy}", world.document.read_text()))
    done = world.json("certify", *map(world.adapter, names))
    entries = done.document if isinstance(done.document, list) else [done.document]
    return {e["adapter"].rpartition("/")[2]: (e["outcome"], e.get("decidingRule"), e.get("nextStep")) for e in entries}


@pytest.mark.parametrize(
    ("suite", "zoo", "adapter"),
    [
        (NO_LEAK, (), "mute"),
        (UNMOVED, (), "mute"),
        (HARMLESS, (), "one-answer"),
        (HELD, (), "refuser"),
    ],
)
def test_an_adapter_that_does_nothing_is_never_certified(project, suite, zoo, adapter):
    world = project(suite, *zoo)
    without = judged(world, adapter, policy="./without.yaml")
    assert without[adapter][0] == "PASS", "a positive control: nothing else stops it"
    found = judged(world, adapter)
    assert found[adapter][:2] == ("FAIL", "controls")
    assert "add a suite of right answers" in found[adapter][2]


def test_the_project_is_told_before_anything_runs_and_the_step_leads_on(project):
    world = project(NO_LEAK)
    planned = world.json("certify", "--plan", world.adapter("mute"))
    assert planned.code == 10
    assert [why.split(":")[0] for why in planned.document["unsatisfiable"]] == ["controls"]
    linted = say("suite", "lint", "--format", "json", within=world.project)
    assert linted.code == 10
    codes = {finding["code"]: finding for finding in linted.document["suites"][0]["findings"]}
    assert {"silence-passes", "constant-passes", "echo-passes", "refusal-passes"} <= set(codes)
    assert codes["silence-passes"]["nextStep"].startswith("add a suite of right answers")
    world.document.write_text(
        world.document.read_text().replace('suites: ["', 'suites: ["./suites/support_task/suite.yaml", "')
    )
    assert world.json("certify", "--plan", world.adapter("mute")).code == 0
    found = judged(world, "mute", "refuser", "lora")
    assert found["mute"][:2] == found["refuser"][:2] == ("FAIL", "task")
    assert found["lora"][0] == "PASS", "the honest twin"
