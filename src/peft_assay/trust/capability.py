"""Make a permission a capability of this process: a permission is accepted only in its own process, once, and never as
a copy.

The gate seals each permission with a random key of the process and remembers the object itself. A copy, a replaced
field, a permission made by hand, one of another process or one that was used before is refused. A forked child holds
nothing: the key and the memory are dropped as it begins. This is a guard rail against passing permissions on; code in
this process can reach the key.
"""

import hmac
import os
import secrets
import weakref
from dataclasses import fields, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.certificate import Activation
from peft_assay.core.digest import sha256
from peft_assay.core.errors import ActivationDenied

STEP = "activate it here, with peft_assay.activate"


class _Hold:
    """The key of this process, and its permissions that were not used yet."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        self.key = secrets.token_bytes(32)
        self.given: dict[int, weakref.ref[Activation]] = {}
        self.unused: set[int] = set()


_HOLD = _Hold()
os.register_at_fork(after_in_child=_HOLD.forget)


def sealed(permission: Activation) -> Activation:
    """Return `permission` as one that this process gave: its files read-only, its seal over every field."""
    given = replace(permission, files=MappingProxyType(dict(permission.files)), seal=b"")
    given = replace(given, seal=_seal(given))
    number = id(given)

    def dropped(_: object) -> None:
        _HOLD.given.pop(number, None)
        _HOLD.unused.discard(number)

    _HOLD.given[number] = weakref.ref(given, dropped)
    _HOLD.unused.add(number)
    return given


def check_held(permission: Activation) -> None:
    """Raise ActivationDenied unless `permission` is one that the gate of this process gave, and is unaltered."""
    if os.getpid() != permission.process_id:
        raise ActivationDenied("the permission is another process's", check="process", next_step=STEP)
    held = _HOLD.given.get(id(permission))
    if held is None or held() is not permission:
        message = "the permission is a copy, or made by hand: this process's gate did not give it"
        raise ActivationDenied(message, check="permission", next_step=STEP)
    if not hmac.compare_digest(permission.seal, _seal(permission)):
        raise ActivationDenied("the permission was altered after it was given", check="permission", next_step=STEP)


def use(permission: Activation) -> None:
    """Take `permission` for one model; raises ActivationDenied where it is not held, or was taken before."""
    check_held(permission)
    if id(permission) not in _HOLD.unused:
        message = "the permission was used before: each is for one model"
        raise ActivationDenied(message, check="permission", next_step=STEP)
    _HOLD.unused.discard(id(permission))


def _seal(permission: Activation) -> bytes:
    said = {field.name: _said(getattr(permission, field.name)) for field in fields(permission) if field.name != "seal"}
    return hmac.digest(_HOLD.key, canonical_bytes(said), "sha256")


def _said(value: Any) -> Any:
    match value:
        case MappingProxyType():
            return {path: sha256(content) for path, content in value.items()}
        case datetime():
            return value.isoformat()
        case _:
            return value
