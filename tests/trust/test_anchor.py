"""The trust anchor: where it may lie, who may have written it, and what it may say."""

import json
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from peft_assay.core.errors import StorageError, TrustError
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.trust.anchor import (
    Origin,
    create_development_anchor,
    find_anchor,
    load_anchor,
    parse_anchor,
)
from peft_assay.trust.roles import Role


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path / "project"


def find(explicit: Path | None, project: Path, home: Path, system: Path | None = None):
    return find_anchor(explicit, judged=project, system=system or home.parent / "none", home=home)


def test_made_by_init_and_found_in_the_home(home: Path, project: Path) -> None:
    with pytest.raises(TrustError, match="no trust anchor") as error:
        find(None, project, home)
    assert error.value.next_step == "run peft-assay init"
    folder = home / ".config" / "peft-assay"
    path = create_development_anchor(folder)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    location = find(None, project, home)
    assert (location.folder, location.state, location.origin) == (folder, folder / "state", Origin.USER)
    anchor = load_anchor(location)
    assert len(anchor.development_keyids()) == 3
    assert not anchor.production
    assert anchor.maximum_age == timedelta(days=90)
    assert anchor.revocation_maximum_age == timedelta(days=7)
    assert anchor.minimum_isolation is IsolationLevel.PROCESS
    before = path.read_bytes()
    create_development_anchor(folder, maximum_age="1d")
    assert path.read_bytes() == before


def test_the_environment_has_no_say(home: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_development_anchor(tmp_path / "elsewhere" / ".config" / "peft-assay")
    create_development_anchor(tmp_path / "elsewhere" / "peft-assay")
    monkeypatch.setenv("HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(TrustError, match=str(home)):
        find(None, project, home)


def test_without_a_given_home_the_password_database_names_it(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Entry:
        pw_dir = str(tmp_path / "passwd-home")

    monkeypatch.setattr("pwd.getpwuid", lambda _: Entry)
    create_development_anchor(tmp_path / "passwd-home" / ".config" / "peft-assay")
    location = find_anchor(None, judged=project, system=tmp_path / "none")
    assert location.folder == tmp_path / "passwd-home" / ".config" / "peft-assay"


def test_explicit_anchor_and_system_anchor(home: Path, project: Path, tmp_path: Path) -> None:
    explicit, system = tmp_path / "explicit", tmp_path / "etc"
    create_development_anchor(explicit)
    assert find(explicit, project, home).origin is Origin.EXPLICIT
    create_development_anchor(system)
    with pytest.raises(TrustError, match="cannot replace"):
        find(explicit, project, home, system)
    location = find(None, project, home, system)
    assert location.origin is Origin.SYSTEM
    assert location.folder == system
    assert location.state == home / ".config" / "peft-assay" / "state"


def test_a_dangling_system_anchor_still_counts(home: Path, project: Path, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "trust.yaml").symlink_to("/nonexistent")
    create_development_anchor(home / ".config" / "peft-assay")
    with pytest.raises(TrustError, match="no trust anchor"):
        find(None, project, home, tmp_path / "etc")


def test_never_from_inside_what_is_judged(home: Path, project: Path, tmp_path: Path) -> None:
    inside, outside = project / "trust", tmp_path / "trust"
    create_development_anchor(inside)
    create_development_anchor(outside)
    create_development_anchor(project)
    document = project / "peft-assay.yaml"
    document.write_text("")
    (project / "link").symlink_to(outside)
    (tmp_path / "way-in").symlink_to(inside)
    (tmp_path / "project-link").symlink_to(project)
    for judged in (project, document, tmp_path / "project-link"):
        find(outside, judged, home)
        for explicit in (inside, project, project / "link", tmp_path / "way-in", project / ".." / "project" / "trust"):
            with pytest.raises(TrustError, match="inside what is being judged"):
                find(explicit, judged, home)


def test_written_by_others(home: Path, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "outer" / "anchor"
    path = create_development_anchor(folder)
    location = find(folder, project, home)
    load_anchor(location)
    for place, mode, back in (
        (path, 0o620, 0o600),
        (path, 0o602, 0o600),
        (folder, 0o770, 0o700),
        (folder, 0o777, 0o700),
    ):
        place.chmod(mode)
        with pytest.raises(TrustError, match="written by other users"):
            load_anchor(location)
        place.chmod(back)
    folder.parent.chmod(0o777)
    with pytest.raises(TrustError, match="written by every user"):
        load_anchor(location)
    folder.parent.chmod(0o1777)
    load_anchor(location)
    folder.parent.chmod(0o755)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    if folder.stat().st_uid == 0:
        load_anchor(location)
        os.chown(path, 54321, 54321)
    with pytest.raises(TrustError, match="another user"):
        load_anchor(location)


def test_a_link_leads_to_a_folder_that_is_checked_too(home: Path, project: Path, tmp_path: Path) -> None:
    folder, real = tmp_path / "anchor", tmp_path / "real"
    path = create_development_anchor(real)
    folder.mkdir()
    (folder / "trust.yaml").symlink_to(path)
    location = find(folder, project, home)
    load_anchor(location)
    real.chmod(0o777)
    with pytest.raises(TrustError, match="written by other users"):
        load_anchor(location)


def test_an_anchor_that_vanished(home: Path, project: Path, tmp_path: Path) -> None:
    path = create_development_anchor(tmp_path / "anchor")
    location = find(tmp_path / "anchor", project, home)
    path.unlink()
    with pytest.raises(TrustError, match="cannot be read"):
        load_anchor(location)


def test_an_anchor_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("yaml.safe_dump", full)
    with pytest.raises(StorageError, match="No space left"):
        create_development_anchor(tmp_path / "anchor")


def anchor_document(tmp_path: Path) -> dict:
    return yaml.safe_load(create_development_anchor(tmp_path / "for-document").read_bytes())


def parse(document: object):
    return parse_anchor(json.dumps(document).encode(), where="trust.yaml")


def test_what_it_may_say(tmp_path: Path) -> None:
    document = anchor_document(tmp_path)
    document |= {"production": True, "maximumAge": "12h", "revocationMaximumAge": "30m", "minimumIsolation": 20}
    anchor = parse(document)
    assert anchor.production
    assert anchor.maximum_age == timedelta(hours=12)
    assert anchor.revocation_maximum_age == timedelta(minutes=30)
    assert [len(anchor.keys_of(role)) for role in Role] == [1, 1, 1]
    del document["revocationMaximumAge"]
    document["keys"]["approver"] = []
    assert parse(document).revocation_maximum_age == timedelta(days=7)
    assert parse(document).keys_of(Role.APPROVER) == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"apiVersion": "v0"}, "apiVersion"),
        ({"production": "yes"}, "production"),
        ({"production": 1}, "production"),
        ({"maximumAge": "90"}, "duration"),
        ({"maximumAge": "0d"}, "duration"),
        ({"maximumAge": 90}, "maximumAge"),
        ({"revocationMaximumAge": "forever"}, "duration"),
        ({"minimumIsolation": 11}, "11"),
        ({"judges": {"style": {"command": ["judge"]}}}, "judges.style: command: begins with the absolute path"),
        ({"judges": {"style": {"command": []}}}, "judges.style.command"),
        ({"judges": {"style": {"command": ["/j"], "timeout": "soon"}}}, "judges.style: timeout: not a duration"),
        ({"judges": {"style": {"command": ["/j"], "environment": ["A=B"]}}}, "environment"),
        ({"judges": {"style": {"command": ["/j"], "shell": True}}}, "shell"),
        ({"judges": {"Style": {"command": ["/j"]}}}, "judges"),
        ({"minimumIsolation": True}, "minimumIsolation"),
        ({"surprise": 1}, "surprise"),
        ({"keys": {}}, "keys.authority"),
    ],
)
def test_what_it_may_not_say(tmp_path: Path, change: dict, says: str) -> None:
    document = anchor_document(tmp_path)
    parse(document)
    with pytest.raises(TrustError, match=says):
        parse({**document, **change})


def test_keys_are_pinned_by_content_once_and_never_empty(tmp_path: Path) -> None:
    document = anchor_document(tmp_path)
    keys = document["keys"]
    other = keys["sandbox"][0]
    renamed = [{**keys["authority"][0], "keyid": other["keyid"]}]
    with pytest.raises(TrustError, match="the key's content has id"):
        parse({**document, "keys": {**keys, "authority": renamed}})
    with pytest.raises(TrustError, match="pinned twice"):
        parse({**document, "keys": {**keys, "authority": [other]}})
    with pytest.raises(TrustError, match="pinned twice"):
        parse({**document, "keys": {**keys, "sandbox": [other, other]}})
    for role in ("authority", "sandbox"):
        with pytest.raises(TrustError, match=role):
            parse({**document, "keys": {**keys, role: []}})


@pytest.mark.parametrize("content", [b"", b"[]", b"a: 1\na: 2", b"\xff", b"x: &a [*a]", b"x" * (1 << 20) + b"xx"])
def test_content_that_is_no_anchor(content: bytes) -> None:
    with pytest.raises(TrustError):
        parse_anchor(content, where="trust.yaml")


def test_a_user_id_without_an_account_must_name_its_anchor(tmp_path, monkeypatch) -> None:
    """As in many containers: there is no home to look in, and $HOME is not believed."""
    monkeypatch.setattr("os.getuid", lambda: 3_999_999_999)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(TrustError, match="has no account") as error:
        find_anchor(None, judged=tmp_path, system=tmp_path / "nowhere")
    assert "--trust" in (error.value.next_step or "")


def test_judges_are_commands_by_name(home: Path) -> None:
    document = yaml.safe_load(create_development_anchor(home / "anchor").read_text())
    assert parse_anchor(json.dumps(document).encode(), where="trust.yaml").judges == {}
    document["judges"] = {"style": {"command": ["/bin/judge", "-x"], "timeout": "5s", "environment": ["API_KEY"]}}
    judge = parse_anchor(json.dumps(document).encode(), where="trust.yaml").judges["style"]
    assert (judge.command, judge.timeout, judge.environment) == (
        ("/bin/judge", "-x"),
        timedelta(seconds=5),
        ("API_KEY",),
    )
