"""What `init` writes: after the base where there is one, and nothing of it that was not looked up."""

import json
import shutil

import pytest
import yaml

from cli.command_line import say
from pipeline.certified_world import ZOO

CARD = "---\nlicense: {}\n---\n# A base\n"


def init(tmp_path, *arguments):
    done = say("init", "project", "--trust", tmp_path / "trust", *arguments, within=tmp_path)
    assert done.code == 0, done.err
    project = tmp_path / "project"
    return project, yaml.safe_load((project / "peft-assay.yaml").read_text())


def cases(project, suite):
    return [json.loads(line) for line in (project / "suites" / suite / "cases.jsonl").read_text().splitlines()]


def base_of(tmp_path, card="", **config):
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps(config))
    if card:
        (base / "README.md").write_text(card)
    return base


def test_a_base_that_was_not_looked_at_has_no_licence(tmp_path):
    _, document = init(tmp_path)
    assert document["context"]["base"] == {"path": "./base"}
    assert document["scan"] == {"tokens": "./suites/tokens.txt", "answers": "first", "refusals": "unsafe"}


def test_the_starter_lists_have_the_size_that_the_document_says(tmp_path):
    project, _ = init(tmp_path)
    tokens = (project / "suites" / "tokens.txt").read_text().split()
    requests = {case["prompt"] for case in cases(project, "unsafe")}
    assert (len(tokens), len(set(tokens)), len(requests)) == (120, 120, 60)
    text = (project / "peft-assay.yaml").read_text()
    assert "These 120 " in text
    assert "60 refusals prove at least 0.951" in text


def test_the_first_plan_says_that_the_licence_is_not_declared_and_lints(tmp_path):
    project, _ = init(tmp_path)
    shutil.copytree(ZOO / "base", project / "base")
    planned = say("certify", "--plan", "--trust", tmp_path / "trust", "x", within=project)
    assert "unsafe: 60 cases" in planned.out
    assert "trigger scan: 123 tokens" in planned.out
    assert "context.base.licence: not declared" in planned.out
    assert "unsafe: scorer refusal, 60 cases" in say("suite", "lint", within=project).out


@pytest.mark.parametrize(
    ("config", "card", "wanted"),
    [
        (
            {"architectures": ["LlamaForCausalLM"], "torch_dtype": "bfloat16"},
            CARD.format("mit"),
            {"task": None, "dtype": "bfloat16", "licence": "mit"},
        ),
        (
            {"architectures": ["T5ForConditionalGeneration"], "is_encoder_decoder": True, "dtype": "float16"},
            CARD.format("other"),
            {"task": "seq2seq-lm", "dtype": "float16", "licence": None},
        ),
        ({"torch_dtype": "float8"}, CARD.format("[mit, apache-2.0]"), {"task": None, "dtype": "float32"}),
    ],
)
def test_what_the_base_says_is_written_down(tmp_path, config, card, wanted):
    base = base_of(tmp_path, card, **config)
    _, document = init(tmp_path, "--base", base)
    context = document["context"]
    assert context["base"]["path"] == str(base)
    assert context["base"].get("task") == wanted["task"]
    assert context["engine"]["dtype"] == wanted["dtype"]
    assert context["base"].get("licence") == wanted.get("licence")


def test_a_base_that_chats_gets_conversations(tmp_path):
    base = base_of(tmp_path, architectures=["LlamaForCausalLM"])
    (base / "chat_template.jinja").write_text("{{ messages }}")
    project, _ = init(tmp_path, "--base", base)
    assert all("messages" in case for suite in ("first", "unsafe") for case in cases(project, suite))


def test_a_classifier_gets_its_policy_a_suite_of_its_labels_and_a_scan_of_it(tmp_path):
    labels = {"0": "ham", "1": "spam"}
    base = base_of(tmp_path, architectures=["BertForSequenceClassification"], id2label=labels)
    project, document = init(tmp_path, "--base", base)
    assert document["context"]["base"]["task"] == "seq-cls"
    assert document["scan"] == {"tokens": "./suites/tokens.txt", "answers": "first"}
    assert (project / "suites" / "tokens.txt").is_file()
    assert document["suites"] == ["./suites/first/suite.yaml"]
    assert document["policy"] == "builtin:classifier"
    assert [case["expected"] for case in cases(project, "first")] == ["ham", "spam"]
    assert not (project / "suites" / "unsafe").exists()


def test_a_base_inside_the_project_is_named_from_there(tmp_path):
    (tmp_path / "project").mkdir()
    base_of(tmp_path / "project", CARD.format("apache-2.0"), torch_dtype="float16")
    _, document = init(tmp_path)
    assert document["context"]["base"] == {"path": "./base", "licence": "apache-2.0"}
    assert document["context"]["engine"]["dtype"] == "float16"


def test_a_folder_without_a_base_is_refused_before_anything_is_written(tmp_path):
    done = say("init", "project", "--trust", tmp_path / "trust", "--base", tmp_path, within=tmp_path)
    assert (done.code, "it has no config.json" in done.err) == (2, True)
    assert not (tmp_path / "project").exists()


def test_what_a_proposed_document_names_and_is_not_there_is_added(tmp_path):
    shutil.copytree(ZOO / "adapters" / "lora", tmp_path / "project" / "lora")
    proposed = say("discover", ".", "--propose", "peft-assay.yaml", within=tmp_path / "project")
    assert proposed.code == 0, proposed.err
    project, document = init(tmp_path)
    assert list(document["adapters"]) == ["lora"]
    assert len(cases(project, "unsafe")) == 60
    assert (project / "suites" / "tokens.txt").is_file()
    (project / "suites" / "first" / "cases.jsonl").unlink()
    assert say("init", "project", "--trust", tmp_path / "trust", within=tmp_path).code == 0
    assert not (project / "suites" / "first" / "cases.jsonl").exists()
