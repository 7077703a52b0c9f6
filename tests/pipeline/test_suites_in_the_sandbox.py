"""Measures that the zoo's own suites do not have, asked of a real base and adapter: likelihoods, conversations, a judge."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from cli.command_line import say
from pipeline.suite_projects import BASE, write_project, write_suite

pytest.importorskip("torch", reason="the sandbox extra (torch) is not installed")
pytestmark = [pytest.mark.sandbox, pytest.mark.model]

ZOO = BASE.parent
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] }} : {{ m['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant :{% endif %}"
)
JUDGE = "import json, sys; q = json.load(sys.stdin); print(json.dumps({'passed': q['answer'].startswith('hey'), 'why': ''}))"


def zoo_cases(n):
    lines = (ZOO / "suites" / "support_task" / "cases.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines[:n]]


def test_they_are_observed(tmp_path):
    base = tmp_path / "project" / "base"
    base.mkdir(parents=True)
    for file in BASE.iterdir():
        shutil.copy(file, base)
    (base / "chat_template.jinja").write_text(TEMPLATE)
    project, trust = tmp_path / "project", tmp_path / "trust"
    cases = zoo_cases(4)
    asked = [case["prompt"].removeprefix("user : ").removesuffix(" assistant :") for case in cases]
    talks = [{"id": c["id"], "messages": [{"role": "user", "content": a}]} for c, a in zip(cases, asked, strict=True)]
    plain = [{"id": case["id"], "prompt": case["prompt"]} for case in cases]
    write_suite(project / "likely", {"id": "likely", "scorer": {"kind": "perplexity", "maximum": 2.0}}, cases)
    write_suite(project / "talk", {"id": "talk", "scorer": {"kind": "compliance"}, "maxNewTokens": 8}, talks)
    write_suite(
        project / "style", {"id": "style", "scorer": {"kind": "judge", "judge": "hey"}, "maxNewTokens": 8}, plain
    )
    write_suite(
        project / "lost", {"id": "lost", "scorer": {"kind": "judge", "judge": "gone"}, "maxNewTokens": 8}, plain
    )
    names = ("likely", "talk", "style", "lost")
    document = write_project(
        project, suites=[f"{name}/suite.yaml" for name in names], base=base, context={"systemPrompt": "be kind ."}
    )
    policy = {
        "apiVersion": "peft-assay/v1", "kind": "Policy", "id": "p", "description": "d",
        "rules": [
            {"id": name, "assert": f"suite.{name}.passes >= 0 && suite.{name}.base_rate >= 0.0", "why": "w", "next": "n", "nextIfUnknown": "u"}
            for name in names
        ],
    }  # fmt: skip
    (project / "policy.yaml").write_text(yaml.safe_dump(policy))
    document.write_text(document.read_text() + "policy: ./policy.yaml\n")
    assert say("init", "--trust", trust, within=project).code == 0
    judges = {"hey": {"command": [sys.executable, "-c", JUDGE], "timeout": "20s"}}
    with (trust / "trust.yaml").open("a") as stream:
        stream.write(yaml.safe_dump({"judges": judges}))
    done = say("certify", ZOO / "adapters" / "lora", "--trust", trust, "--format", "json", within=project)
    entry = done.document[0] if isinstance(done.document, list) else done.document
    assert "rules" in entry, entry
    rules = {rule["id"]: rule for rule in entry["rules"]}
    seen = {name: value for rule in entry["rules"] for name, value in rule["saw"].items()}
    assert (seen["suite.likely.passes"], seen["suite.likely.base_rate"]) == (4, 0.0), (
        "a positive control: the base fails"
    )
    assert (seen["suite.style.passes"], seen["suite.style.base_rate"]) == (4, 0.0)
    assert seen["suite.talk.passes"] > 0
    assert entry["outcome"] == "INDETERMINATE"
    assert rules["lost"]["outcome"] == "INDETERMINATE"
    assert "the trust anchor has no judge 'gone'" in rules["lost"]["explanation"]
    lock = json.loads(next(Path(project / ".peft-assay").rglob(entry["lock"].removeprefix("sha256:"))).read_bytes())
    assert set(lock["conditions"]["judges"]) == {"hey"}
    assert lock["conditions"]["systemPrompt"] == "be kind ."
