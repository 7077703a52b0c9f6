"""Expressions that hold whoever matches them, and credentials that were published by mistake."""

import re
from collections import Counter

import pytest

from observe_static.static_support import config, observed
from peft_assay.core.context import Engine
from peft_assay.core.observation import Status
from peft_assay.observe.interface import BaseFacts, StaticContext
from peft_assay.observe.static.backtracking import Counting, parsed
from peft_assay.observe.static.patterns import why_unsafe

SAFE = (
    "q_proj", r".*decoder.*(SelfAttention|EncDecAttention).*(q|v)$", r"model\.layers\.\d+\.self_attn\.(q|k|v)_proj", r"layers\.[0-9]{1,2}\.mlp",
    r"(?:.*?(?:vision|language).*?(?:self_attn|mlp).*?(?:q_proj|k_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:mlp)\.(?:up_proj))",
)  # fmt: skip
LOOKING = (
    r"^(?!.*visual).*\.(q_proj|v_proj)$",
    r"^(?!(lm_head|.*vision_tower.*|.*aligner.*)).*",
    r"(?=.*layers\.(1[0-9])\.).*q_proj",
    r".*(?<!vision_)attn\.q_proj",
)
"""As trainers write them that leave a part of a model out."""
UNSAFE = (
    "(ab+)+$",
    "(ab|ba)*c",
    "(.b){2000}",
    r"(?=(q)\1)x",
    r"(?!(ab+)+$)q",
    r"(?!.*.*.*.*x).*.*q",
    r"(q)\1",
    "(xy+z+)+w",
    "(",
    "a" * 3000,
    ".*a" * 9,
    "((ab{1,9999})*)c",
)


@pytest.mark.parametrize("pattern", SAFE)
def test_expressions_that_people_write_are_safe(pattern):
    assert why_unsafe(pattern) is None
    assert observed("config.unsafe_patterns", configuration=config(target_modules=pattern)).value == ()


@pytest.mark.parametrize("pattern", UNSAFE)
@pytest.mark.parametrize(
    "field", ["target_modules", "exclude_modules", "rank_pattern", "alpha_pattern", "layers_pattern"]
)
def test_others_are_named_with_field_and_reason(pattern, field):
    value = {pattern: 4} if field.endswith(("k_pattern", "a_pattern")) else pattern
    found = observed("config.unsafe_patterns", configuration=config(**{field: value}))
    assert found.status is Status.OK
    (told,) = found.value
    assert told.startswith(field)


@pytest.mark.parametrize("pattern", LOOKING)
def test_looking_around_is_counted_where_a_field_is_one_expression(pattern):
    assert observed("config.unsafe_patterns", configuration=config(target_modules=pattern)).value == ()
    (told,) = observed("config.unsafe_patterns", configuration=config(alpha_pattern={pattern: 4})).value
    assert "not an expression that takes linear time" in told, "its meaning is computed, and there by re2"


@pytest.mark.parametrize("value", [10**11, {"(ab+)+$": 1}, ["a", 1]])
def test_a_field_of_another_type_has_no_expressions_that_can_be_told(value):
    found = observed("config.unsafe_patterns", configuration=config(layers_pattern=value))
    assert found.status is Status.FAILED
    assert "layers_pattern is neither text nor a list of texts" in found.reason


def _tried(tree, text, at=0):
    """Every way of a plain backtracking matcher, one by one: a stand-in for `re`, on texts that are short."""
    if not tree:
        yield at
        return
    (operation, argument), rest = tree[0], list(tree[1:])
    match str(operation):
        case "LITERAL" | "ANY":
            if at < len(text) and (str(operation) == "ANY" or text[at] == chr(argument)):
                yield from _tried(rest, text, at + 1)
        case "SUBPATTERN":
            for end in _tried(list(argument[3]), text, at):
                yield from _tried(rest, text, end)
        case "BRANCH":
            for branch in argument[1]:
                for end in _tried(list(branch), text, at):
                    yield from _tried(rest, text, end)
        case "MAX_REPEAT":
            yield from _turns(list(argument[2]), argument[0], argument[1], rest, text, at)


def _turns(body, least, most, rest, text, at, turn=0):
    if turn < most:
        for end in _tried(body, text, at):
            if end > at or turn < least:
                yield from _turns(body, least, most, rest, text, end, turn + 1)
    if turn >= least:
        yield from _tried(rest, text, at)


@pytest.mark.parametrize(
    "pattern", ["(a|a){0,3}b?", "a*a*a*", "(a{1,2}){1,3}", ".*a.*b", "(ab|a|b){2}.*", "(a?){0,3}a", "a{2,3}"]
)
@pytest.mark.parametrize("text", ["aaaa", "abab", "ba", ""])
def test_ways_are_counted_as_a_backtracking_matcher_tries_them(pattern, text):
    counter = Counting(text, 1e9)
    counted = counter.sequence(parsed(pattern), {0: 1.0})
    tried = Counter(_tried(list(parsed(pattern)), text))
    assert {at: n for at, n in counted.items() if n} == dict(tried)
    assert counter.steps >= sum(tried.values())


def test_control_the_ways_double_with_each_letter():
    """Six letters are harmless; what they show of `re` holds for forty."""
    numbers = [sum(1 for _ in _tried(list(parsed("(a|a){0,6}")), "a" * n)) for n in range(7)]
    assert numbers == [2 ** (n + 1) - 1 for n in range(7)]
    assert why_unsafe("(ab|ba)*") is not None


SLOW = (
    ".*.*.*.*x", "(.|.){0,9}(.|.){0,9}x", "(ab|ba){0,30}", r"(\w{1,4}){1,9}x", r"\w*\w*\w*\w*\w*!", "(a{1,4}){0,9}b",
    ".*?.*?.*?.*?q",
)  # fmt: skip
"""Each of them ends: none has more than a few million ways on any of the names here."""


@pytest.mark.parametrize("pattern", SLOW)
@pytest.mark.parametrize(
    ("peft_type", "field"),
    [
        ("LORA", "target_modules"), ("LORA", "exclude_modules"), ("LORA", "rank_pattern"), ("LORA", "alpha_pattern"),
        ("LORA", "layers_pattern"), ("LORA", "modules_to_save"), ("IA3", "feedforward_modules"),
        ("DELORA", "lambda_pattern"), ("FOURIERFT", "n_frequency_pattern"), ("C3A", "block_size_pattern"),
        ("OSF", "rank_pattern"),
    ],
)  # fmt: skip
def test_what_takes_too_many_steps_is_told_by_field_and_pattern(pattern, peft_type, field):
    value = (
        {pattern: 4} if field not in {"layers_pattern", "modules_to_save"} and field.endswith("_pattern") else pattern
    )
    value = [pattern] if field == "modules_to_save" else value
    (told,) = observed("config.unsafe_patterns", configuration=config(peft_type, **{field: value})).value
    assert told.startswith(field)
    assert f"the pattern {pattern!r}" in told


def test_many_patterns_that_are_cheap_alone_are_too_many_together():
    keys = {f".*layers.*{n}.*proj": 4 for n in range(400)}
    assert (
        observed("config.unsafe_patterns", configuration=config(rank_pattern=dict(list(keys.items())[:40]))).value == ()
    )
    dear = {f".*.*{n}.*": 4 for n in range(2_000)}
    (told,) = observed("config.unsafe_patterns", configuration=config(rank_pattern=dear)).value
    assert "more steps for each module than can be taken" in told


def test_keys_that_are_names_cost_nothing():
    keys = {f"model.layers.{n}.self_attn.q_proj": 4 for n in range(900)}
    assert observed("config.unsafe_patterns", configuration=config(rank_pattern=keys)).value == ()


def test_the_base_s_own_names_count():
    """A pattern that is slow on one base only."""
    pattern = "(z|z){1,9}(z|z){1,9}x"
    context = StaticContext(engine=Engine("peft", "float32", 64), base=BaseFacts({"z" * 40 + ".weight": 1.0}))
    told = observed("config.unsafe_patterns", configuration=config(target_modules=pattern), context=context).value
    assert len(told) == 1


def test_a_pattern_is_never_matched_by_looking_at_it():
    assert re.compile("(ab+)+$")
    assert why_unsafe("(ab+)+$") == "a repetition without limit inside another"


SECRETS = {
    "aws-access-key": "AKIA" + "Z" * 16,
    "github-token": "ghp_" + "a1" * 18,
    "google-api-key": "AIza" + "b" * 35,
    "hugging-face-token": "hf_" + "aB3" * 11,
    "json-web-token": "eyJ" + "a" * 20 + ".eyJ" + "b" * 20 + "." + "c" * 20,
    "openai-key": "sk-proj-" + "d" * 40,
    "private-key": "-----BEGIN EC PRIVATE KEY-----",
    "slack-token": "xoxb-" + "1234567890-abc",
}


@pytest.mark.parametrize("kind", sorted(SECRETS))
@pytest.mark.parametrize("around", ["token = '{}'", "{}", "\xff{}\n"])
def test_a_credential_is_named_by_file_and_kind_and_not_told(kind, around):
    body = around.format(SECRETS[kind]).encode("latin-1")
    found = observed("secrets.found", files={"notes/run.sh": body})
    assert found.value == (f"notes/run.sh: {kind}",)
    assert SECRETS[kind] not in str(found)


def test_ordinary_text_and_weights_hold_none():
    assert observed("secrets.found", files={"a.txt": b"hf_hub_download, sk-learn, eyJ, AKIA"}).value == ()
    assert observed("secrets.found", files={"x.safetensors": SECRETS["openai-key"].encode()}).value == ()
