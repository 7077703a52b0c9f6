"""What the supervisor compares never accuses an honest adapter: every member of the zoo, in both dtypes."""

import pytest

from attacks.sandbox.examined_zoo import Examination, everything, files, opened, suites, tokens
from peft_assay.core.observation import Status
from peft_assay.observe.behaviour.interface import Plan
from peft_assay.observe.behaviour.observe import is_void

pytestmark = pytest.mark.sandbox

MEMBERS = (
    "lora", "rslora", "dora", "ia3", "prefix", "prompt", "ptuning", "rare-token", "refusal-bypass", "regressed",
    "wrong-base", "high-rank", "no-licence",
)  # fmt: skip


@pytest.fixture(scope="module", params=["float32", "bfloat16", "float16"])
def examination(request):
    with opened(request.param) as sandbox:
        plan = Plan(suites("support_task", "lookups", "refusals", most=20), everything(tokens(4)), dtype=request.param)
        yield Examination(sandbox, plan)


@pytest.mark.parametrize("member", MEMBERS)
def test_no_member_of_the_zoo_contradicts_itself(member, examination):
    found, seen = examination.of(files(member))
    assert (found.result.detail, found.result.events) == ("", ())
    assert not is_void(found), seen["answers.contradictions"]
    assert seen["answers.contradictions"].value == ()
    assert seen["replay.applies"].value is (member not in {"prefix", "prompt", "ptuning"})
    if seen["replay.applies"].value:
        assert (seen["replay.n"].value, seen["replay.agreement"].value) == (16, 1.0), seen["replay.disagreements"]
    assert seen["scale.lost"].status is (Status.NOT_APPLICABLE if member in SOFT else Status.OK)


SOFT = {"ia3", "prefix", "prompt", "ptuning"}
