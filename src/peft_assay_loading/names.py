"""What is wrong with the names of a weights file, where one change of all of them would mend it."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile

MEANINGS = {
    "_orig_mod": "torch.compile's",
    "_fsdp_wrapped_module": "FSDP's",
    "_checkpoint_wrapped_module": "activation checkpointing's",
    "module": "DistributedDataParallel's",
    "language_model": "a vision-language model's",
    "text_model": "a vision-language model's",
}
"""Modules around a language model, by the name that they leave in what training saves."""


HEADLESS = " (as of a base loaded without its head, by AutoModel)"


def misnamed(missing: Sequence[str], extra: Sequence[str], count: int) -> str:
    """Return the one change that turns `extra` names into `missing` ones, in words; nothing where there is none.

    `count`: the number of tensors in the file.
    """
    if not missing or not extra:
        return ""
    wanted, longest = set(missing), max(extra, key=len).split(".")
    parts = {name: name.split(".") for name in wanted}
    nearest = max(common_end(longest, name) for name in parts.values())
    if not nearest:
        return ""
    for name in parts.values():
        if common_end(longest, name) == nearest:
            old, new = _text(longest[:-nearest]), _text(name[:-nearest])
            if all(other.startswith(old) and new + other[len(old) :] in wanted for other in extra):
                start = _common_start(extra)
                return _told(start, new + start[len(old) :], len(extra), count)
    return ""


def common_end(left: Sequence[str], right: Sequence[str]) -> int:
    """Return how many parts at their ends two names have in common."""
    pairs = zip(reversed(left), reversed(right), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def _text(parts: Iterable[str]) -> str:
    return "".join(f"{part}." for part in parts)


def _common_start(names: Sequence[str]) -> str:
    """Return the parts that all names begin with, up to the first number."""
    columns = zip(*(name.split(".") for name in names), strict=False)
    return _text(part[0] for part in takewhile(lambda part: len(set(part)) == 1 and not part[0].isdigit(), columns))


def _told(start: str, wanted: str, changed: int, count: int) -> str:
    who = "every tensor's name begins" if changed == count else f"{changed} of {count} tensors' names begin"
    found, sought = Counter(start.split(".")), Counter(wanted.split("."))
    left, lacking = list((found - sought).elements()), list((sought - found).elements())
    meaning = next((f" ({part} is {MEANINGS[part]})" for part in left if part in MEANINGS), "")
    if not left and len(lacking) == 1:
        inside = lacking[0] in MEANINGS
        meaning = " (as of a language model by itself, which this base has inside)" if inside else HEADLESS
    if "base_model" in lacking:
        meaning = " (saved without PEFT's own prefix base_model.model.)"
    return (
        f"{who} with {start}{meaning}, where PEFT looks for {wanted} and loads nothing else; "
        f"rename {start}* to {wanted}*"
    )
