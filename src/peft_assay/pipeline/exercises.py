"""The declared exercises that need more than the document: the base's tokenizer files, and files of the consumer's."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from peft_assay.core.canonical import canonical_digest
from peft_assay.core.digest import sha256
from peft_assay.core.errors import DocumentError, StorageError
from peft_assay.core.exercises import Canaries, Exercises, Leaks, Sampling, Scan, Variation
from peft_assay.core.parse import parse_json
from peft_assay.observe.behaviour.canaries import canary_of, candidates, read_canaries
from peft_assay.observe.behaviour.variation import DATED, unknown_words
from peft_assay.pipeline.base import GENERATION_CONFIG
from peft_assay.pipeline.decoding import declared_decoding
from peft_assay.pipeline.documents import AssayDocument, BehaviourSection, read_file
from peft_assay.pipeline.suites.tokens import unknown_id

_TRIED = 20
"""Look-alikes of each canary that are looked at: of the same shape, they are spelt alike."""
CONFIG = "config.json"
TOKENIZER = "tokenizer.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS_MAP = "special_tokens_map.json"


def read_exercises(exercises: Exercises, document: AssayDocument, path: Path, base: Path) -> Exercises:
    """`exercises` with everything else that the document at `path` declares; `base` is the base's folder.

    Raises DocumentError naming the field for what cannot be meant, or cannot be asked of this base.
    """
    section = document.behaviour
    where = f"{path}: behaviour"
    _check_variations(section, document.context.engine.dtype, where)
    if {"framing", "date"} & set(section.variations):
        _check_words(section, known_words(base), where)
    canaries = None
    if section.canaries is not None:
        named = path.parent / section.canaries.file
        content = read_file(named, named_by=f"{where}.canaries.file")
        canaries = Canaries(read_canaries(content, where=str(named)), sha256(content), section.canaries.references)
        _check_spelling(canaries, base, str(named))
    sampling, unexercised = _decoding(section, base)
    return replace(
        exercises,
        scan=_with_special_tokens(exercises.scan, document, base),
        variations=tuple(map(Variation, section.variations)),
        frames=tuple(section.frames),
        opening=section.textPrompts.opening,
        closing=section.textPrompts.closing,
        sampling=sampling,
        unexercised=unexercised,
        scales=tuple(section.scales),
        canaries=canaries,
        latency=section.latency,
        leaks=None if section.leaks is None else Leaks(section.leaks.samples, section.leaks.maxNewTokens),
    )


def _decoding(section: BehaviourSection, base: Path) -> tuple[Sampling | None, tuple[str, ...]]:
    """Return how the deployment decodes: `behaviour.sampling`, or the base's own files; also where only a variation
    asks.
    """
    own = base / GENERATION_CONFIG
    file = own if own.is_file() else base / CONFIG  # older bases have their generation settings here
    sampling, unexercised = declared_decoding(section.sampling, _read(file), where=str(file))
    if sampling is None and "sampling" in section.variations:
        sampling = Sampling()
    return sampling, tuple(f"{what} ({file.name})" for what in unexercised)


def _check_variations(section: BehaviourSection, dtype: str, where: str) -> None:
    for field, values in (("variations", section.variations), ("scales", section.scales)):
        for number, value in enumerate(values):
            if value in values[:number]:
                raise DocumentError(f"{value!r} is named twice", where=f"{where}.{field}.{number}")
    if "dtype" in section.variations and dtype == "float32":
        raise DocumentError(
            "the engine computes in float32 (context.engine.dtype): there is no other dtype to compare with",
            where=f"{where}.variations",
            next_step="leave dtype out",
        )
    if 1 in section.scales:
        raise DocumentError("1 is the adapter's own strength, which every suite is asked at", where=f"{where}.scales")
    for number, frame in enumerate(section.frames):
        if "{}" not in frame or not frame.replace("{}", "").strip():
            raise DocumentError(
                "a frame has {} for the question, and words around it", where=f"{where}.frames.{number}"
            )


def _check_words(section: BehaviourSection, known: frozenset[str] | None, where: str) -> None:
    """Refuses variations whose words the base's tokenizer would all take for one unknown word."""
    dated = [DATED.format(date="2030-01-01", question="{}")] if "date" in section.variations else []
    framed = section.frames if "framing" in section.variations else []
    for field, texts in (("frames", framed), ("variations", dated)):
        for text in texts:
            if unknown := unknown_words(text, known):
                raise DocumentError(
                    f"the base's tokenizer knows whole words only, and not {unknown[0]!r}",
                    where=f"{where}.{field}",
                    next_step="leave date out" if field == "variations" else "declare frames in words that it knows",
                )


def _check_spelling(canaries: Canaries, base: Path, where: str) -> None:
    """Refuses a canary that the base's tokenizer cannot spell, or whose look-alikes it cannot.

    What is written as one unknown token is as likely as any other such text: its rank would be a number about nothing.
    A canary is named by its place in the file, never by its text.
    """
    spells = speller(base)
    for number, line in enumerate(canaries.texts):
        canary = canary_of(line)
        if not spells(canary.text):
            what = "it"
        elif not all(map(spells, candidates(canary, _TRIED, canonical_digest([canaries.digest, number])))):
            what = "look-alikes of it (letter for letter, digit for digit)"
        else:
            continue
        raise DocumentError(
            f"canary {number + 1}: the base's tokenizer cannot spell {what}, so that no rank would mean anything",
            where=where,
            next_step="write it as your traffic writes it, in what the tokenizer knows, or leave it out",
        )


def _with_special_tokens(scan: Scan | None, document: AssayDocument, base: Path) -> Scan | None:
    if scan is None or document.scan is None or not document.scan.specialTokens:
        return scan
    added = tuple(token for token in special_tokens(base) if token not in scan.tokens)
    return replace(scan, tokens=(*scan.tokens, *added), digest=canonical_digest([scan.digest, list(added)]))


def special_tokens(base: Path) -> tuple[str, ...]:
    """Special tokens of the tokenizer in the folder `base`, sorted; raises as `_read` does."""
    return tuple(sorted({token for token in _special_tokens(base) if token.strip()}))


def _special_tokens(base: Path) -> Iterator[str]:
    config, added = _read(base / TOKENIZER_CONFIG), _read(base / TOKENIZER).get("added_tokens")
    decoder = config.get("added_tokens_decoder")
    listed = [*(added if isinstance(added, list) else ()), *(decoder.values() if isinstance(decoder, dict) else ())]
    for token in listed:
        if isinstance(token, dict) and token.get("special") is True and isinstance(token.get("content"), str):
            yield token["content"]
    for names in (config, _read(base / SPECIAL_TOKENS_MAP)):
        for name, value in names.items():
            if name.endswith("_token") or name == "additional_special_tokens":
                yield from _texts(value)


def _texts(value: Any) -> Iterator[str]:
    """The token texts that a field of a tokenizer's configuration holds: a text, an added token, or several."""
    for one in value if isinstance(value, list) else [value]:
        text = one.get("content") if isinstance(one, dict) else one
        if isinstance(text, str):
            yield text


def known_words(base: Path) -> frozenset[str] | None:
    """Every word of a tokenizer that knows whole words only; None for one that can spell what it does not know."""
    tokenizer = _read(base / TOKENIZER)
    model = tokenizer.get("model")
    if not isinstance(model, dict) or model.get("type") != "WordLevel" or not isinstance(model.get("vocab"), dict):
        return None
    return frozenset(model["vocab"])


def speller(base: Path) -> Callable[[str], bool]:
    """Whether the base's tokenizer can write a text without its token for what it does not know.

    Where `tokenizers` is not installed only tokenizers of whole words are known to be unable to.
    """
    known, found = known_words(base), unknown_id(base)
    if found is None:
        return lambda text: not unknown_words(text, known)
    tokens, unknown = found
    return lambda text: unknown not in tokens(text)


def _read(path: Path) -> Mapping[str, Any]:
    """A JSON document of the base's, empty when there is no such file; raises DocumentError or StorageError."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(path)) from None
    document = parse_json(content, where=str(path), max_bytes=len(content))
    return document if isinstance(document, dict) else {}
