"""`--isolation none` is for developing peft-assay: whatever policy and trust anchor say, it activates nothing."""

from pathlib import Path

import pytest

from lanes.lane_support import ZOO, Person, attestations, certificates, needs_landlock
from peft_assay.core.errors import Door
from peft_assay.core.sandbox import IsolationLevel

pytestmark = [pytest.mark.sandbox, pytest.mark.model]

LORA = str(ZOO / "adapters" / "lora")
CONTEXT = f"""\
apiVersion: peft-assay/v1
kind: Assay
context:
  name: careless
  purpose: developing peft-assay
  base: {{path: {ZOO / "base"}, licence: apache-2.0}}
  engine: {{name: peft, dtype: float32}}
policy: ./careless.yaml
suites: [./few.yaml]
"""
SUITE = """\
apiVersion: peft-assay/v1
kind: Suite
id: few
version: "1"
description: Enough to have asked something.
source: synthetic
period: null
confidentiality: public
measure: choice
scorer: {kind: choice}
maxNewTokens: 1
stopAfterFailures: null
cases: few.jsonl
"""
CASE = '{"id": "1", "prompt": "user : hello", "choices": ["hello .", "sorry ."], "answer": 0}\n'
POLICY = """\
apiVersion: peft-assay/v1
kind: Policy
id: careless
description: Asks nothing of the sandbox.
rules:
  - id: loads
    assert: size(plan.unmet) == 0
    why: An adapter that does not load has no behaviour.
"""


@pytest.fixture
def careless(home: Path) -> tuple[Person, tuple[str, ...]]:
    """A policy that is silent about isolation, a trust anchor that asks for none at all, and where both are."""
    context, trust = home / "context", home / "trust"
    context.mkdir()
    (context / "peft-assay.yaml").write_text(CONTEXT)
    (context / "careless.yaml").write_text(POLICY)
    (context / "few.yaml").write_text(SUITE)
    (context / "few.jsonl").write_text(CASE)
    person, place = Person(home), ("--context", str(context), "--workspace", str(home), "--trust", str(trust))
    assert person.run("init", str(context), *place[2:]).returncode == 0
    anchor = trust / "trust.yaml"
    least = f"minimumIsolation: {int(IsolationLevel.PROCESS)}"
    assert least in anchor.read_text()
    anchor.write_text(anchor.read_text().replace(least, "minimumIsolation: 0"))
    return person, place


def test_what_was_observed_without_walls_activates_nothing_whatever_the_policy_says(careless):
    person, place = careless
    done = person.run("certify", LORA, *place, "--isolation", "none")
    assert done.returncode == Door.DENIED, done.stderr
    assert "WITHHELD" in done.stdout
    assert "the gate would refuse it at once: observations: observed at isolation level 0, below 10" in done.stdout
    assert "isolation level: none" in done.stdout
    assert "no walls" in done.stderr
    assert [attestation["level"] for attestation in attestations(person.home)] == [IsolationLevel.NONE]
    assert certificates(person.home) == 0, "the policy is satisfied, and only the gate stands in the way"

    denied = person.run("verify", LORA, *place)
    assert denied.returncode == Door.DENIED, denied.stdout
    assert "there is no certificate for this adapter" in denied.stdout

    needs_landlock()
    again = person.run("certify", LORA, *place)
    assert again.returncode == Door.PASSED, again.stderr
    assert attestations(person.home)[0]["level"] != attestations(person.home)[1]["level"], "observed anew, not reused"
    admitted = person.run("verify", LORA, *place)
    assert admitted.returncode == Door.PASSED, "the positive control: with walls the same adapter is admitted"
