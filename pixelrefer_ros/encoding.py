# SPDX-License-Identifier: Apache-2.0
"""The encoding worker: the only owner of the region encoder. Keyframes in, observations out."""

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_ros.counters import Counters
from pixelrefer_ros.objects import ObjectTable
from pixelrefer_ros.worker import OBSERVING, Worker, internal


@dataclass(frozen=True)
class Keyframe:
    """One object on one keyframe; due: its track there, why it is observed, and where it was, see
    Due. generation: of the object when the mask was made."""

    object_id: str
    generation: int
    due: Any = field(repr=False)


@dataclass(frozen=True)
class _Pending:
    frame: Frame = field(repr=False)
    epoch: int
    keyframe: Keyframe
    ticket: int


class EncodingWorker(Worker):
    """One keyframe waits for each object, the newest wins. Objects of a frame are encoded in one
    pass of the vision tower.

    on_observed(): called after every pass, by the worker; on_remembered(observations): before it,
    with what came of it. on_fault(epoch, trace, error).
    """

    def __init__(self, engine, table: ObjectTable, counters: Counters,
                 on_fault: Callable[[int, str, PixelReferError], None], *,
                 threads: int) -> None:
        super().__init__('encoder', threads, OBSERVING)
        self._engine = engine
        self._table = table
        self._counters = counters
        self._on_fault = on_fault
        self._pending: dict[str, _Pending] = {}
        self._tickets = 0
        self._working: list[_Pending] = []
        self.on_observed: Callable[[], None] = lambda: None
        self.on_remembered: Callable[[list], None] = lambda _observations: None

    # --- by any thread

    def submit(self, frame: Frame, epoch: int, keyframes: list[Keyframe]) -> None:
        """Hand in objects on one frame; what waited for the same objects is superseded."""
        with self.condition:
            if self.closed:
                return
            for keyframe in keyframes:
                self._tickets += 1
                old = self._pending.get(keyframe.object_id)
                if old is not None:
                    self._counters.add('superseded')
                # It takes the place in the queue, and the ticket: whoever waits for the old one
                # is served by the new one.
                self._pending[keyframe.object_id] = _Pending(
                    frame, epoch, keyframe, old.ticket if old else self._tickets)
            self.condition.notify_all()

    def ticket(self) -> int:
        """A mark of now: `done` says when all that was handed in before it is through."""
        with self.condition:
            return self._tickets

    def done(self, ticket: int, object_ids: list[str]) -> bool:
        """Whether no keyframe of these objects from before the mark is still on its way."""
        with self.condition:
            return self.closed or not any(
                p.ticket <= ticket and p.keyframe.object_id in object_ids
                for p in [*self._pending.values(), *self._working])

    def wait_idle(self) -> None:
        """Block until nothing is on its way; for lockstep only."""
        with self.condition:
            self.condition.wait_for(
                lambda: self.closed or not (self._pending or self._working))

    @property
    def waiting(self) -> int:
        """Keyframes that wait."""
        return len(self._pending)

    # --- the worker's thread

    def next_work(self) -> Callable[[], None] | None:
        if not self._pending:
            return None
        first = next(iter(self._pending.values()))
        together = [p for p in self._pending.values() if p.frame is first.frame]
        for pending in together:
            del self._pending[pending.keyframe.object_id]
        self._working = together
        return lambda: self._encode(first.frame, first.epoch, [p.keyframe for p in together])

    def give_up(self) -> list[Callable[[], None]]:
        self._pending.clear()
        return []

    def _encode(self, frame: Frame, epoch: int, keyframes: list[Keyframe]) -> None:
        began = time.monotonic()
        try:
            keyframes = [k for k in keyframes if self._valid(k, epoch)]
            observations = self._engine.observe(frame, [k.due for k in keyframes], epoch)
            with self._table.lock:
                # By id: the engine may have left some out.
                valid = {k.object_id for k in keyframes if self._valid(k, epoch)}
                kept = [o for o in observations if o.object_id in valid]
                self._engine.memory.observe(kept)
            if kept:
                self._counters.timed('encoded', time.monotonic() - began)
            self.failures.succeeded('encoding')
            self._counters.add('observations', len(kept))
            self._counters.add('discarded', len(observations) - len(kept))
            self.on_remembered(kept)
        except BaseException as found:  # edge of the worker: one keyframe must not end it
            self._counters.add('encoding_failed')
            self.failures.failed(internal(found), 'encoding')
            self._on_fault(epoch, f'encoding: {traceback.format_exc()}', internal(found))
        finally:
            with self.condition:
                self._working = []
                self.condition.notify_all()
            self.on_observed()

    def _valid(self, keyframe: Keyframe, epoch: int) -> bool:
        """Whether its mask still speaks for the object: no reset, removal or prompt since."""
        entry = self._table.get(keyframe.object_id)
        return (epoch == self._table.epoch and entry is not None
                and entry.generation == keyframe.generation)
