"""weights.misnamed: tensors that PEFT would not find by their names, with the change of names that mends it.

PEFT loads what it finds by name and says little of the rest: a file whose every name has one part too many loads as an
untrained adapter, and the base is served. What training puts around a model (torch.compile, FSDP)
leaves such parts, and so do tools that save without PEFT, or from a base that was loaded as another class. Experts that
transformers 4 kept one by one are fused now: PEFT converts them (`plan.converted`), but no half of a fused pair.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject
from peft_assay.observe.static.reading import Configuration, read_configuration, read_weights

PREFIX = "base_model.model."
WRAPPERS = {
    "_orig_mod": "torch.compile's",
    "_fsdp_wrapped_module": "FSDP's",
    "_checkpoint_wrapped_module": "activation checkpointing's",
}
"""Modules that training puts around others at any depth, by the name that stays."""
DISTRIBUTED = "module"
"""DistributedDataParallel's name: at the beginning only, for a model may call a module so."""
HEADED = frozenset({"CAUSAL_LM", "SEQ_CLS", "TOKEN_CLS", "QUESTION_ANS"})
"""Tasks of models that hold the body without a head under a name of its own."""
BODIES = {"layers": "model.layers", "h": "transformer.h"}
"""What a body's list of layers is called, and where transformers' models with a head have it."""
VISION = frozenset({"language_model", "text_model"})
"""What vision-language models call the language model inside them."""
FUSED = (("w1", "w3"), ("gate_proj", "up_proj"))
"""Layers of an expert that transformers 5 keeps as one (PEFT's `_MOE_FUSED_TARGETS`)."""
_EXPERT = re.compile(r"(?:^|\.)experts\.\d{1,6}\.([A-Za-z0-9_]{1,40})\.lora_")


def misnamed(configuration: Configuration, names: Sequence[str], base: Iterable[str] = ()) -> Iterator[str]:
    """Yield what is wrong with `names`, and the change that mends it; `base`: names of the base's tensors."""
    whole = {name[1:].split(".*")[0] for name in configuration.row.tensors if name.startswith("^")}
    mine = [name for name in names if not any(name.startswith(known) for known in whole)]
    if configuration.row.prompt_learning or not mine:
        return
    modules = frozenset(part for name in base for part in name.split("."))
    headed = str(configuration.get("task_type")) in HEADED
    changes: dict[tuple[str, str, str], int] = {}
    for name in mine:
        change = _change(name.split("."), modules, headed=headed)
        if change is not None:
            changes[change] = changes.get(change, 0) + 1
    for (old, what, mend), count in changes.items():
        who = f"every tensor's name {old}" if count == len(mine) else f"{count} of {len(mine)} tensors' names: {old}"
        yield f"{who} ({what}), and PEFT loads none of them; {mend}"
    yield from _halves(configuration, mine)


def _change(parts: Sequence[str], modules: frozenset[str], *, headed: bool) -> tuple[str, str, str] | None:
    """Return what is wrong in a name, what it comes from, and the change that mends it; None where it is right."""
    wrapper = next((part for part in parts if part in WRAPPERS), None)
    if wrapper is not None:
        return f"has {wrapper}. in it", f"it is {WRAPPERS[wrapper]}", f"take {wrapper}. out of each name"
    if parts[0] == DISTRIBUTED:
        return _begins("module.", "module is DistributedDataParallel's", "")
    if parts[0] != "base_model":
        return "lacks base_model.model.", "saved without PEFT's own prefix", f"put {PREFIX} before each name"
    if any(part.startswith("lora_") for part in parts[-3:-1]) and "default" in parts[-2:]:
        return "ends with the adapter's name", "saved past PEFT", "take .default out of each name"
    rest = parts[2:] if parts[1:2] == ["model"] else []
    if rest[:1] == [DISTRIBUTED]:
        return _begins(f"{PREFIX}module.", "module is DistributedDataParallel's", PREFIX)
    if rest[:2] == ["base_model", "model"]:
        return _begins(PREFIX * 2, "PEFT's own prefix stands twice", PREFIX)
    if headed and len(rest) > 1 and rest[0] in BODIES and rest[1].isdigit():
        what = "as of a base loaded without its head, by AutoModel"
        return _begins(f"{PREFIX}{rest[0]}.", what, f"{PREFIX}{BODIES[rest[0]]}.")
    inner = next((part for part in rest if part in VISION), None)
    if inner is None or not modules or modules & VISION:
        return None
    at = rest.index(inner)
    start, body = rest[:at], rest[:at] if rest[at + 1 : at + 2] != ["model"] else rest[: max(0, at - 1)]
    what = f"{inner} is a vision-language model's, and this base has none"
    return _begins(f"{PREFIX}{_text([*start, inner])}", what, f"{PREFIX}{_text(body)}")


def _begins(old: str, what: str, new: str) -> tuple[str, str, str]:
    return f"begins with {old}", what, f"rename {old}* to {new}*"


def _text(parts: Iterable[str]) -> str:
    return "".join(f"{part}." for part in parts)


def _halves(configuration: Configuration, names: Sequence[str]) -> Iterator[str]:
    """Yield each layer of experts that is there without the other that it is fused with."""
    if configuration.peft_type != "LORA":
        return
    found: Mapping[str, None] = dict.fromkeys(match[1] for name in names for match in _EXPERT.finditer(name))
    for pair in FUSED:
        there = [layer for layer in pair if layer in found]
        if len(there) == 1:
            absent = pair[1] if there[0] == pair[0] else pair[0]
            yield (
                f"experts have {there[0]} and not {absent}, which are one tensor now: PEFT converts both or none; "
                f"train {absent} too, or merge the adapter under transformers 4"
            )


class NamingProbe:
    """weights.misnamed."""

    id = "naming"
    version = "1"
    terms = ("weights.misnamed",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when header or configuration have not one reading."""
        names = [tensor.name for tensor in read_weights(subject).tensors]
        base = () if subject.context.base is None else subject.context.base.norms
        yield ok(self.terms[0], tuple(misnamed(read_configuration(subject), names, base)), by=ObservedBy.INTAKE)
