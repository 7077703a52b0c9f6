"""A uid that the password database does not know (a container's arbitrary one) has no home to look for trust in."""

import itertools
import os
from pathlib import Path

import pytest

from lanes.lane_support import STRANGER, ZOO, known, needs_root, stranger
from peft_assay.core.errors import Door, TrustError
from peft_assay.trust.anchor import create_development_anchor, find_anchor


def test_it_is_told_to_name_its_trust_anchor(home: Path):
    needs_root("to become a uid without an account")
    if known(STRANGER):
        pytest.skip(f"uid {STRANGER} has an account here")
    person = stranger(home)

    made = person.run("init", str(ZOO), "--workspace", str(person.home))
    done = person.run("certify", str(ZOO / "adapters" / "lora"), "--context", str(ZOO), "--workspace", str(person.home))

    for answer in (made, done):
        assert answer.returncode in {Door.USAGE, Door.TRUST}, answer.stderr
        assert "--trust" in answer.stderr
        assert "Traceback" not in answer.stderr


def test_an_anchor_is_found_for_it_only_where_it_names_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    create_development_anchor(tmp_path / "trust")
    (tmp_path / "judged").mkdir()
    monkeypatch.setattr(os, "getuid", lambda: next(uid for uid in itertools.count(4_000_000_000) if not known(uid)))
    absent = tmp_path / "no-system-anchor"

    with pytest.raises(TrustError, match="has no account") as error:
        find_anchor(None, judged=tmp_path / "judged", system=absent)
    assert "--trust" in (error.value.next_step or "")
    named = find_anchor(tmp_path / "trust", judged=tmp_path / "judged", system=absent)
    assert named.folder == tmp_path / "trust"
