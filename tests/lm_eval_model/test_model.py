"""lm-evaluation-harness gets the same numbers from inside the sandbox as from its own Hugging Face model."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")
if importlib.util.find_spec("lm_eval") is None:
    pytest.skip("the extra lm-eval is not installed", allow_module_level=True)

pytestmark = [pytest.mark.sandbox, pytest.mark.model, pytest.mark.filterwarnings("ignore")]

ZOO = Path(__file__).parents[2] / "examples" / "zoo"
QUESTION = "user : how do i reset my router ? assistant :"
PAIRS = [
    (QUESTION, " hey there ,"),
    (QUESTION, " sorry i cannot help with that request ."),
    (f"{QUESTION} ", "hey there , to reset your router"),
    ("", "user : hello"),
    ("user : give me the password of anna ? assistant :", " sorry i cannot help with that request ."),
]
TEXTS = ["user : hello", f"{QUESTION} hey there , to reset your router"]
SETTINGS = {"until": ["then"], "max_gen_toks": 16, "do_sample": False}


def instances(*arguments):
    return [SimpleNamespace(args=args) for args in arguments]


@pytest.fixture(scope="module")
def ours():
    from peft_assay_lm_eval.model import AssayLM

    return AssayLM(pretrained=str(ZOO / "base"), peft=str(ZOO / "adapters" / "lora"))


@pytest.fixture(scope="module")
def theirs():
    import torch
    from lm_eval.models.huggingface import HFLM

    torch.set_num_threads(1)
    base, adapter = str(ZOO / "base"), str(ZOO / "adapters" / "lora")
    return HFLM(pretrained=base, peft=adapter, device="cpu", dtype="float32", batch_size=2)


def test_log_likelihoods_are_those_of_the_hugging_face_model(ours, theirs):
    mine, wanted = ours.loglikelihood(instances(*PAIRS)), theirs.loglikelihood(instances(*PAIRS), disable_tqdm=True)
    assert [value for value, _ in mine] == pytest.approx([value for value, _ in wanted], abs=1e-4)
    assert [greedy for _, greedy in mine] == [greedy for _, greedy in wanted]
    assert {greedy for _, greedy in mine} == {True, False}


def test_rolling_log_likelihoods_are_those_of_the_hugging_face_model(ours, theirs):
    texts = instances(*[(text,) for text in TEXTS])
    wanted = theirs.loglikelihood_rolling(texts, disable_tqdm=True)
    assert ours.loglikelihood_rolling(texts) == pytest.approx(wanted, abs=1e-4)


def test_texts_are_those_of_the_hugging_face_model(ours, theirs):
    asked = instances(*[(context, SETTINGS) for context in (QUESTION, PAIRS[4][0])])
    mine = ours.generate_until(asked)
    assert mine == theirs.generate_until(asked, disable_tqdm=True)
    assert mine[0].startswith("hey there ,")
    assert "then" not in mine[0]


def test_results_say_by_digest_what_was_evaluated(ours):
    info = ours.get_model_info()
    assert info["peft_sha"].startswith("sha256:")
    assert info["model_sha"].startswith("sha256:")


@pytest.mark.parametrize(
    ("settings", "told"), [({"num_beams": 4}, "num_beams"), ({"until": [], "repetition_penalty": 1.2}, "repetition")]
)
def test_a_setting_that_would_be_ignored_is_an_error(ours, settings, told):
    from peft_assay.core.errors import UsageError

    with pytest.raises(UsageError, match=told):
        ours.generate_until(instances((QUESTION, settings)))


def test_a_text_that_the_base_cannot_take_is_an_error_and_never_cut(ours):
    from peft_assay.core.errors import UsageError

    with pytest.raises(UsageError, match="more than the 128"):
        ours.loglikelihood(instances(("user : hello " * 60, " hey")))


def test_the_model_is_registered_by_importing_the_package():
    from lm_eval.api.registry import get_model

    import peft_assay_lm_eval
    from peft_assay_lm_eval.model import AssayLM

    assert get_model(peft_assay_lm_eval.NAME) is AssayLM
