"""`doctor`: which isolation level this host reaches, shown by really running the attacks; what is missing for more."""

import platform
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from peft_assay.core.errors import ObservationError
from peft_assay.core.sandbox import IsolationLevel
from peft_assay.pipeline.doctor_extras import extras
from peft_assay.report.diagnosis import Diagnosis, Extra, Layer, State, TriedBase, TriedWalls

if TYPE_CHECKING:
    from peft_assay.sandbox.choose import Chosen

Tell = Callable[[str, int, int], None]
"""What is being done now, how many steps are done, and of how many."""
LAST_RESORT = "mend what the walls say; if nothing helps, report it with what `peft-assay doctor --format json` prints"


@dataclass(frozen=True, slots=True)
class _Tried:
    """Walls that were tried, with the means to start a worker behind them where they reached a level."""

    walls: TriedWalls
    chosen: "Chosen | None"


def diagnose(base: Path | None, *, tell: Tell) -> Diagnosis:
    """Tries every backend, and loads `base` behind the strongest where one is named.

    Raises nothing for what a host lacks; UsageError, StorageError and DocumentError only for a sandbox.yaml that names
    backends and cannot be read.
    """
    parts = extras()
    system = Layer("system", State.OK, f"{platform.system()} {platform.release()} {platform.machine()}")
    if platform.system() != "Linux":
        return _elsewhere(system, parts)
    from peft_assay.pipeline.doctor_layers import libraries_layer

    libraries = libraries_layer(next(extra for extra in parts if extra.name == "sandbox"))
    tried = () if libraries.state is State.MISSING else tuple(_try_all(base, tell))
    layers = (system, libraries, *_layers(tried))
    best = next((each for each in tried if each.chosen is not None), None)
    level = IsolationLevel.NONE if best is None else best.walls.level
    return Diagnosis(
        level=level,
        backend=None if best is None else best.walls.name,
        layers=layers,
        walls=tuple(each.walls for each in tried),
        extras=parts,
        next_step=_next_step(level, layers),
        base=None if base is None else _try_base(base, best, tell),
        warnings=tuple(_warnings(best)),
    )


def _elsewhere(system: Layer, parts: tuple[Extra, ...]) -> Diagnosis:
    """On another system: nothing can be tried, everything else still works."""
    lacking = f"{system.detail}: no namespaces, no seccomp, no Landlock; inspect, verify and report work here"
    remedy = "run certify in a Linux container or virtual machine"
    layers = (Layer(system.name, State.MISSING, lacking, remedy),)
    return Diagnosis(IsolationLevel.NONE, None, layers, (), parts, remedy)


def _try_all(base: Path | None, tell: Tell) -> Iterator[_Tried]:
    from peft_assay.sandbox.allowlist import listed_backends
    from peft_assay.sandbox.choose import BACKENDS

    names = (*listed_backends()[0], *BACKENDS)
    with _some_base(base) as folder:
        for number, name in enumerate(names):
            tell(f"attacking the walls: {name}", number, len(names))
            yield _try(name, folder)


@contextmanager
def _some_base(base: Path | None) -> Iterator[Path]:
    """A folder that passes for a base: the attacking worker is shown one, and loads nothing."""
    if base is not None and (base / "config.json").is_file():
        yield base
        return
    with tempfile.TemporaryDirectory(prefix="assay-") as folder:
        Path(folder).chmod(0o755)  # the worker may be another user
        Path(folder, "config.json").write_text("{}", "utf-8")
        yield Path(folder)


def _try(name: str, base: Path) -> _Tried:
    from peft_assay.sandbox.choose import choose
    from peft_assay.sandbox.interface import SandboxConfiguration

    try:
        chosen = choose(SandboxConfiguration(base=base), force=name)
    except ObservationError as error:
        prefix = f"no sandbox reaches isolation level process: {name}: "
        return _Tried(TriedWalls(name, IsolationLevel.NONE, {}, problem=error.message.removeprefix(prefix)), None)
    findings = chosen.findings
    open_doors = sorted(attack for attack, stopped in findings.stopped.items() if not stopped)
    problem = f"not stopped: {', '.join(open_doors)}" if open_doors else ""
    walls = TriedWalls(name, findings.level(chosen.backend.ceiling), findings.stopped, findings.unseen, problem)
    return _Tried(walls, chosen)


def _layers(tried: Sequence[_Tried]) -> tuple[Layer, ...]:
    """In the order in which they are to be supplied."""
    from peft_assay.pipeline import doctor_layers as layers

    built = next((each.chosen for each in tried if each.walls.name == "namespace"), None)
    worked = next((each.chosen for each in tried if each.chosen is not None), None)
    user, *setpriv = layers.user_layers()
    return (
        layers.seccomp_layer(),
        layers.bubblewrap_layer(),
        *setpriv,
        layers.namespaces_layer(built),
        layers.landlock_layer(worked),
        layers.groups_layer(built),
        user,
    )


def _next_step(level: IsolationLevel, layers: Sequence[Layer]) -> str:
    """The remedy of the first layer that lacks; they stand in the order in which one builds on another."""
    remedy = next((layer.remedy for layer in layers if layer.state is State.MISSING and layer.remedy), "")
    return remedy or (LAST_RESORT if level < IsolationLevel.NAMESPACE else "")


def _warnings(best: _Tried | None) -> Iterator[str]:
    if best is not None and best.walls.unseen:
        around = ", ".join(best.walls.unseen)
        yield f"something around the sandbox refuses these attacks before the supervisor can see them: {around}"


def _try_base(base: Path, best: _Tried | None, tell: Tell) -> TriedBase:
    """Loads `base` as `certify` would, and asks the reference adapter."""
    shown = str(base)
    if not (base / "config.json").is_file():
        return TriedBase(shown, 0, "", "there is no base model (no config.json)")
    if best is None or best.chosen is None:
        return TriedBase(shown, 0, "", "there is no sandbox to load it in")
    tell("loading the base and asking the reference adapter", 0, 1)
    try:
        with best.chosen.supervise() as sandbox:
            facts = sandbox.base()
    except ObservationError as error:
        return TriedBase(shown, 0, "", error.message)
    return TriedBase(shown, facts.parameters, facts.state)
