"""Which tensor names a configuration accounts for.

PEFT loads an adapter file with `load_state_dict(strict=False)` over the whole wrapped model, so a file that also holds
`base_model.model.lm_head.weight` replaces the base's output layer without a word, and one that holds
`...lora_A.other.weight` replaces another adapter. Names are judged against names that PEFT itself writes for the type
(table), the declared target modules, modules_to_save, biases and token rows. Embeddings that PEFT adds to a file by
itself (`save_embedding_layers`) are compared with the base's: `beside`.
"""

import re
from collections.abc import Callable, Iterable

import re2

from peft_assay.observe.interface import Unreadable
from peft_assay.observe.static import linear
from peft_assay.observe.static.heads import PREFIX, implied
from peft_assay.observe.static.reading import Configuration

_MODULE = r"(?:[A-Za-z0-9_\-]+\.)*?[A-Za-z0-9_\-]+"
_NEVER_IN_MODULE = frozenset({"base_layer", "original_module", "modules_to_save", "token_adapter"})
"""Names PEFT gives to wrapped parts: a module path through one of them leads around the adapter, to the base."""
_GATES = {"lora_magnitude_vector": "use_dora", "lora_A.bias": "lora_bias", "lora_B.bias": "lora_bias"}
"""Names that exist only when a boolean field is set."""
_TOKEN_ROWS = "token_adapter.trainable_tokens_delta"  # noqa: S105 - a tensor name

Judge = Callable[[str], bool]


def declared_by(configuration: Configuration) -> Judge:
    """A function that says whether a tensor name is accounted for by `configuration`."""
    own = adapters_own(configuration)
    saved = _saved((*configuration.names("modules_to_save"), *implied(configuration)))
    return lambda name: own(name) or saved(name.removeprefix(PREFIX))


def adapters_own(configuration: Configuration) -> Judge:
    """Return a function that says whether a tensor name is of the adapter's own parts, biases and token rows."""
    patterns = [re.compile(pattern) for pattern in _patterns(configuration)]
    targets = _literal_targets(configuration)
    bias = configuration.get("bias") not in (None, "none")
    token_rows = bool(configuration.get("trainable_token_indices"))
    nested = bool(configuration.get("target_parameters"))

    def judge(name: str) -> bool:
        if any(pattern.fullmatch(name) for pattern in patterns[1:]):
            return True
        local = name.removeprefix(PREFIX)
        if local == name and configuration.row.prompt_learning:
            return False
        match = patterns[0].fullmatch(local)
        if match is not None:
            return _is_module(match["module"], targets, nested=nested)
        if token_rows and local.endswith("." + _TOKEN_ROWS):
            return _is_module(local.removesuffix("." + _TOKEN_ROWS), _anywhere, nested=False)
        if bias and local.endswith(".bias"):
            return _is_module(local.removesuffix(".bias").removesuffix(".base_layer"), _anywhere, nested=False)
        return False

    return judge


def _patterns(configuration: Configuration) -> list[str]:
    """First the pattern of names below a module, then those of names that stand for themselves."""
    row = configuration.row
    local = [name for name in row.tensors if not name.startswith("^") and name != _TOKEN_ROWS]
    known = {name.split(".", 1)[0] for name in local}
    for parameter in row.parameters:
        forms = (".weight", ".bias") if parameter in known else ("", ".weight", ".bias")
        local += [parameter + form for form in forms]
    allowed = [name for name in local if _gate_open(name, configuration)]
    alternatives = "|".join(sorted({_expression(name) for name in allowed})) or r"(?!)"
    whole = [_expression(name[1:]) for name in row.tensors if name.startswith("^")]
    return [rf"(?P<module>{_MODULE})\.(?:{alternatives})", *whole]


def _gate_open(name: str, configuration: Configuration) -> bool:
    gate = next((field for prefix, field in _GATES.items() if name.startswith(prefix)), None)
    return gate is None or configuration.get(gate) is True


def _expression(name: str) -> str:
    return re.escape(name).replace(r"\#", r"\d{1,6}").replace(r"\*", r"[A-Za-z0-9_.\-]+")


def _literal_targets(configuration: Configuration) -> Judge:
    """Whether a path ends in a declared module name; any does where the names are an expression or PEFT's default."""
    value = configuration.get("target_modules")
    if not isinstance(value, list) or not value:
        return _anywhere
    return _search(rf"(?:^|\.)(?:{_any_of(configuration.names('target_modules'))})$")


def _anywhere(path: str) -> bool:
    return bool(path)


def _nowhere(path: str) -> bool:
    return not path


def _is_module(module: str, targeted: Judge, *, nested: bool) -> bool:
    """Whether `module` is a path to a targeted module and not around it; `target_parameters` nest wrappers."""
    components = module.split(".")
    while nested and components and components[-1] == "base_layer":
        components.pop()
    if not components or _NEVER_IN_MODULE.intersection(components):
        return False
    return nested or targeted(".".join(components))


def _saved(names: tuple[str, ...]) -> Judge:
    """Whether a tensor lies under a module of modules_to_save.

    PEFT matches by the end of the path as plain text (`classifier` also takes `pre_classifier`); reach.full_weights
    shows what was declared.
    """
    named = [name for name in names if name]
    if not named:
        return _nowhere
    inside = _search(rf"(?:{_any_of(named)})\.")
    return lambda local: not _NEVER_IN_MODULE.intersection(local.split(".")) and inside(local)


def _any_of(names: Iterable[str]) -> str:
    return "|".join(sorted({re2.escape(name) for name in names}))


def _search(pattern: str) -> Judge:
    """A search in time linear in the text: a hostile file may bring both names and declarations by the hundred kB."""
    try:
        compiled = linear.compile_linear(pattern)
    except linear.error:
        raise Unreadable("the declared module names are too many or too long") from None
    return lambda text: compiled.search(text) is not None
