"""The configuration as probes see it: one strict reading, or Unreadable."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from peft_assay.core.artifact import CONFIG_FILE, WEIGHTS_FILE
from peft_assay.core.content import Content
from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static.tables import TypeRow, peft_table
from peft_assay.observe.static.weights import Sighting

MAX_CONFIG_BYTES = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Configuration:
    """adapter_config.json of a known PEFT type. Values are not yet type-checked: ask through the typed getters."""

    peft_type: str
    row: TypeRow
    values: Mapping[str, Any]

    def get(self, name: str) -> Any:
        """The declared value of a field, else the class's default; None for a field that the type does not have."""
        if name in self.values:
            return self.values[name]
        known = self.row.fields.get(name)
        return None if known is None else known.default

    def names(self, name: str) -> tuple[str, ...]:
        """A field that holds text or a list of texts; raises Unreadable for anything else but null."""
        value = self.get(name)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise Unreadable(f"{name} is neither text nor a list of texts")

    def mapping(self, name: str) -> Mapping[str, Any]:
        """A field that holds an object; empty for null; raises Unreadable for anything else."""
        value = self.get(name)
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        raise Unreadable(f"{name} is not an object")


def read_document(files: Mapping[str, Content]) -> dict[str, Any]:
    """adapter_config.json as strict JSON; raises Unreadable when it is absent, ambiguous or not an object."""
    content = files.get(CONFIG_FILE)
    if content is None:
        raise Unreadable(f"there is no {CONFIG_FILE}")
    if content.body is None:
        raise Unreadable(f"{CONFIG_FILE} has {content.size} bytes, too many for a configuration")
    if content.body.startswith(BYTE_ORDER_MARK):
        raise Unreadable(f"{CONFIG_FILE} begins with a byte order mark, which PEFT's reader refuses")
    try:
        document = parse_json(content.body, where=CONFIG_FILE, max_bytes=MAX_CONFIG_BYTES)
    except DocumentError as error:
        raise Unreadable(str(error)) from None
    if not isinstance(document, dict):
        raise Unreadable(f"{CONFIG_FILE} is not a JSON object")
    return document


def read_configuration(subject: StaticSubject) -> Configuration:
    """The configuration; raises Unreadable also when it is not one of a PEFT type that the table knows."""
    document = read_document(subject.files)
    kind = document.get("peft_type")
    if not isinstance(kind, str):
        raise Unreadable(f"{CONFIG_FILE} has no peft_type: it is not PEFT's")
    row = peft_table().types.get(kind)
    if row is None:
        raise Unreadable(f"peft_type {kind!r} is not one of PEFT {peft_table().peft}")
    return Configuration(kind, row, document)


def is_number(value: Any) -> bool:
    """A JSON number; Python's bool is an int, JSON's is not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """A JSON number without fraction part."""
    return isinstance(value, int) and not isinstance(value, bool)


def read_weights(subject: StaticSubject) -> Sighting:
    """What was seen of adapter_model.safetensors; raises Unreadable when it is absent or has not one reading."""
    if WEIGHTS_FILE not in subject.files:
        raise Unreadable(f"there is no {WEIGHTS_FILE}")
    seen = subject.sightings.get(WEIGHTS_FILE)
    if not isinstance(seen, Sighting):
        raise Unreadable(f"{WEIGHTS_FILE} was not looked at while it was read")
    if seen.problem is not None:
        raise Unreadable(f"{WEIGHTS_FILE}: {seen.problem}")
    return seen
