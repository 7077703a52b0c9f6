"""An adapter that leaves no room for what is served, or was tested with shorter texts: the default policies say no."""

from functools import cache

import pytest

from evaluation.evaluate_support import SUITES, good_values, judge, observed
from observe_static.static_support import config, subject
from peft_assay.core.context import Beyond, Engine, Lengths
from peft_assay.core.verdict import Outcome
from peft_assay.core.vocabulary import vocabulary
from peft_assay.evaluate.builtin import builtin_policy
from peft_assay.evaluate.document import load_policy
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.interface import BaseFacts, StaticContext

POLICIES = ("default", "strict", "research", "internal-evaluation")
TERMS = ("prompt.room", "context.prompt_tokens", "context.answer_tokens")


@cache
def compiled(policy):
    return load_policy(builtin_policy(policy), policy, vocabulary(SUITES))


def verdict(policy, declared, *, virtual=80, tested=(48, 12), peft_type="PROMPT_TUNING"):
    """What a policy says of a soft prompt on a base of 128 positions, all else being well."""
    context = StaticContext(Engine("peft", "float32", 64), base=BaseFacts(positions=128), lengths=declared)
    fields = {} if peft_type == "LORA" else {"num_virtual_tokens": virtual}
    seen = observe_static(subject(configuration=config(peft_type, **fields), context=context))
    facts = {o.name: o.value for o in seen if o.name in TERMS}
    values = good_values() | facts | dict(zip(("tested.prompt_tokens", "tested.answer_tokens"), tested, strict=True))
    return next(r for r in judge(compiled(policy), observed(values)).results if r.rule == "lengths")


@pytest.mark.parametrize("policy", POLICIES)
def test_80_virtual_tokens_of_128_positions_leave_no_room_for_60(policy):
    declared = Lengths(48, 12, Beyond.WARN)
    assert verdict(policy, None).outcome is Outcome.PASS  # the control: undeclared, it passed
    assert verdict(policy, declared).outcome is Outcome.FAIL
    assert verdict(policy, declared, virtual=68).outcome is Outcome.PASS
    assert verdict(policy, declared, virtual=69).outcome is Outcome.FAIL
    assert verdict(policy, declared, peft_type="LORA").outcome is Outcome.PASS


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("tested", [(47, 12), (48, 11), (0, 0), (127, 0), (1, 128)])
def test_suites_shorter_than_what_is_served_are_not_enough(policy, tested):
    declared = Lengths(48, 12, Beyond.REFUSE)
    assert verdict(policy, declared, virtual=8).outcome is Outcome.PASS  # the control: tested so long
    assert verdict(policy, declared, virtual=8, tested=tested).outcome is Outcome.FAIL
