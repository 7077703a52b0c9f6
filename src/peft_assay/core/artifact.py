"""The artifact: an adapter's files as one immutable, content-addressed thing."""

import hashlib
from dataclasses import dataclass
from typing import Any

from peft_assay.core.canonical import canonical_bytes
from peft_assay.core.digest import Digest, hex_of, parse_digest, sha256

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
CARD_FILE = "README.md"


@dataclass(frozen=True, slots=True, order=True)
class File:
    """One regular file of an artifact."""

    path: str
    """Relative POSIX path, already checked: no ``..``, no leading ``/``, no backslash, no control characters."""
    size: int
    """Bytes."""
    sha256: Digest


@dataclass(frozen=True, slots=True)
class Artifact:
    """The manifest of an adapter: `files` sorted by path, unique, not empty."""

    files: tuple[File, ...]

    def __post_init__(self) -> None:
        paths = [file.path for file in self.files]
        if not paths or paths != sorted(set(paths)):
            raise ValueError("a manifest lists at least one file, sorted by path, each once")

    def manifest(self) -> dict[str, Any]:
        """The manifest as a JSON document; its canonical bytes are what the artifact's digest is over."""
        return {"files": [{"path": f.path, "size": f.size, "sha256": hex_of(f.sha256)} for f in self.files]}

    def manifest_bytes(self) -> bytes:
        """Canonical bytes of the manifest."""
        return canonical_bytes(self.manifest())

    @property
    def digest(self) -> Digest:
        """sha256 of the manifest: covers every path, size and content."""
        return sha256(self.manifest_bytes())

    @property
    def dir_hash(self) -> str:
        """in-toto ``dirHash`` (Go's Hash1): hex sha256 over lines of hex digest, two spaces, path, in path order."""
        lines = "".join(f"{hex_of(f.sha256)}  {f.path}\n" for f in self.files)
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def oms_root(self) -> str:
        """Root digest as OpenSSF model-signing computes it (file digests in path order; names are not covered)."""
        joined = b"".join(bytes.fromhex(hex_of(f.sha256)) for f in self.files)
        return hashlib.sha256(joined).hexdigest()

    def file(self, path: str) -> File | None:
        """The file at `path`, or None."""
        return next((f for f in self.files if f.path == path), None)


def manifest_of(document: Any) -> Artifact:
    """The artifact that a parsed manifest document describes; raises ValueError when it is not one."""
    match document:
        case {"files": [*entries]} if len(document) == 1:
            files = []
            for entry in entries:
                match entry:
                    case {"path": str(path), "size": int(size), "sha256": str(hexdigest)} if (
                        len(entry) == 3 and type(size) is int and size >= 0
                    ):
                        files.append(File(path, size, parse_digest("sha256:" + hexdigest)))
                    case _:
                        raise ValueError("a manifest entry has exactly path, size and sha256")
            return Artifact(tuple(files))
        case _:
            raise ValueError("a manifest has exactly the key 'files'")
