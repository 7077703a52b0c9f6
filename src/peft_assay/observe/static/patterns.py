"""config.unsafe_patterns: regular expressions in the configuration that may take very long to match.

PEFT matches `target_modules` and its like, where they are text, and the keys of patterns with Python's backtracking
engine against every module of the base. Unsafe patterns are: a repetition without limit inside another, a choice inside
a long repetition, more than `MAX_REPETITIONS` without limit, expressions that re2 (linear time) does not accept
(back-references for instance), and those that take too many steps on names of modules, each by itself or all together.
Steps are counted and not timed (`peft_assay.observe.static.backtracking`): nothing here is matched by `re`.
"""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

from peft_assay.core.observation import Observation, ObservedBy, ok
from peft_assay.observe.interface import StaticSubject, Unreadable
from peft_assay.observe.static import linear
from peft_assay.observe.static.backtracking import LOOKING, Budget, Endless, parsed, steps
from peft_assay.observe.static.bounds import MAX_TEXT
from peft_assay.observe.static.reading import Configuration, read_configuration, read_weights
from peft_assay.observe.static.scales import PREFIX

MAX_REPETITIONS = 8
MAX_REPEAT = 1_000
"""Repetitions with a limit above this count as without."""
MAX_CHOICES = 10
"""A choice in a repetition longer than this has more ways than can be tried."""
MAX_STEPS = 300_000
"""Most steps of one expression on one name: a hundredth of a second, for each of a base's modules."""
MAX_STEPS_IN_ALL = 1_000_000
"""Most steps of all expressions on one name each: three thousand keys of ordinary cost."""
MODULES = (
    "model.layers.31.self_attn.q_proj", "model.language_model.layers.10.mlp.experts.127.down_proj", "lm_head",
    "model.decoder.layers.11.encoder_attn.out_proj", "encoder.block.23.layer.0.SelfAttention.relative_attention_bias",
    "vision_model.encoder.layers.23.self_attn.v_proj", "base_model.encoder.layer.11.attention.output.LayerNorm",
    "transformer.h.47.attn.c_attn", "transformer.encoder.layers.27.self_attention.query_key_value",
    "down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_out.0",
)  # fmt: skip
"""Names of modules as bases have them, one of each kind, where the base is not known."""
OWN_MODULES = 10
"""Most names of the adapter's own modules that are tried, longest first."""
_WHOLE = ("target_modules", "exclude_modules", "feedforward_modules")
_SHORTHANDS = frozenset({"all-linear"})
_KEYED = {"rank_pattern": r"(.*\.)?({})$", "alpha_pattern": r"(.*\.)?({})$", "lambda_pattern": r"(.*\.)?({})$",
          "n_frequency_pattern": r".*\.{}$", "block_size_pattern": r".*\.{}$"}  # fmt: skip
_LISTED = {"modules_to_save": r"(^|.*\.){}($|\..*)", "layers_pattern": r"(?:^|.*?\.){}\.(?P<idx>\d+)\."}
_PLAIN = re.compile(r"[A-Za-z0-9_.\-]+")
"""A plain name. Each of its dots matches any character."""
_SHOWN = 80


def expressions(configuration: Configuration) -> Iterator[tuple[str, str, str]]:
    """Yield every expression: its field, its text, and the pattern that PEFT 0.21.2 makes of it before matching.

    Raises Unreadable for a field that is neither text, nor a list of texts, nor an object where these are meant.
    """
    for name in _WHOLE:
        value = configuration.get(name)
        if isinstance(value, str) and value not in _SHORTHANDS:
            yield name, value, value
    for name, form in _LISTED.items():
        for text in configuration.names(name):
            yield name, text, form.replace("{}", text)
    for name, form in _KEYED.items():
        searched = ".*{}" if configuration.peft_type == "OSF" else form
        for key in configuration.mapping(name):
            yield f"{name} key", key, searched.replace("{}", key)


def why_unsafe(pattern: str, *, looking: bool = False) -> str | None:
    """Return why matching `pattern` may take more than linear time on any text; None where its form is safe.

    `looking`: whether look-around is admitted. Its steps are counted like those of other parts; but other probes cannot
    read an expression that re2 does not read, so it is admitted only in fields that none of them reads.
    """
    if len(pattern) > MAX_TEXT:
        return f"longer than {MAX_TEXT} characters"
    try:
        tree = parsed(pattern)
    except Endless as problem:
        return str(problem)
    try:
        linear.compile_linear(pattern)
    except linear.error:
        if not looking or not _looks_around(tree):
            return "not an expression that takes linear time"
    problem_found, count = _walk(tree, inside=False)
    if problem_found is None and count > MAX_REPETITIONS:
        return f"{count} repetitions without limit"
    return problem_found


_OPERATIONS = frozenset(
    {"LITERAL", "NOT_LITERAL", "ANY", "IN", "AT", "BRANCH", "SUBPATTERN", "MAX_REPEAT", "MIN_REPEAT", *LOOKING}
)


def _looks_around(tree: Any) -> bool:
    """Return whether look-around is all that a parse tree has beyond re2's syntax."""
    kinds = set(_kinds(tree))
    return bool(kinds & LOOKING) and kinds <= _OPERATIONS


def _kinds(tree: Any) -> Iterator[str]:
    for operation, argument in tree:
        yield str(operation)
        for child in _children(str(operation), argument):
            yield from _kinds(child)


def _walk(tree: Any, *, inside: bool) -> tuple[str | None, int]:
    """The first problem of a parse tree, and how many repetitions without limit it has."""
    total = 0
    for operation, argument in tree:
        kind, repeats = str(operation), False
        if inside and kind == "BRANCH":
            return "a choice inside a repetition without limit", total
        if kind in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
            repeats = int(argument[1]) > MAX_REPEAT
            if int(argument[1]) > MAX_CHOICES and _chooses(argument[2]):
                return f"a choice inside a repetition of more than {MAX_CHOICES}", total
            if repeats and inside:
                return "a repetition without limit inside another", total
            total += repeats
        for child in _children(kind, argument):
            problem, count = _walk(child, inside=inside or repeats)
            total += count
            if problem is not None:
                return problem, total
    return None, total


def _chooses(tree: Any) -> bool:
    """Whether there is a choice anywhere in a parse tree."""
    return any(
        str(operation) == "BRANCH" or any(_chooses(child) for child in _children(str(operation), argument))
        for operation, argument in tree
    )


def _children(kind: str, argument: Any) -> list[Any]:
    match kind:
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return [argument[2]]
        case "SUBPATTERN":
            return [argument[3]]
        case "BRANCH":
            return list(argument[1])
        case "ATOMIC_GROUP":
            return [argument]
        case "ASSERT" | "ASSERT_NOT":
            return [argument[1]]
    return []


def too_slow(found: Iterable[tuple[str, str, str]], names: Iterable[str]) -> Iterator[str]:
    """Return the expressions that take too many steps on one of `names`, alone or together; each as a finding
    in words.
    """
    names, whole, budget = tuple(names), 0.0, Budget()
    for field, text, made in found:
        try:
            raw, tree = parsed(text), parsed(made)
            most = max(steps(tree, name, MAX_STEPS, budget) for name in names)
            whole += max(most, *(steps(raw, name, MAX_STEPS, budget) for name in _pumps(text)))
        except Endless as problem:
            yield told(field, text, str(problem))
        if whole > MAX_STEPS_IN_ALL or budget.spent:
            yield told(field, text, "with those before it, more steps for each module than can be taken")
            return


def _pumps(text: str) -> list[str]:
    """Return names that repeat the parts of the expression, as bad ones do."""
    letters = dict.fromkeys(character for character in text if character.isalnum())
    return [letter * 40 + "!" for letter in [*list(letters)[:3], "a"]]


def told(field: str, text: str, why: str) -> str:
    """Return one finding in words: the pattern, its place, and the reason."""
    return f"{field}: the pattern {text[:_SHOWN]!r}: {why}"


class PatternsProbe:
    """config.unsafe_patterns."""

    id = "patterns"
    version = "3"
    terms = ("config.unsafe_patterns",)

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """Raises Unreadable when the configuration has not one reading."""
        every = list(expressions(read_configuration(subject)))
        reasons = (why_unsafe(text, looking=field in _WHOLE) for field, text, _ in every)
        bad = {at: why for at, why in enumerate(reasons) if why is not None}
        found = [told(every[at][0], every[at][1], why) for at, why in bad.items()]
        rest = [one for at, one in enumerate(every) if at not in bad and not _PLAIN.fullmatch(one[1])]
        if rest:  # the base's names are read from its files
            found += too_slow(rest, names_of(subject))
        yield ok(self.terms[0], tuple(found), by=ObservedBy.INTAKE)


def names_of(subject: StaticSubject) -> tuple[str, ...]:
    """Return names that the patterns are tried on: usual ones, the base's where it is known, and the adapter's own."""
    base = subject.context.base
    names = {name.removesuffix(".weight") for name in (base.norms if base is not None else ())}
    with suppress(Unreadable):  # patterns are weighed on the other names then
        names |= {tensor.name.removeprefix(PREFIX).partition(".lora_")[0] for tensor in read_weights(subject).tensors}
    by_shape: dict[str, str] = {}
    for name in sorted(names, key=len, reverse=True):  # layers differ by their numbers alone
        by_shape.setdefault(re.sub("[0-9]+", "#", name[:MAX_TEXT]), name[:200])
    return (*MODULES, *list(by_shape.values())[:OWN_MODULES])
