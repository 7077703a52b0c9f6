"""What somebody calls an adapter: a path, a repository of the Hub, or a prefix in an object store.

A local path that exists always wins. The Hub is only meant where the text says so (``hf://`` or an ``@``): a mistyped
path must not become a question to somebody else's server.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from peft_assay.core.errors import UsageError

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_HUB = re.compile(
    rf"(?P<scheme>hf://)?(?P<repo>{_PART}/{_PART})(?:@(?P<revision>[A-Za-z0-9][A-Za-z0-9._/-]{{0,200}}))?"
    r"(?::(?P<subfolder>[A-Za-z0-9._/-]{1,200}))?"
)
_OBJECT = re.compile(
    r"(?P<scheme>s3|gs|az)://(?P<bucket>[a-z0-9][a-z0-9._-]{1,62})/(?P<prefix>[^\x00-\x1f\x7f]{1,900}?)"
    r"(?:@sha256:(?P<version>[0-9a-f]{64}))?"
)
_PLACE = re.compile(
    r"(?P<scheme>s3|gs|az)://(?P<bucket>[a-z0-9][a-z0-9._-]{1,62})(?:/(?P<prefix>[^\x00-\x1f\x7f]{0,900}))?"
)
_FORMS = "a path, hf://org/name@revision (optionally :subfolder), or s3:// gs:// az:// with bucket and prefix"


@dataclass(frozen=True, slots=True)
class HubReference:
    """A repository of the Hub at a revision, and the folder in it where not the top is meant."""

    repo: str
    revision: str
    subfolder: str | None


@dataclass(frozen=True, slots=True)
class ObjectReference:
    """All objects under a prefix of a bucket."""

    scheme: str
    bucket: str
    prefix: str
    version: str | None = None
    """sha256 over the listing (`objects.fetch`), where one version is meant."""


Reference = Path | HubReference | ObjectReference


def parse_reference(text: str) -> Reference:
    """What `text` names; raises UsageError for a remote name that is not well formed."""
    if "://" not in text and ("@" not in text or Path(text).exists()):
        return Path(text)
    match = _OBJECT.fullmatch(text)
    if match is not None:
        prefix = match["prefix"].rstrip("/")
        if not prefix or any(part in {"", ".", ".."} for part in prefix.split("/")):
            raise UsageError("not a prefix of objects", where=text, next_step=f"name it as {_FORMS}")
        return ObjectReference(match["scheme"], match["bucket"], prefix, match["version"])
    match = _HUB.fullmatch(text)
    if match is not None and (match["scheme"] or match["revision"]) and _sound(match):
        subfolder = match["subfolder"]
        return HubReference(match["repo"], match["revision"] or "main", subfolder.strip("/") if subfolder else None)
    if "://" not in text:
        return Path(text)
    raise UsageError("names neither a path nor a repository nor a prefix", where=text, next_step=f"name it as {_FORMS}")


def parse_place(text: str) -> ObjectReference:
    """A bucket, or a prefix in one, under which adapters lie; raises UsageError for anything else."""
    match = _PLACE.fullmatch(text)
    prefix = "" if match is None else (match["prefix"] or "").strip("/")
    if match is None or (prefix and any(part in {"", ".", ".."} for part in prefix.split("/"))):
        raise UsageError(
            "not a place that is searched", where=text,
            next_step="name a folder, or s3://BUCKET/PREFIX (gs://, az://); the Hub is not searched, its cache is",
        )  # fmt: skip
    return ObjectReference(match["scheme"], match["bucket"], prefix)


def _sound(match: re.Match[str]) -> bool:
    parts = [*match["repo"].split("/"), *(match["revision"] or "x").split("/"), *(match["subfolder"] or "x").split("/")]
    return not any(part in {"", ".", ".."} or ".." in part for part in parts)
