"""The register of publishers in peft-assay.yaml: what is read, what is refused where, and what stands in the lock."""

import json
import re
from pathlib import Path

import pytest
import yaml
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from peft_assay.core.digest import sha256
from peft_assay.core.errors import DocumentError
from peft_assay.core.publisher import Identity
from peft_assay.core.vocabulary import vocabulary
from peft_assay.evaluate.document import load_policy
from peft_assay.pipeline.documents import AssayDocument, read_assay
from peft_assay.pipeline.publishers import publisher_register, read_publishers
from trust.publisher.sigstore_world import ISSUER, SUBJECT, Authority, Sigstore, new_key

HOW_TO = Path(__file__).parents[2] / "docs/how-to/know-who-published.md"
HEAD = """
apiVersion: peft-assay/v1
kind: Assay
context:
  name: x
  purpose: x
  base: {path: base, licence: apache-2.0}
suites: [x.yaml]
publishers:
"""
KEYLESS = {"trustRoot": "root.json", "issuer": ISSUER, "identity": SUBJECT}
CERTIFIED = {"authorities": "ca.pem", "identity": "acme.example"}


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    authority = Authority()
    return {
        "root.json": json.dumps(Sigstore(authority).trusted_root()).encode(),
        "ca.pem": authority.root.public_bytes(Encoding.PEM),
        "acme.pem": new_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "bad.json": b"{}",
    }


@pytest.fixture
def document(tmp_path, files):
    """Writes peft-assay.yaml with these publishers, and reads it."""
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)

    def write(publishers: dict) -> tuple[AssayDocument, Path]:
        path = tmp_path / "peft-assay.yaml"
        path.write_text(HEAD + "".join(f"  {name}: {json.dumps(value)}\n" for name, value in publishers.items()))
        return read_assay(path), path

    return write


def test_each_way_to_know_a_publisher_is_read_and_stands_in_the_lock(document, files):
    pattern = {key: value for key, value in KEYLESS.items() if key != "identity"} | {"identityPattern": "a.c"}
    publishers = read_publishers(
        *document(
            {"acme": "acme.pem", "anna": {"key": "acme.pem"}, "bert": KEYLESS, "carl": CERTIFIED, "dora": pattern}
        )
    )
    assert publishers.pem == {"acme": files["acme.pem"], "anna": files["acme.pem"]}
    assert publishers.keyless["bert"].identity == Identity(SUBJECT)
    assert publishers.keyless["dora"].identity == Identity("a.c", pattern=True)
    assert publishers.certified["carl"].authorities == files["ca.pem"]
    register = dict(publisher_register(publishers, "x"))
    assert str(register.pop("acme")).startswith("sha256:")
    del register["anna"]
    root = sha256(files["root.json"])
    assert register == {
        "bert": {"trustRoot": root, "issuer": ISSUER, "identity": SUBJECT},
        "carl": {"authorities": sha256(files["ca.pem"]), "identity": "acme.example"},
        "dora": {"trustRoot": root, "issuer": ISSUER, "identityPattern": "a.c"},
    }


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ({}, "acme: gives exactly one of key, trustRoot and authorities"),
        (KEYLESS | {"authorities": "ca.pem"}, "exactly one of key, trustRoot"),
        (KEYLESS | {"key": "acme.pem"}, "exactly one of key, trustRoot"),
        ({"key": "acme.pem", "identity": "x"}, "a key, neither"),
        ({"key": "acme.pem", "issuer": "x"}, "issuer goes with trustRoot"),
        (None, "acme: must be a mapping"),
        ({"trustRoot": "root.json", "identity": "x"}, "issuer goes with trustRoot"),
        (CERTIFIED | {"issuer": ISSUER}, "issuer goes with trustRoot"),
        ({"authorities": "ca.pem"}, "exactly one of identity and identityPattern"),
        (CERTIFIED | {"identityPattern": "x"}, "exactly one of identity and identityPattern"),
        (CERTIFIED | {"identity": ""}, "identity: is empty"),
        (CERTIFIED | {"subject": "x"}, "subject: is not known here"),
        (KEYLESS | {"trustRoot": "none.json"}, "publishers.acme.trustRoot: there is no file"),
        (KEYLESS | {"trustRoot": "bad.json"}, "publishers.acme.trustRoot: is not a Sigstore trusted root"),
        (CERTIFIED | {"authorities": "bad.json"}, "publishers.acme.authorities: is not a list of certificates"),
        ({"authorities": "ca.pem", "identityPattern": "(?=a)"}, "publishers.acme.identityPattern: is not a pattern"),
        ("ca.pem", "publishers.acme: is not a public key"),
    ],
)
def test_what_pins_nobody_is_refused_where_it_stands(document, section, why):
    with pytest.raises(DocumentError) as refusal:
        read_publishers(*document({"acme": section}))
    assert why in str(refusal.value)


def test_what_the_how_to_shows_is_read(document):
    """Its registers, and its rule as part of a policy."""
    blocks = re.findall(r"```yaml\n(.*?)```", HOW_TO.read_text(), re.DOTALL)
    registers = [yaml.safe_load(block)["publishers"] for block in blocks if block.startswith("publishers:")]
    assert [document(register)[0].publishers.keys() == register.keys() for register in registers] == [True] * 3
    (rule,) = (block for block in blocks if block.startswith("- id:"))
    policy = "apiVersion: peft-assay/v1\nkind: Policy\nid: x\ndescription: x\nrules:\n" + rule
    load_policy(policy.encode(), where="x", vocabulary=vocabulary([]))
