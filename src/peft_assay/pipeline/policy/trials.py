"""`policy test`: fixtures beside a policy, or the ones that come with a built-in policy."""

from dataclasses import dataclass
from pathlib import Path

from peft_assay.core.errors import UsageError
from peft_assay.core.vocabulary import vocabulary
from peft_assay.evaluate.builtin import builtin_fixtures
from peft_assay.evaluate.document import load_policy
from peft_assay.evaluate.fixtures import Trials, read_fixtures, run_fixtures
from peft_assay.evaluate.scaffold import scaffold
from peft_assay.pipeline.documents import read_file
from peft_assay.pipeline.policy.read import BUILTIN, PolicyText, Setting


@dataclass(frozen=True, slots=True)
class Tested:
    """What became of a policy's fixtures, and where they stand."""

    policy: str
    fixtures: str
    trials: Trials


def fixtures_beside(policy: PolicyText) -> Path | None:
    """Where the fixtures of a policy file are looked for: ``strict.yaml`` has ``strict.tests.yaml``."""
    return None if policy.file is None else policy.file.with_suffix(".tests.yaml")


def run_tests(policy: PolicyText, fixtures: Path | None) -> Tested:
    """Judges every fixture; raises DocumentError for fixtures that cannot be read, StorageError when there are none."""
    place = fixtures or fixtures_beside(policy)
    if place is None:
        where = policy.name
        content = builtin_fixtures(policy.name.removeprefix(BUILTIN))
    else:
        where = str(place)
        if not place.is_file():
            step = f"peft-assay policy test {policy.name} --new writes a first set"
            raise UsageError("there are no fixtures", where=where, next_step=step)
        content = read_file(place, named_by=where)
    read = read_fixtures(content, where)
    compiled = load_policy(policy.content, where=policy.where, vocabulary=vocabulary(read.suites))
    return Tested(policy.name, where, run_fixtures(compiled, read))


def write_fixtures(setting: Setting, fixtures: Path | None) -> Path:
    """Writes a first set of fixtures and gives its place; raises UsageError when there is a file already."""
    place = fixtures or fixtures_beside(setting.policy)
    if place is None:
        raise UsageError("a built-in policy has its fixtures", next_step="name a file with --fixtures")
    text = scaffold(setting.compiled, sorted(setting.suites))
    try:
        with place.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError("is there already, and is left as it is", where=str(place)) from None
    return place
