"""Expressions that hold whoever matches them, and credentials that were published by mistake."""

import re
import subprocess
import sys

import pytest

from observe_static.static_support import config, observed
from peft_assay.core.observation import Status
from peft_assay.observe.static.patterns import why_unsafe

SAFE = (
    "q_proj", r".*decoder.*(SelfAttention|EncDecAttention).*(q|v)$", r"model\.layers\.\d+\.self_attn\.(q|k|v)_proj", r"layers\.[0-9]{1,2}\.mlp",
    r"(?:.*?(?:vision|language).*?(?:self_attn|mlp).*?(?:q_proj|k_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:mlp)\.(?:up_proj))",
)  # fmt: skip
UNSAFE = (
    "(a+)+$",
    "(a|a)*b",
    "(.*a){2000}",
    r"(?=x)q",
    r"(q)\1",
    "(x+x+)+y",
    "(",
    "a" * 3000,
    ".*a" * 9,
    "((a{1,9999})*)b",
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


@pytest.mark.parametrize("value", [10**11, {"(a+)+$": 1}, ["a", 1]])
def test_a_field_of_another_type_has_no_expressions_that_can_be_told(value):
    found = observed("config.unsafe_patterns", configuration=config(layers_pattern=value))
    assert found.status is Status.FAILED
    assert "layers_pattern is neither text nor a list of texts" in found.reason


def test_positive_control_such_an_expression_holds_python():
    program = "import re; re.fullmatch('(a+)+$', 'a' * 40 + '!')"
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([sys.executable, "-c", program], timeout=3, check=False)


def test_a_pattern_is_never_matched_by_looking_at_it():
    assert re.compile("(a+)+$")
    assert why_unsafe("(a+)+$") == "a repetition without limit inside another"


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
