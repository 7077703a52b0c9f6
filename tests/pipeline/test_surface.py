"""Aliases and short names: what an adapter is called on a screen, and what a mistyped alias is answered."""

from types import SimpleNamespace

import pytest

from peft_assay.core.errors import IntakeError
from peft_assay.pipeline.sources import Located, names_of
from peft_assay.pipeline.surface import alias_of, check_named

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def surface(**aliases):
    """The part of peft-assay.yaml that names adapters."""
    return SimpleNamespace(adapters={alias: SimpleNamespace(source=source) for alias, source in aliases.items()})


def test_an_alias_is_called_by_itself_and_a_snapshot_by_its_repository(tmp_path):
    snapshot = tmp_path / "models--org--support-lora" / "snapshots" / COMMIT
    below = snapshot / "checkpoint-7"
    below.mkdir(parents=True)
    lora = Located(str(tmp_path / "lora"), tmp_path / "lora", alias="support")
    cached = Located(str(snapshot), snapshot)
    assert names_of([lora, cached, Located(str(below), below)]) == ["support", "support-lora@0123456", "checkpoint-7"]
    plain = tmp_path / COMMIT
    assert names_of([Located(str(plain), plain)]) == [COMMIT]


def test_two_aliases_of_one_folder_stay_apart(tmp_path):
    one, two = (Located(str(tmp_path), tmp_path, alias=alias) for alias in ("blue", "green"))
    assert names_of([one, two, Located("x", tmp_path)]) == ["blue", "green", tmp_path.name]


@pytest.mark.parametrize("source", ["./adapters/lora", "{folder}/./adapters/lora", "{folder}/adapters/lora"])
def test_what_was_recorded_is_known_again_by_its_alias(tmp_path, source):
    document = surface(other="./adapters/dora", support="./adapters/lora")
    assert alias_of(source.format(folder=tmp_path), document, tmp_path / "peft-assay.yaml") == "support"


def test_what_no_alias_declares_has_none(tmp_path):
    path = tmp_path / "peft-assay.yaml"
    assert alias_of("/models/lora", surface(support="./lora"), path) is None
    assert alias_of("hf://org/name@main", surface(support="hf://org/name@main"), path) == "support"


def test_a_mistyped_alias_is_answered_with_those_that_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lora").mkdir()
    document, path = surface(support="./lora", billing="./other"), tmp_path / "peft-assay.yaml"
    with pytest.raises(IntakeError, match="suport: it is no alias") as refused:
        check_named("suport", document, path)
    assert refused.value.next_step == f"did you mean support? the aliases of {path}: billing, support"
    with pytest.raises(IntakeError) as refused:
        check_named("zebra", document, path)
    assert refused.value.next_step == f"the aliases of {path}: billing, support"
    for fine in ("support", "lora", "lora:inner", "./suport", "hf://org/suport"):
        check_named(fine, document, path)
    check_named("suport", surface(), path)


def test_many_aliases_are_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = surface(**{f"a{n:02}": "./x" for n in range(14)})
    with pytest.raises(IntakeError) as refused:
        check_named("zz", document, tmp_path / "peft-assay.yaml")
    assert refused.value.next_step.endswith("a09 and 4 more")
