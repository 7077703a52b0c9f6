"""The generated pages are what the code says, and nothing in them can be left behind."""

import json
import re

import pytest

from docs.docs_support import DOCS, ROOT, blocks, text_of, tools_on_path
from peft_assay.core.errors import DOOR_MEANINGS, Door
from peft_assay.core.rights import GRANTS
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.core.statement import ANSWERS, OBSERVATION, REVOCATIONS, SUITE, VSA, Statement
from peft_assay.core.suite import ScorerKind
from peft_assay.core.vocabulary import STATIC_TERMS, suite_terms, vocabulary
from peft_assay.evaluate.builtin import builtin_policy
from peft_assay.evaluate.document import load_policy
from peft_assay.observe.behaviour.catalogue import BEHAVIOUR_PROBES
from peft_assay.observe.behaviour.interface import Plan
from peft_assay.observe.catalogue import PROBES
from peft_assay.observe.suites.read import read_suite
from peft_assay.trust.certification import certificate_of, notes_of
from peft_assay.trust.observations import observation_record_of
from peft_assay.trust.revocations import revocation_record_of
from peft_assay.trust.roles import CLEARANCE, LIFT, ROLE_OF_PREDICATE, WAIVER
from peft_assay.trust.suites import suite_statement

tools_on_path()
import generate_reference  # noqa: E402
import reference_documents  # noqa: E402
import reference_meanings  # noqa: E402

REFERENCE = DOCS / "reference"
PAGES = generate_reference.pages()


@pytest.mark.parametrize("path", sorted(PAGES))
def test_a_generated_page_is_what_the_code_says(path):
    assert (REFERENCE / path).read_text("utf-8") == PAGES[path], "run: python tools/generate_reference.py"


def test_a_page_that_differs_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(generate_reference, "REFERENCE", tmp_path)
    assert sorted(generate_reference.differing()) == sorted(PAGES)


def test_a_field_without_a_meaning_is_an_error(monkeypatch):
    for meanings in (reference_meanings.SUITE, reference_meanings.CONTEXT, reference_meanings.POLICY):
        field = min(meanings)
        monkeypatch.delitem(meanings, field)
    for page in (
        reference_documents.suite_document,
        reference_documents.context_document,
        reference_documents.policy_document,
    ):
        with pytest.raises(LookupError, match="fields and meanings differ"):
            page()


def test_each_exit_code_has_one_row():
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", text_of(REFERENCE / "exit-codes.md"), re.MULTILINE)
    assert [(int(code), meaning) for code, meaning in rows] == [(int(d), DOOR_MEANINGS[d]) for d in DOOR_MEANINGS]
    assert {int(code) for code, _ in rows} == {int(door) for door in Door}


def test_each_term_has_one_row():
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", text_of(REFERENCE / "vocabulary.md"), re.MULTILINE)
    assert rows == [(term.name, term.kind.value) for term in (*STATIC_TERMS, *suite_terms("<id>"))]


def test_each_rule_of_the_default_policy_is_named_beside_a_term():
    policy = load_policy(builtin_policy("default"), where="default", vocabulary=vocabulary(["x"]))
    page = text_of(REFERENCE / "vocabulary.md")
    assert [rule.id for rule in policy.policy.rules if f"`{rule.id}`" not in page] == []


def test_each_probe_has_its_page_with_its_terms_and_version():
    for probe in PROBES:
        page = text_of(DOCS / "probes" / f"{probe.id}.md")
        assert page.startswith(f"# {probe.id}\n")
        assert f"Version {probe.version}." in page, probe.id
        assert [term for term in probe.terms if f"`{term}`" not in page] == []
        assert all(
            part in page for part in ("**What it looks at.**", "**Why.**", "**A bad example.**", "**Next step.**")
        )
        assert f"({probe.id}.md)" in text_of(DOCS / "probes" / "README.md")
    named = {page.stem for page in (DOCS / "probes").glob("*.md")}
    needed = {probe.id for probe in PROBES} | {"behaviour", "README", "replay"}
    assert needed <= named <= needed | {probe.id for probe in BEHAVIOUR_PROBES}


@pytest.mark.parametrize("probe", BEHAVIOUR_PROBES, ids=lambda probe: probe.id)
def test_the_page_of_a_behavioural_probe_has_its_terms_and_version(probe):
    page = DOCS / "probes" / f"{probe.id}.md"
    if not page.is_file():
        behaviour = text_of(DOCS / "probes" / "behaviour.md")
        assert [term for term in probe.terms(Plan(())) if f"`{term}`" not in behaviour] == []
        return
    text = text_of(page)
    assert f"Version {probe.version}." in text
    assert [term for term in probe.terms(Plan(())) if f"`{term}`" not in text] == []
    assert all(part in text for part in ("**What it looks at.**", "**Why.**", "**A bad example.**", "**Next step.**"))
    assert f"({probe.id}.md)" in text_of(DOCS / "probes" / "README.md")


def test_each_term_has_a_probe_page():
    pages = "".join(text_of(page) for page in (DOCS / "probes").glob("*.md"))
    assert [term.name for term in STATIC_TERMS if f"`{term.name}`" not in pages] == []


def test_each_isolation_level_is_in_concepts():
    page = text_of(DOCS / "concepts.md")
    assert [level.name for level in IsolationLevel if f"`{level.name.lower()}`" not in page] == []


def test_each_statement_is_described_with_its_schema():
    page = text_of(REFERENCE / "statements.md")
    for predicate_type, role in ROLE_OF_PREDICATE.items():
        assert f"| `{predicate_type}` | {role.value} |" in page


def test_the_examples_of_statements_are_read_by_the_code_that_reads_real_ones():
    read = set()
    for block in blocks(REFERENCE / "statements.md", "json"):
        document = json.loads(block)
        read.add(document["predicateType"])
        predicate = document["predicate"]
        keyid = predicate.get("verifier", {}).get("id", "").rsplit("/", 1)[-1] or predicate.get("observer", {}).get(
            "keyid"
        )
        statement = Statement(
            payload=b"",
            envelope="sha256:" + "0" * 64,
            predicate_type=document["predicateType"],
            subject="sha256:" + document["subject"][0]["digest"]["sha256"],
            predicate=predicate,
            keyids=(keyid or "0" * 64,),
        )
        if statement.predicate_type == VSA:
            assert certificate_of(statement).not_after > certificate_of(statement).issued_at
            assert notes_of(statement).attempts == 1
        elif statement.predicate_type == OBSERVATION:
            assert observation_record_of(statement).observations.get("suite.answers.lower").value > 0.9
        elif statement.predicate_type == REVOCATIONS:
            assert len(revocation_record_of(statement, []).entries) == 1
        elif statement.predicate_type == CLEARANCE:
            assert predicate["grant"] in GRANTS
        elif statement.predicate_type == SUITE:
            digests = {name: predicate[name] for name in ("document", "cases")}
            made = suite_statement(suite=predicate["id"], version=predicate["version"], **digests)
            assert made == document
        elif statement.predicate_type == WAIVER:
            assert predicate["saw"]["suite.lookups.lower"] < 0.8
    assert read == {VSA, OBSERVATION, ANSWERS, REVOCATIONS, LIFT, CLEARANCE, SUITE, WAIVER}


def test_schemas_are_closed_and_describe_every_field_of_the_examples():
    for block in blocks(REFERENCE / "statements.md", "json"):
        document = json.loads(block)
        schema = next(
            schema
            for path in (REFERENCE / "schemas").glob("*.json")
            if f"({document['predicateType']})" in (schema := json.loads(path.read_text("utf-8")))["title"]
        )
        assert schema["additionalProperties"] is False
        shown = set(document["predicate"])
        assert set(schema["required"]) <= shown <= set(schema["properties"])
        assert set(schema["properties"]) - shown <= {"merged", "reversals", "fingerprints"}, (
            "left out where there is nothing to say"
        )


def test_the_lines_of_cases_on_the_suites_page_are_cases():
    lines = blocks(REFERENCE / "suite-document.md", "json")[0].splitlines()
    head = "{{apiVersion: peft-assay/v1, kind: Suite, id: a, version: '1', source: s, confidentiality: public, {0}}}"
    scorers = (
        "scorer: {kind: exact}",
        "scorer: {kind: regex, pattern: x}",
        "measure: choice, scorer: {kind: choice}",
        "scorer: {kind: toolCall}",
        "scorer: {kind: injection}",
        "scorer: {kind: perplexity, maximum: 20.0}",
        "scorer: {kind: label}",
    )
    for line, scorer in zip(lines, scorers, strict=True):
        assert len(read_suite(head.format(scorer).encode(), line.encode(), where="page").cases) == 1


def test_each_scorer_has_one_row():
    rows = re.findall(
        r"^\| `(\w+)` \| `(?:generate|choice|likelihood|classify)` \|",
        text_of(REFERENCE / "suite-document.md"),
        re.MULTILINE,
    )
    assert rows == [kind.value for kind in ScorerKind]


def test_the_rule_on_the_policy_page_loads():
    rule = blocks(DOCS / "how-to" / "write-a-policy.md", "yaml")[0]
    document = "apiVersion: peft-assay/v1\nkind: Policy\nid: a\ndescription: d\nrules:\n" + rule
    compiled = load_policy(document.encode(), where="page", vocabulary=vocabulary([]))
    assert [item.rule.id for item in compiled.rules] == ["no-stray-files"]


def test_the_bounds_on_the_suites_page_are_the_code_s():
    from peft_assay.observe.behaviour.statistics import lower_bound

    rows = re.findall(r"\| (\d+) \| (0\.\d{3}) \|", text_of(DOCS / "how-to" / "write-a-suite.md"))
    assert len(rows) == 5
    for n, bound in rows:
        assert f"{lower_bound(int(n), int(n)):.3f}" == bound


def test_the_base_state_page_quotes_the_definition_s_first_line():
    header = (ROOT / "src/peft_assay_loading/state.py").read_text("utf-8")
    assert 'HEADER = b"peft-assay base state 1\\n"' in header
    assert "peft-assay base state 1\n" in blocks(REFERENCE / "base-state.md", "")[0]
