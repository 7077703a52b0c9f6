"""What a causal base, and the adapter on it, allow an engine to do."""

from dataclasses import dataclass
from typing import Any

Kind = tuple[type, frozenset[type], frozenset[type]]
"""The base's class, PEFT's classes around it, and those that vary a LoRA."""


@dataclass(frozen=True, slots=True)
class Traits:
    """Found out once for each adapter that is put on."""

    caches: bool
    """Keys and values can be kept while generating, with masked slots among them: not in recurrent models, which keep
    no tokens, nor for activated LoRA, whose effect depends on where in the text its tokens stand."""
    accepts: bool
    """A draft, seen at once, is seen as if it had been generated: not by activated LoRA."""
    packs: bool
    """Several continuations may be tried as branches after one context. Whether that gives what it should is verified
    once for each kind of model; here it is only excluded where it cannot."""
    window: int | None
    """Within how many tokens attention sees everything before; beyond it padding would push real tokens out."""
    virtual: int
    """Virtual tokens in front of the text, which take up positions."""
    alone: bool
    """Position encoding depends on the longest row of a batch: one row at a time."""


def traits_of(base: Any, config: Any) -> Traits:
    """Traits of a bare causal model with an adapter of this PEFT configuration (None for no adapter)."""
    activated = bool(getattr(config, "alora_invocation_tokens", None))
    prompt_learning = config is not None and config.is_prompt_learning
    own_attention = config is not None and config.peft_type == "ADAPTION_PROMPT"
    recurrent = bool(getattr(base, "_is_stateful", False))
    text = base.config.get_text_config()
    rope = getattr(text, "rope_parameters", None) or {}
    stretched = any("dynamic" in str(part) or "longrope" in str(part) for part in rope.values())
    return Traits(
        caches=not recurrent and not activated,
        accepts=not activated,
        packs=not (activated or prompt_learning or own_attention or recurrent),
        window=_window(text),
        virtual=config.num_virtual_tokens if prompt_learning else 0,
        alone=stretched,
    )


def kind_of(model: Any, base: Any) -> Kind:
    """What computes in `model`, a bare base or what PEFT made of it: classes, whatever their weights are."""
    own = [module for module in model.modules() if type(module).__module__.split(".", 1)[0] == "peft"]
    variants = (variant for module in own for variant in module.__dict__.get("lora_variant", {}).values())
    return type(base), frozenset(map(type, own)), frozenset(map(type, variants))


def _window(text: Any) -> int | None:
    kinds = getattr(text, "layer_types", None)
    if kinds is not None and all(kind == "full_attention" for kind in kinds):
        return None
    sizes = [getattr(text, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return min((size for size in sizes if size is not None), default=None)
