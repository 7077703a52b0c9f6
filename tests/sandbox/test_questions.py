"""What is asked depends on the kind of base, and only an answer to the question is taken for one."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from peft_assay.core.errors import DocumentError
from peft_assay.core.wire import Reply
from peft_assay.sandbox.interface import Program, SandboxConfiguration
from peft_assay.sandbox.replies import read_reply
from peft_assay.sandbox.sentinel import questions
from peft_assay.sandbox.worker import worker_arguments
from peft_assay_harness.tasks import CAUSAL, CLASSIFIER, SEQ2SEQ, TASKS

MEASURE = {"op": "measure", "prompts": ["a", "b b"]}


def read(request, **reply):
    return read_reply(request, json.dumps({"op": request["op"], **reply}).encode())


@pytest.mark.parametrize(("lengths", "longest"), [([1, 3], 128), ([None, 4], None), ([None, None], 0)])
def test_lengths_of_all_prompts_are_an_answer(lengths, longest):
    assert read(MEASURE, lengths=lengths, longest=longest) == {"op": "measure", "lengths": lengths, "longest": longest}


@pytest.mark.parametrize(
    "reply",
    [
        {"lengths": [1], "longest": 128},
        {"lengths": [1, 2, 3], "longest": 128},
        {"lengths": [0, 2], "longest": 128},
        {"lengths": [1, 2.5], "longest": 128},
        {"lengths": [1, 2], "longest": -1},
        {"lengths": [1, 2], "longest": 1 << 40},
        {"lengths": [1, 2]},
        {"lengths": [1, 2], "longest": 128, "more": 1},
        {"lengths": [1, 1 << 40], "longest": None},
    ],
)
def test_anything_else_is_not(reply):
    with pytest.raises(DocumentError):
        read(MEASURE, **reply)


GENERATE = {"op": "generate", "prompts": ["a", "b"], "maxNewTokens": 2}
SAID = {"texts": ["x", "y z"], "tokens": [[4], [5, 6]]}


def trace(*best, top=1):
    return {
        "chosen": [-0.5] * len(best),
        "best": list(best),
        "entropy": [0.1] * len(best),
        "ids": [[token] * top for token in best],
        "logProbabilities": [[-0.5] * top for _ in best],
    }


def test_answers_come_with_what_was_asked_about_them():
    noted = {"margins": [0.0, 2.5], "traces": [trace(4), trace(5, 6)]}
    assert read({**GENERATE, "top": 1, "margins": True}, **SAID, **noted)["margins"] == [0.0, 2.5]
    assert read(GENERATE, **SAID)["traces"] is None
    begun = [text[:1] for text in SAID["texts"]]
    assert read({**GENERATE, "certainBy": 0.5}, **SAID, certain=begun)["certain"] == begun


@pytest.mark.parametrize(
    ("asked", "reply"),
    [
        ({"margins": True}, {}),
        ({"margins": True}, {"margins": []}),
        ({"margins": True}, {"margins": [0.5]}),
        ({"margins": True}, {"margins": [0.5, -0.5]}),
        ({"margins": True}, {"margins": [0.5, None]}),
        ({}, {"margins": [0.5, 0.5]}),
        ({"certainBy": 0.5}, {}),
        ({"certainBy": 0.5}, {"certain": [""]}),
        ({"certainBy": 0.5}, {"certain": ["", "\0"]}),
        ({"certainBy": 0.5}, {"certain": ["", None]}),
        ({"margins": True}, {"margins": [0.5, 0.5], "certain": ["", ""]}),
        ({"top": 1}, {}),
        ({"top": 1}, {"traces": [trace(4)]}),
        ({"top": 1}, {"traces": [trace(4), None]}),
        ({"top": 1}, {"traces": [trace(4), trace(5)]}),
        ({"top": 1}, {"traces": [trace(4), trace(5, 7)]}),
        ({"top": 1}, {"traces": [trace(4), trace(5, 6, top=2)]}),
        ({}, {"traces": [trace(4), trace(5, 6)]}),
    ],
)
def test_answers_with_anything_else_are_none(asked, reply):
    with pytest.raises(DocumentError):
        read({**GENERATE, **asked}, **SAID, **reply)


def test_the_longest_honest_traces_are_read():
    prompts, tokens, top = 50, 100, 20
    wide = trace(*[123456] * tokens, top=top)
    wide = {
        **wide,
        "chosen": [-12.345678901234567] * tokens,
        "logProbabilities": [[-12.345678901234567] * top] * tokens,
    }
    request = {"op": "generate", "prompts": ["a"] * prompts, "maxNewTokens": tokens, "top": top, "margins": True}
    reply = {"texts": ["x" * 400] * prompts, "tokens": [[123456] * tokens] * prompts, "margins": [0.1] * prompts}
    assert len(read(request, **reply, traces=[wide] * prompts)["traces"]) == prompts


def test_many_prompts_may_be_measured_at_once():
    prompts = ["a"] * 100_000
    assert (
        len(read({"op": "measure", "prompts": prompts}, lengths=[123456] * len(prompts), longest=None)["lengths"])
        == 1e5
    )


def test_every_kind_of_base_has_its_questions():
    assert SandboxConfiguration(base=Path("base")).task == CAUSAL
    assert {question["op"] for question in questions(CLASSIFIER)} == {"classify"}
    assert questions(CAUSAL) == questions(SEQ2SEQ)
    assert {question["op"] for question in questions(CAUSAL)} == {"score", "generate"}
    assert set(TASKS) == {CAUSAL, SEQ2SEQ, CLASSIFIER}


def test_the_kind_of_base_is_on_the_command_line_that_is_attested():
    program, causal = Program("module", ()), SandboxConfiguration(base=Path("base"))
    arguments = worker_arguments(program, causal, "CONTROL")
    assert arguments[arguments.index("--task") + 1] == CAUSAL
    assert arguments != worker_arguments(program, replace(causal, task=CLASSIFIER), "CONTROL")


def test_every_operation_of_the_harness_has_a_reply_and_the_other_way_round():
    pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")
    from peft_assay_harness.ops import OPERATIONS

    replies = Reply.__args__[0].__args__
    assert {kind.model_fields["op"].annotation.__args__[0] for kind in replies} == set(OPERATIONS)
