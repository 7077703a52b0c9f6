"""Keys: made once, private to their owner, named by their content; sealers sign only for their role."""

import os
import stat
from pathlib import Path

import pytest
from securesystemslib.signer import CryptoSigner

from peft_assay.core.errors import StorageError, TrustError
from peft_assay.core.statement import OBSERVATION, VSA
from peft_assay.trust import keys as keys_module
from peft_assay.trust.envelope import open_envelope, seal, statement_document
from peft_assay.trust.keys import P256, create_development_keys, from_sslib, key_path, load_key_file, public_key
from peft_assay.trust.roles import LIFT, ROLE_OF_PREDICATE, Role
from peft_assay.trust.sealer import load_sealer
from trust.world import World, sealer_of

HEX = "ab" * 32


def test_made_once_private_and_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "keys"
    first = create_development_keys(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(key_path(folder, role).stat().st_mode) for role in Role} == {0o600}
    assert len({key.keyid for key in first.values()}) == 3
    assert create_development_keys(folder) == first
    key_path(folder, Role.APPROVER).unlink()
    second = create_development_keys(folder)
    assert second[Role.APPROVER] != first[Role.APPROVER]
    assert [second[role] == first[role] for role in (Role.SANDBOX, Role.AUTHORITY)] == [True, True]
    assert sorted(path.name for path in folder.iterdir()) == ["approver.pem", "authority.pem", "sandbox.pem"]


def test_a_key_that_another_process_made_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "keys"
    first = create_development_keys(folder)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert create_development_keys(folder) == first


def test_folders_and_files_open_to_others_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    create_development_keys(folder)
    folder.chmod(0o750)
    with pytest.raises(TrustError, match="open to other users") as error:
        create_development_keys(folder)
    assert error.value.next_step == "chmod 0700 it"
    folder.chmod(0o700)
    key_path(folder, Role.SANDBOX).chmod(0o640)
    with pytest.raises(TrustError, match="open to other users") as error:
        load_sealer(folder, Role.SANDBOX)
    assert error.value.next_step == "chmod 0600 it"
    key_path(folder, Role.SANDBOX).chmod(0o600)
    load_sealer(folder, Role.SANDBOX)


def test_somebody_else_s_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_development_keys(tmp_path / "keys")
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(TrustError, match="belongs to somebody else"):
        load_sealer(tmp_path / "keys", Role.SANDBOX)


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot make keys"):
        create_development_keys(tmp_path / "file" / "keys")


@pytest.mark.parametrize(
    "content", [b"", b"not PEM", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_files_that_are_no_keys(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "sandbox.pem"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(TrustError, match="not an unencrypted PEM"):
        load_key_file(path)


def test_absent_linked_and_disallowed_keys(tmp_path: Path) -> None:
    with pytest.raises(TrustError, match="no private key"):
        load_sealer(tmp_path, Role.SANDBOX)
    path = tmp_path / "rsa.pem"
    path.write_bytes(CryptoSigner.generate_rsa(size=2048).private_bytes)
    path.chmod(0o600)
    with pytest.raises(TrustError, match="scheme rsassa-pss-sha256 is not allowed"):
        load_key_file(path)
    (tmp_path / "link.pem").symlink_to(path)
    with pytest.raises(TrustError, match="cannot read"):
        load_key_file(tmp_path / "link.pem")


def test_public_keys_are_named_by_content() -> None:
    key = sealer_of(Role.SANDBOX).public
    assert public_key(key.scheme, key.public) == key
    p256 = from_sslib(CryptoSigner.generate_ecdsa().public_key)
    assert p256.scheme == P256
    padded = "\n" + p256.public.replace("\n", "\r\n") + "\n"
    assert public_key(P256, padded) == p256


@pytest.mark.parametrize(
    ("scheme", "public"),
    [("ed25519", "zz"), ("ed25519", "ab"), ("ed25519", "é"), (P256, ""), (P256, HEX), ("rsassa-pss-sha256", HEX)],
)
def test_public_keys_that_are_none(scheme: str, public: str) -> None:
    with pytest.raises(TrustError, match="not a public key"):
        public_key(scheme, public)


def test_public_keys_of_another_kind_or_scheme() -> None:
    p384 = from_sslib(CryptoSigner.generate_ecdsa(scheme="ecdsa-sha2-nistp384").public_key)
    ed = CryptoSigner.generate_ed25519()
    with pytest.raises(TrustError, match="not a P-256 key"):
        public_key(P256, p384.public)
    p256 = from_sslib(CryptoSigner.generate_ecdsa().public_key)
    with pytest.raises(TrustError, match="is not allowed"):
        public_key("ecdsa-sha2-nistp384", p256.public)
    with pytest.raises(TrustError, match="not a public key"):
        public_key("ed25519", p256.public)
    assert from_sslib(ed.public_key).scheme == keys_module.ED25519


def document(predicate_type: str) -> dict:
    return statement_document("x", "a" * 64, predicate_type, {"fact": 1})


@pytest.mark.parametrize("role", list(Role))
def test_a_sealer_signs_only_its_role_s_statements(role: Role) -> None:
    sealer = sealer_of(role)
    for predicate_type, owner in ROLE_OF_PREDICATE.items():
        if owner is role:
            statement = open_envelope(
                sealer.seal(document(predicate_type)), [sealer.public], predicate_type=predicate_type
            )
            assert statement.keyids == (sealer.keyid,)
        else:
            with pytest.raises(TrustError, match=f"role {role.value} does not sign"):
                sealer.seal(document(predicate_type))
    for strange in ("https://example.org/x", 7, None):
        with pytest.raises(TrustError, match="does not sign"):
            sealer.seal({**document(VSA), "predicateType": strange})


def test_sealers_by_folder_and_by_uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "keys ?#"
    keys = create_development_keys(folder)
    monkeypatch.setenv("CRYPTO_SIGNER_PATH_PREFIX", "/nonexistent")
    by_folder = load_sealer(folder, Role.SANDBOX)
    by_uri = load_sealer(f"file2:{key_path(folder, Role.SANDBOX)}", Role.SANDBOX, public=keys[Role.SANDBOX])
    assert by_folder.keyid == by_uri.keyid == keys[Role.SANDBOX].keyid
    assert by_folder.seal(document(OBSERVATION)) == by_uri.seal(document(OBSERVATION))
    with pytest.raises(TrustError, match="not the expected"):
        load_sealer(folder, Role.SANDBOX, public=keys[Role.AUTHORITY])
    assert "PRIVATE" not in repr(by_folder)
    assert "signer" not in repr(by_folder)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("file2:relative.pem", "absolute"),
        ("file2:/nonexistent/key.pem", "no private key"),
        ("gnupg:ABCD", "not allowed"),
        ("file:/x", "not allowed"),
        ("", "not allowed"),
        ("hsm:2?object=1", "must be pinned"),
    ],
)
def test_uris_that_name_no_usable_key(uri: str, says: str) -> None:
    with pytest.raises(TrustError, match=says):
        load_sealer(uri, Role.SANDBOX)


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(TrustError, match="cannot be used"):
        load_sealer("hsm:2?object=1", Role.SANDBOX, public=from_sslib(CryptoSigner.generate_ecdsa().public_key))


class Renamed(CryptoSigner):
    """A signer that reports its key under another id."""

    @property
    def public_key(self):
        key = super().public_key
        return type(key)("f" * 64, key.keytype, key.scheme, key.keyval)


class Foreign(CryptoSigner):
    @property
    def public_key(self):
        return object()


def test_a_device_s_own_name_for_a_key_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    key = CryptoSigner.generate_ecdsa()
    public = from_sslib(key.public_key)
    for signer, says in ((Renamed(key._private_key), "names its key otherwise"), (Foreign(key._private_key), "a kind")):
        monkeypatch.setattr("securesystemslib.signer.Signer.from_priv_key_uri", lambda *_, s=signer: s)
        with pytest.raises(TrustError, match=says):
            load_sealer("hsm:2?object=1", Role.SANDBOX, public=public)


class Broken(CryptoSigner):
    def sign(self, payload: bytes):
        raise OSError("the device was pulled out")


def test_a_signer_that_fails_and_statements_that_in_toto_refuses() -> None:
    key = CryptoSigner.generate_ed25519()
    seal(document(OBSERVATION), key)
    with pytest.raises(TrustError, match="pulled out"):
        seal(document(OBSERVATION), Broken(key._private_key))
    for change in (
        {"subject": []},
        {"predicateType": ""},
        {"predicate": {}},
        {"_type": "other"},
        {"extra": 1},
        {"predicate": "text"},
        {"predicate": [1]},
        {"predicate": None},
    ):
        with pytest.raises(TrustError, match="not a valid in-toto statement"):
            seal({**document(OBSERVATION), **change}, key)
    with pytest.raises(TrustError, match="statement"):
        seal({**document(OBSERVATION), "predicate": {"x": float("nan")}}, key)
    assert LIFT in ROLE_OF_PREDICATE
    assert World.make().sandbox.keyid
