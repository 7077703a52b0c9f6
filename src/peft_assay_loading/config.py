"""adapter_config.json as PEFT's own configuration object, without PEFT's ways of reaching beyond the bytes."""

import json
import math
import warnings
from typing import TYPE_CHECKING, Any, NoReturn

from peft_assay_loading.errors import LoadingError

if TYPE_CHECKING:
    from peft import PeftConfig

INITIALISER_FIELDS = ("init_lora_weights", "init_ia3_weights", "init_weights")
INITIALISERS = frozenset(
    {
        "gaussian", "kaiming_uniform", "orthogonal", "uniform", "xavier_uniform", "zero",
        "bat", "eva", "lora_ga", "lycoris", "mica", "mini",
    }
)  # fmt: skip
"""Besides true and false: they fill the adapter's own parameters, all of which the file then gives. Others rewrite the
base at load (pissa, olora, loftq), or need files that the adapter does not carry (corda)."""
REACHING_FIELDS = ("megatron_config", "prompt_tuning_init_state_dict_path", "shadow_model", "adapters")
"""Fields by which PEFT imports a module, opens a path or fetches another model while loading."""
OWN_SHADOW = ("shadow_model", "mirror")
"""PEFT's default: the shadow is made of the base's own configuration."""


def parse_json(content: bytes, what: str) -> Any:
    """The JSON value in `content`; raises LoadingError on duplicate keys, NaN, Infinity, bad UTF-8 or bad syntax."""
    try:
        return json.loads(content.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant)
    except LoadingError as error:
        raise LoadingError(f"{what}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise LoadingError(f"{what} is not valid JSON: {error}") from None


def parse_config(config: bytes) -> "PeftConfig":
    """`config` (the bytes of adapter_config.json) for inference.

    Raises LoadingError when it is not strict JSON, names no adapter type of the installed PEFT, initialises from the
    base's weights, or names something else to import, open or fetch. Fields that the installed PEFT does not know are
    ignored, as PEFT itself does.
    """
    fields = parse_json(config, "adapter_config.json")
    if not isinstance(fields, dict):
        raise LoadingError("adapter_config.json is not a JSON object")
    _check_fields(fields)
    fields.pop("runtime_config", None)  # as PEFT's own reader does
    import peft

    if fields.get("peft_type") not in list(peft.PeftType):
        raise LoadingError(f"adapter_config.json: peft_type {fields.get('peft_type')!r} is not one of this PEFT's")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            parsed = peft.PeftConfig.from_peft_type(**fields)
        except Exception as error:
            raise LoadingError(f"adapter_config.json: {one_line(error)}") from error
    parsed.inference_mode = True
    return parsed


def one_line(error: BaseException) -> str:
    """The error's class and message on one line, cut at 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _check_fields(fields: dict[str, Any]) -> None:
    for name in INITIALISER_FIELDS:
        value = fields.get(name)
        if value is not None and not isinstance(value, bool) and str(value).lower() not in INITIALISERS:
            raise LoadingError(f"adapter_config.json: {name} {value!r} would rewrite the base's own tensors at load")
    for name in REACHING_FIELDS:
        if fields.get(name) and (name, fields[name]) != OWN_SHADOW:
            raise LoadingError(f"adapter_config.json: {name} reaches beyond the adapter's own bytes")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise LoadingError(f"key {key!r} appears twice")
        if isinstance(value, float) and not math.isfinite(value):
            raise LoadingError(f"the number under {key!r} is not finite")
        result[key] = value
    return result


def _no_constant(name: str) -> NoReturn:
    raise LoadingError(f"{name} is not a JSON number")
