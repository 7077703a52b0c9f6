"""rights.grants.*: the conjunction over a lineage, in which unknown is never a yes."""

import itertools
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from observe_static.static_support import CARD, CONTEXT, config, observed, subject
from peft_assay.core.observation import Status
from peft_assay.core.rights import GRANTS, Answer, Clearance, Declaration, Lineage, Metadata, Node, NodeKind, all_of
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.static.licence_text import candidates
from peft_assay.observe.static.lineage import lineage
from peft_assay.observe.static.lineage_probe import unknown_nodes

COMMERCIAL = "rights.grants.commercial"
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def card(**fields) -> str:
    return "---\n" + "".join(f"{key}: {json.dumps(value)}\n" for key, value in fields.items()) + "---\n"


def model(name, *, gating="no", status="found", revision="a" * 40, licence_text=None, **fields) -> Metadata:
    files = {"README.md": card(**fields).encode(), **({"LICENSE": licence_text} if licence_text else {})}
    return Metadata("model", name, status, revision, gating, files)


def context(*metadata, **changes):
    return replace(CONTEXT, metadata={(m.kind, m.id): m for m in metadata}, **changes)


def answers(**arguments) -> dict[str, object]:
    return {o.name: o.value for o in observe_static(subject(**arguments)) if o.name.startswith("rights.")}


def codes(**arguments) -> list[str]:
    return [text.partition(":")[0] for text in answers(**arguments)["rights.lineage_conflicts"]]


@given(st.lists(st.sampled_from(Answer)))
def test_the_conjunction_is_kleene_s(answered):
    result = all_of(answered)
    assert result == all_of(reversed(answered)) == all_of([*answered, *answered])
    if Answer.NO in answered:
        assert result is Answer.NO
    elif Answer.UNKNOWN in answered or not answered:
        assert result is Answer.UNKNOWN
    else:
        assert result is Answer.YES


@given(st.lists(st.sampled_from(Answer), min_size=1), st.integers(min_value=0))
def test_knowing_less_never_turns_an_answer_into_a_yes(answered, at):
    less = list(answered)
    less[at % len(less)] = Answer.UNKNOWN
    assert all_of(less) is not Answer.YES


def test_every_way_to_say_yes_has_a_yes_of_every_node():
    rows = ["apache-2.0", "cc-by-nc-4.0", "other", "gemma", None, "invented"]
    for own, data, base in itertools.product(rows, rows, rows):
        fields = {"datasets": ["d/x"], **({} if own is None else {"license": own})}
        register = {} if data is None else {"d/x": data}
        found = lineage(subject(card=card(**fields), context=replace(CONTEXT, datasets=register, base_licence=base)))
        said = {own, data, base}
        expected = Answer.NO if "cc-by-nc-4.0" in said else Answer.YES if said == {"apache-2.0"} else Answer.UNKNOWN
        assert found.answer("commercial") is expected, said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("# no metadata\n", "no licence is declared"),
        (card(license="other"), "which"),
        (card(license="license"), "not in the licence table"),
        (card(license=["mit", "no such licence"]), "several licences"),
        (card(licence="mit"), "no licence is declared"),
        ("---\nlicense: mit\nlicense: mit\n---\n", "no licence is declared"),
        ("---\nlicense: mit\n---\n---\nlicense: cc-by-nc-4.0\n---\n", "no licence is declared"),
        (card(license=5), "no identifier"),
        (card(license="[More Information Needed]"), "not in the licence table"),
        (None, "no licence is declared"),
    ],
)
def test_nothing_unclear_is_a_licence_and_the_next_command_is_told(text, why):
    made = subject(card=text)
    told = observed(COMMERCIAL, card=text)
    assert told.status is Status.FAILED
    assert f"peft-assay rights clear {made.artifact.digest} --grant commercial" in told.reason
    assert why in unknown_nodes(lineage(made))[0]


def test_a_no_names_who_says_it_and_is_no_more_than_that():
    told = observed(COMMERCIAL, card=card(license="mit", datasets=["zoo/scrape"]))
    assert (told.value, told.status) == (False, Status.OK)
    assert "zoo/scrape" in told.reason
    assert answers(card=card(license="mit", datasets=["zoo/scrape"]))["rights.grants.derivatives"] is True


def test_datasets_null_means_that_nobody_said():
    for text in ("---\nlicense: mit\ndatasets:\n---\n", card(license="mit"), card(license="mit", datasets=[])):
        found = lineage(subject(card=text))
        assert found.answer("commercial") is Answer.UNKNOWN
        assert found.undisclosed[0].startswith("adapter ")


def test_a_base_s_undisclosed_data_is_told_and_no_part_of_the_answer():
    assert answers()["rights.undisclosed"] == ("base zoo/base",)
    assert answers()[COMMERCIAL] is True
    told = context(model("zoo/base", license="apache-2.0", datasets=["crawl/nc", "zoo/scrape"]))
    assert answers(context=told)[COMMERCIAL] is True, "what a base was trained on is reported"
    assert answers(context=told)["rights.undisclosed"] == ()


def test_without_a_declaration_the_base_s_own_card_decides_and_its_ancestors_with_it():
    mirror = model("zoo/base", license="apache-2.0", base_model="root/model", base_model_relation="quantized")
    for root, expected in (("apache-2.0", True), ("cc-by-nc-4.0", False), ("gemma", None), (None, None)):
        above = [] if root is None else [model("root/model", license=root)]
        told = context(mirror, *above, base_licence=None)
        assert answers(context=told)[COMMERCIAL] is expected, root


def test_a_declared_base_licence_covers_unknown_ancestors_and_not_a_plain_no():
    mirror = model("zoo/base", license="apache-2.0", base_model="root/model")
    assert answers(context=context(mirror))[COMMERCIAL] is True
    assert answers(context=context(mirror, model("root/model", license="cc-by-nc-4.0")))[COMMERCIAL] is False


@pytest.mark.parametrize("names", [["zoo/base"], ["a/b"], ["zoo/base", "a/b"]])
def test_cycles_and_long_chains_end(names):
    loop = [model("zoo/base", license="mit", base_model=names), model("a/b", license="mit", base_model=["zoo/base"])]
    assert answers(context=context(*loop, base_licence=None))[COMMERCIAL] is True
    chain = [model(f"c/{n}", license="mit", base_model=f"c/{n + 1}") for n in range(40)]
    configured = config(base_model_name_or_path="c/0")
    found = lineage(subject(configuration=configured, context=context(*chain, base_licence=None)))
    assert len(found.nodes) < 15
    assert found.answer("commercial") is Answer.UNKNOWN, "what is beyond the depth is not known"
    assert lineage(subject(configuration=configured, context=context(*chain))).answer("commercial") is Answer.YES
    short = context(*chain[-6:], base_licence=None)
    ends = lineage(subject(configuration=config(base_model_name_or_path="c/34"), context=short))
    assert ends.nodes[-1].id == "c/40"
    assert ends.answer("commercial") is Answer.UNKNOWN, "nobody was asked about the last"


@pytest.mark.parametrize(
    "fields",
    [
        {"license": "mit", "datasets": ["zoo/dialogues", 5]},
        {"license": "mit", "datasets": ["zoo/dialogues", ""]},
        {"license": "mit", "datasets": ["zoo/dialogues", None]},
        {"license": "mit", "datasets": ["zoo/dialogues", {"name": "zoo/scrape"}]},
        {"license": "mit", "datasets": {"zoo/dialogues": None}},
        {"license": "mit", "datasets": [f"d/{n}" for n in range(64)] + ["zoo/scrape"]},
        {"license": ["mit", 5], "datasets": ["zoo/dialogues"]},
        {"license": {"id": "mit"}, "datasets": ["zoo/dialogues"]},
    ],
)
def test_what_is_no_name_or_one_too_many_is_unknown_and_never_left_out(fields):
    register = {**CONTEXT.datasets, **{f"d/{n}": "mit" for n in range(64)}}
    found = lineage(subject(card=card(**fields), context=replace(CONTEXT, datasets=register)))
    assert found.answer("commercial") is Answer.UNKNOWN


def test_long_names_that_begin_alike_are_two_nodes():
    good, bad = "d/" + "x" * 300 + "1", "d/" + "x" * 300 + "2"
    told = replace(CONTEXT, datasets={good: "mit", bad: "cc-by-nc-4.0"})
    assert (
        lineage(subject(card=card(license="mit", datasets=[good, bad]), context=told)).answer("commercial") is Answer.NO
    )


def test_a_base_that_is_no_name_is_unknown_unless_the_context_declares_it():
    text = card(license="mit", datasets=["zoo/dialogues"], base_model=["zoo/base", 5])
    known = context(model("zoo/base", license="mit"))
    assert lineage(subject(card=text, context=replace(known, base_licence=None))).answer("hosted") is Answer.UNKNOWN
    assert lineage(subject(card=text, context=known)).answer("hosted") is Answer.YES


@pytest.mark.parametrize(
    ("own", "base", "conflict"),
    [
        ("apache-2.0", "llama3.3", True),
        ("apache-2.0", "cc-by-nc-4.0", True),
        ("mit", "agpl-3.0", True),
        ("mit", "bigscience-openrail-m", True),
        ("llama3.3", "llama3.3", False),
        ("cc-by-nc-4.0", "apache-2.0", False),
        ("mit", "apache-2.0", False),
        ("apache-2.0", "other", False),
    ],
)
def test_looser_than_the_base_is_a_conflict(own, base, conflict):
    found = codes(card=card(license=own, datasets=["zoo/dialogues"]), context=replace(CONTEXT, base_licence=base))
    assert ("looser-than-base" in found) is conflict


def test_card_config_and_licence_text_that_disagree_are_named():
    apache = (Path(__file__).parents[2] / "LICENSE").read_bytes()
    assert codes(card=card(license="mit"), files={"LICENSE": apache}) == ["licence-disagrees"]
    assert codes(card=CARD, files={"LICENSE": apache}) == []
    assert codes(card=CARD, configuration=config(license="mit")) == ["licence-disagrees"]
    other = card(license="apache-2.0", base_model="other/base")
    assert "base-differs" in codes(card=other)
    declared = context(model("zoo/base", license="cc-by-nc-4.0"))
    assert "licence-disagrees" in codes(context=declared), "the context says apache-2.0, the base's card another"


def test_a_base_without_revision_is_unpinned():
    assert answers()["rights.unpinned"] == ("zoo/base: any version of it may be meant",)
    assert answers(configuration=config(revision="b" * 40))["rights.unpinned"] == ()


def test_gated_repositories_are_named():
    told = context(model("zoo/base", gating="manual", license="apache-2.0"))
    assert answers(context=told)["rights.gated"] == ("base zoo/base",)
    away = context(Metadata("model", "zoo/base", "gated", gating="auto"), base_licence=None)
    assert "its repository is gated" in answers(context=away)["rights.unknown_nodes"][0]


def test_a_declaration_of_its_place_speaks_for_a_silent_card():
    owned = Declaration("s3://bank/**", "Risk Models", "mit", ("zoo/dialogues",))
    silent = context(declaration=owned)
    assert answers(card=None, context=silent)[COMMERCIAL] is True
    assert answers(card=None, context=silent)["rights.licence"] == "mit"
    assert answers(card=None, context=silent)["rights.datasets_commercial"] is True
    assert (
        answers(card=None, context=replace(silent, declaration=replace(owned, datasets=("unregistered",))))[COMMERCIAL]
        is None
    )
    assert codes(card=card(license="cc-by-nc-4.0"), context=silent) == ["licence-disagrees"]
    both = answers(card=card(datasets=["zoo/scrape"]), context=silent)
    assert both[COMMERCIAL] is False, "what the card names besides still counts"


def test_a_text_is_a_candidate_and_never_an_answer():
    apache = (Path(__file__).parents[2] / "LICENSE").read_bytes()
    found = answers(card=card(datasets=["zoo/dialogues"]), files={"LICENSE": apache})
    assert found[COMMERCIAL] is None
    assert [text.partition(": ")[2] for text in found["rights.candidates"]] == ["LICENSE (text): apache-2.0"]
    assert "confirm" in found["rights.unknown_nodes"][0]


def test_texts_are_recognised_by_their_words_and_additions_are_told():
    apache = (Path(__file__).parents[2] / "LICENSE").read_bytes()
    clause = b" the licensor grants you no right to sell the software which means providing it to third parties" * 8
    assert [(c.licence, c.how) for c in candidates(apache.upper().replace(b"\n", b"\r\n   "))] == [
        ("apache-2.0", "text")
    ]
    assert [(c.licence, c.how) for c in candidates(clause + apache + clause * 4)] == [("apache-2.0", "more")]
    assert candidates(apache.replace(b"perpetual", b"revocable")) == ()
    assert [c.licence for c in candidates(b"Attribution-NonCommercial 4.0 International")] == ["cc-by-nc-4.0"]
    assert [c.licence for c in candidates(b"META LLAMA 3 COMMUNITY LICENSE AGREEMENT")] == ["llama3"]
    assert candidates(b"word " * 1000 + b"Attribution 4.0 International") == ()
    assert candidates(b"\xff\x00" * 1000) == candidates(b"") == candidates(b"x" * (1 << 20)) == ()


def clearance(made, now=NOW, **changes) -> Clearance:
    found = lineage(made)
    fields = {
        "artifact": made.artifact.digest, "grant": "commercial", "answered": found.answer("commercial"),
        "lineage": found.digest, "snapshot": None, "by": "Legal", "reason": "letter 118", "at": now,
        "expires": now + timedelta(days=30),
    }  # fmt: skip
    return Clearance(**{**fields, **changes})


def with_clearance(text, now, **changes):
    made = subject(card=text)
    cleared = clearance(made, **changes)
    return answers(card=text, context=replace(CONTEXT, clearances=(cleared,), now=now))


def test_a_clearance_answers_for_its_grant_until_it_ends():
    text = card(license="other", datasets=["zoo/dialogues"])
    found = with_clearance(text, NOW)
    assert found[COMMERCIAL] is True
    assert found["rights.cleared"] == ("commercial",)
    assert found["rights.grants.hosted"] is None, "nothing else is cleared"
    assert found["rights.unknown_nodes"], "and what is not known stays told"
    assert with_clearance(text, NOW + timedelta(days=30))[COMMERCIAL] is None
    assert with_clearance(text, NOW - timedelta(seconds=1))[COMMERCIAL] is None
    assert with_clearance(text, None)[COMMERCIAL] is None


@pytest.mark.parametrize(
    "changes",
    [
        {"lineage": "sha256:" + "0" * 64},
        {"snapshot": "sha256:" + "0" * 64},
        {"answered": Answer.NO},
        {"grant": "hosted"},
    ],
)
def test_a_clearance_of_anything_else_is_void(changes):
    assert with_clearance(card(license="other"), NOW, **changes)[COMMERCIAL] is None


def test_a_clearance_ends_when_a_claim_changes():
    made = subject(card=card(license="other", datasets=["zoo/dialogues"]))
    cleared = clearance(made)
    register = {**CONTEXT.datasets, "zoo/dialogues": "cc-by-nc-4.0"}
    told = replace(CONTEXT, clearances=(cleared,), now=NOW, datasets=register)
    assert answers(card=card(license="other", datasets=["zoo/dialogues"]), context=told)[COMMERCIAL] is False


def test_context_terms_say_how_it_will_be_used():
    told = {
        o.name: o.value
        for o in observe_static(subject(context=replace(CONTEXT, production=True, maximum_age=timedelta(days=7))))
    }
    assert (told["context.production"], told["context.maximum_age_hours"]) == (True, 168)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=12)
    | st.sampled_from(["mit", "zoo/scrape", "zoo/base"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=2),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.sampled_from(["license", "datasets", "base_model", "base_model_relation"]), _VALUES))
def test_no_card_of_adapter_or_base_breaks_the_walk(fields):
    text = card(**fields)
    known = Metadata("model", "zoo/base", "found", None, "no", {"README.md": text.encode(), "LICENSE": text.encode()})
    found = {o.name: o for o in observe_static(subject(card=text, context=context(known, base_licence=None)))}
    assert "broke" not in str(found["rights.unknown_nodes"].reason)
    assert found["rights.unknown_nodes"].status is Status.OK


def test_a_node_with_two_claims_of_one_strength_decides_nothing():
    found = lineage(subject(card=card(license=["mit", "one of our own"])))
    assert found.nodes[0].deciding is None
    empty = Lineage((Node(NodeKind.ADAPTER, "x"),))
    assert [empty.answer(grant) for grant in GRANTS] == [Answer.UNKNOWN] * 4
    assert Lineage(()).answer("commercial") is Answer.UNKNOWN
