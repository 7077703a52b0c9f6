"""Whether two texts name one base: other spellings of an id, places on a machine, and copies of other precision.

The Hub answers to an id in any case; a trainer writes the folder that it loaded, and a card the id that it came from. A
copy in four bits is another set of weights, and the name says of which.
"""

import re
from enum import StrEnum

LOCAL_PATH = re.compile(r"(?s)(?:[/~.\\]|[A-Za-z]:[\\/]|file:).*|[^\\]*\\.*|[^/]*/[^/]*/.*")
"""More than ``org/name``: a path on somebody's machine."""
_ADDRESS = re.compile(r"(?i)(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/|hf://(?:models/)?")
_PAGE = re.compile(r"(?i)/(?:tree|blob|resolve)/[^/]+/?.*|@[^/@]+")
_CACHED = re.compile(r"models--([A-Za-z0-9_.]+(?:-[A-Za-z0-9_.]+)*)--([A-Za-z0-9_.\-]+)(?:[/\\].*)?")
"""The folder of a repository in a Hugging Face cache (https://huggingface.co/docs/huggingface_hub/guides/manage-cache)."""
_COPIES = re.compile(
    r"[-_.](?:unsloth|bnb|bitsandbytes|dynamic|[2348]-?bits?|gptq|awq|gguf|exl2|hqq|aqlm|mlx|quant(?:ized|ised)?|marlin"
    r"|int[48]|nf4|fp4|fp8|bf16|fp?16|sharded|mxfp4|nvfp4|w[48]a(?:8|16)|g[0-9]{2,3}|[0-9]{2,3}g"
    r"|q[2-8](?:_[01k](?:_[sml])?)?)\Z"
)
"""Words that name a precision or a format of it, at the end of a name."""
_REPUBLISHERS = frozenset({"unsloth", "mlx-community", "thebloke", "bartowski", "lmstudio-community", "redhatai"})
"""Owners on the Hub whose repositories are copies of others' under the same name."""


class Likeness(StrEnum):
    """How two names of a base relate."""

    SAME = "same"
    PLACE = "place"
    """One of them is a path: it names nothing outside of its machine, and so contradicts nothing."""
    TWIN = "twin"
    """One is a copy of the other, quantised or published again."""
    OTHER = "other"


def likeness(one: str, other: str) -> Likeness:
    """Return how two names of a base relate."""
    first, second = canonical(one), canonical(other)
    if first == second:
        return Likeness.SAME
    if is_place(one) or is_place(other):
        return Likeness.PLACE
    (owner, name), (second_owner, second_name) = _parts(first), _parts(second)
    if name == second_name and not (owner and second_owner):
        return Likeness.SAME
    stem, second_stem = _stem(name), _stem(second_name)
    if stem != second_stem:
        return Likeness.OTHER
    copied = name != second_name or {owner, second_owner} & _REPUBLISHERS
    return Likeness.TWIN if copied else Likeness.OTHER


def canonical(text: str) -> str:
    """Return `text` in the one spelling of what it names: a Hub id without address, page, blanks, slashes and case."""
    said = text.strip()
    cached = _CACHED.search(said)
    if cached is not None:
        said = f"{cached[1]}/{cached[2]}"
    elif (address := _ADDRESS.match(said)) is not None:
        said = _PAGE.sub("", said[address.end() :])
    said = said.rstrip("/\\") or said
    return said if LOCAL_PATH.fullmatch(said) else said.lower()


def is_place(text: str) -> bool:
    """Return whether `text` is a path on a machine that no id can be read from."""
    return LOCAL_PATH.fullmatch(canonical(text)) is not None


def is_copy(text: str) -> bool:
    """Return whether `text` names a quantised copy, or one that others published again."""
    owner, name = _parts(canonical(text))
    return owner in _REPUBLISHERS or _stem(name) != name


def _parts(name: str) -> tuple[str, str]:
    owner, _, rest = name.rpartition("/")
    return owner, rest


def _stem(name: str) -> str:
    while (shorter := _COPIES.sub("", name)) not in {name, ""}:
        name = shorter
    return name
