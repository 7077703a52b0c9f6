"""The VSA's ``resourceUri``: context digest and validity period, where no reader can overlook them.

SLSA defines a VSA's claim over the pair (subject, resourceUri), and readers must ignore extension fields they do not
know: an expiry in an extension, once ignored, would turn a no into a yes. So the period stands here.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from peft_assay.core.digest import Digest, parse_digest
from peft_assay.trust.times import format_time, parse_time

_FORM = re.compile(r"peft-assay:context:(sha256:[0-9a-f]{64})\?from=([0-9TZ:-]{20})&until=([0-9TZ:-]{20})")


@dataclass(frozen=True, slots=True)
class Resource:
    """What the certification is for: the lock, from the oldest observation until the end of validity (both UTC)."""

    lock: Digest
    observed_at: datetime
    not_after: datetime


def format_resource(resource: Resource) -> str:
    """``peft-assay:context:sha256:<lock>?from=<observed at>&until=<not after>``."""
    observed_at, not_after = format_time(resource.observed_at), format_time(resource.not_after)
    return f"peft-assay:context:{resource.lock}?from={observed_at}&until={not_after}"


def parse_resource(text: str) -> Resource:
    """The resource that `text` names; raises ValueError for anything that `format_resource` would not have written."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError("not a peft-assay context with a validity period")
    resource = Resource(parse_digest(match[1]), parse_time(match[2]), parse_time(match[3]))
    if resource.not_after <= resource.observed_at:
        raise ValueError("a validity period that ends before it begins")
    return resource
