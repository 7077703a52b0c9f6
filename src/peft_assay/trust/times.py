"""Instants in signed documents: UTC, whole seconds, one spelling (``2026-11-23T09:30:00Z``)."""

import re
from datetime import UTC, datetime

from peft_assay.core.errors import UsageError

_FORM = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_LAYOUT = "%Y-%m-%dT%H:%M:%SZ"


def whole_seconds(instant: datetime) -> datetime:
    """`instant` in UTC without its fraction; raises UsageError for one without a time zone."""
    if instant.utcoffset() is None:
        raise UsageError("a time without a time zone says nothing", next_step="pass an aware datetime in UTC")
    return instant.astimezone(UTC).replace(microsecond=0)


def format_time(instant: datetime) -> str:
    """The one spelling of `instant`, cut to whole seconds."""
    moment = whole_seconds(instant)
    return f"{moment.year:04d}-{moment:%m-%dT%H:%M:%S}Z"


def parse_time(text: str) -> datetime:
    """The instant that `text` spells; raises ValueError for every other spelling of the same instant."""
    if not _FORM.fullmatch(text):
        raise ValueError(f"not a UTC time of the form 2026-01-31T23:59:59Z: {text!r}")
    return datetime.strptime(text, _LAYOUT).replace(tzinfo=UTC)
