"""An adapter's folder that somebody of a test's Sigstore signed, and what we make of it."""

import json
from datetime import datetime
from pathlib import Path

from peft_assay.core.artifact import Artifact
from peft_assay.core.publisher import Identity, Keyless, Publishers
from peft_assay.intake.admit import admit
from peft_assay.trust.publisher import Publisher, signature_file, verify_publisher
from peft_assay.trust.signatures import Signature
from trust.publisher.sigstore_world import ISSUER, NOW, SUBJECT, Sigstore, payload_of

FILES = {"adapter_config.json": b'{"r": 8}', "adapter_model.safetensors": b"weights", "sub/a.txt": b"text"}


def make_folder(parent: Path) -> Path:
    for path, content in FILES.items():
        (parent / "a" / path).parent.mkdir(parents=True, exist_ok=True)
        (parent / "a" / path).write_bytes(content)
    return parent / "a"


def pinned(world: Sigstore, *, root: dict | None = None, **changes) -> Publishers:
    """The consumer knows `acme` by the root of `world`, issuer and subject."""
    document = json.dumps(root or world.trusted_root()).encode()
    pin = {"trust_root": document, "issuer": ISSUER, "identity": Identity(SUBJECT)} | changes
    return Publishers(keyless={"acme": Keyless(**pin)})


def put(folder: Path, bundle: dict) -> None:
    (folder / "model.sig").write_text(json.dumps(bundle))


def signed(folder: Path, world: Sigstore, **how) -> dict:
    """Signs what lies in `folder` as `Sigstore.sign` does, and leaves the bundle there."""
    (folder / "model.sig").unlink(missing_ok=True)
    bundle = world.sign(payload_of(admit(folder).artifact), **how)
    put(folder, bundle)
    return bundle


def is_taken(bundle: dict, artifact: Artifact, publishers: Publishers) -> bool:
    """Whether anybody is known to have signed `artifact` by `bundle`: for many bundles of one artifact."""
    found = verify_publisher(json.dumps(bundle).encode(), artifact, "model.sig", publishers, NOW)
    assert (found.signature is Signature.VALID) == (found.name is not None)
    return found.name is not None


def verified(folder: Path, publishers: Publishers, now: datetime | None = NOW) -> Publisher:
    artifact = admit(folder).artifact
    path = signature_file(artifact)
    assert path is not None
    return verify_publisher((folder / path).read_bytes(), artifact, path, publishers, now)
