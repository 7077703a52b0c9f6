"""The publisher probe: who signed, as the vocabulary has it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from observe_static.static_support import CONTEXT
from peft_assay.core.observation import Status
from peft_assay.core.publisher import Publishers
from peft_assay.intake.admit import admit
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.publisher import PublisherProbe
from trust.publisher.adapter_folder import make_folder, pinned, signed
from trust.publisher.sigstore_world import ISSUER, NOW, SUBJECT, Sigstore


@pytest.fixture
def folder(tmp_path) -> Path:
    return make_folder(tmp_path)


def observed(folder: Path, publishers: Publishers):
    admitted = admit(folder)
    context = replace(CONTEXT, publishers=publishers, now=NOW)
    subject = StaticSubject(admitted.artifact, admitted.contents, context)
    return {observation.name: observation for observation in PublisherProbe().observe(subject)}


def test_who_signed_stands_in_the_observation_with_issuer_and_subject(folder):
    world = Sigstore()
    signed(folder, world)
    found = observed(folder, pinned(world))
    identity, signature = found["publisher.identity"], found["publisher.signature"]
    assert (identity.status, identity.value, signature.value) == (Status.OK, "acme", "valid")
    assert (
        identity.reason
        == signature.reason
        == f"every file of it is signed by acme ({SUBJECT}, for whom {ISSUER} vouches)"
    )


@pytest.mark.parametrize(
    ("spoil", "signature"),
    [
        (lambda folder: (folder / "model.sig").unlink(), "none"),
        (lambda folder: (folder / "adapter_config.json").write_text("{}"), "invalid"),
        (lambda folder: (folder / "model.sig").write_text(json.dumps({"x": "y" * (9 << 20)})), "invalid"),
        (lambda folder: signed(folder, Sigstore()), "unknown-authority"),
    ],
)
def test_whatever_is_wrong_names_nobody(folder, spoil, signature):
    world = Sigstore()
    signed(folder, world)
    spoil(folder)
    found = observed(folder, pinned(world))
    assert found["publisher.signature"].value == signature
    assert found["publisher.identity"].status is Status.FAILED
    assert found["publisher.identity"].reason == found["publisher.signature"].reason
