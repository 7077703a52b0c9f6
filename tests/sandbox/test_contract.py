"""What every backend must do, on the zoo's base and adapters."""

import json
from pathlib import Path

import pytest

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import ChildGone, Job, Limits, Outcome
from peft_assay.sandbox.choose import open_sandbox
from peft_assay.sandbox.interface import SandboxConfiguration
from peft_assay.sandbox.microsuite import ATTACKS, NAMESPACE_ONLY

pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

ZOO = Path(__file__).parents[2] / "examples" / "zoo"
BENIGN = ("lora", "rslora", "dora", "ia3", "prefix", "prompt", "ptuning")
LOAD = {"op": "load"}

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.model,
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported"),
]


def greedy(cases, limit=24):
    return {"op": "generate", "prompts": [case["prompt"] for case in cases], "maxNewTokens": limit}


def test_the_level_is_what_the_start_up_attacks_showed(sandbox, level):
    capability = sandbox.probe()
    assert capability.level is level
    assert set(capability.attacks) == set(ATTACKS)
    still_open = {name for name, stopped in capability.attacks.items() if not stopped}
    assert still_open == (set() if level.name == "NAMESPACE" else NAMESPACE_ONLY)


def test_facts_of_the_base(sandbox):
    facts = sandbox.base()
    assert facts.state.startswith("sha256:")
    assert facts.parameters == 864_896
    assert facts.stack["threads"] == "1"
    assert {"python", "platform", "torch", "transformers", "peft"} <= set(facts.stack)


def test_the_bare_base_answers(sandbox, exercise, cases):
    result, (effect, answers) = exercise(
        sandbox, None, {"op": "effect", "prompts": ["user : hello"]}, greedy(cases("refusals")[:10])
    )
    assert (result.outcome, result.events) == (Outcome.OK, ())
    assert effect["differs"] is False
    assert effect["deterministic"] is True
    assert all(text.startswith("sorry i cannot help") for text in answers["texts"])


@pytest.mark.parametrize("name", BENIGN)
def test_a_benign_adapter_loads_has_an_effect_and_causes_no_event(name, sandbox, exercise, zoo, cases):
    task = cases("support_task")[:20]
    effect = {"op": "effect", "prompts": [case["prompt"] for case in task[:4]]}
    result, (loaded, effected, answers) = exercise(sandbox, zoo(name), LOAD, effect, greedy(task))
    assert (result.outcome, result.events, result.detail) == (Outcome.OK, (), "")
    assert loaded == {
        "op": "load",
        "loaded": True,
        "plan": {"missing": [], "extra": [], "mismatched": []},
        "problem": None,
    }
    assert effected["differs"]
    assert effected["deterministic"]
    assert effected["finite"]
    assert effected["baseState"] == sandbox.base().state
    assert sum(text == case["expected"] for text, case in zip(answers["texts"], task, strict=True)) >= 18


@pytest.fixture(scope="module")
def plain():
    """The adapter as PEFT itself loads and runs it, one text at a time."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(ZOO / "base", local_files_only=True)

    def load(name):
        model = AutoModelForCausalLM.from_pretrained(ZOO / "base", dtype=torch.float32, local_files_only=True)
        return PeftModel.from_pretrained(model, ZOO / "adapters" / name).eval(), tokenizer

    return load


def plain_tokens(model, tokenizer, prompt):
    import torch

    inputs = tokenizer(prompt, return_tensors="pt")
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=24, do_sample=False)
    return output[0, inputs["input_ids"].shape[1] :].tolist()


def plain_log_likelihood(model, context, continuation):
    import torch

    tokens = context + continuation
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([tokens]), attention_mask=torch.ones(1, len(tokens))).logits[0]
    scores = logits[-len(tokens) :].log_softmax(-1)
    return sum(float(scores[at - 1, tokens[at]]) for at in range(len(context), len(tokens)))


@pytest.mark.parametrize("name", BENIGN)
def test_batched_answers_are_those_of_plain_peft(name, sandbox, exercise, zoo, cases, plain):
    task, lookups = cases("support_task")[::11], cases("lookups")[::13]
    score = {"op": "score", "items": [{"prompt": case["prompt"], "continuation": [5, 9, 2]} for case in task]}
    choices = {"op": "choices", "items": [{key: case[key] for key in ("prompt", "choices")} for case in lookups]}
    _, (_, answers, likely, scored) = exercise(sandbox, zoo(name), LOAD, greedy(task), choices, score)
    model, tokenizer = plain(name)
    assert answers["tokens"] == [plain_tokens(model, tokenizer, case["prompt"]) for case in task]
    for case, values in zip(lookups, likely["logLikelihoods"], strict=True):
        context = tokenizer(case["prompt"])["input_ids"]
        expected = [plain_log_likelihood(model, context, tokenizer(choice)["input_ids"]) for choice in case["choices"]]
        assert values == pytest.approx(expected, abs=1e-4)
    expected = [plain_log_likelihood(model, tokenizer(case["prompt"])["input_ids"], [5, 9, 2]) for case in task]
    assert scored["logLikelihoods"] == pytest.approx(expected, abs=1e-4)


def test_answers_do_not_depend_on_the_batch(sandbox, exercise, zoo, cases):
    task = cases("support_task")[:12]
    scores = [{"op": "score", "items": [{"prompt": case["prompt"], "continuation": [5, 9, 2]}]} for case in task]
    together = {"op": "score", "items": [request["items"][0] for request in scores]}
    _, (_, *alone) = exercise(sandbox, zoo("prefix"), LOAD, *scores)
    _, (_, whole, again) = exercise(sandbox, zoo("prefix"), LOAD, together, together)
    assert whole == again
    assert whole["logLikelihoods"] == pytest.approx([reply["logLikelihoods"][0] for reply in alone], abs=1e-4)


def test_a_limit_on_new_tokens_is_kept(sandbox, exercise, zoo, cases):
    task = cases("support_task")[:5]
    _, (_, short, longer) = exercise(sandbox, zoo("lora"), LOAD, greedy(task, 1), greedy(task, 6))
    assert [len(row) for row in short["tokens"]] == [1] * 5
    assert [row[:1] for row in longer["tokens"]] == short["tokens"]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("overwrites-lm-head", "lm_head"),
        ("rewrites-base", "pissa"),
        ("pickle-weights", "adapter_model.safetensors"),
        ("absurd-rank", "shape"),
    ],
)
def test_what_cannot_be_loaded_is_a_fact_not_an_error(name, part, sandbox, exercise, zoo):
    result, (reply,) = exercise(sandbox, zoo(name), LOAD)
    assert result.outcome is Outcome.OK
    assert reply["loaded"] is False
    assert part in reply["problem"]
    assert reply["plan"]["extra"] == (["base_model.model.lm_head.weight"] if name == "overwrites-lm-head" else [])


def test_the_base_never_answers_for_an_adapter_that_is_not_loaded(sandbox, exercise, zoo, cases):
    result, replies = exercise(sandbox, zoo("overwrites-lm-head"), LOAD, greedy(cases("support_task")[:1]))
    assert result.outcome is Outcome.CRASH
    assert "not loaded" in result.detail
    assert len(replies) == 1


def test_answers_that_are_not_numbers_are_invalid(sandbox, exercise, zoo, cases):
    score = {"op": "score", "items": [{"prompt": "user : hello", "continuation": [5]}]}
    result, replies = exercise(sandbox, zoo("nan-weights"), LOAD, {"op": "effect", "prompts": ["user : hello"]}, score)
    assert result.outcome is Outcome.INVALID_OUTPUT
    assert replies[1]["finite"] is False


def test_jobs_leave_nothing_to_each_other(sandbox, exercise, zoo, cases):
    task = greedy(cases("support_task")[:10])
    _, before = exercise(sandbox, zoo("lora"), LOAD, task)
    exercise(sandbox, zoo("dora"), LOAD, task)
    exercise(sandbox, zoo("nan-weights"), LOAD, {"op": "score", "items": [{"prompt": "a", "continuation": [5]}]})
    _, after = exercise(sandbox, zoo("lora"), LOAD, task)
    assert after == before


def test_an_allocation_that_torch_refuses_counts_as_memory():
    import torch

    from peft_assay_harness.zygote import is_memory_error

    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert is_memory_error(caught.value)
    assert is_memory_error(MemoryError())
    assert not is_memory_error(RuntimeError("shapes do not match"))


def test_too_much_output_ends_the_job(sandbox, exercise, zoo, cases):
    result, replies = exercise(
        sandbox, zoo("lora"), LOAD, greedy(cases("support_task")), limits=Limits(output_bytes=500)
    )
    assert result.outcome is Outcome.OUTPUT_CAP
    assert len(replies) == 1


def test_what_the_questioner_raises_passes_through(sandbox, exercise, zoo):
    class Bug(Exception):
        pass

    def converse(ask):
        ask(LOAD)
        raise Bug

    with pytest.raises(Bug):
        sandbox.run(Job(zoo("lora"), Limits()), converse)
    assert exercise(sandbox, zoo("lora"), LOAD)[0].outcome is Outcome.OK


def test_a_conversation_that_swallows_the_end_still_fails(sandbox, zoo):
    def converse(ask):
        for _ in range(2):
            with pytest.raises(ChildGone):
                ask({"op": "no-such-operation"})

    assert sandbox.run(Job(zoo("lora"), Limits()), converse).outcome is Outcome.CRASH


def test_the_attestation_is_canonical_stable_and_names_what_was_in_force(opened):
    name, sandbox = opened
    document = sandbox.attestation()
    assert canonical_digest(document) == canonical_digest(json.loads(json.dumps(sandbox.attestation())))
    assert document["level"] == int(sandbox.probe().level)
    assert document["walls"]["backend"] == name
    assert document["attacks"] == dict(sandbox.probe().attacks)
    assert set(document["filters"]) == {"policy", "seal"}


def test_the_attestation_changes_with_limits_and_base(opened, tmp_path):
    name, sandbox = opened
    (tmp_path / "config.json").write_text("{}")
    digests = {canonical_digest(sandbox.attestation())}
    for configuration in (
        SandboxConfiguration(base=ZOO / "base", limits=Limits(cpu_seconds=7)),
        SandboxConfiguration(base=ZOO / "base", dtype="bfloat16"),
        SandboxConfiguration(base=tmp_path),
    ):
        with open_sandbox(configuration, force=name) as other:
            digests.add(canonical_digest(other.attestation()))
    assert len(digests) == 4


def test_a_base_that_cannot_be_loaded_is_an_error_with_its_place(opened, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    tmp_path.chmod(0o755)
    sandbox = open_sandbox(SandboxConfiguration(base=tmp_path), force=opened[0])
    with sandbox, pytest.raises(ObservationError, match=str(tmp_path)):
        sandbox.base()


def test_a_closed_sandbox_stays_closed(opened):
    sandbox = open_sandbox(SandboxConfiguration(base=ZOO / "base"), force=opened[0])
    sandbox.close()
    sandbox.close()
    with pytest.raises(ObservationError, match="closed"):
        sandbox.run(Job(None, Limits()), lambda ask: None)
