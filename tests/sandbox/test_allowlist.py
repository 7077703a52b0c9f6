"""Backends from configuration: named, pinned, made only when asked for, and believed only what they show."""

import sys
from pathlib import Path

import pytest

from peft_assay.core.errors import DocumentError, ObservationError
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.sandbox import allowlist
from peft_assay.sandbox.allowlist import listed_backends, package_digest
from peft_assay.sandbox.choose import open_sandbox
from peft_assay.sandbox.interface import SandboxConfiguration
from peft_assay.sandbox.microsuite import ATTACKS, Findings

FOREIGN = Path(__file__).parent / "foreign"
ENTRY = "  {name}:\n    factory: {factory}\n    package: {package}\n"


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.syspath_prepend(FOREIGN)
    monkeypatch.delitem(sys.modules, "company_walls", raising=False)


@pytest.fixture
def listing(tmp_path):
    def write(name="walls", factory="company_walls:make", package=None, file="sandbox.yaml"):
        package = package or package_digest("company_walls")
        path = tmp_path / file
        path.write_text(
            "apiVersion: peft-assay/sandbox/v1\nbackends:\n" + ENTRY.format(name=name, factory=factory, package=package)
        )
        path.chmod(0o644)
        tmp_path.chmod(0o755)
        return path

    return write


def test_nothing_is_listed_where_there_is_no_file(tmp_path):
    assert listed_backends(tmp_path / "none", tmp_path / "neither") == ({}, None)


def test_a_listed_backend_is_imported_only_when_it_is_made(listing):
    makers, path = listed_backends(listing())
    assert (list(makers), path.name) == (["walls"], "sandbox.yaml")
    assert "company_walls" not in sys.modules
    backend = makers["walls"]()
    assert "company_walls" in sys.modules
    assert backend.name == "walls"
    assert backend.describe()["package"] == package_digest("company_walls")


def test_the_systems_list_wins_over_the_users(listing, tmp_path):
    system, user = listing(name="systems", file="system.yaml"), listing(name="users", file="user.yaml")
    assert list(listed_backends(system, user)[0]) == ["systems"]
    assert list(listed_backends(tmp_path / "none", user)[0]) == ["users"]


def test_other_files_than_those_reviewed_are_not_imported(listing):
    makers, _ = listed_backends(listing(package="sha256:" + "0" * 64))
    with pytest.raises(ObservationError, match="not sha256:0000") as caught:
        makers["walls"]()
    assert "backends.walls" in caught.value.where
    assert "company_walls" not in sys.modules


def test_a_package_digest_covers_every_file_but_the_interpreters_own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "own_walls"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "native.so").write_bytes(b"1")
    before = package_digest("own_walls")
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "x.pyc").write_bytes(b"")
    assert package_digest("own_walls") == before
    (package / "native.so").write_bytes(b"2")
    assert package_digest("own_walls") != before


@pytest.mark.parametrize(
    ("factory", "part"),
    [
        ("company_walls:fail", "no licence"),
        ("company_walls:absent", "absent"),
        ("company_walls.part:make", "company_walls"),
        ("company_walls:FOREIGN", "FOREIGN"),
    ],
)
def test_a_backend_that_cannot_be_made_is_named(factory, part, listing):
    makers, _ = listed_backends(listing(factory=factory))
    with pytest.raises(ObservationError, match=part) as caught:
        makers["walls"]()
    assert "walls" in caught.value.message


def test_a_package_that_is_not_there_is_named(listing):
    makers, _ = listed_backends(listing(factory="no_such_walls:make", package="sha256:" + "0" * 64))
    with pytest.raises(ObservationError, match="no_such_walls"):
        makers["walls"]()


@pytest.mark.parametrize("name", ["namespace", "landlock", "none"])
def test_built_in_names_are_taken(name, listing):
    with pytest.raises(ObservationError, match="built-in"):
        listed_backends(listing(name=name))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"apiVersion: peft-assay/sandbox/v2\nbackends: {}\n",
        b"apiVersion: peft-assay/sandbox/v1\nbackends: {}\nmore: 1\n",
        b"apiVersion: peft-assay/sandbox/v1\nbackends: {a: {factory: 'a;b:c', package: 'sha256:00'}}\n",
        b"apiVersion: peft-assay/sandbox/v1\nbackends: {A_B: {factory: 'a:c', package: 'sha256:" + b"0" * 64 + b"'}}\n",
        b"\xff\xfe",
        b"a" * ((1 << 16) + 1),
    ],
)
def test_a_malformed_list_is_an_error_that_names_it(content, tmp_path):
    path = tmp_path / "sandbox.yaml"
    path.write_bytes(content)
    with pytest.raises(DocumentError) as caught:
        listed_backends(path)
    assert str(path) in caught.value.where


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_list_that_others_can_write_is_not_read(what, listing):
    path = listing()
    (path if what == "file" else path.parent).chmod(0o777)
    with pytest.raises(ObservationError, match="others could have written"):
        listed_backends(path)


def test_an_unknown_name_is_refused_with_those_that_are_known(tmp_path, monkeypatch):
    monkeypatch.setattr(allowlist, "SYSTEM_FILE", tmp_path / "none")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ObservationError, match="no backend 'gvisor'") as caught:
        open_sandbox(SandboxConfiguration(base=tmp_path), force="gvisor")
    assert "namespace" in caught.value.next_step


def test_no_claim_is_worth_more_than_the_attacks_can_show():
    everything = dict.fromkeys(ATTACKS, True)
    assert Findings(everything, 7).level(IsolationLevel.VM) is IsolationLevel.NAMESPACE
    assert Findings(everything, 7).level(IsolationLevel.USER_KERNEL) is IsolationLevel.NAMESPACE
    assert Findings(everything | {"connect": False}, 7).level(IsolationLevel.VM) is IsolationLevel.NONE
