"""The governed model asks for its permission before each forward pass.

A hook lies on the transformers model and on its encoder and decoder: every ordinary way (calling the model, generate, a
reference that was kept, the base that was wrapped in place) passes one of them. The checks of each pass take about
ten microseconds; wider checks take turns from one token to the next, and all of them run before a prompt is read and at
each step of ours. Content is summed up in the background.

It is a guard rail and not a wall: code in this process can take the hook off or compute with the tensors by itself.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, NoReturn

from peft_assay.core.certificate import Activation
from peft_assay.core.errors import ActivationDenied, AssayError
from peft_assay.runtime.foreign import Code, Modes
from peft_assay.runtime.kept import (
    Counters,
    Finding,
    Hooks,
    Kinds,
    Look,
    Mode,
    Registries,
    Settings,
    Sizes,
    Tables,
    Tensors,
    Values,
    plain_rows,
    settings_rows,
    tensors_of,
)
from peft_assay.runtime.lengths import Lengths

TUNED = ("_active_adapter", "_disable_adapters", "merged_adapters", "scaling")
"""Attributes of PEFT's layers that decide which adapters answer and how strongly."""
UNDO = "undo it; or call deactivate() and activate it again"
CONTENT_EVERY = 10.0
"""Least seconds between two sums of all content; more where one takes more than a hundredth of that."""
MOMENT = 0.1
"""Seconds for which a model's decoder need not be asked after the model around it was."""
MARK = "_peft_assay_asks"
"""Attribute of each of PEFT's layers that holds an object which cannot be copied."""


class Uncopyable:
    """An object that refuses to be copied or pickled, and so does every object that holds it."""

    __slots__ = ()

    def __copy__(self) -> NoReturn:
        _refuse_copy()

    def __deepcopy__(self, memo: object) -> NoReturn:
        _refuse_copy()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        _refuse_copy()


class Question(Uncopyable):
    """The hook: asks the guard before the forward pass of the module that it was put on, and of no copy of it."""

    __slots__ = ("apart", "ask", "compiling", "place")

    def __init__(self, place: Any, ask: Callable[[Any, Any], None]) -> None:
        import torch

        # A hook traced into a compiled model would run once: the compiler leaves it as it is, and calls it each time.
        self.place, self.ask, self.apart = place, ask, torch.compiler.disable(ask)
        self.compiling = torch.compiler.is_compiling

    def __call__(self, module: Any, arguments: Any, named: Any) -> None:
        """Raise ActivationDenied where the permission does not hold."""
        if module is not self.place:
            raise ActivationDenied(
                "this is a copy of a governed model", check="permission", next_step="activate it on a base of its own"
            )
        if self.compiling():
            self.apart(arguments, named)
        else:
            self.ask(arguments, named)


class Refusal(Uncopyable):
    """A hook that refuses every forward pass, with its reason."""

    __slots__ = ("check", "message", "step")

    def __init__(self, message: str, check: str, step: str) -> None:
        self.message, self.check, self.step = message, check, step

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Raise ActivationDenied."""
        raise ActivationDenied(self.message, check=self.check, next_step=self.step)


class Guard(Uncopyable):
    """The kept state that a governed model is compared with, and its permission."""

    def __init__(
        self,
        wrapped: Any,
        permission: Activation,
        clock: Callable[[], datetime],
        stand: Callable[[], None],
        every: float,
    ) -> None:
        self.permission, self.clock, self.stand, self.every = permission, clock, stand, every
        self.ended = permission.not_after
        self.deadline = time.monotonic() + (permission.not_after - clock()).total_seconds()
        self.process = permission.process_id
        self.stood = time.monotonic()
        self.lock = threading.Lock()
        self.broken: Finding | None = None
        self.inner = wrapped.get_base_model()
        self.places = tuple(places_of(self.inner))
        self.lengths = Lengths(permission, wrapped)
        self._keep(wrapped)

    def _keep(self, wrapped: Any) -> None:
        """List the objects to check, then put the hooks on; the state now is the certified one."""
        import torch

        named = list(wrapped.named_modules(remove_duplicate=True))
        self.tensors = Tensors(tensors_of(named))
        self.summed, self.rest = time.monotonic(), CONTENT_EVERY
        for place in self.places:
            place.register_forward_pre_hook(Question(place, self._asker(place)), with_kwargs=True)
        tuned = [(at, m) for at, m in named if "_active_adapter" in vars(m)]
        for _, module in tuned:
            module.__dict__[MARK] = Question(module, self._asker(module))
        standard = frozenset(vars(torch.nn.Module())) | {MARK}
        self.adapters = Values((f"{at}.", vars(m), tuple(n for n in TUNED if n in vars(m))) for at, m in tuned)
        hooks = Hooks(named, lambda hook: isinstance(hook, Question) and hook.place in self.places)
        count = range(len(self.tensors.named))
        self.wide: tuple[Look, ...] = (
            hooks,
            Sizes(named),
            *(Values(rows) for rows in _pieces([row for row in plain_rows(named, standard, TUNED) if row[2]], 8)),
            *(Counters(self.tensors, numbers) for numbers in _pieces(list(count), 16)),
            *(Registries(rows, self.tensors) for rows in _pieces(named, 48)),
            *(Kinds(rows) for rows in _pieces(named, 96)),
            *(Mode(rows) for rows in _pieces(named, 96)),
            Settings([*settings_rows(named), *_adapter_settings(wrapped)]),
        )
        self.tables: tuple[Look, ...] = tuple(Tables(rows) for rows in _pieces(named, 16))
        self.turns = (*self.wide, *self.tables)
        self.turn = 0
        self.asked, self.asked_until = 0, 0.0
        self.every_module = vars(torch.nn.modules.module)
        self.autocast = torch.is_autocast_enabled
        self.devices = sorted({tensor.device.type for _, tensor in self.tensors.named})
        self.exporting = torch.compiler.is_exporting
        self.tracing = torch.jit.is_tracing
        self.modes = Modes()
        self.dora = _dora_module(named)
        self.code = Code(wrapped)

    def _asker(self, place: Any) -> Callable[[Any, Any], None]:
        if place is self.inner:
            return self._ask_from_the_top

        def ask(arguments: Any, named: Any) -> None:
            asked, self.asked = self.asked, 0
            # Where the transformers model around it was asked a moment ago, it need not be asked again.
            if asked != threading.get_ident() or time.monotonic() >= self.asked_until or os.getpid() != self.process:
                self.quick()
                self._next_looks(arguments, named)

        return ask

    def _ask_from_the_top(self, arguments: Any, named: Any) -> None:
        self.asked_until = min(self.quick() + MOMENT, self.deadline)
        self._next_looks(arguments, named)
        self.asked = threading.get_ident()

    def _next_looks(self, arguments: Any, named: Any) -> None:
        """Run every check before a prompt is read; for each token after it, one of them in turn."""
        if _reads_a_prompt(arguments, named):
            _take(self.wide)
        else:
            self.turn = (self.turn + 1) % len(self.turns)
            _refuse(self.turns[self.turn].ask())
        self.lengths.ask(arguments, named)

    def ask_time(self) -> None:
        """Check process and time only; raises ActivationDenied."""
        if os.getpid() != self.process or time.monotonic() >= self.deadline or self.clock() >= self.ended:
            self._refuse_time()

    def quick(self) -> float:
        """Check process, time, list and adapters, before every forward pass; raises ActivationDenied.

        Returns the moment. Cold caches cost more than work, so it makes few calls, and the reasons are found elsewhere.
        """
        now = time.monotonic()
        if os.getpid() != self.process or now >= self.deadline or self.clock() >= self.ended:
            self._refuse_time()
        if now - self.stood >= self.every:
            self.ask_standing()
            _take(self.tables)
        if now - self.summed >= self.rest:
            self._sum_in_background(now)
        if self.broken is not None:
            _refuse(self.broken)
        if self.adapters.changed():
            _refuse(self.adapters.explain())
        module = self.every_module
        if (
            module["_global_forward_hooks"]
            or module["_global_forward_pre_hooks"]
            or any(map(self.autocast, self.devices))
            or self.exporting()
            or self.tracing()
            or ((self.modes.functions() or self.modes.dispatches()) and self.modes.foreign() is not None)
            or (self.dora is not None and self.dora["ENABLE_DORA_CACHING"])
        ):
            self._refuse_circumstances()
        return now

    def _refuse_time(self) -> NoReturn:
        if os.getpid() != self.process:
            raise ActivationDenied("the permission is another process's", check="process", next_step="activate it here")
        raise ActivationDenied(
            f"the permission ended at {self.ended.isoformat()}",
            check="times",
            next_step="certify it again, then activate it again",
        )

    def _refuse_circumstances(self) -> NoReturn:
        """Raise ActivationDenied with the setting that is in force for the whole process or thread."""
        if self.every_module["_global_forward_hooks"] or self.every_module["_global_forward_pre_hooks"]:
            found = Finding("hooks", "a hook on every module's forward pass is in force in this process")
        elif any(map(self.autocast, self.devices)):
            found = Finding("mode", "autocast is on: answers are computed in another dtype than the certified one")
        elif self.exporting() or self.tracing():
            found = Finding(
                "mode", "it is being exported or traced: the exported model would not ask for its permission"
            )
        elif (mode := self.modes.foreign()) is not None:
            found = Finding("mode", f"{mode} is in force: it may compute something else than torch does")
        else:
            found = Finding("mode", "PEFT's DoraCaching is on: kept norms go on answering when weights change")
        raise _denial(found)

    def ask_standing(self) -> None:
        """Ask whether the permission still stands: the list of withdrawals, waivers, keys. Raises ActivationDenied."""
        try:
            self.stand()
        except ActivationDenied:
            raise
        except AssayError as error:
            raise ActivationDenied(
                f"whether it was withdrawn cannot be known: {error}",
                check="revocations",
                next_step=error.next_step or "find the cause: peft-assay doctor",
            ) from None
        self.stood = time.monotonic()

    def look(self) -> None:
        """Take every look but content; raises ActivationDenied."""
        _take(self.turns)

    def prove(self) -> None:
        """Check everything, content included; raises ActivationDenied."""
        self.ask_standing()
        self.broken = None
        self.quick()
        self.look()
        _refuse(next(self._deep_findings(), None))
        self.summed = time.monotonic()

    def _deep_findings(self) -> Iterator[Finding]:
        """Give what only a walk over all bytes and all code shows."""
        yield from self.tensors.altered()
        yield from (Finding("forward", f"{name} was replaced in this process") for name in self.code.replaced())

    def _sum_in_background(self, now: float) -> None:
        self.summed = now
        threading.Thread(target=self._sum, name="peft-assay content", daemon=True).start()

    def _sum(self) -> None:
        begun = time.thread_time()
        with self.lock:
            self.broken = next(self._deep_findings(), None)
        self.rest = max(CONTENT_EVERY, 100 * (time.thread_time() - begun))


def places_of(inner: Any) -> Iterator[Any]:
    """Return the modules that the hook belongs on: the transformers model, and modules below it that can answer by
    themselves.
    """
    below = [getattr(inner, getattr(inner, "base_model_prefix", "") or "-", None)]
    for name in ("encoder", "decoder"):
        below.extend(getattr(owner, name, None) for owner in (inner, below[0]) if owner is not None)
    seen: set[int] = set()
    for place in (inner, *below):
        if hasattr(place, "register_forward_pre_hook") and id(place) not in seen:
            seen.add(id(place))
            yield place


def retire(wrapped: Any) -> None:
    """Make a PeftModel that its adapter was taken off answer nothing: the base inside has its own life again."""
    refusal = Refusal("it was deactivated", "times", "activate it again")
    wrapped.__dict__.update({"forward": refusal, "generate": refusal})
    wrapped._modules.clear()  # noqa: SLF001 - there is no public way
    wrapped._parameters.clear()  # noqa: SLF001 - there is no public way


def _pieces(rows: list[Any], size: int) -> Iterator[list[Any]]:
    """Cut the kept lists into pieces that take a few microseconds each."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _adapter_settings(wrapped: Any) -> Iterator[tuple[str, Any, frozenset[str]]]:
    for name, config in wrapped.peft_config.items():
        yield f"peft_config.{name}", config, frozenset()


def _dora_module(named: list[tuple[str, Any]]) -> dict[str, Any] | None:
    """Return the module where PEFT keeps the switch of its DoRA cache, if any layer reads it."""
    if not any(hasattr(module, "_dora_cache") for _, module in named):
        return None
    from peft.tuners.lora import dora

    switches: dict[str, Any] = vars(dora)
    return switches


def _reads_a_prompt(arguments: Any, named: Any) -> bool:
    """Whether more than one new token is read: the wide looks cost nothing beside it."""
    given = named.get("input_ids")
    if given is None:
        given = arguments[0] if arguments else named.get("inputs_embeds")
    return given is None or given.ndim < 2 or bool(given.shape[1] > 1)


def _take(looks: tuple[Look, ...]) -> None:
    for look in looks:
        if look.changed():
            _refuse(look.explain())


def _refuse(found: Finding | None) -> None:
    if found is not None:
        raise _denial(found)


def _denial(found: Finding) -> ActivationDenied:
    return ActivationDenied(found.message, check=found.check, next_step=UNDO)


def _refuse_copy() -> NoReturn:
    raise ActivationDenied(
        "a governed model is not copied or pickled, and neither is its permission",
        check="permission",
        next_step="activate the adapter on a base of its own, or save it: save_pretrained, state_dict",
    )
