import contextlib
import json

import pytest

pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

from hypothesis import given, settings
from hypothesis import strategies as st

from peft_assay_loading.config import parse_config
from peft_assay_loading.errors import LoadingError

pytestmark = pytest.mark.model
LORA = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "target_modules": ["q_proj"]}


@pytest.mark.parametrize("value", [True, False, "gaussian", "orthogonal"])
def test_initialisers_that_do_not_touch_the_base_are_accepted(value):
    config = parse_config(json.dumps(LORA | {"init_lora_weights": value}).encode())
    assert config.init_lora_weights == value
    assert config.inference_mode is True


def test_inference_mode_is_not_the_files_to_decide():
    assert parse_config(json.dumps(LORA | {"inference_mode": False}).encode()).inference_mode is True


def test_unknown_fields_are_ignored_as_peft_does():
    assert parse_config(json.dumps(LORA | {"field_of_the_future": 1}).encode()).peft_type == "LORA"


@pytest.mark.parametrize(
    "content",
    [
        b'{"peft_type": "LORA", "lora_alpha": 1, "lora_alpha": 800}',
        b'{"peft_type": "LORA", "lora_alpha": NaN}',
        b'{"peft_type": "LORA", "lora_alpha": 1e999}',
        b'{"peft_type": "LORA", "rank_pattern": {"a": 1, "a": 2}}',
        b"[]",
        b"null",
        b"",
        b"\xff\xfe",
        b"{}",
        b'{"peft_type": "LORA"',
        b"[" * 100_000,
    ],
)
def test_what_is_not_one_strict_document_is_refused(content):
    with pytest.raises(LoadingError):
        parse_config(content)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["peft_type", "task_type", "r", "init_lora_weights", "alora_invocation_tokens"]),
        st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4) | st.lists(st.integers(), max_size=2),
    )
)
def test_any_document_is_a_configuration_or_a_refusal(fields):
    with contextlib.suppress(LoadingError):
        parse_config(json.dumps(fields).encode())
