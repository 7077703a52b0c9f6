"""Replies of the child: right in schema (the sandbox room saw to that), here also right for the question."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from peft_assay.core.sandbox import ChildGone

Model = TypeVar("Model", bound=BaseModel)


def expect(model: type[Model], reply: Mapping[str, Any]) -> Model:
    """`reply` as `model`; raises ChildGone when the child answered another question."""
    try:
        return model.model_validate(reply)
    except ValidationError as error:
        raise ChildGone(f"the child answered out of schema: {error.error_count()} problems") from None


def expect_length(values: Sequence[Any], length: int) -> None:
    """Raises ChildGone unless the child answered every item, and no more."""
    if len(values) != length:
        raise ChildGone(f"the child answered {len(values)} of {length} items")
