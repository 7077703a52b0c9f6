"""Other bases than the zoo's, behind both built-in walls: what they compute needs no call that is not on the list."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")

from peft_assay.core.errors import ObservationError  # noqa: E402
from peft_assay.core.sandbox import Job, Limits, Outcome  # noqa: E402
from peft_assay.sandbox.choose import choose  # noqa: E402
from peft_assay.sandbox.interface import Program, SandboxConfiguration  # noqa: E402
from peft_assay.sandbox.supervisor import Supervisor  # noqa: E402
from sandbox.architectures import CAUSAL, CLASSIFIERS, OTHER, PROMPTS, adapter_of, build, plain_answers  # noqa: E402

HERE = Path(__file__).parent
TOKENS = 10

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.model,
    pytest.mark.filterwarnings("ignore"),  # transformers and PEFT warn about their own defaults here
]


@pytest.fixture(scope="module", params=["namespace", "landlock"])
def walls(request):
    """Walls whose attacks were run once; each base is put behind them in turn."""
    try:
        return choose(SandboxConfiguration(base=HERE.parents[1] / "examples" / "zoo" / "base"), force=request.param)
    except ObservationError as error:
        pytest.skip(f"{request.param}: {error}")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Each base is built once for both walls."""
    made = {}

    def build_once(name):
        if name not in made:
            made[name] = build(name, tmp_path_factory.mktemp("base"))
        return made[name]

    return build_once


def behind(walls, base, **changes):
    """The same walls around another base."""
    mounts = replace(walls.mounts, folders=(*walls.mounts.folders, base))
    return replace(walls, mounts=mounts, configuration=replace(walls.configuration, base=base, **changes))


def exercise(sandbox, adapter, *requests):
    replies = []

    def converse(ask):
        replies.extend(ask(request) for request in requests)

    return sandbox.run(Job(adapter, Limits()), converse), replies


ALL_QUESTIONS = (
    {"op": "load"},
    {"op": "effect", "prompts": list(PROMPTS)},
    {"op": "generate", "prompts": list(PROMPTS), "maxNewTokens": TOKENS},
    {"op": "choices", "items": [{"prompt": prompt, "choices": ["yes", "hello hello"]} for prompt in PROMPTS]},
    {"op": "score", "items": [{"prompt": prompt, "continuation": [5, 9, 7]} for prompt in PROMPTS]},
    {
        "op": "generate",
        "prompts": list(PROMPTS),
        "maxNewTokens": TOKENS,
        "drafts": [{"tokens": [5, 9], "watch": [[1, 2]] * 2}, *[None] * (len(PROMPTS) - 1)],
    },
    {"op": "scale", "factor": 1.0},
    {"op": "choices", "items": [{"prompt": PROMPTS[0], "choices": ["yes", "no"]}], "precise": True},
    {
        "op": "generate",
        "prompts": list(PROMPTS),
        "maxNewTokens": TOKENS,
        "sampling": {"temperature": 1.0, "topP": 0.9, "seed": 1},
    },
    {"op": "propose", "items": [{"prompt": PROMPTS[2], "continuation": [5, 9], "place": 0.5}], "top": 3},
)
LABELS = (
    {"op": "load"},
    {"op": "measure", "prompts": list(PROMPTS)},
    {"op": "effect", "prompts": list(PROMPTS)},
    {"op": "classify", "prompts": list(PROMPTS)},
    {"op": "classify", "prompts": list(PROMPTS), "precise": True},
)


@pytest.mark.parametrize("name", CAUSAL)
def test_every_operation_runs_without_an_event_and_answers_are_those_of_plain_peft(name, walls, built):
    folder = built(name)
    with behind(walls, folder / "base").supervise() as sandbox:
        result, replies = exercise(sandbox, adapter_of(folder), *ALL_QUESTIONS)
        facts = sandbox.base()
    assert (result.outcome, result.events, result.detail) == (Outcome.OK, (), "")
    load, effect, generated, _, _, drafted, *_ = replies
    assert (load["loaded"], load["problem"]) == (True, None)
    assert (effect["differs"], effect["deterministic"], effect["finite"]) == (True, True, True)
    assert effect["baseState"] == facts.state
    assert generated["tokens"] == drafted["tokens"] == list(plain_answers(folder, TOKENS))


def test_a_base_with_encoder_and_decoder_answers_every_question(walls, built):
    folder = built("t5")
    with behind(walls, folder / "base", task="seq2seq-lm").supervise() as sandbox:
        result, replies = exercise(sandbox, adapter_of(folder), *ALL_QUESTIONS)
        sandbox.vouch()
    assert (result.outcome, result.events, result.detail) == (Outcome.OK, (), "")
    assert (replies[0]["loaded"], replies[1]["differs"], replies[1]["deterministic"]) == (True, True, True)
    assert replies[2]["tokens"] == replies[5]["tokens"] == list(plain_answers(folder, TOKENS))


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_gives_labels(name, walls, built):
    folder = built(name)
    with behind(walls, folder / "base", task="seq-cls").supervise() as sandbox:
        result, (load, measured, effect, labels, precise) = exercise(sandbox, adapter_of(folder), *LABELS)
        sandbox.vouch()
    assert (result.outcome, result.events, result.detail) == (Outcome.OK, (), "")
    assert (load["loaded"], effect["differs"], effect["deterministic"]) == (True, True, True)
    assert None not in measured["lengths"]
    assert {len(row) for row in labels["logits"]} == {3}
    for found, alone in zip(labels["logits"], precise["logits"], strict=True):
        assert found == pytest.approx(alone, abs=1e-4)


def test_a_conversation_is_rendered_inside_without_an_event(walls, tmp_path):
    folder = build("llama", tmp_path)
    (folder / "base" / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m.role }} : {{ m.content }} {% endfor %}"
    )
    said = [{"role": "user", "content": "hello"}]
    questions = (
        {"op": "load"},
        {"op": "measure", "prompts": [said]},
        {**ALL_QUESTIONS[2], "prompts": [said, "user : hello "]},
    )
    with behind(walls, folder / "base").supervise() as sandbox:
        result, (_, measured, generated) = exercise(sandbox, adapter_of(folder), *questions)
    assert (result.outcome, result.events, result.detail) == (Outcome.OK, (), "")
    assert measured["lengths"] != [None]
    assert generated["tokens"][0] == generated["tokens"][1]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_causes_no_event(dtype, walls, tmp_path):
    folder = build("llama", tmp_path, dtype=dtype)
    with behind(walls, folder / "base", dtype=dtype).supervise() as sandbox:
        result, replies = exercise(sandbox, adapter_of(folder), *ALL_QUESTIONS)
    assert (result.outcome, result.events, result.detail) == (Outcome.OK, (), "")
    assert replies[0]["loaded"] is True


def test_an_adapter_on_fused_experts_answers_as_plain_peft(walls, tmp_path):
    """PEFT registers a parametrization for each pass: torch counts a write to the base, and no byte changes."""
    folder = build("qwen3-moe", tmp_path, targets="all-linear")
    with behind(walls, folder / "base").supervise() as sandbox:
        result, replies = exercise(sandbox, adapter_of(folder), *ALL_QUESTIONS)
        facts = sandbox.base()
    assert (result.outcome, result.events, result.detail) == (Outcome.OK, (), "")
    load, effect, generated, *_ = replies
    assert (load["loaded"], effect["differs"], effect["baseState"]) == (True, True, facts.state)
    assert generated["tokens"] == list(plain_answers(folder, TOKENS))


@pytest.mark.parametrize("name", OTHER)
def test_encoders_cause_no_event_when_an_adapter_is_loaded_and_compared(name, walls, built):
    folder = built(name)
    chosen = behind(walls, folder / "base")
    program = Program("other_bases", (HERE / "other_bases", *chosen.program.folders))
    mounts = replace(
        chosen.mounts,
        folders=(*chosen.mounts.folders, *program.folders[:1]),
        module_path=(*chosen.mounts.module_path, HERE),
    )
    questions = [{"op": "effect", "prompts": list(PROMPTS)}]
    if name == "t5":
        questions.insert(0, {"op": "generate", "prompts": list(PROMPTS)})
    # The job ends after each question: the base must be bare when the next one comes.
    for question in questions:
        sandbox = Supervisor(
            chosen.backend, program, mounts, chosen.configuration, chosen.findings, (),
            read=lambda _, content: json.loads(content), place=chosen.place,
        )  # fmt: skip
        with sandbox:
            result, replies = exercise(sandbox, adapter_of(folder), question)
            facts = sandbox.base()
        assert (result.outcome, result.events, result.detail) == (Outcome.OK, (), "")
        (reply,) = replies
        if question["op"] == "effect":
            assert (reply["differs"], reply["deterministic"], reply["unchanged"]) == (True, True, True)
            assert reply["baseState"] == facts.state
        else:
            assert all(len(answer) > 1 for answer in reply["tokens"])


@pytest.mark.parametrize("name", OTHER)
def test_a_base_that_is_no_causal_language_model_is_refused_by_name_and_never_misjudged(name, walls, built):
    folder = built(name)
    with (
        behind(walls, folder / "base").supervise() as sandbox,
        pytest.raises(ObservationError, match=r"^the base .*(cannot be loaded|causal language model)") as refusal,
    ):
        sandbox.base()
    assert "context.base" in refusal.value.next_step, "the sandbox has no part in it"
