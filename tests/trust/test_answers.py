"""Kept answers count only as a pinned sandbox signed them."""

import copy

import pytest

from peft_assay.core.digest import sha256
from peft_assay.core.errors import TrustError
from peft_assay.trust.answers import KeptAnswers, answers_document, open_answers
from peft_assay.trust.roles import Role
from trust.world import NOW, sealer_of

SANDBOX = sealer_of(Role.SANDBOX)
KEPT = KeptAnswers(
    sha256(b"artifact"), {"isolation": 20}, NOW, {sha256(b"question"): {"text": "B", "scores": [-9.25, -0.5]}}
)


def _document():
    return copy.deepcopy(answers_document(KEPT, keyid=SANDBOX.keyid))


def _open(document, sealer=SANDBOX):
    return open_answers(sealer.seal(document), [SANDBOX.public])


def test_they_are_read_as_they_were_written():
    assert _open(_document()) == KEPT


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: p["conditions"]["document"].update(isolation=25), "not the digest"),
        (lambda p: p["observer"].update(keyid="0" * 64), "not the key that signed"),
        (lambda p: p.update(more=1), "more"),
        (lambda p: p.update(startedAt="today"), "startedAt"),
        (lambda p: p["answers"].update(question={}), "answers"),
        (lambda p: p["answers"].update({sha256(b"other"): "B"}), "answers"),
    ],
)
def test_anything_else_is_refused(change, said):
    document = _document()
    change(document["predicate"])
    with pytest.raises(TrustError, match=said):
        _open(document)


@pytest.mark.parametrize("role", [Role.SANDBOX, Role.AUTHORITY])
def test_nobody_else_s_signature_counts(role):
    from peft_assay.trust.envelope import seal

    stranger = sealer_of(role)
    with pytest.raises(TrustError):
        open_answers(seal(answers_document(KEPT, keyid=stranger.keyid), stranger.signer), [SANDBOX.public])
