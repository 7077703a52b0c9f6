"""Beyond the lengths that were tested: a payload that waits for the position after the longest suite.

Each exhibit has its control: the same passes up to the permitted length, or without the guard, are answered.
"""

import os
import warnings
from datetime import timedelta

import pytest

from peft_assay import activate
from peft_assay.core.artifact import CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.certificate import Activation
from peft_assay.core.context import Beyond
from peft_assay.core.digest import sha256
from peft_assay.core.errors import ActivationDenied
from peft_assay.pipeline.deployment import utc_now
from peft_assay.runtime.guard import Guard
from peft_assay.runtime.lengths import BeyondTested
from peft_assay.trust.capability import sealed
from peft_assay_loading.load import attach
from runtime.conftest import ZOO

pytestmark = [pytest.mark.model]
PROMPT, ANSWER = 10, 4


def governed(base_model, name="lora", beyond=Beyond.REFUSE):
    """A real adapter of the zoo on the real base, with a permission for 10 and 4 tokens."""
    folder = ZOO / "adapters" / name
    model = attach(base_model(), (folder / CONFIG_FILE).read_bytes(), (folder / WEIGHTS_FILE).read_bytes())
    return model, Guard(model, permitted(beyond), utc_now, lambda: None, 60.0)


def permitted(beyond=Beyond.REFUSE):
    now, any_digest = utc_now(), sha256(b"")
    given = Activation(
        any_digest, any_digest, any_digest, {}, now, now + timedelta(hours=1), os.getpid(), PROMPT, ANSWER, beyond
    )
    return sealed(given)


def ids(count, rows=1, start=5):
    import torch

    return (torch.arange(count * rows).reshape(rows, count) + start) % 200


def said(model, tokens, **more):
    import torch

    with torch.no_grad():
        return model(input_ids=tokens, **more)


def generated(model, tokens, most, **more):
    import torch

    with torch.no_grad():
        return model.generate(
            input_ids=tokens, max_new_tokens=most, min_new_tokens=most, do_sample=False, pad_token_id=0, **more
        )


def refused(act, says):
    with pytest.raises(ActivationDenied, match=says) as denial:
        act()
    assert denial.value.check == "lengths"
    assert denial.value.next_step


def one_by_one(model, tokens, **more):
    """A prompt that is fed a token at a time through a cache of the caller's own."""
    cache = None
    for at in range(tokens.shape[1]):
        cache = said(model, tokens[:, at : at + 1], past_key_values=cache, use_cache=True, **more).past_key_values


def in_pieces(model, tokens, piece):
    from transformers import DynamicCache

    cache = DynamicCache()
    for at in range(0, tokens.shape[1], piece):
        said(model, tokens[:, at : at + piece], past_key_values=cache, use_cache=True)


def one_more_than_before(model):
    """The text that was just answered, and one token more: a new prompt, no answer going on."""
    generated(model, ids(10), 2)
    generated(model, ids(11), 1)


BEYOND = {
    "a longer prompt": (lambda m: said(m, ids(11)), "prompt of 11 tokens: 10"),
    "a longer prompt, by place": (lambda m: m(ids(11)), "prompt of 11"),
    "a longer prompt, as embeddings": (
        lambda m: m(inputs_embeds=m.get_input_embeddings()(ids(11))),
        "prompt of 11",
    ),
    "one long row among short ones": (
        lambda m: said(m, ids(11, 2), attention_mask=(ids(11, 2) > 9).long()),
        "prompt of 11",
    ),
    "a mask of other numbers than 0 and 1": (
        lambda m: said(m, ids(11), attention_mask=-ids(11).clamp(max=1)),
        "prompt of 11",
    ),
    "a mask of parts": (lambda m: said(m, ids(11), attention_mask=ids(11) / 1000), "prompt of 11"),
    "one token more than the prompt before": (one_more_than_before, "prompt of 11"),
    "a prompt in pieces": (lambda m: in_pieces(m, ids(14), 7), "prompt of 14"),
    "a prompt token by token": (lambda m: one_by_one(m, ids(16)), "tokens"),
    "a longer answer": (lambda m: generated(m, ids(3), 5), "answer of 5 tokens: 4"),
    "a longer answer in a batch": (lambda m: generated(m, ids(3, 4), 9), "answer of 5"),
    "a longer answer without a cache": (lambda m: generated(m, ids(3), 5, use_cache=False), "answer of 5"),
    "a longer answer of the base inside": (lambda m: generated(m.get_base_model(), ids(3), 5), "answer of 5"),
    "a longer prompt of the decoder alone": (lambda m: said(m.get_base_model().model, ids(11)), "prompt of 11"),
}


@pytest.mark.parametrize("act", [act for act, _ in BEYOND.values()], ids=list(BEYOND))
def test_control_without_the_guard_it_answers_whatever_the_length(act, base_model):
    folder = ZOO / "adapters" / "lora"
    act(attach(base_model(), (folder / CONFIG_FILE).read_bytes(), (folder / WEIGHTS_FILE).read_bytes()))


@pytest.mark.parametrize(("act", "says"), list(BEYOND.values()), ids=list(BEYOND))
def test_what_is_longer_is_refused(act, says, base_model):
    model, _ = governed(base_model)
    refused(lambda: act(model), says)
    said(model, ids(10))  # and it goes on with what is not


@pytest.mark.parametrize("name", ["lora", "prompt", "prefix", "ptuning"])
def test_what_is_as_long_as_permitted_is_answered_and_virtual_tokens_are_not_counted(name, base_model):
    model, guard = governed(base_model, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT's own, of positions that soft prompts have no use for
        warnings.simplefilter("error", BeyondTested)
        for more in ({}, {"num_beams": 2}):
            generated(model, ids(10, 2), 4, **more)
            generated(model, ids(10), 4, **more)
        if name == "lora":  # before each piece PEFT would put the virtual tokens again
            in_pieces(model, ids(9), 3)
        said(model, ids(10))
        assert guard.lengths.found is None
        refused(lambda: generated(model, ids(11, start=50), 1), "prompt of 11 tokens: 10")
        refused(lambda: generated(model, ids(9), 5), "answer of 5 tokens: 4")


def test_padding_is_not_counted_and_sequences_may_take_turns(base_model):
    import torch

    model, guard = governed(base_model)
    padded = torch.cat([torch.zeros(2, 6, dtype=torch.long), ids(10, 2)], dim=1)
    generated(model, padded, 4, attention_mask=(padded > 0).long())
    first, second = (said(model, ids(count), use_cache=True).past_key_values for count in (10, 2))
    for _ in range(3):
        first = said(model, ids(1), past_key_values=first).past_key_values
        second = said(model, ids(1), past_key_values=second).past_key_values
    for count in (4, 5, 6, 7, 8, 9, 10):  # other texts, each a little longer, without a cache
        said(model, ids(count, start=count), use_cache=False)
    assert guard.lengths.found is None


def test_a_warning_comes_once_and_says_what_was_found(base_model):
    model, guard = governed(base_model, beyond=Beyond.WARN)
    with pytest.warns(BeyondTested, match="prompt of 12 tokens: 10 is the longest") as met:
        said(model, ids(12))
        said(model, ids(13))
        generated(model, ids(3), 9)
    assert sum(issubclass(one.category, BeyondTested) for one in met) == 1
    assert guard.lengths.found == "prompt of 12 tokens: 10 is the longest that was tested or declared"


def test_what_another_encoder_read_is_counted():
    """Control: without the guard the decoder answers to it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"vocab_size": 256, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
    model = T5ForConditionalGeneration(T5Config(**sizes, decoder_start_token_id=0)).eval()
    wrapped = get_peft_model(model, LoraConfig(task_type="SEQ_2_SEQ_LM", target_modules=["q"])).eval()
    with torch.no_grad():
        short, long = (model.get_encoder()(input_ids=ids(count)) for count in (10, 11))
        start = torch.zeros(1, 1, dtype=torch.long)
        wrapped(encoder_outputs=long, decoder_input_ids=start)
        guard = Guard(wrapped, permitted(), utc_now, lambda: None, 60.0)
        wrapped(encoder_outputs=short, decoder_input_ids=start)
        wrapped.generate(input_ids=ids(10), max_new_tokens=3)
        refused(lambda: wrapped(encoder_outputs=long, decoder_input_ids=start), "prompt of 11 tokens: 10")
        refused(lambda: wrapped.generate(encoder_outputs=long, max_new_tokens=1), "prompt of 11 tokens: 10")
        beyond = torch.zeros(1, 9, 16)
        refused(lambda: wrapped(encoder_outputs=short, decoder_inputs_embeds=beyond), "answer of 9 tokens: 4")
    assert guard.lengths.found is None


@pytest.mark.sandbox
def test_the_permission_carries_what_the_certificate_is_for(certified, base_model):
    place = {"context": ZOO, "workspace": certified.folder, "trust": certified.trust}
    active = activate(base_model(), ZOO / "adapters/lora", **place)
    permission = active.permission
    assert (permission.prompt_tokens, permission.answer_tokens, permission.beyond) == (15, 8, Beyond.WARN)
    assert active.beyond_tested is None
    with pytest.warns(BeyondTested, match="prompt of 16 tokens: 15"):
        said(active.model, ids(16))
    assert "prompt of 16" in active.beyond_tested
