# SPDX-License-Identifier: Apache-2.0
"""The real node around a stand-in for its models, for tests of threads and nothing else.

Its tracker gives every object a fixed mask and may be slow, its language model says `word` until
it is stopped, its detector finds the red box once it may. Run as a program:
`standin_node STEP_SECONDS [stumbles] [forgets] --ros-args ...`.
"""

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from pixelrefer_model.answer import Progress
from pixelrefer_model.detection import Match, MatchPolicy
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.prompt import Box
from pixelrefer_ros import models, node, streaming

TRACKED = SimpleNamespace(name='TRACKED')
UNCERTAIN = SimpleNamespace(name='UNCERTAIN')
LOST = SimpleNamespace(name='LOST')
#: A question with this word is answered until somebody stops it, one without by three tokens.
ENDLESS = 'endlessly'
#: Objects that cannot be tracked, or not be encoded, and a question that cannot be answered.
UNTRACKABLE, UNSEEN, PANIC = 'untrackable', 'unseen', 'panic'
#: What comes after this in a question is its answer's every token.
SAY = 'say: '


class Panic(BaseException):
    """What a library that is written in Rust raises: no Exception."""


class StandInTracker:
    """Objects stay where they were; a reset loses them. As with the real one, frames come in
    order and a prompt on a past frame is caught up to the newest frame."""

    def __init__(self, step_seconds: float) -> None:
        self.ids = []
        self.state = TRACKED
        self._lost = set()
        self._newest = None
        self._step_seconds = step_seconds

    def add(self, object_id, prompt, frame):
        self.ids.append(object_id)
        return self.correct(object_id, prompt, frame)

    def correct(self, object_id, prompt, frame):
        self._lost.discard(object_id)
        if self._newest is None or frame.stamp_ns > self._newest.stamp_ns:
            self._newest = frame
        return self._track(object_id, self._newest)

    replace = correct

    def remove(self, object_id):
        self.ids.remove(object_id)

    def lose(self, stamp_ns):
        self._lost = set(self.ids)
        self._newest = None

    def step(self, frame):
        time.sleep(self._step_seconds)
        if self._newest is not None and frame.stamp_ns < self._newest.stamp_ns:
            raise PixelReferError('STAMP_TOO_OLD', 'the frame is old; newer ones are allowed')
        self._newest = frame
        if UNTRACKABLE in self.ids:
            raise RuntimeError('the lens fell off')
        return [self._track(object_id, frame) for object_id in self.ids]

    def _track(self, object_id, frame):
        mask = np.zeros((frame.height, frame.width), bool)
        mask[10:20, 10:20] = True
        lost = object_id in self._lost
        return SimpleNamespace(
            object_id=object_id, state=LOST if lost else self.state, score=1.0,
            mask=None if lost else mask, box=None if lost else (10, 10, 10, 10),
            area=0 if lost else 100, stamp_ns=frame.stamp_ns,
            last_seen_ns=0 if lost else frame.stamp_ns)


class StandInMemory:
    """The newest observation of each object."""

    def __init__(self) -> None:
        self.newest = {}

    def observe(self, observations):
        for observation in observations:
            self.newest[observation.object_id] = observation

    def record(self, records):
        return

    def knows(self, object_id):
        return object_id in self.newest

    def highest(self, stem):
        return 0

    def clear(self, *, back=False, tracked=()):
        self.newest.clear()

    def expect(self, object_id):
        return

    def pointed_at(self, object_id, stamp_ns):
        return

    def flush(self):
        return

    def held(self):
        return len(self.newest), 0


class StandInWatch:
    """Every object that is clearly seen is due, at most twice a second."""

    def __init__(self):
        self._last = {}

    def see(self, image, tracks, policy, where):
        return [SimpleNamespace(track=track) for track in tracks
                if track.mask is not None and track.state is TRACKED
                and track.stamp_ns - self._last.get(track.object_id, -1 << 60) >= 500_000_000
                and not self._last.update({track.object_id: track.stamp_ns})], []

    def selected(self, track, where):
        if track.state is not TRACKED or track.mask is None:
            return [], []
        self._last[track.object_id] = track.stamp_ns
        return [SimpleNamespace(track=track)], []

    def gone(self, object_id):
        self._last.pop(object_id, None)

    def rename(self, old, new):
        self._last[new] = self._last.pop(old, -1 << 60)


class StandInDetector:
    """Finds the red box of the tests' picture, whatever it is told to look for, once there is a
    file of the name that `detector_model` gives."""

    policy = MatchPolicy(0.5, 0.2, 0.1)

    def __init__(self, go: Path) -> None:
        self._go = go

    def detect(self, image, words):
        while not self._go.exists():
            time.sleep(0.01)
        return [Match(Box(60, 80, 120, 150), 0.9)]


class StandInEngine:
    """What the node uses of a PerceptionEngine."""

    def __init__(self, step_seconds: float, detector_model: str = '') -> None:
        self.tracker = StandInTracker(step_seconds)
        self.trackers = {}
        self.memory = StandInMemory()
        self.language = SimpleNamespace(prefixes=SimpleNamespace(clear=lambda: None))
        self.detector = StandInDetector(Path(detector_model)) if detector_model else None
        self.settings = SimpleNamespace(keyframes=None)

    def tracker_of(self, camera):
        if camera not in self.trackers:
            self.trackers[camera] = (
                StandInTracker(self.tracker._step_seconds) if self.trackers else self.tracker)
        return self.trackers[camera]

    def erase(self, object_id):
        self.memory.newest.pop(object_id, None)

    release = erase

    def observe(self, frame, due, epoch):
        tracks = [one.track for one in due]
        time.sleep(0.3)
        if any(track.object_id == UNSEEN for track in tracks):
            raise RuntimeError('the light went out')
        return [SimpleNamespace(object_id=track.object_id, stamp_ns=frame.stamp_ns)
                for track in tracks]

    def prepare(self, question, object_ids, window, *, max_frames=None, max_new_tokens=64,
                facts=()):
        return SimpleNamespace(
            text=question, facts=facts, object_ids=object_ids,
            stamps_ns=sorted({self.memory.newest[i].stamp_ns for i in object_ids}))

    def prepare_description(self, object_id, detail, window, *, max_frames=None):
        return self.prepare(detail, [object_id], window)

    def stream(self, questions, ended):
        """A word at a time of each, as a batch."""
        if any(PANIC in question.text for question in questions):
            raise Panic('the words ran out')
        words, left = [0] * len(questions), list(range(len(questions)))
        while left:
            time.sleep(0.01)
            for index in list(left):
                question, reason = questions[index], ended(index)
                if not reason:
                    words[index] += 1
                    reason = 'stop' if words[index] == 3 and ENDLESS not in question.text else ''
                word = question.text.partition(SAY)[2] or 'word'
                answer = SimpleNamespace(
                    text=' '.join([word] * words[index]), confidence=1.0, abstained=False,
                    object_ids=question.object_ids, stamps_ns=question.stamps_ns, left_out=0,
                    reason=reason, tokens=words[index], facts=question.facts,
                    told=lambda *_: None) if reason else None
                if reason:
                    left.remove(index)
                yield Progress(index, '' if reason == 'cancelled' else f'{word} ', words[index],
                               answer)


def stumble_once(pipeline_class):
    """Let the first end of a pipeline raise, as a fault that nobody thought of would."""
    leave = pipeline_class.__exit__

    def stumble(self, *error):
        pipeline_class.__exit__ = leave
        leave(self, *error)
        raise RuntimeError('stumbled')

    pipeline_class.__exit__ = stumble


if __name__ == '__main__':
    if 'stumbles' in sys.argv[:3]:
        stumble_once(node.Pipeline)
    if 'forgets' in sys.argv[:4]:
        streaming.RESULT_KEPT = 1
    models.load = lambda settings: StandInEngine(
        float(sys.argv[1]), settings.detector_model)
    models.tune = lambda engine, settings: None
    models.remembering = lambda engine, settings: ExitStack()
    models.same_gate = lambda settings: None
    models.watch = lambda epoch, fixed_frame: StandInWatch()
    models.window = models.check_text = models.check_words = models.task = \
        models.limit_threads = lambda x: x
    node.main()
