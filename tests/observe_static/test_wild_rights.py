"""The rights of adapters as people really published them: what was reviewed by a person, and no licence invented."""

import json
from pathlib import Path

import pytest

from observe_static.static_support import CONTEXT
from observe_static.test_wild import NAMES, WILD, _index, needs_wild
from peft_assay.core.context import Engine
from peft_assay.core.rights import GRANTS, ClaimSource
from peft_assay.intake.admit import admit
from peft_assay.observe.catalogue import observe_static
from peft_assay.observe.interface import StaticContext, StaticSubject
from peft_assay.observe.static.lineage import lineage
from peft_assay.observe.static.lineage_probe import LineageProbe
from peft_assay.observe.static.rights import RightsProbe

GOLDEN = Path(__file__).with_name("wild_rights_golden.json")
NOBODY = StaticContext(engine=Engine("peft", "float32", None))
"""No register, no base, no declaration: what the files alone say."""


def _subject(name: str, context: StaticContext = NOBODY) -> StaticSubject:
    admitted = admit(WILD / name)
    return StaticSubject(admitted.artifact, admitted.contents, context, {})


def rights_row(name: str) -> dict[str, object]:
    """Everything that is said of the rights of one folder, artifact digests shortened."""
    subject = _subject(name)
    found, digest = lineage(subject), subject.artifact.digest
    told: dict[str, object] = {
        "claims": [
            f"{node.kind.value}: {claim.where}: {claim.stated} -> {claim.licence.id if claim.licence else None}"
            for node in found.nodes
            for claim in node.claims
        ],
        "nodes": [node.key.replace(digest, "itself") for node in found.nodes],
    }
    for observation in observe_static(subject, (LineageProbe(), RightsProbe())):
        if observation.name.startswith("rights.") and observation.name != "rights.commercial_use":
            value = observation.value
            values = list(value) if isinstance(value, tuple) else value
            told[observation.name] = json.loads(json.dumps(values).replace(digest, "itself"))
    return told


@needs_wild
@pytest.mark.parametrize("name", NAMES or ["absent"])
def test_the_rights_of_each_are_what_was_reviewed(name):
    golden = json.loads(GOLDEN.read_text())
    assert rights_row(name) == golden[name]


@needs_wild
def test_the_golden_file_is_about_exactly_the_folders_that_are_there():
    assert sorted(json.loads(GOLDEN.read_text())) == NAMES


@needs_wild
@pytest.mark.parametrize("name", NAMES or ["absent"])
def test_no_licence_is_invented(name):
    """Every claim's words stand in the file that it names, and whoever said nothing permits nothing."""
    subject = _subject(name)
    found = lineage(subject)
    for node in found.nodes:
        for claim in node.claims:
            assert claim.source in {ClaimSource.CARD, ClaimSource.CONFIG, ClaimSource.TEXT}
            path = claim.where.partition(":")[0].partition(" (")[0]
            if claim.source is not ClaimSource.TEXT:
                assert claim.stated.encode() in subject.files[path].body
    declared = _index()[name]["card_licence"]
    adapter = found.nodes[0]
    if declared == "":
        assert adapter.licence is None
    for grant in GRANTS:
        assert found.answer(grant).value != "yes", "nobody declared the base"
    with_base = lineage(_subject(name, CONTEXT))
    for grant in GRANTS:
        assert with_base.answer(grant).value != "yes", "and nobody the data"
