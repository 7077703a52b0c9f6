"""Whoever is not admitted is told one next command, and following it leads on."""

import re
import shlex
import shutil
from collections import defaultdict

import pytest
import yaml

from docs.test_pages import commands
from observe_static.static_support import CONTEXT
from observe_static.test_wild import NAMES, WILD, needs_wild
from peft_assay.core.digest import sha256
from peft_assay.core.errors import Door, IntakeError
from peft_assay.core.observation import ObservationSet, sort_observations
from peft_assay.core.verdict import Outcome
from peft_assay.core.vocabulary import vocabulary
from peft_assay.evaluate.builtin import NAMES as POLICIES
from peft_assay.evaluate.builtin import builtin_policy
from peft_assay.evaluate.document import load_policy
from peft_assay.evaluate.evaluate import evaluate
from peft_assay.intake.admit import admit
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.weights import watch_weights
from pipeline.certified_world import ZOO
from trust.world import NOW

COMMAND = re.compile(r"peft-assay (?:[a-z]+ )+(?=\{source\}|\S*/)")


def command_in(step):
    """The one command of a next step."""
    (found,) = COMMAND.findall(step)
    return found.split()[1:]


@pytest.mark.parametrize("name", POLICIES)
def test_every_rule_of_every_policy_of_the_package_names_one_command(name):
    policy = load_policy(builtin_policy(name), name, vocabulary(["s"]))
    for rule in policy.rules:
        for step in (rule.rule.next_step, rule.unknown_step):
            assert len(step.split("peft-assay ")) == 2, (rule.rule.id, step)
            assert command_in(step)[0] in commands(), step
            assert "{source}" in step


def test_a_rule_without_a_step_of_its_own_still_names_one():
    rule = {"id": "r", "assert": "config.strict", "why": "w"}
    document = {"apiVersion": "peft-assay/v1", "kind": "Policy", "id": "p", "description": "d", "rules": [rule]}
    compiled = load_policy(yaml.safe_dump(document).encode(), "p", vocabulary([]))
    assert command_in(compiled.rules[0].rule.next_step) == ["certify"]
    assert command_in(compiled.rules[0].unknown_step) == ["policy", "explain"]


def judged(folder):
    """The verdict of the default policy on what can be read of `folder`: it was not run, so it is never PASS."""
    admitted = admit(folder, watch=watch_weights)
    made = observe_static(StaticSubject(admitted.artifact, admitted.contents, CONTEXT, admitted.sightings))
    whole = ObservationSet(admitted.artifact.digest, sha256(b"c"), NOW, sort_observations(made))
    policy = load_policy(builtin_policy("default"), "default", vocabulary(["s"]))
    return evaluate(policy, whole, sha256(b"lock"))


def follow(world, folder, step):
    """Runs the command of `step` on `folder`; gives what it printed."""
    words = shlex.split(step.replace("{source}", shlex.quote(str(folder))).split("peft-assay ", 1)[1])
    return world.run(*words)


@needs_wild
def test_everything_published_that_is_not_admitted_leads_on(world):
    """Each deciding rule's command once on each adapter that it decides, `inspect` on all of them."""
    decided = defaultdict(list)
    for name in NAMES:
        verdict = judged(WILD / name)
        assert verdict.outcome is not Outcome.PASS
        decided[verdict.deciding.rule, verdict.deciding.next_step].append(WILD / name)
    assert len(decided) >= 4, "several kinds of denial were met"
    for (rule, step), folders in decided.items():
        command = command_in(step)
        for folder in folders if command == ["inspect"] else ():
            done = follow(world, folder, step)
            assert done.code == Door.PASSED, (rule, folder.name, done.err)
            assert "next: " in done.out, (rule, folder.name)


@pytest.mark.parametrize("name", sorted(path.name for path in (ZOO / "adapters").iterdir()))
def test_every_member_of_the_zoo_that_is_not_admitted_leads_on(world, name):
    """What reading alone denies is followed here; the lanes certify all of them and look at their next steps."""
    source = ZOO / "adapters" / name
    try:
        verdict = judged(source)
    except IntakeError as refusal:
        assert refusal.next_step
        done = world.run("inspect", str(source))
        assert done.code == Door.REFUSED
        assert f"next: {refusal.next_step}"[:60] in done.err
        return
    decided = verdict.deciding
    assert len(decided.next_step.split("peft-assay ")) == 2
    if command_in(decided.next_step) == ["inspect"]:
        done = follow(world, source, decided.next_step)
        assert (done.code, "next: " in done.out) == (Door.PASSED, True), done.err


WEIGHTS = (ZOO / "adapters" / "lora" / "adapter_model.safetensors").read_bytes()
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 190408\n"
DAMAGED = {
    "empty": ({"adapter_model.safetensors": b""}, "weights file is empty (0 bytes)"),
    "cut-off": ({"adapter_model.safetensors": WEIGHTS[:-9]}, "is cut off: it has 190399 bytes"),
    "no-header": ({"adapter_model.safetensors": WEIGHTS[:90]}, "cut off"),
    "pointer": ({"adapter_model.safetensors": POINTER}, "git lfs pull"),
    "in-parts": ({"adapter_model.safetensors": None, "adapter_model.safetensors.partaa": WEIGHTS}, "join them: cat"),
    "in-shards": ({"adapter_model.safetensors": None, "adapter_model-00001-of-00002.safetensors": WEIGHTS}, "several"),
    "unfinished": ({"adapter_model.safetensors": None, "adapter_model.safetensors.incomplete": b"x"}, "to the end"),
    "misnamed": ({"adapter_model.safetensors": None, "adapter_model.pt": WEIGHTS}, "weights of another name"),
    "without": ({"adapter_model.safetensors": None}, "without weights"),
    "config-pointer": ({"adapter_config.json": POINTER}, "adapter_config.json is a Git LFS pointer"),
    "config-empty": ({"adapter_config.json": b""}, "adapter_config.json is empty"),
}
"""Files of the adapter lora that are replaced (None: taken away), and what is then said of it."""


@pytest.mark.parametrize("name", DAMAGED)
def test_files_that_are_not_whole_lead_to_their_cause(tmp_path, world, name):
    folder, (changed, cause) = tmp_path / name, DAMAGED[name]
    shutil.copytree(ZOO / "adapters" / "lora", folder)
    for file, content in changed.items():
        (folder / file).unlink(missing_ok=True)
        if content is not None:
            (folder / file).write_bytes(content)
    verdict = judged(folder)
    assert verdict.outcome is not Outcome.PASS
    assert command_in(verdict.deciding.next_step) == ["inspect"]
    done = follow(world, folder, verdict.deciding.next_step)
    assert done.code == Door.PASSED, done.err
    assert cause in done.out


BESIDE = (
    "value_head.safetensors",
    "non_lora_trainables.bin",
    "mm_projector.bin",
    "v_head.pt",
    "classifier.safetensors",
)


@pytest.mark.parametrize("file", BESIDE)
def test_trained_weights_that_are_left_out_are_named(tmp_path, world, file):
    folder = shutil.copytree(ZOO / "adapters" / "lora", tmp_path / "adapter")
    (folder / file).write_bytes(WEIGHTS)
    done = world.run("inspect", str(folder))
    assert f"{file}: trained-weights-that-PEFT-leaves-out" in done.out


@pytest.mark.parametrize("adapter", ["no-licence", "pickle-weights"])
def test_what_the_project_denied_leads_on_until_there_is_something_to_do(pristine, world, adapter):
    """From the printed step to the next printed step, as a person would go."""
    (entry,) = [e for e in pristine.certified.document if e["adapter"] == adapter]
    step = entry["nextStep"].replace(str(pristine.root), str(world.root))  # its adapter and, said again, its anchor
    first = world.run(*shlex.split(step.split("peft-assay ", 1)[1]))
    assert first.code in {Door.PASSED, Door.INDETERMINATE}, first.err
    assert "next: " in first.out
    if adapter == "no-licence":
        printed = re.search(r"next: peft-assay (rights clear .*)", first.out)
        settled = world.run(
            *shlex.split(printed[1].replace("HOW YOU KNOW", "letter 118").replace("YOUR NAME", "Legal"))
        )
        assert settled.code == Door.PASSED, settled.err
        assert "next: peft-assay certify" in settled.out
