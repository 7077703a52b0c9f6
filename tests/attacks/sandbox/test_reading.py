"""What a child can read is what loaders read: beside it lie passwords, expected answers and other people's files."""

import json
import os
import shutil
import sys
import sysconfig
import tempfile
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from peft_assay.core.errors import ObservationError
from peft_assay.pipeline.documents import read_assay
from peft_assay.pipeline.place import Place
from peft_assay.pipeline.secluded import private_paths
from peft_assay.sandbox import choose as choosing
from peft_assay.sandbox.choose import choose
from peft_assay.sandbox.enclosure import check_private
from peft_assay.sandbox.interface import Mounts, Private, SandboxConfiguration
from peft_assay.sandbox.loading import base_files, beside_libraries
from peft_assay.sandbox.microsuite import ATTACKS
from peft_assay.sandbox.packages import _parts, needed_packages
from peft_assay.sandbox.surroundings import harness_program, mounts_for
from pipeline.suite_projects import write_project, write_suite

sandboxed = pytest.mark.sandbox
SITE = Path(sysconfig.get_path("purelib"))


def readable_inside(do, path):
    result, replies = do({"do": "read", "path": str(path)})
    assert (result.outcome.value, result.events) == ("ok", ())
    return replies[0]["logLikelihoods"] == [-1.0]


@pytest.fixture
def strays(empty_base):
    """Files that lie beside those of a loader, in the base's own folder: readable to everybody outside."""
    made = [empty_base / name for name in (".netrc", "pip.conf", "notes.csv", "suite.jsonl", "keyring.cfg")]
    for path in made:
        path.write_text("index-url = https://user:password@example.invalid/simple")
        path.chmod(0o644)
    yield made
    for path in made:
        path.unlink()


@sandboxed
def test_what_loaders_read_can_be_read_inside(do, empty_base):
    """The positive control: the deed works, on what is listed."""
    for path in (empty_base / "config.json", SITE / "torch" / "__init__.py", SITE / "peft" / "config.py"):
        assert readable_inside(do, path), path


@sandboxed
def test_what_lies_beside_libraries_cannot(do, strays):
    outside = [path for path in beside_libraries() if path.is_file() and os.access(path, os.R_OK)]
    assert any(path.name == "pyvenv.cfg" for path in outside), (
        "the positive control: there is something, readable outside"
    )
    hooks = [*SITE.glob("*.pth"), *SITE.glob("*.dist-info/RECORD"), *SITE.glob("*.dist-info/METADATA")][:6]
    for path in (*outside, *strays, *hooks):
        assert not readable_inside(do, path), path


@sandboxed
def test_neither_can_other_packages_programs_and_source_roots(do):
    package = Path(sys.modules["peft_assay"].__file__)
    others = [SITE / "pytest" / "__init__.py", SITE / "sqlalchemy" / "__init__.py", SITE / "pip" / "__init__.py"]
    root = package.parents[2]
    paths = [package, root / "README.md", root / "pyproject.toml", root / ".git", *others, "/usr/bin/env", "/usr/share"]
    paths += ["/etc/passwd", "/etc/hostname", Path.home(), root, SITE, Path(sys.prefix), Path(sys.prefix) / "bin"]
    for path in paths:
        assert not readable_inside(do, path), path


def test_a_bases_files_are_those_of_a_loader(tmp_path):
    shards = ["model-00001-of-00002.safetensors", "odd.safetensors"]
    index = {"weight_map": {"a": shards[0], "b": shards[1], "c": "../outside.safetensors", "d": "secret.csv"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    wanted = {"config.json", "tokenizer.json", "chat_template.jinja", "spiece.model", *shards}
    others = {
        "pip.conf",
        ".env",
        ".hidden.model",
        "notes.md",
        "training.csv",
        "optimizer.pt",
        "adapter_model.safetensors",
    }
    for name in wanted | others:
        (tmp_path / name).write_text("{}")
    assert {path.name for path in base_files(tmp_path)} == wanted | {"model.safetensors.index.json"}


def test_packages_are_what_is_required_and_found_by_what_they_lay_there():
    packages = needed_packages()
    assert {"torch", "transformers", "peft", "numpy", "landlockpy"} <= set(packages.modules)
    assert not {"pytest", "sqlalchemy", "pip", "peft_assay", "hypothesis"} & set(packages.modules)
    assert all(SITE in path.parents for path in packages.folders)
    assert not any(path.suffix in {".pth", ".dist-info"} for path in packages.folders)


@pytest.mark.parametrize("written", ["relative", "absolute"])
def test_a_record_with_absolute_paths_shows_no_more_than_one_without(written, tmp_path):
    """An editable install may be recorded so; the folder that all packages share is none of its parts."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "__init__.py").write_text("")
    (about := tmp_path / "mine-1.dist-info").mkdir()
    (tmp_path / "mine.pth").write_text("/elsewhere")
    root = f"{tmp_path}/" if written == "absolute" else ""
    lines = ["mine/__init__.py,,", *(f"{root}{name},," for name in ("mine.pth", "mine-1.dist-info/RECORD"))]
    (about / "RECORD").write_text("\n".join(lines))
    assert list(_parts(Distribution.at(about))) == [tmp_path / "mine"]


# Refused before anything runs.


@pytest.fixture
def place(tmp_path):
    (tmp_path / "library" / "inner").mkdir(parents=True)
    (tmp_path / "project" / "suites").mkdir(parents=True)
    (tmp_path / "project" / "suites" / "cases.jsonl").write_text("expected")
    (tmp_path / "library" / "module.py").write_text("")
    return tmp_path


def mounts(*folders, hidden=()):
    return Mounts(tuple(folders), (), hidden=tuple(hidden))


def refused(mounted, path, **about):
    with pytest.raises(ObservationError, match="adapters could read a suite") as raised:
        check_private(mounted, [Private(path, "a suite", **about)])
    assert raised.value.where == str(path)
    assert "move a suite" in raised.value.next_step
    return str(raised.value)


def test_a_suite_beside_what_is_read_is_no_reason_to_refuse(place):
    """The ordinary cases: an environment and a base within the project, a project at the root of its environment."""
    inside = place / "project" / ".venv" / "lib"
    inside.mkdir(parents=True)
    private = [
        Private(place / "project" / "suites" / "cases.jsonl", "a suite"),
        Private(place / "project", "the project"),
    ]
    check_private(mounts(place / "library", inside), private)
    check_private(mounts(place / "library"), [Private(place / "nowhere", "what is not there")])


def test_a_suite_in_a_library_is(place):
    (place / "library" / "inner" / "cases.jsonl").write_text("expected")
    assert "library" in refused(mounts(place / "library"), place / "library" / "inner" / "cases.jsonl")


def test_a_library_in_the_workspace_is(place):
    refused(mounts(place / "project" / "suites"), place / "project", whole=True)


@pytest.mark.parametrize("way", ["link to it", "link in its path", "dots", "link to the library", "hard link"])
def test_no_other_path_of_it_helps(way, place):
    suite = place / "library" / "inner" / "cases.jsonl"
    suite.write_text("expected")
    mounted = mounts(place / "library")
    if way == "link to it":
        (named := place / "project" / "linked.jsonl").symlink_to(suite)
    elif way == "link in its path":
        (place / "project" / "linked").symlink_to(place / "library" / "inner")
        named = place / "project" / "linked" / "cases.jsonl"
    elif way == "dots":
        named = place / "project" / ".." / "library" / "inner" / "cases.jsonl"
    elif way == "link to the library":
        (place / "other").symlink_to(place / "library")
        mounted, named = mounts(place / "other"), suite
    else:
        named = place / "project" / "cases.jsonl"
        named.hardlink_to(suite)
    refused(mounted, named)


def table(*lines):
    return "".join(
        f"{at} 1 {device} {root} {point} rw - ext4 /dev/x rw\n" for at, (device, root, point) in enumerate(lines)
    )


@pytest.mark.parametrize(
    "way", ["the library shows the project", "the project shows the library", "within the library"]
)
def test_bind_mounts_are_seen_through(way, place):
    """By the kernel's own table, as it would be; mounting takes more rights than tests have."""
    suite = place / "project" / "suites" / "cases.jsonl"
    whole = ("8:1", "/", "/")
    bound = {
        "the library shows the project": ("8:1", str(place / "project"), str(place / "library")),
        "the project shows the library": ("8:1", f"{place}/library/inner", str(place / "project" / "suites")),
        "within the library": ("8:1", str(place / "project" / "suites"), f"{place}/library/inner"),
    }[way]
    written = place / "mountinfo"
    private = [Private(suite, "a suite")]
    written.write_text(table(whole))
    check_private(mounts(place / "library"), private, written)
    written.write_text(table(whole, bound))
    with pytest.raises(ObservationError, match="adapters could read a suite"):
        check_private(mounts(place / "library"), private, written)


def test_what_is_hidden_in_a_readable_folder_is_not_readable(place):
    suite = place / "library" / "inner" / "cases.jsonl"
    suite.write_text("expected")
    check_private(mounts(place / "library", hidden=[place / "library" / "inner"]), [Private(suite, "a suite")])
    again = mounts(place / "library", place / "library" / "inner", hidden=[place / "library" / "inner"])
    refused(again, suite)


def test_nothing_is_started_where_a_suite_could_be_read(monkeypatch, empty_base):
    started = []
    monkeypatch.setattr(choosing, "try_attacks", lambda *_: started.append(1))
    private = (Private(empty_base / "config.json", "a suite"),)
    with pytest.raises(ObservationError, match="a suite"):
        choose(SandboxConfiguration(base=empty_base, private=private))
    assert started == []


def test_a_projects_private_paths_are_all_that_it_names(tmp_path):
    write_suite(tmp_path / "task")
    (tmp_path / "canaries.txt").write_text("x")
    scan = {"tokens": "words/tokens.txt", "answers": "task"}
    path = write_project(tmp_path, policy="./p.yaml", scan=scan, behaviour={"canaries": {"file": "canaries.txt"}})
    found = private_paths(read_assay(path), path, Place(workspace=tmp_path / "w", trust=tmp_path / "t"))
    names = {one.path.relative_to(tmp_path).as_posix() for one in found if one.path.is_relative_to(tmp_path)}
    assert names == {
        "peft-assay.yaml",
        "task/suite.yaml",
        "task/cases.jsonl",
        "p.yaml",
        "canaries.txt",
        "words/tokens.txt",
        "w/.peft-assay",
        "t",
    }
    assert {one.path.name for one in found if one.whole} >= {".peft-assay", "t", "peft-assay"}


# The start-up attacks decide.


@sandboxed
def test_start_up_attacks_try_to_read_them_and_decide_the_level(backend_name, monkeypatch):
    """Control: where the walls show one folder more, the attack succeeds and no level is reached."""
    assert {"read-private-files", "read-beside-libraries"} <= set(ATTACKS)
    folder = Path(tempfile.mkdtemp(prefix="assay-private-"))
    folder.chmod(0o755)
    shutil.copytree(Path(__file__).parents[3] / "examples" / "zoo" / "base", base := folder / "base")
    (folder / "suites").mkdir()
    (folder / "suites" / "cases.jsonl").write_text("expected")
    private = (Private(folder / "suites" / "cases.jsonl", "a suite"),)
    configuration = SandboxConfiguration(base=base, private=private)
    try:
        try:
            found = choose(configuration, force=backend_name)
        except ObservationError as error:
            pytest.skip(str(error))
        assert found.findings.stopped["read-private-files"]
        assert found.findings.stopped["read-beside-libraries"]
        more = mounts_for(harness_program(), base)
        wider = Mounts(
            (*more.folders, folder / "suites"), more.module_path, (), more.hidden, more.modules, more.versions
        )
        monkeypatch.setattr(choosing, "mounts_for", lambda *_: wider)
        with pytest.raises(ObservationError, match="adapters could read a suite"):
            choose(configuration, force=backend_name)
        monkeypatch.setattr(choosing, "check_private", lambda *_: None)
        with pytest.raises(ObservationError, match="read-private-files"):
            choose(configuration, force=backend_name)
    finally:
        shutil.rmtree(folder)
