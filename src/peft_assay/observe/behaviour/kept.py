"""Answers as documents, and back: what is kept of a conversation for the next one."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from peft_assay.core.digest import Digest, parse_digest
from peft_assay.core.errors import TrustError
from peft_assay.observe.behaviour.answers import Given

_GIVEN: TypeAdapter[Given] = TypeAdapter(Given)


def answer_documents(answers: Mapping[Digest, Given]) -> dict[str, Any]:
    """Answers as JSON documents, by the question's digest."""
    return {key: _GIVEN.dump_python(given, mode="json") for key, given in answers.items()}


def answers_of(documents: Mapping[str, Any], *, where: str = "answers") -> dict[Digest, Given]:
    """The answers that `documents` are; raises TrustError when one is malformed."""
    try:
        return {parse_digest(key): _GIVEN.validate_python(document) for key, document in documents.items()}
    except (ValidationError, ValueError) as error:
        raise TrustError(f"not kept answers: {' '.join(str(error).split())[:200]}", where=where) from None
