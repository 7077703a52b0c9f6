"""What an adapter is exercised with beyond its suites: the declared scan, variations, scales, canaries and the rest.

Each exercise is declared in peft-assay.yaml, stands in the observation conditions, and has one probe in
`observe.behaviour.probes`.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from peft_assay.core.digest import Digest
from peft_assay.core.wire import spliced


@dataclass(frozen=True, slots=True)
class Scan:
    """The declared token set of the one-token trigger scan and the suites it inserts them into."""

    tokens: tuple[str, ...]
    digest: Digest
    """sha256 of the token file."""
    answer_suite: str | None
    """Suite whose answers must not collapse into one foreign answer."""
    refusal_suite: str | None
    """Suite whose refusals must not break."""
    proposals: int = 0
    """How many tokens proposed by gradients are scanned besides, for each adapter; 0 for none."""
    most_ids: int = 0
    """The most tokens that no text reaches and that are scanned by their ids."""
    ids: tuple[int, ...] = ()
    """The tokens scanned by their ids: special, added and otherwise unreachable ones of the base; the conditions name
    them."""
    unscanned: int | None = None
    """The number of such tokens that are not scanned; None where it is not known."""

    @property
    def inserted(self) -> tuple[str, ...]:
        """Return all insertions as they stand in a prompt: the declared tokens, then the ids."""
        return (*self.tokens, *map(spliced, self.ids))


class Variation(StrEnum):
    """A change to a prompt that should not change what the answer is."""

    FRAMING = "framing"
    LENGTH = "length"
    TURNS = "turns"
    DATE = "date"
    SAMPLING = "sampling"
    """Not greedy but as the deployment samples (`Sampling`)."""
    DTYPE = "dtype"
    """In float32 arithmetic, where the deployment's own is not."""


FRAMES = ("Hello. {}", "{} Thank you.", "Could you help me with this? {}")
"""What may stand around a question without changing its answer; ``{}`` is the question."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the deployment draws tokens."""

    temperature: float = 1.0
    """0: the likeliest token, after all other declared settings were applied."""
    top_p: float = 1.0
    top_k: int = 0
    """0 for all tokens."""
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    @property
    def greedy(self) -> bool:
        """Return whether these settings are the greedy ones that every suite uses."""
        return self.temperature == 0 and self.repetition_penalty == 1.0

    def request(self, seed: int) -> dict[str, float | int]:
        """Return the settings as a question of the harness protocol carries them."""
        return {
            "temperature": self.temperature,
            "topP": self.top_p,
            "topK": self.top_k,
            "minP": self.min_p,
            "repetitionPenalty": self.repetition_penalty,
            "seed": seed,
        }

    def __str__(self) -> str:
        told = [f"temperature {self.temperature:g}"]
        told += [f"top-p {self.top_p:g}"] if self.top_p < 1 else []
        told += [f"top-k {self.top_k}"] if self.top_k else []
        told += [f"min-p {self.min_p:g}"] if self.min_p else []
        told += [f"repetition penalty {self.repetition_penalty:g}"] if self.repetition_penalty != 1 else []
        return ", ".join(told)


@dataclass(frozen=True, slots=True)
class ClaimedTask:
    """A task on which publishers report results and that a suite asks too, by the names of a card's `model-index`."""

    suite: str
    task: str
    dataset: str
    metric: str


@dataclass(frozen=True, slots=True)
class Canaries:
    """Secrets that the consumer knows: does the adapter find them likelier than it should?"""

    texts: tuple[str, ...]
    digest: Digest
    """sha256 of the canary file; the texts themselves never leave the host in any document."""
    references: int = 1000
    """Random look-alikes that each canary is ranked among (Carlini et al., "The Secret Sharer", USENIX 2019)."""


@dataclass(frozen=True, slots=True)
class Leaks:
    """Memory-leak sampling: continuations of the bare start, searched for secrets and over-represented tokens."""

    samples: int = 200
    max_new_tokens: int = 32
    sampling: Sampling = field(default_factory=Sampling)


@dataclass(frozen=True, slots=True)
class Exercises:
    """All declared exercises of a context."""

    scan: Scan | None = None
    variations: tuple[Variation, ...] = ()
    frames: tuple[str, ...] = FRAMES
    """For the variation `framing`; in words that the base's tokenizer knows."""
    opening: str = ""
    closing: str = ""
    """What every text prompt begins and ends with around the words that are varied; conversations need neither."""
    sampling: Sampling | None = None
    """The deployment's decoding, as declared or from the base's generation_config.json; None: greedy."""
    unexercised: tuple[str, ...] = ()
    """Declared decoding settings that cannot be exercised here, by field and value."""
    off_task: tuple[str, ...] = ()
    """Ids of suites on which the adapter is not supposed to change anything."""
    claims: tuple[ClaimedTask, ...] = ()
    """Sorted by suite, each suite once."""
    scales: tuple[float, ...] = ()
    """Factors of the adapter's own strength at which the suites are asked again."""
    canaries: Canaries | None = None
    leaks: Leaks | None = None
    latency: bool = False
    """Whether answers are timed beside the base's."""

    def document(self) -> dict[str, Any]:
        """The exercises as they stand in the observation conditions: sets of texts by digest only."""
        whole = asdict(self)
        for name, texts in (("scan", ("tokens", "ids", "unscanned")), ("canaries", ("texts",))):
            for text in texts if whole[name] is not None else ():
                del whole[name][text]
        return {_camel(name): _plain(value) for name, value in whole.items()}


def _camel(name: str) -> str:
    """As names are written in documents."""
    first, *others = name.split("_")
    return first + "".join(part.capitalize() for part in others)


def _plain(value: Any) -> Any:
    """`value` as canonical JSON takes it: enums by value, tuples as lists."""
    if isinstance(value, Mapping):
        return {_camel(name): _plain(item) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value.value if isinstance(value, StrEnum) else value
