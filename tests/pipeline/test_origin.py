"""Where an adapter came from, and which declaration covers it."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peft_assay.pipeline.documents import DeclarationSection
from peft_assay.pipeline.origin import declaration_for, matches, origin_of, repository_at


@pytest.mark.parametrize(
    ("pattern", "origin", "covered"),
    [
        ("s3://bank/**", "s3://bank/team/adapter", True),
        ("s3://bank/**", "s3://bank-of-others/adapter", False),
        ("s3://bank/**", "gs://bank/adapter", False),
        ("s3://bank/*/prod", "s3://bank/team/prod", True),
        ("s3://bank/*/prod", "s3://bank/team/x/prod", False),
        ("s3://bank/**/prod", "s3://bank/prod", True),
        ("hf://bank/*@*", "hf://bank/risk@main", True),
        ("hf://bank/*@*", "hf://bank/risk@main:sub/folder", False),
        ("adapters/**", "adapters/a", True),
        ("./adapters/*", "adapters/a", True),
        ("adapters/no-*", "adapters/no-licence", True),
        ("adapters/*a*b*", "adapters/xaybz", True),
        ("adapters/*a*b*", "adapters/xbya", False),
        ("adapters/ab*ba", "adapters/aba", False),
        ("adapters", "adapters/a", False),
        ("**", "/anything/at/all", True),
        ("*", "a/b", False),
        ("Adapters/*", "adapters/a", False),
    ],
)
def test_patterns(pattern, origin, covered):
    assert matches(pattern, origin) is covered


_SEGMENTS = st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=5)


@given(st.lists(st.text("ab*", min_size=1, max_size=4), min_size=1, max_size=5), _SEGMENTS)
def test_it_is_the_glob_that_it_says(pattern, origin):
    parts = []
    for segment in pattern:
        if segment == "**":
            parts.append("(?:[^/]+/)*")
        else:
            parts.append(re.escape(segment).replace(r"\*", "[^/]*") + "/")
    expected = re.fullmatch("".join(parts), "/".join(origin) + "/") is not None
    assert matches("/".join(pattern), "/".join(origin)) is expected


def test_a_hostile_pattern_takes_no_time():
    assert not matches("/".join(["**", "*a*"] * 200), "/".join(["b"] * 400))


def test_a_link_into_a_declared_folder_is_not_in_it(tmp_path):
    (tmp_path / "owned").mkdir()
    (tmp_path / "elsewhere" / "x").mkdir(parents=True)
    (tmp_path / "owned" / "x").symlink_to(tmp_path / "elsewhere" / "x")
    assert origin_of("owned/x", within=tmp_path, folder=tmp_path) == "elsewhere/x"
    assert origin_of("owned/../elsewhere/x", within=tmp_path, folder=tmp_path) == "elsewhere/x"
    assert origin_of("/", within=tmp_path, folder=tmp_path) == "/"
    assert origin_of("hf://a/b", within=Path(), folder=tmp_path) == "hf://a/b@main"
    assert origin_of("a/b@v1:sub", within=Path(), folder=tmp_path) == "hf://a/b@v1:sub"
    assert origin_of("s3://bank/x/", within=Path(), folder=tmp_path) == "s3://bank/x"


def test_the_first_that_matches_decides():
    one = DeclarationSection(match="a/*", owner="One")
    two = DeclarationSection(match="**", owner="Two", licence="mit", datasets=["d"])
    assert declaration_for([one, two], "a/b").owner == "One"
    assert declaration_for([one, two], "c").owner == "Two"
    assert declaration_for([one], "c") is None
    assert declaration_for([two], None) is None


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("path", "repository"),
    [
        (f"/c/peft-assay/remote/hub/org--name@{COMMIT}", "org/name"),
        (f"/c/peft-assay/remote/hub/org--my-name--sub--folder@{COMMIT}/sub/folder", "org/my-name"),
        (f"/c/hub/models--org--name.v1/snapshots/{COMMIT}", "org/name.v1"),
        (f"/c/hub/models--org--name/snapshots/{COMMIT}/sub", "org/name"),
        (f"/c/elsewhere/org--name@{COMMIT}", None),
        ("/c/peft-assay/remote/hub/org--name@main", None),
        (f"/c/hub/datasets--org--name/snapshots/{COMMIT}", None),
        ("/c/hub/models--org--name/snapshots/main", None),
        ("adapters/lora", None),
    ],
)
def test_a_repository_is_known_where_it_was_fetched_to_and_nowhere_else(path, repository):
    assert repository_at(Path(path)) == (None if repository is None else (repository, COMMIT))
