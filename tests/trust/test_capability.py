"""A permission is what this process's gate gave, once; anything else that looks like it is refused."""

import copy
import dataclasses
import gc
import os
from datetime import UTC, datetime

import pytest

from peft_assay.core.certificate import Activation
from peft_assay.core.digest import sha256
from peft_assay.core.errors import ActivationDenied
from peft_assay.trust.capability import check_held, sealed, use

NOW = datetime(2026, 12, 1, tzinfo=UTC)
A = sha256(b"a")


def permission(process: int | None = None) -> Activation:
    return Activation(A, A, A, {"f": b"x"}, NOW, NOW, os.getpid() if process is None else process)


def refused(act, check: str, says: str) -> None:
    with pytest.raises(ActivationDenied, match=says) as denial:
        act()
    assert denial.value.check == check


def test_what_was_given_is_held_and_used_once() -> None:
    given = sealed(permission())
    check_held(given)
    use(given)
    check_held(given)
    refused(lambda: use(given), "permission", "used before")
    with pytest.raises(TypeError):
        given.files["f"] = b"y"  # type: ignore[index]


def test_copies_hand_made_ones_and_other_processes_are_refused() -> None:
    given = sealed(permission())
    refused(lambda: check_held(permission()), "permission", "by hand")
    refused(lambda: check_held(dataclasses.replace(given)), "permission", "copy")
    refused(lambda: check_held(sealed(permission(1))), "process", "another process")
    for copier in (copy.copy, copy.deepcopy, lambda p: p.__reduce_ex__(4)):
        refused(lambda copier=copier: copier(given), "permission", "not copied")
    object.__setattr__(given, "not_after", NOW.replace(year=2036))
    refused(lambda: check_held(given), "permission", "altered")


def test_a_child_holds_nothing_and_what_is_dropped_is_forgotten() -> None:
    given = sealed(permission())
    child = os.fork()
    if child == 0:
        object.__setattr__(given, "process_id", os.getpid())
        try:
            check_held(given)
        except ActivationDenied as denial:
            os._exit(0 if denial.check == "permission" else 1)
        os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    check_held(given)
    from peft_assay.trust import capability

    number = id(given)
    assert number in capability._HOLD.given
    del given
    gc.collect()
    assert number not in capability._HOLD.unused
