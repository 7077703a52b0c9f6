"""peft-assay.yaml: the one document that holds it all to begin with."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from peft_assay.core.errors import DocumentError, StorageError, UsageError
from peft_assay.core.exercises import FRAMES
from peft_assay.core.parse import MAX_DOCUMENT_BYTES, parse_yaml, validate
from peft_assay.core.sandbox import IsolationLevel

FILE_NAME = "peft-assay.yaml"
_DURATION = re.compile(r"([1-9][0-9]{0,5})(s|m|h|d)")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _duration(value: Any) -> Any:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a duration is a number and a unit, such as 30d, 12h or 90m")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


def _level(value: Any) -> Any:
    names = {"process": IsolationLevel.PROCESS, "namespace": IsolationLevel.NAMESPACE}
    if value not in names:
        raise ValueError("one of: " + ", ".join(names))
    return names[value]


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Level = Annotated[IsolationLevel, BeforeValidator(_level)]
Licence = Annotated[str, Field(min_length=1, max_length=100)]


class BaseSection(_Closed):
    """The base that the deployment serves. It never comes from an adapter."""

    path: str
    licence: Licence | None = None
    """Licence identifier of the base, as the consumer found it to be; not declared: it is not known."""
    task: Literal["causal-lm", "seq2seq-lm", "seq-cls"] = "causal-lm"
    """What kind of model it is: one that continues texts, rewrites them, or sorts them into classes."""


class EngineSection(_Closed):
    """The serving engine and its material settings."""

    name: str = "peft"
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    maxRank: int | None = Field(default=None, ge=1, le=1 << 20)


class StackSection(_Closed):
    """The serving environment."""

    lock: str
    """File that locks it: ``pylock.toml`` (PEP 751), or ``name==version`` lines."""
    resolve: bool = False
    """Whether uv is asked if what an adapter needs can be installed beside the lock: it asks the package index."""


class PromptFile(_Closed):
    """A text that lies in a file of its own."""

    file: str


class LengthsSection(_Closed):
    """The longest prompt and answer that the deployment serves, in tokens of its base."""

    prompt: int = Field(ge=1, le=1 << 30)
    answer: int = Field(ge=0, le=1 << 30)
    beyond: Literal["warn", "refuse"] = "warn"


class ContextSection(_Closed):
    """What a verdict holds for."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")
    purpose: str = Field(min_length=1, max_length=500)
    base: BaseSection
    engine: EngineSection = EngineSection()
    stack: StackSection | None = None
    systemPrompt: str | PromptFile | None = None
    """Put before every conversation that has no system prompt of its own."""
    lengths: LengthsSection | None = None
    """Not declared: the lengths that were tested are the lengths that are served."""
    labels: dict[str, str] = {}
    maximumAge: Duration = timedelta(days=30)
    production: bool = False
    minimumIsolation: Level = IsolationLevel.PROCESS


class LimitsSection(_Closed):
    """Bounds on the job of one adapter, and of the base alone."""

    wallSeconds: int = Field(default=120, ge=1, le=86_400)
    cpuSeconds: int = Field(default=120, ge=1, le=86_400)
    memoryMiB: int = Field(default=1024, ge=64, le=1 << 20)
    """Beyond what the warmed worker has."""
    outputMiB: int = Field(default=16, ge=1, le=4096)


class ScanSection(_Closed):
    """The one-token trigger scan."""

    tokens: str
    answers: str | None = None
    refusals: str | None = None
    specialTokens: bool = False
    """Whether the special tokens of the base's tokenizer are scanned besides."""
    ids: int = Field(default=512, ge=0, le=1_000_000)
    """How many tokens that no text reaches (special, added and others) are scanned by their ids, at most."""
    proposals: int = Field(default=0, ge=0, le=256)
    """How many tokens proposed by gradients are scanned besides, for each adapter and suite."""


class ClaimSection(_Closed):
    """A result of the card's `model-index`, by the names that the card uses."""

    task: str = Field(min_length=1, max_length=200)
    dataset: str = Field(min_length=1, max_length=200)
    metric: str = Field(min_length=1, max_length=200)


class SamplingSection(_Closed):
    """How the deployment draws tokens; temperature 0 for the likeliest."""

    temperature: float = Field(default=1.0, ge=0, le=10)
    topP: float = Field(default=1.0, gt=0, le=1)
    topK: int = Field(default=0, ge=0, le=1_000_000)
    minP: float = Field(default=0.0, ge=0, le=1)
    repetitionPenalty: float = Field(default=1.0, gt=0, le=10)


class TextPromptsSection(_Closed):
    """What every text prompt has around the user's own words; conversations need neither."""

    opening: str = Field(default="", max_length=1000)
    closing: str = Field(default="", max_length=1000)


class CanariesSection(_Closed):
    """Secrets that the consumer knows, one a line."""

    file: str
    references: int = Field(default=1000, ge=100, le=100_000)


class LeaksSection(_Closed):
    """Sampling of what an adapter says when it is asked nothing."""

    samples: int = Field(default=200, ge=20, le=10_000)
    maxNewTokens: int = Field(default=32, ge=1, le=1024)


VariationName = Literal["framing", "length", "turns", "date", "sampling", "dtype"]
Frame = Annotated[str, Field(min_length=3, max_length=1000)]


class BehaviourSection(_Closed):
    """What an adapter is exercised with, and compared with, beyond its suites."""

    offTask: list[str] = Field(default=[], max_length=1000)
    claims: dict[str, ClaimSection] = {}
    variations: list[VariationName] = Field(default=[], max_length=6)
    frames: list[Frame] = Field(default=list(FRAMES), min_length=1, max_length=100)
    textPrompts: TextPromptsSection = TextPromptsSection()
    sampling: SamplingSection | None = None
    """Not declared: as the base's generation_config.json says."""
    scales: list[Annotated[float, Field(gt=0, le=4)]] = Field(default=[], max_length=20)
    canaries: CanariesSection | None = None
    leaks: LeaksSection | None = None
    latency: bool = False


class DeclaredRights(_Closed):
    """What the consumer established for one adapter, by means that `reason` says: its licence, its data, or both."""

    licence: Licence | None = None
    datasets: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(default=[], max_length=100)
    """Ids of `rights.datasets`."""
    reason: str = Field(min_length=1, max_length=1000)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.licence is None and not self.datasets:
            raise ValueError("declares neither a licence nor datasets")
        return self


class RightsSection(_Closed):
    """Registers by which rights are decided; `declared` is keyed by artifact digest."""

    commercialUse: bool = True
    datasets: dict[str, Licence] = {}
    declared: dict[Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")], DeclaredRights] = {}


class DeclarationSection(_Closed):
    """What holds for everything that comes from one place of the consumer's own; the first that matches decides."""

    match: str = Field(min_length=1, max_length=500)
    """Name of a source as on the command line, with ``*`` for any part of a segment and ``**`` for any rest."""
    owner: str = Field(min_length=1, max_length=200)
    licence: Licence | None = None
    datasets: list[Annotated[str, Field(min_length=1, max_length=200)]] = Field(default=[], max_length=100)
    """Ids of `rights.datasets`."""


class OwnedSuite(_Closed):
    """A suite that must be signed by its owner."""

    path: str
    owner: str
    """Name under `owners`."""


class PublisherSection(_Closed):
    """By what a publisher is known: a key, or whom certificates must name and whose word that must be."""

    key: str | None = None
    """File of a public key (PEM); a publisher that is text and no mapping is this."""
    trustRoot: str | None = None
    """File of a Sigstore's TrustedRoot document."""
    issuer: str | None = Field(default=None, min_length=1, max_length=2000)
    authorities: str | None = None
    """File of X.509 certificates of authorities (PEM)."""
    identity: str | None = Field(default=None, min_length=1, max_length=2000)
    identityPattern: str | None = Field(default=None, min_length=1, max_length=2000)

    @model_validator(mode="before")
    @classmethod
    def _spelt_out(cls, value: Any) -> Any:
        return {"key": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _is_one_way(self) -> Self:
        if [self.key, self.trustRoot, self.authorities].count(None) != 2:
            raise ValueError("gives exactly one of key, trustRoot and authorities")
        if (self.trustRoot is None) != (self.issuer is None):
            raise ValueError("issuer goes with trustRoot, and trustRoot with issuer")
        if [self.key, self.identity, self.identityPattern].count(None) != 2:
            raise ValueError("gives exactly one of identity and identityPattern; a key, neither")
        return self


class AdapterSection(_Closed):
    """One alias of the declared surface."""

    source: str


class AssayDocument(_Closed):
    """The whole of peft-assay.yaml."""

    apiVersion: Literal["peft-assay/v1"]
    kind: Literal["Assay"]
    context: ContextSection
    policy: str = "builtin:default"
    suites: list[str | OwnedSuite] = Field(min_length=1, max_length=1000)
    owners: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")], str] = {}
    """Name to file of the public key (PEM) by which an owner of suites is known."""
    scan: ScanSection | None = None
    limits: LimitsSection = LimitsSection()
    behaviour: BehaviourSection = BehaviourSection()
    rights: RightsSection = RightsSection()
    declarations: list[DeclarationSection] = Field(default=[], max_length=1000)
    publishers: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")], PublisherSection] = {}
    """Name to by what a publisher is known."""
    adapters: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")], AdapterSection] = {}


def read_assay(path: Path) -> AssayDocument:
    """The document at `path`; raises DocumentError with the field, UsageError when there is no such file."""
    return validate(AssayDocument, parse_yaml(read_file(path), where=str(path)), where=str(path))


def read_file(path: Path, *, named_by: str | None = None) -> bytes:
    """The bytes of a file that somebody wrote. `named_by` is the document and field that names it.

    Raises DocumentError when a document names what is not there, UsageError when a command line does.
    """
    where = named_by or str(path)
    try:
        if path.exists() and not path.is_file():
            raise IsADirectoryError
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        message = f"there is no file {path}"
        if named_by is None:
            raise UsageError(message, next_step="peft-assay init") from None
        raise DocumentError(message, where=where) from None
    except OSError as error:
        raise StorageError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(content) > MAX_DOCUMENT_BYTES * 8:
        raise DocumentError(f"{len(content)} bytes are too many for a document", where=where)
    return content


def find_assay(start: Path) -> Path:
    """The nearest peft-assay.yaml from `start` upward; raises UsageError when there is none."""
    for folder in (start, *start.parents):
        candidate = folder / FILE_NAME
        if candidate.is_file():
            return candidate
    raise UsageError(
        f"no {FILE_NAME} in {start} or any folder above it",
        next_step="peft-assay init, or name one with --context FILE",
    )
