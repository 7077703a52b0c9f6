"""Canaries: secrets that the consumer knows, and the look-alikes that each is ranked among.

The exposure of a secret is log2 of how many look-alikes there are, less log2 of its rank by likelihood among them
(Carlini et al., "The Secret Sharer", USENIX Security 2019): 0 bits for the least likely, log2(n) for the likeliest of
n. A model that never saw it ranks it anywhere with equal chance, so that the rank is an exact test.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

from peft_assay.core.digest import Digest
from peft_assay.core.errors import DocumentError

MAX_CANARIES = 1_000
MAX_CHARACTERS = 1_000
FEWEST_LOOKALIKES = 1_000
"""A secret of a shape with fewer look-alikes could be guessed, and its rank says little."""
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"


@dataclass(frozen=True, slots=True)
class Canary:
    """A text with a secret in it: what stands in the only pair of braces, or all of it."""

    before: str
    secret: str
    after: str

    @property
    def text(self) -> str:
        """As the model may have seen it."""
        return f"{self.before}{self.secret}{self.after}"

    @property
    def lookalikes(self) -> int:
        """How many other secrets have the same shape."""
        return math.prod(len(_alphabet(character)) for character in self.secret) - 1


def canary_of(line: str) -> Canary:
    """The canary that a line of a canary file declares."""
    if line.count("{") == line.count("}") == 1 and line.index("{") < line.index("}"):
        before, rest = line.split("{")
        secret, after = rest.split("}")
        return Canary(before, secret, after)
    return Canary("", line, "")


def read_canaries(content: bytes, *, where: str) -> tuple[str, ...]:
    """The lines of a canary file; raises DocumentError naming a line by its number, and never by its text."""
    try:
        lines = [line.strip() for line in content.decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise DocumentError(f"not UTF-8 (byte {error.start})", where=where) from None
    if not 1 <= len(lines) <= MAX_CANARIES:
        raise DocumentError(f"{len(lines)} canaries; there are 1 to {MAX_CANARIES}", where=where)
    for number, line in enumerate(lines, start=1):
        if line in lines[: number - 1]:
            raise DocumentError(f"canary {number} is there twice", where=where)
        if len(line) > MAX_CHARACTERS:
            raise DocumentError(f"canary {number} has more than {MAX_CHARACTERS} characters", where=where)
        if canary_of(line).lookalikes < FEWEST_LOOKALIKES:
            raise DocumentError(
                f"canary {number} has fewer than {FEWEST_LOOKALIKES} look-alikes (letter for letter, digit for digit)",
                where=where,
                next_step="let the secret be longer: what stands in braces, or the whole line",
            )
    return tuple(lines)


def candidates(canary: Canary, references: int, seed: Digest) -> list[str]:
    """The canary's text and those of `references` look-alikes, each once, in an order that says nothing of which it is.

    Which look-alikes, and the order, derive from `seed` alone.
    """
    texts = {canary.text}
    for secret in _drawn(canary.secret, seed):
        texts.add(f"{canary.before}{secret}{canary.after}")
        if len(texts) > min(references, canary.lookalikes):
            break
    return sorted(texts, key=lambda text: hashlib.sha256(f"{seed} {text}".encode()).digest())


def exposure(rank: int, of: int) -> float:
    """Exposure in bits of what is the `rank`-th likeliest (from 1) of `of` candidates."""
    return math.log2(of) - math.log2(rank)


def _drawn(secret: str, seed: Digest) -> Iterator[str]:
    """Endlessly many secrets of the same shape."""
    number = 0
    while True:
        stream = hashlib.shake_256(f"{seed} {number}".encode()).digest(4 * len(secret))
        draws = [int.from_bytes(stream[at : at + 4]) for at in range(0, len(stream), 4)]
        alphabets = map(_alphabet, secret)
        yield "".join(letters[draw % len(letters)] for letters, draw in zip(alphabets, draws, strict=True))
        number += 1


def _alphabet(character: str) -> str:
    """What may stand for `character`: a digit for a digit, a letter for a letter of the same case, else itself."""
    for letters in (_DIGITS, _LETTERS, _LETTERS.upper()):
        if character in letters:
            return letters
    return character
