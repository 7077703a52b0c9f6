"""The trust anchor: pinned keys and minimum terms, from a place that the thing being judged cannot write.

It comes from the invoker's own argument, or from the system (``/etc/peft-assay``), or from the user's home as the
password database names it. Environment variables, the working directory and the workspace have no say.
"""

import os
import pwd
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field

from peft_assay.core.errors import DocumentError, StorageError, TrustError
from peft_assay.core.parse import parse_yaml
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.trust.keys import PublicKey, create_development_keys, public_key
from peft_assay.trust.roles import Role
from peft_assay.trust.wire import Wire, read_predicate

API_VERSION = "peft-assay/trust/v1"
TRUST_FILE = "trust.yaml"
SYSTEM_FOLDER = Path("/etc/peft-assay")
_MAX_BYTES = 1 << 20
_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_DURATION = re.compile(r"([1-9][0-9]{0,4})([dhms])")


class Origin(StrEnum):
    """Who put the anchor there."""

    EXPLICIT = "explicit"
    SYSTEM = "system"
    USER = "user"


@dataclass(frozen=True, slots=True)
class TrustAnchorLocation:
    """Where the anchor is, and where its high-water marks are kept (outside any workspace)."""

    folder: Path
    state: Path
    origin: Origin


@dataclass(frozen=True, slots=True)
class PinnedKey:
    """A key trusted for one role."""

    key: PublicKey
    development: bool
    """Made on this host by `init`: refused in production."""


@dataclass(frozen=True, slots=True)
class JudgeProgram:
    """How a judge is started. A suite only names it: what runs on the host is the trust anchor's to say."""

    command: tuple[str, ...]
    """Absolute path of the program, and its arguments; no shell reads it."""
    timeout: timedelta
    """For one answer."""
    environment: tuple[str, ...]
    """Names of environment variables that it is given; no other reaches it."""


@dataclass(frozen=True, slots=True)
class TrustAnchor:
    """Whom the invoker trusts, and the least it accepts; contexts may only tighten."""

    keys: Mapping[Role, tuple[PinnedKey, ...]]
    production: bool
    maximum_age: timedelta
    """How old the oldest observation under a certificate may be."""
    revocation_maximum_age: timedelta
    minimum_isolation: IsolationLevel
    judges: Mapping[str, JudgeProgram] = field(default_factory=dict)
    """Programs that decide about free text, by the name that suites use."""

    def keys_of(self, role: Role) -> tuple[PublicKey, ...]:
        """The keys pinned for `role`."""
        return tuple(pinned.key for pinned in self.keys[role])

    def development_keyids(self) -> tuple[str, ...]:
        """Ids of pinned keys that are marked as development keys."""
        return tuple(pinned.key.keyid for role in Role for pinned in self.keys[role] if pinned.development)


class _Key(Wire):
    keyid: str
    scheme: str
    public: str
    development: bool


class _Keys(Wire):
    authority: list[_Key] = Field(min_length=1)
    sandbox: list[_Key] = Field(min_length=1)
    approver: list[_Key]


class _Judge(Wire):
    command: list[str] = Field(min_length=1, max_length=100)
    timeout: str = "30s"
    environment: list[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]] = Field(default_factory=list)


class _Document(Wire):
    apiVersion: Literal["peft-assay/trust/v1"]
    production: bool
    maximumAge: str
    revocationMaximumAge: str = "7d"
    minimumIsolation: int
    keys: _Keys
    judges: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")], _Judge] = Field(default_factory=dict)


def find_anchor(
    explicit: Path | None, *, judged: Path, system: Path = SYSTEM_FOLDER, home: Path | None = None
) -> TrustAnchorLocation:
    """Where the anchor is for a judgement over `judged` (the workspace, or the document and its directory).

    `explicit` is what the invoker wrote on the command line or passed to a function, never something read from a
    document or the environment. Raises TrustError when there is no anchor, when an explicit one would replace the
    system's, or when it lies inside what is judged.
    """
    if os.path.lexists(system / TRUST_FILE):
        if explicit is not None:
            raise TrustError(
                "this system has its own trust anchor, which an argument cannot replace",
                where=str(system / TRUST_FILE),
                next_step="leave the trust argument out",
            )
        location = TrustAnchorLocation(system, user_folder(home) / "state", Origin.SYSTEM)
    elif explicit is not None:
        location = TrustAnchorLocation(explicit, explicit / "state", Origin.EXPLICIT)
    else:
        location = TrustAnchorLocation(user_folder(home), user_folder(home) / "state", Origin.USER)
    if not (location.folder / TRUST_FILE).is_file():
        raise TrustError(
            "there is no trust anchor", where=str(location.folder / TRUST_FILE), next_step="run peft-assay init"
        )
    for path in (location.folder, location.state):
        check_outside(path, judged)
    return location


def user_folder(home: Path | None = None) -> Path:
    """The user's own place for an anchor: below the home that the password database names, whatever $HOME says.

    Raises TrustError for a user id without an account, as containers often have.
    """
    if home is None:
        try:
            home = Path(pwd.getpwuid(os.getuid()).pw_dir)
        except KeyError:
            raise TrustError(
                f"user id {os.getuid()} has no account, so no home where a trust anchor could be",
                next_step="name the anchor's folder with --trust DIR",
            ) from None
    return home / ".config" / "peft-assay"


def check_outside(path: Path, judged: Path) -> None:
    """Raises TrustError when `path` lies, as written or with links resolved, in the directory that is judged."""
    directory = judged.parent if judged.is_file() else judged
    for root in (_as_written(directory), directory.resolve()):
        for place in (_as_written(path), path.resolve()):
            if place == root or root in place.parents:
                raise TrustError(
                    "the trust anchor lies inside what is being judged",
                    where=str(path),
                    next_step="keep trust.yaml outside the project, for example in ~/.config/peft-assay",
                )


def _as_written(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow the links that must not be followed here


def load_anchor(location: TrustAnchorLocation) -> TrustAnchor:
    """The anchor at `location`; raises TrustError when others could have written it, or it is malformed."""
    path = location.folder / TRUST_FILE
    try:
        _check_unwritable(location.folder.resolve(strict=True))
        _check_unwritable(path.resolve(strict=True).parent)
        with path.open("rb") as file:
            _check_owner(path, os.fstat(file.fileno()))
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise TrustError(f"cannot be read: {error.strerror}", where=str(path)) from None
    return parse_anchor(content, where=str(path))


def parse_anchor(content: bytes, *, where: str) -> TrustAnchor:
    """The anchor that the YAML document `content` describes; raises TrustError when it is not one."""
    try:
        value = parse_yaml(content, where=where, max_bytes=_MAX_BYTES)
    except DocumentError as error:
        raise TrustError(error.message, where=where) from None
    if not isinstance(value, dict):
        raise TrustError("not a mapping", where=where)
    document = read_predicate(_Document, value, where=where)
    try:
        level = IsolationLevel(document.minimumIsolation)
        maximum_age = _duration(document.maximumAge)
        revocation_maximum_age = _duration(document.revocationMaximumAge)
    except ValueError as error:
        raise TrustError(str(error), where=where) from None
    judges = {name: _judge(judge, f"{where}: judges.{name}") for name, judge in document.judges.items()}
    keys = {role: tuple(_pin(key, role, where) for key in getattr(document.keys, role.value)) for role in Role}
    keyids = [pinned.key.keyid for role in Role for pinned in keys[role]]
    if len(keyids) != len(set(keyids)):
        raise TrustError("a key is pinned twice; each role has its own keys", where=where)
    return TrustAnchor(keys, document.production, maximum_age, revocation_maximum_age, level, judges)


def create_development_anchor(
    folder: Path, *, maximum_age: str = "90d", minimum_isolation: IsolationLevel = IsolationLevel.PROCESS
) -> Path:
    """Makes development keys in ``folder/keys`` and a trust.yaml that pins them; gives the path of trust.yaml.

    Nothing that exists is overwritten: neither keys nor an anchor.
    """
    keys = create_development_keys(folder / "keys")
    path = folder / TRUST_FILE
    document = {
        "apiVersion": API_VERSION,
        "production": False,
        "maximumAge": maximum_age,
        "revocationMaximumAge": "7d",
        "minimumIsolation": int(minimum_isolation),
        "keys": {
            role.value: [{"keyid": k.keyid, "scheme": k.scheme, "public": k.public, "development": True}]
            for role, k in keys.items()
        },
    }
    try:
        folder.chmod(0o700)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yaml.safe_dump(document, file, sort_keys=False)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        pass
    except OSError as error:
        raise StorageError(f"cannot be written: {error.strerror}", where=str(path)) from None
    return path


def _pin(wire: _Key, role: Role, where: str) -> PinnedKey:
    key = public_key(wire.scheme, wire.public)
    if key.keyid != wire.keyid:
        raise TrustError(f"keys.{role.value}: the key's content has id {key.keyid}, not {wire.keyid}", where=where)
    return PinnedKey(key, wire.development)


def _judge(wire: _Judge, where: str) -> JudgeProgram:
    if not os.path.isabs(wire.command[0]):  # noqa: PTH117 - of text that may be no path at all
        raise TrustError("command: begins with the absolute path of a program", where=where)
    try:
        return JudgeProgram(tuple(wire.command), _duration(wire.timeout), tuple(wire.environment))
    except ValueError as error:
        raise TrustError(f"timeout: {error}", where=where) from None


def _duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"not a duration like 90d, 12h or 30m: {text!r}")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _check_owner(path: Path, status: os.stat_result) -> None:
    if status.st_uid not in {0, os.getuid()}:
        raise TrustError("belongs to another user", where=str(path), next_step="make root or yourself its owner")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise TrustError("can be written by other users", where=str(path), next_step="chmod go-w it")


def _check_unwritable(folder: Path) -> None:
    """The folder is ours alone to change, and no directory above lets anybody swap it for another one."""
    _check_owner(folder, folder.stat())
    for ancestor in folder.parents:
        mode = ancestor.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise TrustError("can be written by every user", where=str(ancestor), next_step="chmod o-w it")
