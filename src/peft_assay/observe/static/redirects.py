"""config.redirects: fields by which a loader fetches, imports or opens something that is not in the artifact.

`auto_mapping` within transformers, diffusers and peft is what PEFT writes for every model class without a task type; it
only matters to AutoPeftModel, which takes the base from the adapter, and bases come from the context here.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.base_names import canonical
from peft_assay.observe.static.reading import Configuration, read_configuration

_OPENS = ("shadow_model", "adapters", "prompt_tuning_init_state_dict_path", "megatron_config")
"""Fields that are a redirect whenever they are set to anything but the class's default."""
_MAPPED_LIBRARIES = ("transformers", "diffusers", "peft")
_PATH_KEYS = ("cache_file", "covariance_file")
"""Members of nested configurations that are opened as files."""
_DEFAULT_MEGATRON = "megatron.core"


def redirects(configuration: Configuration) -> Iterator[str]:
    """Names of the fields, nested ones with a dot."""
    for name in _OPENS:
        known = configuration.row.fields.get(name)
        if configuration.get(name) and (known is None or configuration.get(name) != known.default):
            yield name
    if configuration.get("megatron_core") not in (None, _DEFAULT_MEGATRON):
        yield "megatron_core"
    if not _is_plain_mapping(configuration.get("auto_mapping")):
        yield "auto_mapping"
    tokenizer = configuration.get("tokenizer_name_or_path")
    if tokenizer is not None and not _is_base(tokenizer, configuration.get("base_model_name_or_path")):
        yield "tokenizer_name_or_path"
    if configuration.get("tokenizer_kwargs"):
        yield "tokenizer_kwargs"
    yield from _nested_paths(configuration)


def _is_base(tokenizer: Any, base: Any) -> bool:
    if not isinstance(tokenizer, str) or not isinstance(base, str):
        return bool(tokenizer == base)
    return canonical(tokenizer) == canonical(base)


def _is_plain_mapping(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or set(value) - {"base_model_class", "parent_library", "unsloth_fixed"}:
        return False
    library = value.get("parent_library")
    return library is None or (isinstance(library, str) and library.split(".", 1)[0] in _MAPPED_LIBRARIES)


def _nested_paths(configuration: Configuration) -> Iterator[str]:
    for name, value in configuration.values.items():
        if isinstance(value, dict):
            yield from (f"{name}.{key}" for key in _PATH_KEYS if value.get(key))


class RedirectsProbe:
    """config.redirects."""

    id = "redirects"
    version = "2"
    terms = ("config.redirects",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when the configuration has not one reading."""
        yield ok(self.terms[0], tuple(redirects(read_configuration(subject))), by=ObservedBy.INTAKE)
