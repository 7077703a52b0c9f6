"""What the sandbox room offers: its configuration, and the Protocol that each isolation backend implements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from peft_assay.core.sandbox import IsolationLevel, Limits
from peft_assay.sandbox.devices import Device

BackendName = str
"""``namespace``, ``landlock``, or a name that the system configuration gives to another backend."""
NO_WALLS = "none"
"""The name that asks for no walls at all; it needs `allow_unsafe`, and what it observes is of level NONE."""
JOBS_PER_WORKER = 256


@dataclass(frozen=True, slots=True)
class Private:
    """A path that nothing inside may read."""

    path: Path
    called: str
    """The name of the path in messages to people."""
    whole: bool = False
    """Whether no readable file or folder may lie within it, either."""


@dataclass(frozen=True, slots=True)
class SandboxConfiguration:
    """Which base is observed on, and how strong the walls must be at least."""

    base: Path
    """Folder of the base (config.json, safetensors, tokenizer); never taken from an adapter."""
    dtype: str = "float32"
    """torch's name of the dtype that the base is loaded in."""
    task: str = "causal-lm"
    """What kind of base it is: ``causal-lm``, ``seq2seq-lm`` or ``seq-cls``."""
    minimum_level: IsolationLevel = IsolationLevel.PROCESS
    backend: BackendName | None = None
    """The only backend to try; None tries the stronger one first."""
    limits: Limits = field(default_factory=Limits)
    """Ceilings: a job may ask for less, never for more."""
    start_seconds: float = 300.0
    """How long the worker may take to load the base."""
    fresh_processes: bool = False
    """A new process, which loads the base itself, for each job; nothing is shared between jobs but the page cache."""
    device: Device = field(default_factory=Device)
    """What is computed on. Any but the processor means `fresh_processes`, and its nodes are shown to the inside."""
    sentinel_every: int = 8
    """After so many jobs the worker must answer a reference adapter as it did at its start."""
    private: tuple[Private, ...] = ()
    """Private paths: no sandbox is opened that could read one of them, and start-up attacks try to."""
    jobs_per_worker: int = JOBS_PER_WORKER
    """After so many jobs a worker is replaced, even where nothing happened."""


@dataclass(frozen=True, slots=True)
class Program:
    """What runs inside: a module of packages that are made visible there, and digested."""

    module: str
    folders: tuple[Path, ...]
    """Package folders whose Python files make up the program; their parents go on the module path."""


@dataclass(frozen=True, slots=True)
class Mounts:
    """What the inside can read, all of it read-only and at the same path as outside."""

    folders: tuple[Path, ...]
    """Folders with all that is in them but `hidden`, and single files."""
    module_path: tuple[Path, ...]
    devices: tuple[Path, ...] = ()
    """Device nodes, the only things here that can be written to."""
    hidden: tuple[Path, ...] = ()
    """Paths within `folders` that cannot be read, but for those of `folders` that lie in them."""
    modules: Mapping[str, Path] = field(default_factory=dict)
    """All modules that can be imported besides the standard library, by name."""
    versions: Mapping[str, tuple[str, tuple[str, ...]]] = field(default_factory=dict)
    """By distribution: its version and the names of its modules, which the supervisor sends to the worker."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a worker is started."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]


class Backend(Protocol):
    """Puts walls around a worker. Confinement of each job inside the worker is the same for all backends."""

    @property
    def name(self) -> BackendName:
        """As in the attestation."""

    @property
    def ceiling(self) -> IsolationLevel:
        """The best level that these walls can reach; start-up attacks decide what they did reach."""

    def command(self, worker: Sequence[str], mounts: Mounts) -> Command:
        """How to start `worker` (the interpreter and its arguments) behind the walls; called by several threads."""

    def describe(self) -> Mapping[str, Any]:
        """What builds the walls, for the attestation: programs with their digests, user."""
