"""The reviewed licence table: every id of the Hub, SPDX ids as the SPDX list has them, and nothing permitted by a family."""

import pytest
from license_expression import get_spdx_licensing

from peft_assay.core.rights import GRANTS, Answer
from peft_assay.observe.static.licences import find_licence
from peft_assay.observe.static.tables import licence_table, text_table

ROWS = licence_table().licences
LISTED = """
apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0 lgpl
lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl openmdw-1.0
openmdw-1.1 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license
fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma unknown other
"""
HUB = LISTED.split()
"""The Hub's list (docs/hub/repositories-licenses.md) as of August 2026."""
OBLIGATIONS = {
    "attribution", "notice", "state-changes", "share-alike", "source-of-changes", "source-to-network-users",
    "rename-changed", "name-prefix", "use-restrictions-flow-down", "output-training-limit", "mau-threshold",
}  # fmt: skip
RESTRICTIONS = {
    "non-commercial", "no-derivatives", "research-only", "openrail-attachment-a", "llama-acceptable-use-policy",
    "gemma-prohibited-use-policy", "computational-use-only", "output-training-limit", "not-in-the-eu-multimodal",
}  # fmt: skip


def test_every_id_that_the_hub_knows_has_exactly_one_row():
    assert sorted(ROWS) == sorted(HUB)
    assert len(HUB) == 83


@pytest.mark.parametrize("key", sorted(ROWS))
def test_identifiers_are_spdx_s_where_they_say_so(key):
    row, licensing = ROWS[key], get_spdx_licensing()
    if row.mapping in {"exact", "alias"}:
        assert str(licensing.parse(row.spdx, validate=True, strict=True)) == row.spdx
        assert row.source == f"https://spdx.org/licenses/{row.spdx}.html"
    if row.mapping == "exact":
        assert row.spdx.lower() == key
    elif row.mapping == "alias":
        assert row.note, "an alias is an assumption, and says which"
    elif row.mapping == "ref":
        assert row.spdx.startswith("LicenseRef-")
        assert row.source.startswith("https://")
    else:
        assert row.spdx is None
        assert set(row.grants.model_dump().values()) == {None}
        assert (row.obligations, row.restrictions) == ([], [])


@pytest.mark.parametrize("key", sorted(ROWS))
def test_codes_are_known_sorted_and_agree_with_the_grants(key):
    row = ROWS[key]
    assert (row.obligations, row.restrictions) == (sorted(row.obligations), sorted(row.restrictions))
    assert set(row.obligations) <= OBLIGATIONS
    assert set(row.restrictions) <= RESTRICTIONS
    if {"non-commercial", "research-only"} & set(row.restrictions):
        assert row.grants.commercial is not True
    assert ("no-derivatives" in row.restrictions) == (row.grants.derivatives is False)
    if row.grants.commercial is None:
        assert row.note, "what is left open says why"
    assert ("-nc" in key) == (row.family == "creative-commons-noncommercial")


def test_each_is_found_by_both_spellings_and_nothing_else_is():
    for key, row in ROWS.items():
        assert find_licence(f" {key.upper()} ").id == key
        if row.spdx is not None:
            assert find_licence(row.spdx).id == key
    for identifier in ("", "license", "proprietary", "gpl-3.0-or-later", "apache 2", "mit OR apache-2.0", "cc-by-nc"):
        assert find_licence(identifier) is None
    assert {find_licence("llama3.1").grants[grant] for grant in GRANTS} == {Answer.YES, Answer.UNKNOWN}


def test_texts_are_of_licences_that_the_table_has():
    assert set(text_table().texts) <= set(ROWS)
    for row in text_table().texts.values():
        assert bool(row.sha256) != bool(row.words)
        assert bool(row.sha256) == bool(row.begins and row.ends)
