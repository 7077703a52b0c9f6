"""Tokens that a base's tokenizer gives and its embedding has no row for: prompts with them cannot be answered."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from peft_assay.core.errors import DocumentError
from peft_assay.core.suite import Suite
from peft_assay.pipeline.stored import object_in

_DIGITS = 10


def beyond_embedding(folder: Path, vocabulary: int | None) -> Iterator[str]:
    """Yield a remark where the tokenizer gives ids for which the base has no row of its embedding."""
    beyond = _beyond(folder, vocabulary)
    if beyond:
        number, text = beyond[0]
        yield (
            f"the base's tokenizer gives ids beyond its {vocabulary} embedding rows ({len(beyond)} of them, such as "
            f"{number} for {text!r}): no prompt with one of these can be answered; serve the tokenizer that the base "
            "was trained with, or resize the base (resize_token_embeddings)"
        )


def check_prompts(folder: Path, vocabulary: int | None, suites: Sequence[Suite]) -> None:
    """Raise DocumentError for a case whose prompt has a text that the base's tokenizer gives an id beyond its rows.

    Only texts that are one token wherever they stand are looked for: added ones.
    """
    beyond = [] if vocabulary is None else sorted((n, text) for text, n in _added(folder).items() if n >= vocabulary)
    for suite in suites:
        for case in suite.cases:
            said = case.prompt if isinstance(case.prompt, str) else "\n".join(turn.content for turn in case.prompt)
            for number, text in beyond:
                if text and text in said:
                    raise DocumentError(
                        f"its prompt has {text!r}, which is token {number} of the base's tokenizer, and the base has "
                        f"{vocabulary} embedding rows: it cannot be answered",
                        where=f"suite {suite.id}: case {case.id}",
                        next_step="take it out of the prompt; or, where you serve such prompts, declare the base that "
                        "they are for, with a row for each token (resize_token_embeddings)",
                    )


def _beyond(folder: Path, vocabulary: int | None) -> list[tuple[int, str]]:
    if vocabulary is None:
        return []
    every = {**_words(folder), **_added(folder)}
    return sorted((number, text) for text, number in every.items() if number >= vocabulary)


def _words(folder: Path) -> dict[str, int]:
    """Return the words of the tokenizer's own vocabulary with their ids, as tokenizer.json says."""
    model = object_in(folder / "tokenizer.json").get("model")
    words = model.get("vocab") if isinstance(model, dict) else None
    if isinstance(words, dict):
        return {str(text): number for text, number in words.items() if type(number) is int}
    if isinstance(words, list):
        return {str(entry[0]): number for number, entry in enumerate(words) if isinstance(entry, list) and entry}
    return {}


def _added(folder: Path) -> dict[str, int]:
    """Return the texts that were added to the tokenizer with their ids, as any of its files says."""
    found: dict[str, int] = {}
    decoder = object_in(folder / "tokenizer_config.json").get("added_tokens_decoder")
    for number, entry in decoder.items() if isinstance(decoder, dict) else ():
        if isinstance(entry, dict) and str(number).isdecimal() and len(str(number)) < _DIGITS:
            found[str(entry.get("content"))] = int(number)
    for text, number in object_in(folder / "added_tokens.json").items():
        if type(number) is int:
            found[str(text)] = number
    added = object_in(folder / "tokenizer.json").get("added_tokens")
    for entry in added if isinstance(added, list) else ():
        if isinstance(entry, dict) and type(entry.get("id")) is int:
            found[str(entry.get("content"))] = entry["id"]
    return found
