"""rights.*: unknown is never "no restriction"."""

import dataclasses

import pytest

from observe_static.static_support import CONTEXT, observed, subject
from peft_assay.core.context import Engine
from peft_assay.core.digest import sha256
from peft_assay.core.observation import Status
from peft_assay.core.rights import NodeKind
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.interface import StaticContext
from peft_assay.observe.static.lineage import lineage
from peft_assay.observe.static.tables import licence_table

LICENCE, COMMERCIAL, DATASETS = "rights.licence", "rights.licence_commercial", "rights.datasets_commercial"


def _card(matter: str) -> str:
    return f"---\n{matter}\n---\n\nbody\n"


def _licence(matter: str):
    card = _card(matter)
    return observed(LICENCE, card=card), observed(COMMERCIAL, card=card)


@pytest.mark.parametrize(
    ("matter", "name", "permits"),
    [
        ("license: apache-2.0", "apache-2.0", True),
        ("license: MIT", "mit", True),
        ("license: [mit]", "mit", True),
        ("license: cc-by-nc-4.0", "cc-by-nc-4.0", False),
    ],
)
def test_declared_licences(matter, name, permits):
    licence, commercial = _licence(matter)
    assert (licence.value, commercial.value) == (name, permits)


@pytest.mark.parametrize(
    "matter",
    [
        "tags: [a]", "license:", "license: ''", "license: other", "license: unknown", "license: cc", "license: invented",
        "license: '[More Information Needed]'", "license: [mit, no-such-licence]", "license: {a: b}", "license: 5",
        "license: mit\nlicense: cc-by-nc-4.0", "- a list", "license: !!python/object:os.system mit", "a: [",
    ],
)  # fmt: skip
def test_nothing_unclear_is_a_licence(matter):
    licence, commercial = _licence(matter)
    assert (licence.status, commercial.status) == (Status.FAILED, Status.FAILED)
    assert licence.reason


def test_a_known_licence_whose_id_does_not_decide_commercial_use():
    licence, commercial = _licence("license: llama3.1")
    assert (licence.value, commercial.status) == ("llama3.1", Status.FAILED)


@pytest.mark.parametrize("card", [None, "", "# no metadata\nlicense: mit\n", "---\nlicense: mit\n"])
def test_no_card_or_no_metadata_is_unknown(card):
    for term in (LICENCE, COMMERCIAL, DATASETS):
        assert observed(term, card=card).status is Status.FAILED


def test_line_ends_and_byte_order_mark_of_other_editors_are_read():
    assert observed(LICENCE, card="\ufeff---\r\nlicense: mit\r\n---\r\nbody").value == "mit"


@pytest.mark.parametrize(
    ("matter", "value"),
    [
        ("datasets: [zoo/dialogues]", True),
        ("datasets: zoo/dialogues", True),
        ("datasets: [zoo/dialogues, zoo/scrape]", False),
        ("datasets: [zoo/unregistered, zoo/scrape]", False),
        ("datasets: [zoo/dialogues, zoo/unregistered]", None),
        ("datasets: [zoo/odd]", None),
        ("datasets: []", None),
        ("datasets:", None),
        ("license: mit", None),
        ("datasets: [5]", None),
        ("datasets: {a: b}", None),
    ],
)
def test_datasets(matter, value):
    observation = observed(DATASETS, card=_card(matter))
    assert observation.value is value
    assert (observation.status is Status.FAILED) == (value is None)


def test_an_override_replaces_the_card_for_exactly_these_bytes():
    silent = subject(card="no metadata")
    for digest, expected in [(silent.artifact.digest, "mit"), (subject().artifact.digest, None)]:
        context = StaticContext(CONTEXT.engine, licence_overrides={digest: "mit"})
        found = {o.name: o.value for o in observe_static(subject(card="no metadata", context=context))}
        assert found[LICENCE] == expected


@pytest.mark.parametrize(
    ("card", "declared", "value"),
    [
        ("license: mit", (), None),
        ("license: mit", ("zoo/dialogues",), True),
        ("license: mit", ("zoo/scrape",), False),
        ("license: mit", ("zoo/unregistered",), None),
        ("datasets: [zoo/scrape]", ("zoo/dialogues",), False),
        ("datasets: [zoo/unregistered]", ("zoo/dialogues",), None),
        ("datasets:", ("zoo/dialogues",), True),
    ],
)
def test_data_declared_for_exactly_these_bytes_stand_beside_the_card_s(card, declared, value):
    made = subject(card=_card(card))
    mine = dataclasses.replace(CONTEXT, dataset_overrides={made.artifact.digest: declared})
    found = dataclasses.replace(made, context=mine)
    assert {o.name: o.value for o in observe_static(found)}[DATASETS] is value
    assert set(declared) <= {node.id for node in lineage(found).nodes if node.kind is NodeKind.DATASET}
    other = dataclasses.replace(CONTEXT, dataset_overrides={sha256(b"other bytes"): declared})
    plain, about_another = (observe_static(dataclasses.replace(made, context=context)) for context in (CONTEXT, other))
    assert plain == about_another, "a declaration about other bytes says nothing about these"


@pytest.mark.parametrize(("licence", "value"), [("mit", True), ("cc-by-nc-4.0", False), ("gemma", None), (None, None)])
def test_the_base_s_licence_comes_from_the_context(licence, value):
    context = StaticContext(Engine("peft", "float32", 32), base_licence=licence)
    assert observed("rights.base_licence_commercial", context=context).value is value


def test_families_and_placeholders_never_decide():
    rows = licence_table().licences
    assert all(
        rows[name].grants.commercial is None for name in ("cc", "bsd", "other", "unknown", "gpl", "lgpl", "openrail")
    )
    assert all(row.source for row in rows.values())
    assert not [name for name, row in rows.items() if "-nc" in name and row.grants.commercial is not False]
