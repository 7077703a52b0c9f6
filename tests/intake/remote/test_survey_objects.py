"""`discover` in an object store: what lies under a prefix of an S3 server on loopback, by beginnings of files."""

import json
import pickle

import pytest

pytest.importorskip("obstore", reason="needs obstore (extra objects)")

from cli.command_line import ZOO, say
from intake.remote.s3_server import Bucket, serving
from peft_assay.core.errors import Door
from peft_assay.intake.reference import parse_reference

CONFIG = b'{"peft_type": "LORA", "base_model_name_or_path": "org/base"}'
LARGE = 2_000_000


def _zoo(name):
    return {path.name: path.read_bytes() for path in (ZOO / name).iterdir()}


@pytest.fixture
def bucket(monkeypatch):
    objects = {f"team/lora/{name}": content for name, content in _zoo("lora").items()}
    objects |= {
        "team/lora/old/adapter_config.json": CONFIG,
        "team/lora/training_args.bin": pickle.dumps({"a": 1}),
        "team/packed/a.tar.gz": b"\x1f\x8b",
        "team/notes/readme.txt": b"nothing",
        "team/a/b/c/d/adapter_config.json": CONFIG,
        "other/large/adapter_config.json": CONFIG,
        "other/large/adapter_model.safetensors": b"\0" * LARGE,
    }
    with serving(Bucket(objects), monkeypatch) as made:
        yield made


def _found(*arguments):
    said = say("discover", *arguments, "--format", "json")
    assert said.code == Door.PASSED, said.err
    return {entry["path"]: entry for entry in said.document["found"]}


def test_adapters_under_a_prefix_are_told_with_what_is_wrong(bucket):
    found = _found("s3://bucket/team/")
    assert set(found) == {
        "s3://bucket/team/lora", "s3://bucket/team/lora/old", "s3://bucket/team/packed/a.tar.gz",
        "s3://bucket/team/a/b/c/d",
    }  # fmt: skip
    lora = found["s3://bucket/team/lora"]
    assert (lora["usable"], lora["peftType"]) == (True, "LORA")
    assert "pickle: training_args.bin" in lora["remarks"]
    assert "1 more in folders below it, taken as part of it" in lora["remarks"]
    assert found["s3://bucket/team/lora/old"]["remarks"][0] == "no weights"
    assert found["s3://bucket/team/packed/a.tar.gz"]["usable"] is False


def test_of_large_files_only_the_beginning_is_fetched(bucket):
    assert len(_found("s3://bucket")) == 5
    assert bucket.served < LARGE / 2


def test_each_name_is_one_that_inspect_takes(bucket):
    for name in _found("s3://bucket"):
        assert str(parse_reference(name).prefix) in name


def test_depth_is_bounded_and_told(bucket):
    said = say("discover", "s3://bucket/team", "--max-depth", "1", "--format", "json")
    assert {entry["path"] for entry in said.document["found"]} == {
        "s3://bucket/team/lora", "s3://bucket/team/packed/a.tar.gz"
    }  # fmt: skip
    assert said.document["tooDeep"] == 2


def test_the_proposal_names_them_as_they_are(bucket, tmp_path):
    said = say("discover", "s3://bucket/team/lora", "--propose", "-", within=tmp_path)
    assert 'source: "s3://bucket/team/lora"' in said.out


def test_a_store_that_refuses_is_told_in_words(bucket):
    bucket.denied = True
    said = say("discover", "s3://bucket/team")
    assert said.code == Door.REFUSED
    assert "refuses these credentials" in said.err


@pytest.mark.parametrize("name", ["hf://org/name", "s3://", "s3://bucket/a/../b", "ftp://host/x"])
def test_other_places_are_not_searched(name):
    said = say("discover", name)
    assert said.code == Door.USAGE
    assert "s3://BUCKET/PREFIX" in said.err


def test_nothing_there_is_not_an_empty_list(bucket):
    assert say("discover", "s3://bucket/nowhere").code == Door.USAGE


def test_a_hostile_configuration_breaks_nothing(bucket):
    bucket.objects["team/lora/adapter_config.json"] = json.dumps({"peft_type": ["LORA"] * 9}).encode()
    assert _found("s3://bucket/team/lora")["s3://bucket/team/lora"]["peftType"] is None
