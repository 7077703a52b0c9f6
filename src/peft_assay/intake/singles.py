"""What a single file is that is no archive of ours, and what to do about it."""

from peft_assay.core.errors import IntakeError
from peft_assay.intake.interface import refuse

_REPACK = "repack the adapter's files as .zip or .tar, or unpack them and name the folder"
_FOLDER = "name the folder that it lies in, with adapter_config.json beside it"
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"7z\xbc\xaf\x27\x1c", "a .7z archive, which is not read", _REPACK),
    (b"Rar!\x1a\x07", "a .rar archive, which is not read", _REPACK),
    (b"\x28\xb5\x2f\xfd", "packed by zstd, which is not read", _REPACK),
    (b"GGUF", "a GGUF file of llama.cpp: PEFT does not read it", "ask the publisher for what it was made from"),
    (b"\x80", "a pickle, which is never opened: an adapter is a folder", _FOLDER),
    (b"{", "one document: an adapter is a folder", _FOLDER),
    (b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer: the file was not fetched", "git lfs pull"),
)


def is_safetensors(head: bytes, size: int) -> bool:
    """Return whether a file of `size` bytes that begins with `head` is laid out as safetensors: no archive that is read
    has a `{` there.
    """
    return head[8:9] == b"{" and 8 + int.from_bytes(head[:8], "little") <= size


def no_archive(head: bytes, where: str) -> IntakeError:
    """The refusal of a file that begins with `head` and is none of the archives that are read."""
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return refuse("one safetensors file: an adapter is a folder", where=where, next_step=_FOLDER)
    for beginning, what, next_step in _BEGINNINGS:
        if head.startswith(beginning):
            return refuse(what, where=where, next_step=next_step)
    message = "neither a folder nor a .zip or .tar archive"
    return refuse(message, where=where, next_step="name the adapter's folder or archive")
