"""Model cards as people write them: each defect has its name, and none of them is a licence."""

import pytest

from observe_static.static_support import observed
from peft_assay.core.observation import Status
from peft_assay.observe.static.front_matter import CardUnreadable, metadata_of


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ("---\nlicense: [mit\n---\n", "broken-yaml"),
        ("---\nlicense: mit\n\tdatasets: x\n---\n", "broken-yaml"),
        ("---\nlicense: &a mit\nother: *a\n---\n", "broken-yaml"),
        ("---\nlicense: mit\nlicense: cc-by-nc-4.0\n---\n", "duplicate-key"),
        ("---\nlicense: mit\n---\n---\nlicense: cc-by-nc-4.0\n---\n", "several-metadata"),
        ("---\nlicense: mit\n---\n\n---\nbase_model: a/b\n---\nbody", "several-metadata"),
        ("---\nlicense: mit\n", "metadata-unended"),
        ("---\n- mit\n---\n", "metadata-not-a-mapping"),
        ("---\n---\n", "no-metadata"),
        ("---\n# nothing\n---\n", "no-metadata"),
        ("# A card\nlicense: mit\n", "no-metadata"),
        ("", "no-metadata"),
    ],
)
def test_what_has_no_single_reading_has_a_name_and_no_licence(card, code):
    with pytest.raises(CardUnreadable) as problem:
        metadata_of(card.encode())
    assert problem.value.code == code
    assert code in [text.partition(":")[0] for text in observed("card.gaps", card=card).value]
    assert observed("rights.licence", card=card).status is Status.FAILED


@pytest.mark.parametrize(
    ("card", "code"),
    [
        ("---\nlicense: mit\ndatasets:\n---\n", "datasets-null"),
        ("---\nlicense: mit\ndatasets: null\n---\n", "datasets-null"),
        ("---\nlicense: mit\n---\n", "no-datasets"),
        ("---\nlicense: license\n---\n", "licence-placeholder"),
        ("---\nlicense: gpl\n---\n", "licence-placeholder"),
        ("---\nlicense: invented-1.0\n---\n", "licence-unknown"),
        ("---\nlicence: license\n---\n", "licence-misspelt"),
        ("---\nlicense: mit\n---\n[More Information Needed]\n", "unfilled"),
    ],
)
def test_gaps_of_a_card_that_can_be_read(card, code):
    assert code in [text.partition(":")[0] for text in observed("card.gaps", card=card).value]


def test_a_local_path_as_the_card_s_base_is_named():
    card = "---\nlicense: mit\nbase_model: C:\\Users\\me\\llama\n---\n"
    assert "card-local-path" in [text.partition(":")[0] for text in observed("base.claims", card=card).value]


@pytest.mark.parametrize(
    "body",
    ["text\n\n---\n\nmore\n", "---\n\nA rule, then text\n\n---\n", "---\njust: prose without an end\n", "\n***\n"],
)
def test_a_rule_of_markdown_is_no_second_block(body):
    assert metadata_of(f"---\nlicense: mit\n---\n{body}".encode()) == {"license": "mit"}
