# SPDX-License-Identifier: Apache-2.0
"""What a tracker holds after ten minutes and ten hours is the same."""

import ctypes
import gc
import resource
from pathlib import Path

from pixelrefer_model.prompt import Box, Click
from pixelrefer_model.sam2 import Held, ObjectTracker
from pixelrefer_model.sam2.tracker import KEPT_FRAMES
from tests.sam2.conftest import frame

EARLY, LATE = 200, 2000
#: An object is added every so many frames and removed when the next but one comes.
PERIOD = 40
#: What may be held more at LATE than at EARLY: 4 kB a frame, where an image alone has 58.
MOST_MORE_KB = 8_000


def resident_kb() -> int:
    """What the process holds, without what was freed and only waits to be used again."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path('/proc/self/statm').read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def test_what_is_held_after_2000_frames_is_what_was_held_after_200(narrow):
    tracker = ObjectTracker(narrow)
    held: dict[int, Held] = {}
    resident: dict[int, int] = {}
    for t in range(LATE + 1):
        shown = frame(t % 30)
        shown = type(shown)(shown.image, stamp_ns=t * 100_000_000)
        if t % PERIOD == 0:
            tracker.add(f'object {t}', Click.at(60, 60), shown)
            if t >= PERIOD:
                tracker.remove(f'object {t - PERIOD}')
        if t % PERIOD == 25:
            tracker.correct(tracker.ids[0], Box(30, 30, 70, 70), shown)
        tracks = tracker.step(shown)
        assert len(tracks) == 1
        if t in (EARLY, LATE):
            held[t], resident[t] = tracker.held(), resident_kb()
    assert held[LATE] == held[EARLY]
    assert resident[LATE] - resident[EARLY] < MOST_MORE_KB, resident


def test_an_object_costs_a_bounded_memory_however_long_it_is_followed(narrow):
    tracker = ObjectTracker(narrow)
    tracker.add('a', Click.at(60, 60), frame(0))
    seen = []
    for t in range(1, 61):
        tracker.step(frame(t))
        if t % 10 == 0:
            tracker.correct('a', Click.at(60, 60), frame(t))
        seen.append(tracker.held())
    assert max(each.tensors for each in seen[-20:]) <= max(each.tensors for each in seen[:50])
    frames = narrow.config.max_object_pointers_in_encoder - 1
    most = 3 * KEPT_FRAMES + (narrow.config.num_maskmem - 1) + frames + 2 * 4 + 4
    assert seen[-1].tensors <= most


def test_removing_an_object_gives_back_all_that_it_held(narrow):
    tracker = ObjectTracker(narrow)
    tracker.add('a', Click.at(60, 60), frame(0))
    for t in range(1, 25):
        tracker.step(frame(t))
    before = tracker.held()
    tracker.add('b', Click.at(90, 60), frame(24))
    tracker.remove('b')
    assert tracker.held() == before


def test_a_reset_leaves_nothing(narrow):
    tracker = ObjectTracker(narrow)
    tracker.add('a', Click.at(60, 60), frame(0))
    tracker.step(frame(1))
    tracker.reset()
    assert tracker.held() == Held(0, 0)
    assert tracker.ids == []
    assert tracker.step(frame(0)) == []


def test_memories_of_one_object_do_not_keep_those_of_another_alive(narrow):
    """A view of a batch would keep the whole batch: bytes would not fall with the tensors."""
    tracker = ObjectTracker(narrow)
    alone = ObjectTracker(narrow)
    for each in (tracker, alone):
        each.add('a', Click.at(60, 60), frame(0))
    for k in range(3):
        tracker.add(f'b{k}', Click.at(90, 60), frame(0))
    for t in range(1, 6):
        tracker.step(frame(t))
        alone.step(frame(t))
    for k in range(3):
        tracker.remove(f'b{k}')
    assert tracker.held() == alone.held()
