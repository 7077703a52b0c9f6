"""Read adapter_config.json as far as the function depends on it: strengths, and the meaning of names in the weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import re2

from peft_assay.core.artifact import CONFIG_FILE
from peft_assay.core.errors import DocumentError
from peft_assay.core.parse import parse_json
from peft_assay.fingerprint.interface import Uncomputable

MAX_CONFIG_BYTES = 1 << 20
MAX_MATCHES = 2_000_000
"""Most expressions times modules."""


@dataclass(frozen=True)
class Configuration:
    """One strict reading of the configuration; fields that change no function are never read."""

    values: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Return the declared PEFT type, in capitals; empty where none is declared."""
        kind = self.values.get("peft_type")
        return kind.upper() if isinstance(kind, str) else ""

    def flag(self, name: str) -> bool:
        """Whether a field is set."""
        return bool(self.values.get(name))

    def number(self, name: str, default: float) -> float:
        """Return a finite number, `default` where the field is absent or null; raises Uncomputable for
        anything else.
        """
        value = self.values.get(name)
        return default if value is None else _number(value, name)

    def pattern(self, name: str, module: str, default: float) -> float:
        """Return the value of `alpha_pattern` or `rank_pattern` for `module`, as PEFT reads it: the first match
        decides.
        """
        patterns = self.values.get(name)
        if patterns is None:
            return default
        if not isinstance(patterns, dict):
            raise Uncomputable(f"{name} is not an object", where=CONFIG_FILE)
        found = next((value for key, value in patterns.items() if _expression(key).fullmatch(module)), default)
        return _number(found, name)

    def check_patterns(self, modules: int) -> None:
        """Raise Uncomputable where matching every expression with that many modules would take long."""
        for name in ("alpha_pattern", "rank_pattern"):
            patterns = self.values.get(name)
            if isinstance(patterns, dict) and len(patterns) * modules > MAX_MATCHES:
                raise Uncomputable(f"{name} has too many expressions for {modules} modules", where=CONFIG_FILE)


def read_configuration(files: Mapping[str, bytes]) -> Configuration:
    """Return the configuration in `files`; raises Uncomputable when it is absent or has more than one reading."""
    content = files.get(CONFIG_FILE)
    if content is None:
        raise Uncomputable("is absent", where=CONFIG_FILE)
    try:
        values = parse_json(content, where=CONFIG_FILE, max_bytes=MAX_CONFIG_BYTES)
    except DocumentError as error:
        raise Uncomputable(error.message, where=CONFIG_FILE) from None
    if not isinstance(values, dict):
        raise Uncomputable("is not a JSON object", where=CONFIG_FILE)
    return Configuration(values)


@lru_cache(4096)
def _expression(key: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(rf"(.*\.)?({key})", options)
    except re2.error:
        raise Uncomputable(f"{key[:80]!r} is not an expression that takes linear time", where=CONFIG_FILE) from None


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Uncomputable(f"{name} is {str(value)[:40]!r}, not a finite number", where=CONFIG_FILE)
    return float(value)
