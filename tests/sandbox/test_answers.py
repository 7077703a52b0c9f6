"""What the worker answers is what PEFT itself answers, in whatever batches it is asked, behind both built-in walls."""

from pathlib import Path

import pytest

from peft_assay.core.sandbox import Outcome
from sandbox.contract import BENIGN, LOAD, greedy

pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

ZOO = Path(__file__).parents[2] / "examples" / "zoo"

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.model,
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore:Position ids are not supported"),
]


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
        "conversions": [],
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
    model, tokenizer = plain(name)
    expected = [plain_tokens(model, tokenizer, case["prompt"]) for case in task]
    departing = [tokens[: at % 5] + [7] * (at % 3) for at, tokens in enumerate(expected)]
    drafted = [
        {**greedy(task), "drafts": [{"tokens": draft, "watch": [[5, 9]] * len(draft)} for draft in drafts]}
        for drafts in (departing, expected)
    ]
    result, (_, answers, likely, scored, departed, agreed) = exercise(
        sandbox, zoo(name), LOAD, greedy(task), choices, score, *drafted
    )
    assert (result.outcome, result.events) == (Outcome.OK, ())
    assert answers["tokens"] == departed["tokens"] == agreed["tokens"] == expected
    assert [trace["best"] for trace in agreed["traces"]] == expected
    assert [len(trace["best"]) for trace in departed["traces"]] == list(map(len, departing))
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


def test_one_adapter_at_two_strengths_in_two_precisions_and_drawn(sandbox, exercise, zoo, cases):
    task = cases("support_task")[:3]
    drawn = {**greedy(task), "sampling": {"temperature": 4.0, "topP": 0.99, "seed": 3}}
    items = [{"prompt": case["prompt"], "continuation": [5, 9, 2], "place": 0.5} for case in task]
    requests = (
        {"op": "measure", "prompts": [task[0]["prompt"], "reset " * 200, [{"role": "user", "content": "hello"}]]},
        {"op": "scale", "factor": 0.0},
        greedy(task),
        {"op": "scale", "factor": 1.0},
        greedy(task),
        {**greedy(task), "precise": True},
        drawn,
        drawn,
        {"op": "trace", "items": [{**items[0], "watch": [[1], [2], [3]]}, items[1]], "top": 4},
        {"op": "propose", "items": items, "top": 6},
    )
    result, (_, measured, scaled, idle, _, own, precise, once, twice, traced, proposed) = exercise(
        sandbox, zoo("lora"), LOAD, *requests
    )
    assert (result.outcome, result.events, result.detail) == (Outcome.OK, (), "")
    assert (measured["lengths"][1:], measured["longest"]) == ([200, None], 128)
    assert scaled["modules"] == 16
    assert own == precise != idle
    assert once == twice != own
    assert [len(row) for row in traced["traces"][1]["ids"]] == [4, 4, 4]
    assert 0 < len(proposed["tokens"]) <= 6


def test_a_limit_on_new_tokens_is_kept(sandbox, exercise, zoo, cases):
    task = cases("support_task")[:5]
    _, (_, short, longer) = exercise(sandbox, zoo("lora"), LOAD, greedy(task, 1), greedy(task, 6))
    assert [len(row) for row in short["tokens"]] == [1] * 5
    assert [row[:1] for row in longer["tokens"]] == short["tokens"]


def test_an_allocation_that_torch_refuses_counts_as_memory():
    import torch

    from peft_assay_harness.zygote import is_memory_error

    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert is_memory_error(caught.value)
    assert is_memory_error(MemoryError())
    assert not is_memory_error(RuntimeError("shapes do not match"))
