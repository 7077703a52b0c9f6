"""The register of publishers: what the context declares of them, and how it stands in the lock."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from peft_assay.core.digest import sha256
from peft_assay.core.publisher import Certified, Identity, Keyless, Publishers
from peft_assay.pipeline.documents import AssayDocument, PublisherSection, read_file
from peft_assay.trust.identities import compiled
from peft_assay.trust.keyless import check_root
from peft_assay.trust.publisher_keys import fingerprint
from peft_assay.trust.x509 import read_authorities


def read_publishers(document: AssayDocument, path: Path) -> Publishers:
    """The publishers of `document`, which lies at `path`; raises DocumentError naming file and field."""
    keys, keyless, certified = {}, {}, {}
    for name, section in document.publishers.items():
        where = f"{path}: publishers.{name}"
        if section.key is not None:
            keys[name] = read_file(path.parent / section.key, named_by=where)
            fingerprint(keys[name], where=where)
        elif section.trustRoot is not None:
            root = read_file(path.parent / section.trustRoot, named_by=f"{where}.trustRoot")
            check_root(root, where=f"{where}.trustRoot")
            keyless[name] = Keyless(root, section.issuer or "", _identity(section, where))
        else:
            authorities = read_file(path.parent / (section.authorities or ""), named_by=f"{where}.authorities")
            read_authorities(authorities, where=f"{where}.authorities")
            certified[name] = Certified(authorities, _identity(section, where))
    return Publishers(keys, keyless, certified)


def _identity(section: PublisherSection, where: str) -> Identity:
    if section.identityPattern is None:
        return Identity(section.identity or "")
    compiled(section.identityPattern, where=f"{where}.identityPattern")
    return Identity(section.identityPattern, pattern=True)


def publisher_register(publishers: Publishers, where: str) -> Mapping[str, Any]:
    """What the lock holds of each: a key's fingerprint, or who must be named by whom."""
    return {
        **{name: fingerprint(pem, where=f"{where}: publishers.{name}") for name, pem in publishers.pem.items()},
        **{
            name: {"trustRoot": sha256(each.trust_root), "issuer": each.issuer, **_named(each.identity)}
            for name, each in publishers.keyless.items()
        },
        **{
            name: {"authorities": sha256(each.authorities), **_named(each.identity)}
            for name, each in publishers.certified.items()
        },
    }


def _named(identity: Identity) -> dict[str, str]:
    return {"identityPattern" if identity.pattern else "identity": identity.text}
