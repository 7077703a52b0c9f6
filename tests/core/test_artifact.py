"""Digests, canonical bytes and the manifest."""

import hashlib
import json
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peft_assay.core.artifact import Artifact, File, manifest_of
from peft_assay.core.canonical import canonical_bytes, canonical_digest
from peft_assay.core.digest import hex_of, parse_digest, sha256

DIRHASH_RECIPE = "find . -type f | cut -c3- | LC_ALL=C sort | xargs -r -d '\\n' sha256sum | sha256sum | cut -f1 -d' '"
"""The in-toto attestation framework's own command for dirHash (spec/v1/digest_set.md)."""
NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N"), include_characters="-_. "), min_size=1, max_size=8)
FILES = st.dictionaries(
    # sha256sum takes a name that begins with a dash for an option, or for its input
    NAMES.filter(lambda name: name.strip() == name and name.strip(".") and name[0] != "-"),
    st.binary(max_size=40),
    min_size=1,
    max_size=6,
)


def artifact_of(files):
    return Artifact(tuple(File(path, len(content), sha256(content)) for path, content in sorted(files.items())))


@settings(max_examples=15)
@given(FILES, FILES)
def test_dir_hash_is_what_the_specs_shell_recipe_prints(tmp_path_factory, top, inner):
    folder = tmp_path_factory.mktemp("dirhash")
    files = {**{f"{name}.f": content for name, content in top.items()}, **{f"d/{k}": v for k, v in inner.items()}}
    for path, content in files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(content)
    printed = subprocess.run(DIRHASH_RECIPE, shell=True, cwd=folder, capture_output=True, check=True, timeout=20)
    assert artifact_of(files).dir_hash == printed.stdout.decode().strip()


@given(FILES)
def test_digest_is_over_the_canonical_manifest_and_round_trips(files):
    artifact = artifact_of(files)
    assert artifact.digest == sha256(artifact.manifest_bytes())
    assert manifest_of(json.loads(artifact.manifest_bytes())) == artifact
    assert (
        artifact.oms_root
        == hashlib.sha256(b"".join(hashlib.sha256(files[path]).digest() for path in sorted(files))).hexdigest()
    )


@given(FILES, st.data())
def test_every_byte_every_path_and_every_file_counts(files, data):
    before = artifact_of(files)
    path = data.draw(st.sampled_from(sorted(files)))
    altered = artifact_of({**files, path: files[path] + b"x"})
    renamed = artifact_of({(k + "~" if k == path else k): v for k, v in files.items()})
    added = artifact_of({**files, path + "~": b""})
    assert len({before.digest, altered.digest, renamed.digest, added.digest}) == 4
    assert before.dir_hash not in {altered.dir_hash, renamed.dir_hash, added.dir_hash}


def test_a_manifest_is_not_empty_sorted_and_without_repeats():
    one, two = File("a", 1, sha256(b"a")), File("b", 1, sha256(b"b"))
    for files in ((), (two, one), (one, one)):
        with pytest.raises(ValueError, match="sorted by path, each once"):
            Artifact(files)


ENTRY = {"path": "a", "size": 1, "sha256": "0" * 64}


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"files": []},
        {"files": [ENTRY], "extra": 1},
        {"files": [ENTRY, ENTRY]},
        {"files": [{**ENTRY, "extra": 1}]},
        {"files": [{**ENTRY, "size": "1"}]},
        {"files": [{**ENTRY, "size": True}]},
        {"files": [{**ENTRY, "size": -1}]},
        {"files": [{**ENTRY, "size": 1.0}]},
        {"files": [{**ENTRY, "sha256": "0" * 63}]},
        {"files": [{**ENTRY, "sha256": "A" * 64}]},
        {"files": [{**ENTRY, "path": 1}]},
        {"files": [{"path": "a", "size": 1}]},
        {"files": "a"},
    ],
)
def test_what_is_not_a_manifest_is_refused(document):
    with pytest.raises(ValueError):
        manifest_of(document)


def test_a_file_is_found_by_its_exact_path_only():
    artifact = artifact_of({"a/b": b"1", "c": b"2"})
    assert artifact.file("a/b") == File("a/b", 1, sha256(b"1"))
    assert artifact.file("a") is None
    assert artifact.file("A/b") is None


@pytest.mark.parametrize(
    "text", ["", "sha256:", "0" * 64, "sha256:" + "0" * 63, "sha256:" + "0" * 65, "sha256:" + "A" * 64,
             "sha512:" + "0" * 64, " sha256:" + "0" * 64, "sha256:" + "0" * 64 + "\n", "sha256:" + "٠" * 64],
)  # fmt: skip
def test_only_a_full_lower_case_sha256_is_a_digest(text):
    with pytest.raises(ValueError, match="not a full sha256 digest"):
        parse_digest(text)


def test_digest_and_hex_are_two_spellings():
    digest = sha256(b"")
    assert digest == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert parse_digest(digest) == digest
    assert hex_of(digest) == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        -float("inf"),
        2**53,
        -(2**53),
        {"a": [float("nan")]},
        "\ud800",
        {"\ud800": 1},
        {1: 2},
    ],
)
def test_nothing_lossy_is_canonical(value):
    with pytest.raises(ValueError):
        canonical_bytes(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(-1e15, 1e15) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_canonical_bytes_mean_the_document_and_are_a_fixed_point(document):
    content = canonical_bytes(document)
    assert json.loads(content) == document
    assert canonical_bytes(json.loads(content)) == content


@given(st.dictionaries(st.text(max_size=4), st.integers(0, 9), min_size=2, max_size=6))
def test_the_order_of_keys_does_not_matter_and_values_do(document):
    backwards = dict(reversed(document.items()))
    assert canonical_digest(backwards) == canonical_digest(document)
    key = next(iter(document))
    assert canonical_digest({**document, key: document[key] + 1}) != canonical_digest(document)
