"""A museum of suites, tasks, data and answers that were written to hurt who reads them. Each has its sound twin."""

import json
import time

import pytest
import yaml

from cli.command_line import say
from peft_assay.core.errors import DocumentError
from peft_assay.core.suite import Case
from peft_assay.observe.behaviour.scorers.catalogue import text_scorer
from peft_assay.observe.suites.read import read_suite
from pipeline.suite_projects import CASES, HEADER, write_project, write_suite

SOON = 30.0
"""Seconds on a busy machine; what is bounded takes well under one on an idle one."""


def lines(cases):
    return b"".join(json.dumps(case).encode() + b"\n" for case in cases)


def read(header, cases=CASES):
    content = header if isinstance(header, bytes) else json.dumps({**HEADER, **header}).encode()
    return read_suite(content, cases if isinstance(cases, bytes) else lines(cases), where="suite.yaml")


def refused(header, why, cases=CASES):
    began = time.monotonic()
    with pytest.raises(DocumentError) as caught:
        read(header, cases)
    assert why in str(caught.value)
    assert caught.value.where.startswith("suite.yaml")
    assert time.monotonic() - began < SOON


def test_the_sound_twin_of_all_of_them_loads():
    assert len(read({}).cases) == 10
    assert say("suite", "new", "--help").code == 0


BOMB = b"a: &a [x, x]\n" + b"".join(b"k%d: &k%d [*a, *a]\n" % (n, n) for n in range(40))


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (BOMB, "aliases are not allowed"),
        (b"scorer: !!python/object/apply:os.system ['id']\n", "tags are not allowed"),
        (b"<<: {id: x}\nid: y\n", "not valid YAML"),
        (b"id: a\nid: b\n", "key 'id' appears twice"),
        (b"[" * 100_000, ""),
        (b"x: " + b"y" * (9 << 20), "bytes, more than"),
    ],
)  # fmt: skip
def test_headers_that_explode_or_run(header, why):
    refused(header, why)


@pytest.mark.parametrize(
    "name", ["../other/cases.jsonl", "/etc/passwd", "..", ".", "", "sub/cases.jsonl", "http://evil.example/x", "a\x00b"]
)
def test_cases_lie_in_the_suite_s_own_folder(tmp_path, name):
    write_suite(tmp_path / "task")
    write_suite(tmp_path / "other")
    good = say("suite", "lint", tmp_path / "task", "--format", "json")
    assert good.code in (0, 10)
    (tmp_path / "task" / "suite.yaml").write_text(json.dumps({**HEADER, "cases": name}))
    done = say("suite", "lint", tmp_path / "task", "--format", "json")
    assert done.code == 2
    assert "cases" in done.document["error"]["where"]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    file = write_suite(tmp_path / "task")
    write_suite(tmp_path / "elsewhere")
    (tmp_path / "task" / "here.jsonl").symlink_to("cases.jsonl")
    (tmp_path / "task" / "out.jsonl").symlink_to(tmp_path / "elsewhere" / "cases.jsonl")
    for name, code in (("here.jsonl", (0, 10)), ("out.jsonl", (2,))):
        file.write_text(yaml.safe_dump({**HEADER, "cases": name}))
        assert say("suite", "lint", tmp_path / "task", "--format", "json").code in code, name
    assert say("certify", "--plan", "--context", write_project(tmp_path), tmp_path, "--format", "json").code == 2


PATTERNS = [r"^(ab+)+$", r"(ab|ba)*c$", r"(xy+z)*w", r"(.b)*end", r"(b?){6}b{6}"]
"""Forms whose worse relatives hold a backtracking engine; these do not, on the text below."""


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_that_backtrack_elsewhere_are_linear_here(pattern):
    cases = [{"id": "a", "prompt": "p"}]
    answer = "a" * 100_000 + "!"
    began = time.monotonic()
    for scorer in (
        {"kind": "forbidden", "patterns": [pattern, "zq"]},
        {"kind": "regex", "pattern": "zq.*" + pattern.removeprefix("^")},
        {"kind": "jsonSchema", "schema": {"type": "string", "pattern": "zq.*" + pattern.removeprefix("^")}},
    ):
        try:
            suite = read({"scorer": scorer}, cases)
        except DocumentError:
            continue  # a pattern that matches the empty text is no scorer
        text_scorer(suite)(Case("a", "p"), json.dumps(answer) if scorer["kind"] == "jsonSchema" else answer)
    assert time.monotonic() - began < SOON


@pytest.mark.parametrize(
    "pattern", [r"(?=a)b", r"(a)\1", r"(?<!x)y", "(" * 500, "a{1001}", r"((a{100}){100}){100}", "[", "x" * 1001]
)
def test_patterns_that_are_none_or_too_much_are_refused(pattern):
    refused({"scorer": {"kind": "forbidden", "patterns": [pattern]}}, "patterns", [{"id": "a", "prompt": "p"}])


NESTED = {"type": "string"}
for _ in range(24):
    NESTED = {"properties": {"a": NESTED}}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "file:///etc/passwd"}, "$ref"),
        ({"$ref": "http://127.0.0.1:1/x"}, "$ref"),
        ({"properties": {"x": {"$dynamicRef": "#"}}}, "$dynamicRef"),
        ({"anyOf": [{"anyOf": [{"type": "null"}] * 20}] * 20}, "schemas in one"),
        (NESTED, "nested more than"),
        ({}, "the suite cannot fail"),
        ({"not": {"const": "qwertzqwertz"}}, "the suite cannot fail"),
    ],
)
def test_schemas_that_reach_out_explode_or_take_everything(schema, why):
    refused({"scorer": {"kind": "jsonSchema", "schema": schema}}, why, [{"id": "a", "prompt": "p"}])


@pytest.mark.parametrize(
    ("scorer", "why"),
    [
        ({"kind": "regex", "pattern": ""}, "scorer.pattern"),
        ({"kind": "regex", "pattern": "x*"}, "the empty answer passes every case"),
        ({"kind": "regex", "pattern": "(?s)."}, "every text that was tried passes"),
        ({"kind": "refusal", "patterns": ["sorry|"]}, "the empty answer passes every case"),
        ({"kind": "compliance", "patterns": ["a*"]}, "a pattern matches everything"),
        ({"kind": "forbidden", "patterns": ["zq", ""]}, "each of patterns has 1 to"),
        ({"kind": "forbidden", "patterns": ["a*"]}, "a pattern matches everything"),
    ],
)
def test_scorers_that_cannot_fail_or_cannot_pass(scorer, why):
    refused({"scorer": scorer}, why, [{"id": "a", "prompt": "p"}])


def test_suites_that_one_constant_answer_passes():
    same = [{"id": str(n), "prompt": f"q {n}", "expected": "yes"} for n in range(5)]
    refused({}, "one constant answer passes every one of 5 cases", same)
    assert len(read({}, [*same, {"id": "n", "prompt": "q n", "expected": "no"}]).cases) == 6
    choices = [{"id": str(n), "prompt": f"q {n}", "choices": ["a", "b"], "answer": 0} for n in range(3)]
    refused({"scorer": {"kind": "choice"}}, "one constant answer", choices)


def write_task(folder, rows=None, **changes):
    folder.mkdir(exist_ok=True)
    rows = rows or [{"q": f"question {n}", "o": ["a", "b"], "r": n % 2} for n in range(4)]
    (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {
        "task": "t", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "data.jsonl"}}, "test_split": "test",
        "output_type": "multiple_choice", "doc_to_text": "{{q}}", "doc_to_choice": "o", "doc_to_target": "r", **changes,
    }  # fmt: skip
    (folder / "task.yaml").write_text(yaml.safe_dump(task))
    return folder / "task.yaml"


def take(tmp_path, **changes):
    began = time.monotonic()
    done = say(
        "suite", "import", write_task(tmp_path / "task", **changes), "--to", tmp_path / "out", "--format", "json"
    )
    assert time.monotonic() - began < 4 * SOON
    return done


def test_the_sound_task_is_imported(tmp_path):
    assert take(tmp_path).code == 0


ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ q.__class__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ lipsum.__globals__['os'].system('id') }}",
    "{{ self._TemplateReference__context }}",
    "{{ q.format.__self__ }}",
    "{{ '{0.__class__.__mro__}'.format(q) }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}",
    "{{ o.append('x') }}{{ q }}",
]


@pytest.mark.parametrize("template", ESCAPES)
def test_templates_do_not_leave_the_sandbox(tmp_path, template):
    done = take(tmp_path, doc_to_text=template)
    assert done.code == 2, done.out
    assert "doc_to_text" in done.document["error"]["where"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "template",
    [
        "{% for a in range(12000) %}{% for b in range(12000) %}{% endfor %}{% endfor %}",
        "{{ 'x' * 3 * 10**6 }}",
        "{% set x = namespace(v='x') %}{% for n in range(24) %}{% set x.v = x.v ~ x.v %}{% endfor %}{{ x.v }}",
        "{{ 10 ** (10 ** 4) }}",
    ],
)
def test_templates_that_never_end_or_fill_the_memory_are_ended(tmp_path, template, monkeypatch):
    monkeypatch.setattr("peft_assay.pipeline.suites.importing.CPU_SECONDS", 2)
    done = take(tmp_path, doc_to_text=template)
    assert done.code == 2, done.out
    assert "doc_to_text" in done.document["error"]["where"]


@pytest.mark.parametrize(
    "name", ["../secret.jsonl", "/etc/passwd", "https://evil.example/x.jsonl", "link.jsonl", "a\x00b", "absent.jsonl"]
)
@pytest.mark.parametrize("place", ["data", "include"])
def test_data_and_includes_stay_below_the_task_s_folder(tmp_path, name, place):
    (tmp_path / "secret.jsonl").write_text('{"q": "secret", "o": ["a", "b"], "r": 0}\n')
    (tmp_path / "task").mkdir()
    (tmp_path / "task" / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    change = {"include": name} if place == "include" else {"dataset_kwargs": {"data_files": {"test": name}}}
    done = take(tmp_path, **change)
    assert done.code == 2
    assert ("include" if place == "include" else "data_files") in done.document["error"]["where"]
    assert "secret" not in json.dumps(done.document).replace("secret.jsonl", "")


def test_data_with_literals_that_are_code_is_data(tmp_path):
    rows = [{"q": f"q {n}", "o": "[__import__('os').system('id')]", "r": n % 2} for n in range(3)]
    done = take(tmp_path, rows=rows, doc_to_choice="{{o}}")
    assert done.code == 2
    assert "ValueError" in done.document["error"]["message"]


def test_names_and_texts_are_shown_without_control_characters(tmp_path):
    evil = "\x1b[2J\u202eevil"
    rows = [{"q": f"{evil} {n}", "o": ["a", "b"], "r": n % 2} for n in range(4)]
    file = write_task(tmp_path / "task", rows=rows, metric_list=[{"metric": "acc"}, {"metric": evil}])
    done = say("suite", "import", file, "--to", tmp_path / "out")
    assert done.code == 0
    linted = say("suite", "lint", tmp_path / "out")
    for text in (done.out, linted.out):
        assert "\x1b" not in text
        assert "\u202e" not in text
