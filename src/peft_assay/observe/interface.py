"""The observe room's static half: what a probe looks at, and what it gives."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from peft_assay.core.artifact import Artifact
from peft_assay.core.certificate import RevocationList
from peft_assay.core.content import Content
from peft_assay.core.context import Engine, Lengths
from peft_assay.core.digest import Digest
from peft_assay.core.observation import Observation
from peft_assay.core.publisher import Publishers
from peft_assay.core.rights import Clearance, Declaration, Metadata


@dataclass(frozen=True, slots=True)
class Matrix:
    """One tensor of the base's files."""

    dtype: str
    """As safetensors names it."""
    shape: tuple[int, ...]
    read: Callable[[int, int], bytes]
    """Gives the bytes of its rows from the first number up to, and without, the second."""


@dataclass(frozen=True, slots=True)
class BaseFacts:
    """What the folder of the served base says of its sizes."""

    norms: Mapping[str, float] = field(default_factory=dict)
    """Frobenius norm of its tensors by their original name; read when asked for."""
    positions: int | None = None
    """Most tokens of a sequence; None: it does not say."""
    vocabulary: int | None = None
    """Rows of its embedding; None: it does not say."""
    tensors: Mapping[str, Matrix] = field(default_factory=dict)
    """Its tensors by their original name; read when asked for."""
    tokenizer: Callable[[], bytes] | None = None
    """Gives its tokenizer.json; None where it has none."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The withdrawn adapters known in this workspace, and the adapter's own files to compare with them."""

    list: RevocationList | None
    """The newest list, verified; None where there is none yet."""
    files: Mapping[str, bytes]
    """Configuration and weights; empty where no withdrawal in force needs them."""


@dataclass(frozen=True, slots=True)
class Resolution:
    """What a resolver answered."""

    resolved: bool | None
    """None: it could not say."""
    said: str
    """In its own words."""


Resolve = Callable[[Sequence[str]], Resolution]
"""Asks whether requirements can be met beside what the deployment's lock pins."""


@dataclass(frozen=True, slots=True)
class StaticContext:
    """What the deployment context declares and static probes need."""

    engine: Engine
    datasets: Mapping[str, str] = field(default_factory=dict)
    """The consumer's register: dataset id to the licence id that somebody looked up. Absent means unknown."""
    base_licence: str | None = None
    """The base's licence id, as the context declares it."""
    licence_overrides: Mapping[Digest, str] = field(default_factory=dict)
    """Artifact digest to licence id: a legal decision that replaces what the card says (or does not)."""
    dataset_overrides: Mapping[Digest, tuple[str, ...]] = field(default_factory=dict)
    """Artifact digest to ids of the register: what exactly these bytes were trained on, beside what the card says."""
    publishers: Publishers = field(default_factory=Publishers)
    """By what publishers are known."""
    base: BaseFacts | None = None
    """The base that is served; None where none is at hand."""
    task: str | None = None
    """What kind of base it is, as the context names it; None where there is no context."""
    read: Callable[[str], bytes] | None = None
    """Gives a file of the adapter by path, verified; None where its files are not at hand."""
    weights: Callable[[], bytes] | None = None
    """Gives the adapter's weights file, verified; asked only where it holds tensors of the base. None: not at hand."""
    locked: Mapping[str, str] | None = None
    """Version of every distribution of the serving environment by normalised name; None where no lock is declared."""
    resolve: Resolve | None = None
    """None where the context does not ask for it."""
    commercial_use: bool = True
    """Whether the purpose is commercial. Facts about licences are observed either way; the policy judges."""
    production: bool = False
    """Whether the context is one of production."""
    maximum_age: timedelta = timedelta(0)
    """How long the context lets a certificate live at most; zero where there is no context."""
    lengths: Lengths | None = None
    """The longest prompt and answer that the context declares."""
    declaration: Declaration | None = None
    """What the consumer declares of the place that the artifact came from."""
    metadata: Mapping[tuple[str, str], Metadata] = field(default_factory=dict)
    """What was kept of repositories in the lineage, by kind (model, dataset) and id. Never fetched while observing."""
    base_metadata: Metadata | None = None
    """What the folder of the base that is served says of itself."""
    snapshot: Digest | None = None
    """The snapshot that `metadata` is of."""
    clearances: tuple[Clearance, ...] = ()
    """Signed clearances of this artifact, verified; whether one is in force is asked of it."""
    withdrawn: Withdrawn | None = None
    """None where no workspace with withdrawals is at hand."""
    now: datetime | None = None
    """When clearances are asked, and certificates without a trusted time; None: none is in force."""


@dataclass(frozen=True, slots=True)
class StaticSubject:
    """One artifact before anything of it was instantiated."""

    artifact: Artifact
    files: Mapping[str, Content]
    """What was kept of each file, by path: of the bytes that the artifact's digests are over."""
    context: StaticContext
    sightings: Mapping[str, Any] = field(default_factory=dict)
    """What was seen of files while they were read (`observe.static.weights.watch_weights`), by path."""


class Probe(Protocol):
    """One static look at a subject. Each instance covers fixed terms of the vocabulary and covers them all."""

    @property
    def id(self) -> str:
        """Stable name, part of the lock."""

    @property
    def version(self) -> str:
        """Changes when the same bytes may be observed differently."""

    @property
    def terms(self) -> tuple[str, ...]:
        """Names of the vocabulary that `observe` gives, each exactly once."""

    def observe(self, subject: StaticSubject) -> Iterable[Observation]:
        """The observations of `subject`; may raise Unreadable when a file it needs cannot be read."""


class Unreadable(Exception):
    """What a probe needs is absent or has more than one reading; its terms become failed observations."""
