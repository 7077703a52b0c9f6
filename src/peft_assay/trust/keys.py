"""Keys: public ones as values whose id is computed from their content, private ones in files that only we can read."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from securesystemslib.signer import CryptoSigner, SSlibKey  # type: ignore[attr-defined]

from peft_assay.core.errors import DocumentError, StorageError, TrustError
from peft_assay.trust.roles import Role

ED25519 = "ed25519"
P256 = "ecdsa-sha2-nistp256"
SCHEMES = (ED25519, P256)
_MAX_KEY_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key in its one spelling; made by `public_key` or `from_sslib`.

    One key spelt in two ways would have two ids and could meet a threshold of two alone, so a key is always parsed and
    spelt again before its id is computed.
    """

    keyid: str
    """sha256 hex of the canonical key document, as securesystemslib computes it."""
    scheme: str
    public: str
    """ed25519: 64 hex digits. ECDSA: PEM SubjectPublicKeyInfo."""

    def sslib(self) -> SSlibKey:
        """The key as securesystemslib verifies with it."""
        keytype = "ed25519" if self.scheme == ED25519 else "ecdsa"
        return SSlibKey(self.keyid, keytype, self.scheme, {"public": self.public})


def public_key(scheme: str, public: str) -> PublicKey:
    """The key with this content; raises TrustError when the scheme is not allowed or the content is not such a key."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)) if scheme == ED25519 else _load_p256(public)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise TrustError(f"not a public key of scheme {scheme}: {error}") from None
    if scheme not in SCHEMES:
        raise TrustError(f"key scheme {scheme!r} is not allowed", next_step=f"use one of {', '.join(SCHEMES)}")
    return from_sslib(SSlibKey.from_crypto(key))


def _load_p256(pem: str) -> EllipticCurvePublicKey:
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP256R1):
        raise ValueError("not a P-256 key")  # noqa: TRY004 - the content is wrong, not a type of ours
    return key


def read_public_key(pem: bytes, *, where: str) -> PublicKey:
    """The public key in a PEM file, ed25519 or P-256; raises DocumentError when it is neither."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise DocumentError("not a public key in PEM", where=where) from None
    p256 = isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    if not (p256 or isinstance(key, Ed25519PublicKey)):
        raise DocumentError("neither an ed25519 nor a P-256 key", where=where)
    return from_sslib(SSlibKey.from_crypto(key))


def from_sslib(key: SSlibKey) -> PublicKey:
    """`key` as a value, its id computed anew."""
    spelt = SSlibKey.from_crypto(key._crypto_key())  # noqa: SLF001 - the library offers no public way to the content
    return PublicKey(spelt.keyid, spelt.scheme, spelt.keyval["public"])


def key_path(folder: Path, role: Role) -> Path:
    """Where the private key of `role` lies in a folder of development keys."""
    return folder / f"{role.value}.pem"


def create_development_keys(folder: Path) -> Mapping[Role, PublicKey]:
    """Makes the missing development keys (ed25519) in `folder` and gives the public keys of all roles.

    The folder is made 0700, key files 0600, and an existing key is never overwritten. Raises TrustError when what is
    there already is open to others, StorageError when the disk refuses.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(folder, folder.stat())
        for role in Role:
            _create_key(key_path(folder, role))
    except OSError as error:
        raise StorageError(f"cannot make keys: {error.strerror}", where=str(folder)) from None
    return {role: from_sslib(load_key_file(key_path(folder, role)).public_key) for role in Role}


def _create_key(path: Path) -> None:
    """Writes a fresh key beside `path` and links it into place, so that a killed process leaves none half-written."""
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(CryptoSigner.generate_ed25519().private_bytes)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass  # another process made it first: its key stays
    finally:
        draft.unlink()


def load_key_file(path: Path) -> CryptoSigner:
    """The private key in `path` (PEM, PKCS#8, unencrypted).

    The environment variable CRYPTO_SIGNER_PATH_PREFIX of securesystemslib is not consulted: the environment names no
    keys. Raises TrustError when the file is absent, open to others, somebody else's, or not such a key.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            check_private(path, os.fstat(file.fileno()))
            content = file.read(_MAX_KEY_BYTES)
    except FileNotFoundError:
        raise TrustError("there is no private key", where=str(path), next_step="run peft-assay init") from None
    except OSError as error:
        raise TrustError(f"cannot read the private key: {error.strerror}", where=str(path)) from None
    try:
        signer = CryptoSigner(load_pem_private_key(content, password=None))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise TrustError("not an unencrypted PEM private key", where=str(path)) from None
    if signer.public_key.scheme not in SCHEMES:
        raise TrustError(f"key scheme {signer.public_key.scheme} is not allowed", where=str(path))
    return signer


def check_private(path: Path, status: os.stat_result) -> None:
    """Raises TrustError unless `path` is ours and closed to everybody else."""
    if status.st_uid != os.getuid():
        raise TrustError("belongs to somebody else", where=str(path), next_step=f"chown {os.getuid()} it")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        wanted = "0700" if stat.S_ISDIR(status.st_mode) else "0600"
        raise TrustError("is open to other users", where=str(path), next_step=f"chmod {wanted} it")
