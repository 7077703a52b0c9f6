"""A workspace that may only be read: what is committed is seen, also from the log, and nothing is written there."""

import os

import pytest

from peft_assay.core.errors import StorageError
from peft_assay.store import snapshot as copying
from peft_assay.store import workspace as opening
from peft_assay.store.workspace import DATABASE, FOLDER, Workspace
from store.test_workspace import NOW


def refuse(workspace, code):
    workspace.refuse(source="x", code=code, at=NOW)


def codes(workspace):
    return [entry.happened["code"] for entry in workspace.history()]


def only_read(monkeypatch):
    """As for a user who may not write: root, who runs tests in containers, may write anywhere."""
    monkeypatch.setattr(copying.os, "access", lambda path, mode: mode != os.W_OK)


def test_what_stands_only_in_the_log_is_read_and_nothing_is_written(tmp_path, monkeypatch):
    with Workspace.open(tmp_path, create=True) as writer:
        refuse(writer, "one")
        refuse(writer, "two")
        log = tmp_path / FOLDER / f"{DATABASE}-wal"
        assert log.stat().st_size > 0
        only_read(monkeypatch)
        before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / FOLDER).iterdir()}
        with Workspace.open(tmp_path, reading=True) as reader:
            assert (codes(reader), reader.id, reader.folder) == (["one", "two"], writer.id, writer.folder)
            copied = reader.snapshot
            assert copied is not None
            assert copied.is_file()
        assert not copied.parent.exists()
        assert before == {path.name: path.stat().st_mtime_ns for path in (tmp_path / FOLDER).iterdir()}


def test_a_copy_is_of_one_moment(tmp_path, monkeypatch):
    with Workspace.open(tmp_path, create=True) as writer:
        refuse(writer, "one")
        only_read(monkeypatch)
        copy, calls = copying.shutil.copyfile, []

        def copyfile(source, target):
            copy(source, target)
            if not calls:
                refuse(writer, "two")  # between database and log
            calls.append(source)

        monkeypatch.setattr(copying.shutil, "copyfile", copyfile)
        with Workspace.open(tmp_path, reading=True) as reader:
            assert codes(reader) == ["one", "two"]
        assert len(calls) == 4


def test_one_that_is_never_still_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    with Workspace.open(tmp_path, create=True) as writer:
        only_read(monkeypatch)
        copy, made = copying.shutil.copyfile, []

        def copyfile(source, target):
            copy(source, target)
            made.append(target)
            refuse(writer, "again")

        monkeypatch.setattr(copying.shutil, "copyfile", copyfile)
        with pytest.raises(StorageError, match="written without a pause"):
            Workspace.open(tmp_path, reading=True)
        assert not made[0].parent.exists()


def test_a_copy_that_is_no_workspace_is_removed(tmp_path, monkeypatch):
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / DATABASE).write_bytes(b"no database" * 100)
    only_read(monkeypatch)
    made = []
    real = opening.snapshot
    monkeypatch.setattr(opening, "snapshot", lambda path: made.append(real(path)) or made[-1])
    with pytest.raises(StorageError):
        Workspace.open(tmp_path, reading=True)
    assert not made[0].parent.exists()


def test_who_may_write_gets_the_workspace_itself(tmp_path):
    with Workspace.open(tmp_path, create=True):
        pass
    with Workspace.open(tmp_path, reading=True) as opened:
        assert opened.snapshot is None
        refuse(opened, "one")
        assert codes(opened) == ["one"]
