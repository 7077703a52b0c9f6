"""Imports: what becomes of tasks and of logs, and what is refused by name."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peft_assay.core.digest import sha256
from peft_assay.core.errors import DocumentError
from peft_assay.core.suite import Message
from peft_assay.observe.suites.importing.chat_logs import import_chat_logs
from peft_assay.observe.suites.importing.lm_eval import import_task
from peft_assay.observe.suites.importing.redact import redacted
from peft_assay.observe.suites.importing.sampling import allocate, distinct, sample, stratum_of
from peft_assay.pipeline.suites.importing import render

ROWS = [{"q": f"question {n} ?", "a": f"answer {n}", "options": ["x", "y", "z"], "right": n % 3} for n in range(6)]
CHOICE = {
    "task": "t",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "test.jsonl", "train": "train.json"}},
    "test_split": "test",
    "output_type": "multiple_choice",
    "doc_to_text": "q",
    "doc_to_choice": "options",
    "doc_to_target": "right",
}
TEXT = {
    **CHOICE,
    "output_type": "generate_until",
    "doc_to_choice": None,
    "doc_to_text": "Q: {{q}}\nA:",
    "doc_to_target": " {{a}}",
}


def files(rows=ROWS, **more):
    kept = {
        "test.jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in rows),
        "train.json": json.dumps([{**ROWS[0], "q": "shot ?"}, ROWS[1]]).encode(),
    }
    kept |= {name.replace("_", "."): content for name, content in more.items()}
    return lambda name, field: kept[name]


def take(task, read=None):
    document = json.dumps({key: value for key, value in task.items() if value is not None}).encode()
    return import_task(document, read or files(), render, where="task.yaml")


def test_a_choice_task_keeps_context_choices_and_answer():
    done = take(CHOICE)
    assert done.header["scorer"] == {"kind": "choice"}
    assert done.cases[1] == {"prompt": "question 1 ?", "choices": [" x", " y", " z"], "answer": 1}
    assert len(done.cases) == 6


def test_templates_literals_descriptions_and_targets_by_text():
    task = {
        **CHOICE,
        "description": "About {{q}}:\n",
        "doc_to_text": "{{q|upper}} ",
        "doc_to_choice": "{{['no', a]}}",
        "doc_to_target": "{{a}}",
    }
    assert take(task).cases[2] == {
        "prompt": "About question 2 ?:\nQUESTION 2 ?", "choices": ["  no", "  answer 2"], "answer": 1
    }  # fmt: skip
    digits = {**CHOICE, "doc_to_choice": {"A": "x", "B": "y", "C": "z"}, "doc_to_target": "{{right}}"}
    assert [case["answer"] for case in take(digits).cases] == [0, 1, 2, 0, 1, 2]
    replaced = {**CHOICE, "doc_to_text": "{{q|regex_replace('question', 'query')}}"}
    assert take(replaced).cases[0]["prompt"] == "query 0 ?"


def test_a_text_task_keeps_target_ends_and_length():
    done = take({**TEXT, "generation_kwargs": {"until": ["\n", ""], "max_gen_toks": 12, "do_sample": False}})
    assert done.header["scorer"] == {"kind": "exact", "verbatim": True, "until": ["\n"]}
    assert done.header["maxNewTokens"] == 12
    assert done.cases[0] == {"prompt": "Q: question 0 ?\nA:", "expected": " answer 0"}
    assert take(TEXT).header["scorer"]["until"] == ["\n\n"]


def test_examples_are_the_first_of_their_split():
    task = {**CHOICE, "num_fewshot": 2, "fewshot_split": "train", "fewshot_config": {"sampler": "first_n"}}
    assert take(task).cases[5]["prompt"] == "shot ? x\n\nquestion 1 ? y\n\nquestion 5 ?"
    same = {**task, "num_fewshot": 1, "fewshot_split": "test"}
    prompts = [case["prompt"] for case in take(same).cases]
    assert prompts[0] == "question 1 ? y\n\nquestion 0 ?"
    assert prompts[1] == "question 0 ? x\n\nquestion 1 ?"


def test_what_is_included_is_overridden():
    included = json.dumps({key: value for key, value in CHOICE.items() if value is not None}).encode()
    done = take({"include": "base.yaml", "doc_to_text": "{{a}}"}, files(base_yaml=included))
    assert done.cases[0]["prompt"] == "answer 0"


def test_repeats_are_left_out_and_said():
    done = take(CHOICE, files([*ROWS, ROWS[0]]))
    assert len(done.cases) == 6
    assert "1 documents repeat a prompt" in done.notes[0]


@pytest.mark.parametrize(
    ("change", "place", "why"),
    [
        ({"process_docs": "x"}, "task.yaml", "process_docs: is not known here"),
        ({"output_type": "loglikelihood_rolling"}, "task.yaml", "output_type"),
        ({"dataset_path": "openai/gsm8k"}, "task.yaml", "dataset_path: must be 'json'"),
        ({"use_prompt": "promptsource:*"}, "task.yaml", "use_prompt"),
        ({"repeats": 3}, "task.yaml", "repeats"),
        ({"group": "g"}, "task.yaml: group", "a group of tasks"),
        ({"num_fewshot": 2}, "task.yaml: num_fewshot", "examples are drawn at random"),
        ({"num_fewshot": 9, "fewshot_split": "train", "fewshot_config": {"sampler": "first_n"}}, "task t", "9 examples of 2"),
        ({"test_split": None}, "task.yaml", "neither test_split nor validation_split"),
        ({"test_split": "absent"}, "task.yaml: dataset_kwargs.data_files", "no files for split 'absent'"),
        ({"doc_to_choice": None}, "task.yaml: doc_to_choice", "multiple_choice has choices"),
        ({"metric_list": [{"metric": "f1"}]}, "task.yaml: metric_list", "without acc"),
        ({"doc_to_target": "options"}, "task.yaml: doc_to_target", "document 1: neither a text nor an index"),
        ({"doc_to_target": 7}, "task.yaml", "document 1: its target is none of its choices"),
        ({"doc_to_text": "right"}, "task.yaml: doc_to_text", "document 1: not a text"),
        ({"doc_to_text": "{{ nothing }}"}, "task.yaml: doc_to_text", "document 1: UndefinedError"),
        ({"doc_to_text": "{{ q"}, "task.yaml: doc_to_text", "TemplateSyntaxError"),
        ({"doc_to_text": " "}, "task.yaml", "document 1: its context is blank"),
        ({"doc_to_choice": "{{q}}"}, "task.yaml: doc_to_choice", "document 1: SyntaxError"),
        ({"doc_to_choice": "q"}, "task.yaml: doc_to_choice", "document 1: not a list of texts"),
        ({"doc_to_choice": ["x", "x"]}, "task.yaml", "its choices are not 2 to 26"),
        ({"target_delimiter": ""}, "task.yaml", "no white space parts the context from a choice"),
        ({"include": ["a"]}, "task.yaml", "include: not the name of one file"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_by_name(change, place, why):
    with pytest.raises(DocumentError) as caught:
        take({**CHOICE, **change})
    assert why in str(caught.value)
    assert caught.value.where == place


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"task: t\nprocess_docs: !function utils.run\n", "names a function, which is code"),
        (b"- a\n", "not a mapping"),
        (b"a: &x [1]\nb: *x\n", "aliases are not allowed"),
        (b"a: !!python/object/apply:os.system [id]\n", "tags are not allowed"),
    ],
)
def test_documents_that_are_code_or_bombs(content, why):
    with pytest.raises(DocumentError, match=why):
        import_task(content, files(), render, where="task.yaml")


def test_documents_that_include_one_another_end():
    with pytest.raises(DocumentError, match="more than 5 documents in one another"):
        take({"include": "base.yaml"}, files(base_yaml=b"include: base.yaml\n"))


def chat(*contents, system=None, **more):
    roles = ["user", "assistant"] * len(contents)
    messages = [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]
    return {"messages": [{"role": "system", "content": system}, *messages] if system else messages, **more}


def logs(*lines):
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def test_logs_become_conversations_up_to_the_last_user_s_turn():
    content = logs(
        chat("one", "answer", "two", "last", model="m"),
        chat("three", system="be brief"),
        {
            "messages": [
                {"role": "developer", "content": "x"},
                {"role": "user", "content": [{"type": "text", "text": "four"}]},
            ]
        },
    )
    cases = import_chat_logs(content, cases=10, judge=None, where="l").cases
    roles = [[message["role"] for message in case["messages"]] for case in cases]
    assert roles == [["user", "assistant", "user"], ["system", "user"], ["system", "user"]]
    assert all("expected" not in case for case in cases)
    judged = import_chat_logs(content, cases=10, judge="style", where="l")
    assert judged.header["scorer"] == {"kind": "judge", "judge": "style"}
    assert [case.get("expected") for case in judged.cases] == ["last", None, None]
    assert judged.header["confidentiality"] == "confidential"


def test_secrets_leave_and_are_counted():
    token = "hf_" + "a" * 34
    key = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\nabc=\n-----END RSA PRIVATE KEY-----"
    content = logs(chat(f"use {token} please"), chat(f"my key {key} is"), chat("none"))
    done = import_chat_logs(content, cases=10, judge=None, where="l")
    text = json.dumps(done.cases)
    assert token not in text
    assert "MIIB" not in text
    assert "use [hugging-face-token] please" in text
    assert "my key [private-key] is" in text
    assert any(note.startswith("2 secrets redacted") for note in done.notes)
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
    assert redacted(f"a {jwt} b") == ("a [json-web-token] b", 1)


def test_repeats_count_once_and_what_cannot_be_a_case_is_counted():
    call = {"role": "assistant", "content": None, "tool_calls": [{}]}
    content = logs(
        chat("order 12"), chat("Order  13"), chat("other"),
        {"messages": [{"role": "user", "content": "a"}, call, {"role": "user", "content": "b"}]},
        {"messages": [{"role": "assistant", "content": "hello"}]},
    )  # fmt: skip
    done = import_chat_logs(content, cases=10, judge=None, where="l")
    assert len(done.cases) == 2
    assert sum("left out" in note for note in done.notes) == 2


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "l: line 1: not valid JSON"),
        (b'{"messages": []}', "l: line 1: messages: not a list"),
        (b"[1]\n", "l: line 1: messages"),
        (b'{"messages": [1]}', "l: line 1: messages.0: not a message with a role"),
        (b'{"messages": [{"role": "root", "content": "x"}]}', "l: line 1: messages.0: role: not one of"),
        (b'\n{"messages": [{"role": "user", "content": 3}]}', "l: line 2: messages.0: content: neither text"),
        (b'{"messages": [{"role": "user", "content": "x"}], "messages": []}', "key 'messages' appears twice"),
        (b"", "l: 0 usable conversations"),
        (b'{"messages": [{"role": "user", "content": "x"}]}', "l: 1 usable conversations"),
    ],
)  # fmt: skip
def test_bad_logs_name_line_and_field(content, why):
    with pytest.raises(DocumentError) as caught:
        import_chat_logs(content, cases=10, judge=None, where="l")
    assert why in str(caught.value)


SIZES = st.dictionaries(st.text(max_size=3), st.integers(1, 50), min_size=1, max_size=12)


@given(SIZES, st.integers(1, 200))
def test_strata_are_drawn_in_proportion_and_none_beyond_its_size(sizes, n):
    shares = allocate(sizes, n)
    total = sum(sizes.values())
    assert sum(shares.values()) == min(n, total)
    assert all(0 <= shares[key] <= size for key, size in sizes.items())
    if n >= len(sizes):
        assert all(shares.values())
        spare, left = n - len(sizes), max(1, total - len(sizes))
        if n < total:
            assert all(abs(shares[key] - 1 - spare * (size - 1) / left) < 1 for key, size in sizes.items())


def test_the_sample_depends_on_content_alone():
    talks = [(Message("user", f"question {n} " + "long " * (n % 3 * 20)),) for n in range(60)]
    seed = sha256(b"x")
    chosen = sample(talks, 20, seed)
    assert chosen == sample(talks, 20, seed)
    assert chosen != sample(talks, 20, sha256(b"y"))
    moved = list(reversed(talks))
    assert {moved[at] for at in sample(moved, 20, seed)} == {talks[at] for at in chosen}
    assert len({stratum_of(talks[at]) for at in chosen}) == len({stratum_of(talk) for talk in talks})
    assert distinct([talks[0], talks[3], talks[1]]) == [0, 2]


ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "why ?"}]
ANSWER = {"role": "assistant", "content": "because"}
COMPLETION = {"choices": [{"index": 0, "message": ANSWER}]}
OUTPUT = [{"type": "reasoning"}, {"role": "assistant", "content": [{"type": "output_text", "text": "because"}]}]
PARTS = [{"role": "user", "content": [{"type": "input_text", "text": "why ?"}]}]


@pytest.mark.parametrize(
    "line",
    [
        {"messages": [*ASKED, ANSWER]},
        {"messages": ASKED, **COMPLETION},
        {"request": {"model": "m", "messages": ASKED}, "response": COMPLETION},
        {"request": {"url": "/v1", "body": {"messages": ASKED}}, "response": {"status_code": 200, "body": COMPLETION}},
        {"custom_id": "1", "method": "POST", "body": {"messages": ASKED}, "response": {"body": COMPLETION}},
        {"params": {"system": "Be brief.", "messages": ASKED[1:]}, **COMPLETION},
        {"instructions": "Be brief.", "input": "why ?", "output": OUTPUT},
        {"instructions": "Be brief.", "input": PARTS, "output": OUTPUT},
        {"body": {"instructions": "Be brief.", "input": PARTS}, "response": {"body": {"output": OUTPUT}}},
    ],
)
def test_a_conversation_is_found_in_each_wrapping(line):
    other = {"messages": [{"role": "user", "content": "and you ?"}]}
    content = "\n".join(map(json.dumps, (line, other))).encode()
    first = import_chat_logs(content, cases=10, judge="style", where="l").cases[0]
    assert first == {"messages": ASKED, "expected": "because"}


def test_answers_without_their_questions_are_left_out_and_counted():
    two = [{"messages": [{"role": "user", "content": text}]} for text in ("why ?", "where ?")]
    alone = [COMPLETION, {"custom_id": "1", "response": {"body": COMPLETION}}, {"output": OUTPUT}, {"error": "timeout"}]
    done = import_chat_logs("\n".join(map(json.dumps, two + alone)).encode(), cases=10, judge=None, where="l")
    assert len(done.cases) == 2
    assert "4 left out: an answer without what was asked: import the file of requests" in done.notes
    with pytest.raises(DocumentError, match="0 usable conversations: 4 an answer without what was asked"):
        import_chat_logs("\n".join(map(json.dumps, alone)).encode(), cases=10, judge=None, where="l")


def test_calls_among_a_response_s_input_are_left_out_and_counted():
    call = {"input": [*PARTS, {"type": "function_call", "name": "f"}, *PARTS]}
    two = [{"input": text} for text in ("why ?", "where ?")]
    done = import_chat_logs("\n".join(map(json.dumps, [call, *two])).encode(), cases=10, judge=None, where="l")
    assert "1 left out: calls of tools or parts that are no text before the last turn" in done.notes


def test_a_filter_that_takes_the_first_answer_changes_nothing():
    plain = {"name": "none", "filter": [{"function": "take_first"}]}
    assert take({**TEXT, "filter_list": [plain]}).cases == take(TEXT).cases


@pytest.mark.parametrize("function", ["regex", "remove_whitespace", "majority_vote"])
def test_a_filter_that_changes_answers_is_refused_by_name(function):
    filtering = {"name": "strict-match", "filter": [{"function": function}, {"function": "take_first"}]}
    with pytest.raises(DocumentError, match=f"filter strict-match is {function}") as refused:
        take({**TEXT, "filter_list": [filtering]})
    assert refused.value.where == "task.yaml: filter_list.0"
    assert "--scorer regex" in refused.value.next_step
