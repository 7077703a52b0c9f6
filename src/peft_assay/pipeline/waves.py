"""Observing in waves: several adapters one after another, each in a child of its own, and one question for all of them.

Before anything is signed, or an answer kept, the worker's reference adapter must answer as it did when the worker
started (`Sandbox.vouch`). Asked after each adapter, it costs as much as a short suite; asked once for a wave, it comes
after all of its adapters and meets whatever any of them left changed (docs/adr/0016 says what it does not meet).

What it does not show is which of them it was. So where nobody vouches for a wave, nothing of it counts: each of its
adapters is observed again, as a new attempt, in a worker that was vouched for after the one before, and only the one
after which the reference fails is void. A wave is closed by its size, by its age, and by whatever the supervisor sees;
all that an interruption loses is the wave that is open.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from peft_assay.core.digest import Digest
from peft_assay.core.sandbox import Unvouched
from peft_assay.pipeline.observing import Attempted, Observing, Unsigned, Vouched
from peft_assay.trust.observations import ObservationRecord

WAVE_ADAPTERS = 8
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

    def holds(self, artifact: Digest) -> bool:
        """Whether this adapter waits in the open wave."""
        return any(artifact == found.attempted.artifact for found in self._open)

    def observe(self, attempted: Attempted) -> Iterator[Signed]:
        """Runs one adapter; gives what is signed by now, in order: nothing, as long as its wave stays open."""
        try:
            found = self.observing.observe(attempted)
        except Unvouched:
            # The sandbox asked of itself, and its worker is gone: with it the evidence for all that it observed.
            yield from self._one_by_one([*self._taken(), attempted])
            return
        if found.exercised is None or not self.observing.shared:
            yield attempted, self.observing.sign(found, None)
        elif found.void:
            yield from self._end_with(found)
        else:
            self._open.append(found)
            if len(self._open) >= WAVE_ADAPTERS or found.finished_at - self._open[0].started_at >= WAVE_AGE:
                yield from self.close()

    def close(self) -> Iterator[Signed]:
        """Vouches for the open wave and signs it."""
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

    def _taken(self) -> list[Attempted]:
        """The adapters of the open wave, which is no more: nothing that was observed of them counts."""
        wave, self._open = self._open, []
        return [found.attempted for found in wave]

    def _end_with(self, found: Unsigned) -> Iterator[Signed]:
        """The supervisor saw something: its adapter is void, and the worker is gone that could vouch for the others."""
        earlier = self._taken()
        if earlier:
            yield from self._one_by_one(earlier)
        yield found.attempted, self.observing.sign(found, None)

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
                found = self.observing.observe(attempted)
                self.observing.vouch()
            except Unvouched as why:
                found = self.observing.accused(attempted, why)
            yield attempted, self.observing.sign(found, None if found.void else Vouched(1, 1))
