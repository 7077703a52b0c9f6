"""Observing in waves: several adapters, each in a child of its own, and one question for all of them.

Before anything is signed, or an answer kept, the workers' reference adapter must answer as it did when they
started (`Sandbox.vouch`). Asked after each adapter, it costs as much as a short suite; asked once for a wave, it comes
after all of its adapters and meets whatever any of them left changed (docs/adr/0016 says what it does not meet).

What it does not show is which of them it was. So where nobody vouches for a wave, nothing of it counts: each of its
adapters is observed again, as a new attempt, in a worker that was vouched for after the one before, and only the one
after which the reference fails is void. A wave is closed by its size, by its age, and by whatever the supervisor sees;
all that an interruption loses is the wave that is open.

Where the sandbox has several workers, adapters are exercised side by side: in threads, which touch nothing but the
sandbox. The workspace is read before and written after, in order and by one thread.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

from peft_assay.core.digest import Digest
from peft_assay.core.sandbox import Unvouched
from peft_assay.pipeline.observing import Attempted, Due, Observing, Unsigned, Vouched
from peft_assay.trust.observations import ObservationRecord

WAVE_ADAPTERS = 8
"""For each worker."""
WAVE_AGE = timedelta(minutes=2)
"""Since the first of its adapters began. Whoever takes longer than this hardly notices what the question costs."""

Again = Callable[[Attempted], Attempted]
"""Records a new attempt on the same adapter, and says so."""
Signed = tuple[Attempted, ObservationRecord]


@dataclass(slots=True)
class Waves:
    """The open wave of a run; whatever is not handed on by `observe` and `close` was never signed."""

    observing: Observing
    again: Again
    _open: list[Unsigned] = field(default_factory=list)
    _running: deque[tuple[Attempted, "Future[Unsigned]"]] = field(default_factory=deque)
    _threads: ThreadPoolExecutor | None = None

    def holds(self, artifact: Digest) -> bool:
        """Whether this adapter waits in the open wave."""
        waiting = [*(found.attempted for found in self._open), *(attempted for attempted, _ in self._running)]
        return any(artifact == attempted.artifact for attempted in waiting)

    def observe(self, attempted: Attempted) -> Iterator[Signed]:
        """Runs one adapter, or sees to it that it is run; gives what is signed by now, in order.

        That is nothing, as long as its wave stays open.
        """
        try:
            due = self.observing.prepare(attempted)
        except Unvouched:
            yield from self._start_over([(attempted, None)])
            return
        if isinstance(due, Unsigned):
            yield attempted, self.observing.sign(due, None)
            return
        self._running.append((attempted, self._run(due)))
        while len(self._running) > self._ahead:
            yield from self._settle()
        if self._full():
            yield from self.close()

    def close(self) -> Iterator[Signed]:
        """Waits for what runs, vouches for the open wave and signs it."""
        while self._running:
            yield from self._settle()
        wave = self._open
        if not wave:
            return
        try:
            self.observing.vouch()
        except Unvouched as why:
            yield from self._blame(self._taken(), why)
            return
        self._open = []
        for place, found in enumerate(wave, start=1):
            yield found.attempted, self.observing.sign(found, Vouched(len(wave), place))

    @property
    def _ahead(self) -> int:
        """How many adapters may run or wait while the next is made ready: half of the workers may end at the same time.

        What waits is held in memory.
        """
        at_once = self.observing.at_once
        return 0 if at_once == 1 else at_once + at_once // 2

    def _run(self, due: Due) -> "Future[Unsigned]":
        if self.observing.at_once > 1:
            self._threads = self._threads or ThreadPoolExecutor(self._ahead + 1, "exercise")
            return self._threads.submit(self.observing.exercise, due)
        done: Future[Unsigned] = Future()  # a sandbox with one worker belongs to this thread
        try:
            done.set_result(self.observing.exercise(due))
        except Unvouched as why:
            done.set_exception(why)
        return done

    def _full(self) -> bool:
        if not self._open:
            return False
        many = len(self._open) + len(self._running) >= WAVE_ADAPTERS * self.observing.at_once
        return many or self._open[-1].finished_at - self._open[0].started_at >= WAVE_AGE

    def _settle(self) -> Iterator[Signed]:
        """Waits for the adapter that has run longest."""
        attempted, running = self._running.popleft()
        found = _found(running)
        if found is not None and not self.observing.shared:
            yield attempted, self.observing.sign(found, None)
        elif found is None or found.void:
            yield from self._start_over([(attempted, found)])
        else:
            self._open.append(found)

    def _start_over(self, ended: list[tuple[Attempted, Unsigned | None]]) -> Iterator[Signed]:
        """A worker is gone that could have vouched for others: because its adapter is void, or changed as it was asked.

        `ended` are adapters with what was found of them, None where the worker had changed. All that ran beside them is
        waited for. What is void stays so; the others are observed again.
        """
        ended = [*ended, *((attempted, _found(running)) for attempted, running in self._running)]
        self._running.clear()
        lost = [*self._taken(), *(attempted for attempted, found in ended if found is None or not found.void)]
        if lost:
            yield from self._one_by_one(lost)
        for attempted, found in ended:
            if found is not None and found.void:
                yield attempted, self.observing.sign(found, None)

    def _taken(self) -> list[Attempted]:
        """The adapters of the open wave, which is no more: nothing that was observed of them counts."""
        wave, self._open = self._open, []
        return [found.attempted for found in wave]

    def _blame(self, wave: list[Attempted], why: Unvouched) -> Iterator[Signed]:
        """The reference failed after these: it was this one, or one of them."""
        if len(wave) == 1:
            yield wave[0], self.observing.sign(self.observing.accused(wave[0], why), None)
        else:
            yield from self._one_by_one(wave)

    def _one_by_one(self, wave: list[Attempted]) -> Iterator[Signed]:
        with contextlib.suppress(Unvouched):
            self.observing.vouch()  # what was lost is nobody's fault from here on
        for attempted in map(self.again, wave):
            try:
                due = self.observing.prepare(attempted)
                found = due if isinstance(due, Unsigned) else self.observing.exercise(due)
                self.observing.vouch()
            except Unvouched as why:
                found = self.observing.accused(attempted, why)
            vouched = None if found.void or found.exercised is None else Vouched(1, 1)
            yield attempted, self.observing.sign(found, vouched)


def _found(running: "Future[Unsigned]") -> Unsigned | None:
    """What was found of an adapter, when it has run; None where the worker had changed that was to run it."""
    try:
        return running.result()
    except Unvouched:
        return None
