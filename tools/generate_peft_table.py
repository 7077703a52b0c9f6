"""Generates src/peft_assay/observe/tables/peft_configs.json from PEFT's own classes (needs the `sandbox` extra).

For each PEFT type: the fields of its configuration class with their JSON types and defaults, the names its tensors have
in a saved file, and whether injecting it changes the base's own tensors. Names and changes are not read from source but
measured: every type is injected into a tiny random model and its state is saved, in the variants that add tensors.

    python tools/generate_peft_table.py            # writes the table
    python tools/generate_peft_table.py --check    # exit 1 when the committed table differs
"""

import argparse
import dataclasses
import enum
import json
import os
import re
import tempfile
import types
import typing
import warnings
from pathlib import Path

TABLE = Path(__file__).parent.parent / "src/peft_assay/observe/tables/peft_configs.json"
CLASS_TABLE = {bool: "bool", int: "int", float: "float", str: "str", type(None): "null"}
TARGETS = ["q_proj", "v_proj"]
Form = str | dict[str, typing.Any]
NUMBER: list[Form] = ["float", "int"]
UNSAID: dict[str, list[Form]] = {
    "alpha_pattern": NUMBER,
    "auto_mapping": ["bool", "null", "str"],  # Unsloth adds a mark of its own with the value true
    "block_size_pattern": ["int"],
    "lambda_pattern": NUMBER,
    "n_frequency_pattern": ["int"],
    "rank_pattern": ["int"],
}
"""Values of mappings that PEFT annotates as `dict` alone, and describes in words ("from layer names to ranks")."""
WITHOUT = {"loftq_config"}
"""Fields that other tools (Unsloth's notebooks) set to null, where PEFT's own default is an empty mapping."""
UNSAID_OF_TYPE: dict[tuple[str, str], list[Form]] = {("AdaLoraConfig", "rank_pattern"): [{"list": ["bool"]}]}
"""The values that AdaLoRA saves after training: which of its singular values each module kept."""


def forms(hint: object, unsaid: list[Form]) -> list[Form]:
    """Return the forms that a value of `hint` has in a saved configuration, any of which will do; an unknown hint
    allows any.

    A form is a JSON type, or one of: ``list`` (the elements' forms), ``tuple`` (the forms at each place), ``mapping``
    (the values' forms; JSON's keys are text), ``fields`` (a class's fields), ``one`` (the texts or numbers allowed).
    """
    if hint in CLASS_TABLE:
        return [CLASS_TABLE[hint]]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return joined(*(forms(part, unsaid) for part in arguments))
    if origin is typing.Literal:
        return ["str"] if any("[" in str(value) for value in arguments) else [{"one": sorted(arguments)}]
    if origin is tuple and Ellipsis not in arguments:
        return [{"tuple": [forms(part, unsaid) for part in arguments]}]
    if origin in (list, tuple, set, frozenset) or hint in (list, tuple, set, frozenset):
        return [{"list": forms(arguments[0], unsaid) if arguments else ["any"]}]
    if origin is dict or hint is dict:
        return [{"mapping": forms(arguments[1], unsaid) if arguments else unsaid}]
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        return [{"fields": {f.name: field_forms(f, hints[f.name], ["any"]) for f in dataclasses.fields(hint)}}]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return [{"one": sorted(member.value for member in hint)}]
    return ["any"]


def joined(*parts: list[Form]) -> list[Form]:
    """Return each form once; where any text will do, no single texts; where a class is known, no mapping of
    anything.
    """
    every = {json.dumps(form, sort_keys=True): form for part in parts for form in part}
    found = [every[key] for key in sorted(every)]
    known = any("fields" in form for form in found if isinstance(form, dict))
    needless = [form for form in found if "str" in found and isinstance(form, dict) and "one" in form]
    return [form for form in found if form not in needless and not (known and form == {"mapping": ["any"]})]


def field_forms(field: dataclasses.Field, hint: object, unsaid: list[Form]) -> list[Form]:
    """Return the forms of a field: its annotation's, and its default's, which PEFT sometimes annotates otherwise."""
    default = default_of(field)
    found = forms(hint, unsaid)
    if default is None:
        return joined(found, ["null"])
    plain = type(default)
    covered = plain not in CLASS_TABLE or CLASS_TABLE[plain] in found or any("one" in form for form in found)
    return found if covered else joined(found, [CLASS_TABLE[plain]])


def default_of(field: dataclasses.Field) -> object:
    """Return the JSON spelling of a field's default."""
    value = field.default
    if field.default_factory is not dataclasses.MISSING:
        value = field.default_factory()
    if value is dataclasses.MISSING:
        return None
    if isinstance(value, enum.Enum):
        return value.value
    return sorted(value) if isinstance(value, set) else value


def fields_of(config_class: type) -> dict[str, dict[str, object]]:
    """Return field names with their forms and defaults."""
    hints = typing.get_type_hints(config_class)
    result = {}
    for field in dataclasses.fields(config_class):
        if field.name == "runtime_config":  # never written to a file: LoraConfig.to_dict drops it
            continue
        unsaid = UNSAID_OF_TYPE.get((config_class.__name__, field.name), UNSAID.get(field.name, ["any"]))
        found = field_forms(field, hints[field.name], unsaid)
        if field.name in WITHOUT:
            found = joined(found, ["null"])
        if field.name in {"peft_type", "task_type"}:
            found = ["null", "str"]
        result[field.name] = {"forms": found, "default": default_of(field)}
    return dict(sorted(result.items()))


SETTINGS: dict[str, list[dict[str, object]]] = {
    "PROMPT_TUNING": [{"num_virtual_tokens": 4}],
    "MULTITASK_PROMPT_TUNING": [{"num_virtual_tokens": 4, "num_tasks": 2}],
    "P_TUNING": [{"num_virtual_tokens": 4, "encoder_hidden_size": 32}],
    "PREFIX_TUNING": [{"num_virtual_tokens": 4}, {"num_virtual_tokens": 4, "prefix_projection": True}],
    "CPT": [{"cpt_token_ids": [1, 2, 3, 4], "cpt_mask": [1] * 4, "cpt_tokens_type_mask": [1, 2, 2, 4]}],
    "CARTRIDGE": [{"num_virtual_tokens": 4, "num_frozen_tokens": 1}],
    "ADAPTION_PROMPT": [{"adapter_layers": 1, "adapter_len": 4}],
    "ADALORA": [{"target_modules": TARGETS, "total_step": 10}],
    "IA3": [{"target_modules": ["k_proj", "down_proj"], "feedforward_modules": ["down_proj"]}],
    "LN_TUNING": [{}],
    "TRAINABLE_TOKENS": [{"token_indices": [1, 2], "target_modules": ["embed_tokens"]}],
    "FOURIERFT": [{"target_modules": TARGETS, "n_frequency": 20}],
    "VBLORA": [
        {"target_modules": TARGETS, "num_vectors": 16, "vector_length": 16, "topk": 2, "r": 4},
        {"target_modules": TARGETS, "num_vectors": 16, "vector_length": 16, "topk": 2, "r": 4,
         "save_only_topk_weights": True},
    ],
    "BOFT": [{"target_modules": TARGETS, "boft_block_size": 4}],
    "OFT": [{"target_modules": TARGETS, "r": 8, "oft_block_size": 0}],
    "C3A": [{"target_modules": TARGETS, "block_size": 16}],
    "SHIRA": [{"target_modules": TARGETS, "r": 4}],
    "HRA": [{"target_modules": TARGETS, "r": 4}],
    "WAVEFT": [{"target_modules": TARGETS, "n_frequency": 20}],
    "RANDLORA": [{"target_modules": TARGETS, "r": 4}, {"target_modules": TARGETS, "r": 4, "save_projection": False}],
    "GRALORA": [{"target_modules": TARGETS, "r": 8, "gralora_k": 2},
                {"target_modules": TARGETS, "r": 8, "gralora_k": 2, "hybrid_r": 4}],
    "SHADOW": [{}],
    "POLY": [{"target_modules": TARGETS, "r": 4, "n_tasks": 2, "n_skills": 2, "n_splits": 2}],
    "LORA": [
        {"target_modules": TARGETS},
        {"target_modules": TARGETS, "use_dora": True},
        {"target_modules": TARGETS, "lora_bias": True},
        {"target_modules": ["embed_tokens"]},
        {"target_modules": ["embed_tokens"], "use_dora": True},
        {"target_modules": TARGETS, "trainable_token_indices": [1, 2]},
        {"target_modules": [], "target_parameters": ["q_proj.weight"]},
    ],
    "LOHA": [{"target_modules": TARGETS}],
    "LOKR": [{"target_modules": TARGETS}, {"target_modules": TARGETS, "decompose_both": True, "r": 2}],
    "PEANUT": [{"target_modules": TARGETS}, {"target_modules": TARGETS, "depth": 4}],
    "XLORA": [{}],
}  # fmt: skip


def tiny_model(save_to: str | None = None) -> typing.Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=128, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=128,
    )  # fmt: skip
    config.use_cache = False  # X-LoRA asks for it
    model = LlamaForCausalLM(config)
    if save_to is not None:
        model.save_pretrained(save_to)
    return model


def saved_names(config: object) -> tuple[set[str], bool]:
    """Tensor names of an injected and saved adapter without their module paths, and whether the base changed."""
    import torch
    from peft import get_peft_model, get_peft_model_state_dict

    model = tiny_model()
    parameters = dict(model.named_parameters())
    before = {name: value.detach().clone() for name, value in parameters.items()}
    modules = sorted((name for name, _ in model.named_modules() if name), key=len, reverse=True)
    wrapped = get_peft_model(model, config)
    names = {_local(key, modules) for key in get_peft_model_state_dict(wrapped, save_embedding_layers=False)}
    kept = {id(value) for value in wrapped.parameters()}
    changed = any(
        id(value) not in kept or not torch.equal(value.detach(), before[name]) for name, value in parameters.items()
    )
    return names, changed


def _local(key: str, modules: list[str]) -> str:
    """What follows the module path; ``^`` marks a name that stands for itself, ``*`` any rest below it."""
    rest = key.removeprefix("base_model.model.")
    for module in modules:
        if rest != key and rest.startswith(module + "."):
            return re.sub(r"\.\d+(?=\.|$)", ".#", rest.removeprefix(module + "."))
    owner = re.match(r"base_model\.[a-z]+_\w+\.", key)
    return "^" + (owner.group() + "*" if owner else key)


def xlora_config() -> object:
    from peft import LoraConfig, XLoraConfig, get_peft_model

    folder = tempfile.mkdtemp()
    get_peft_model(tiny_model(), LoraConfig(target_modules=TARGETS, task_type="CAUSAL_LM")).save_pretrained(folder)
    return XLoraConfig(task_type="CAUSAL_LM", hidden_size=64, adapters={"0": folder})


def layer_names(type_name: str) -> set[str]:
    """Names that the tuner's layer classes declare, for variants (convolutions, embeddings) not measured here."""
    import importlib
    import pkgutil

    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    package = PEFT_TYPE_TO_TUNER_MAPPING[type_name].__module__.rsplit(".", 1)[0]
    names: set[str] = set()
    for item in pkgutil.iter_modules(importlib.import_module(package).__path__):
        if "layer" not in item.name:
            continue
        module = importlib.import_module(f"{package}.{item.name}")
        for value in vars(module).values():
            if isinstance(value, type) and value.__module__ == module.__name__:
                names.update(getattr(value, "adapter_layer_names", ()))
    return names


def entry(type_name: str) -> dict[str, object]:
    from peft import PromptLearningConfig
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    config_class = PEFT_TYPE_TO_CONFIG_MAPPING[type_name]
    names, changed, unmeasured = set(), False, False
    for setting in SETTINGS.get(type_name, [{"target_modules": TARGETS}]):
        try:
            config = xlora_config() if type_name == "XLORA" else config_class(task_type="CAUSAL_LM", **setting)
            found, rewrote = saved_names(config)
        except ImportError:  # an optional dependency of this type is absent
            unmeasured = True
            continue
        names |= found
        changed |= rewrote
    if type_name == "XLORA":  # written from the live model only; this is the name its own code filters by
        names = {"^base_model.internal_xlora_classifier.*"}
    return {
        "fields": fields_of(config_class),
        "promptLearning": issubclass(config_class, PromptLearningConfig),
        "parameters": sorted(layer_names(type_name)),
        "tensors": sorted(names),
        "measured": not unmeasured,
        "rewritesBase": changed,
    }


def table() -> dict[str, object]:
    import peft
    from peft.utils.peft_types import PeftType

    types_table = {}
    for kind in sorted(PeftType, key=lambda kind: kind.value):
        types_table[kind.value] = entry(kind.value)
    return {"peft": peft.__version__, "types": types_table}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    text = json.dumps(table(), indent=1, sort_keys=True) + "\n"
    if arguments.check:
        return int(TABLE.read_text("utf-8") != text)
    TABLE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
