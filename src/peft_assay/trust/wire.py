"""Shared pieces of the strict models in which signed predicates are read."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

from peft_assay.core.digest import Digest, parse_digest
from peft_assay.core.errors import DocumentError, TrustError
from peft_assay.core.parse import validate
from peft_assay.trust.times import parse_time

_HEX = re.compile(r"[0-9a-f]{64}")


def _instant(value: Any) -> datetime:
    if not isinstance(value, str):
        raise ValueError("a time is text")  # noqa: TRY004 - pydantic reports ValueError with its path
    return parse_time(value)


def _hex(value: str) -> str:
    if not _HEX.fullmatch(value):
        raise ValueError("not 64 lower-case hex digits")
    return value


Instant = Annotated[datetime, BeforeValidator(_instant)]
Hex = Annotated[str, AfterValidator(_hex)]
FullDigest = Annotated[str, AfterValidator(parse_digest)]


class Wire(BaseModel):
    """Closed, strict, immutable: an unknown or mistyped field is a refusal."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Sha256(Wire):
    """in-toto's digest set, with the one algorithm that this project accepts."""

    sha256: Hex

    @property
    def digest(self) -> Digest:
        return parse_digest("sha256:" + self.sha256)


Model = TypeVar("Model", bound=BaseModel)


def read_predicate(model: type[Model], predicate: Mapping[str, Any], *, where: str) -> Model:
    """`predicate` as `model`; raises TrustError listing every problem with its path."""
    try:
        return validate(model, dict(predicate), where=where)
    except DocumentError as error:
        raise TrustError(error.message, where=where) from None
