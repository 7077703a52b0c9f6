"""secrets.found: credentials that somebody published with the adapter, by file and kind, and never told themselves.

The forms are those that their issuers document as recognisable (GitHub, AWS, Hugging Face, Slack, Google, OpenAI), PEM
private keys (RFC 7468) and JSON Web Tokens (RFC 7519). What has no recognisable form is not found.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any

from peft_assay.core.content import Content
from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static import linear

FORMS = {
    "aws-access-key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "github-token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{60,255})\b",
    "google-api-key": r"\bAIza[0-9A-Za-z_-]{35}",
    "hugging-face-token": r"\bhf_[A-Za-z0-9]{30,64}\b",
    "json-web-token": r"\beyJ[A-Za-z0-9_-]{10,500}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10}",
    "openai-key": r"\bsk-(?:proj-|svcacct-)?[A-Za-z0-9_-]{32,200}",
    "private-key": r"-----BEGIN (?:[A-Z]{1,20} ){0,3}PRIVATE KEY-----",
    "slack-token": r"\bxox[abeprs]-[A-Za-z0-9-]{10,250}",
}
_BINARY = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".npz", ".model")
"""Random bytes hold every form sooner or later."""


def secrets(files: Mapping[str, Content]) -> Iterator[str]:
    """``path: kind``, in path order; files too large to hold are read at both ends only."""
    for path, content in files.items():
        if path.lower().endswith(_BINARY):
            continue
        text = content.body if content.body is not None else content.head + b"\n" + content.tail
        yield from (f"{path}: {kind}" for kind in kinds_in(text))


def kinds_in(text: bytes) -> tuple[str, ...]:
    """Which kinds of credential occur in `text`."""
    return tuple(kind for kind, form in _compiled().items() if form.search(text) is not None)


@cache
def _compiled() -> dict[str, Any]:
    return {kind: linear.compile_bytes(form) for kind, form in FORMS.items()}


class SecretsProbe:
    """secrets.found."""

    id = "secrets"
    version = "1"
    terms = ("secrets.found",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Always observed."""
        yield ok(self.terms[0], tuple(secrets(subject.files)), by=ObservedBy.INTAKE)
