# SPDX-License-Identifier: Apache-2.0
"""What happens to objects is told once, when it happens, and not by noise."""

import numpy as np

from pixelrefer_model.memory.happenings import REST_S, TOUCH_FRAMES, Happenings
from pixelrefer_model.memory.observation import Whereabouts
from pixelrefer_model.sam2 import Track, TrackState

TENTH = 100_000_000
T, U, O, L = (TrackState.TRACKED, TrackState.UNCERTAIN, TrackState.OCCLUDED, TrackState.LOST)


def track(number: int, object_id: str = 'mug', state: TrackState = T, x: int = 10) -> Track:
    mask = np.zeros((60, 100), bool)
    mask[20:30, x:x + 10] = True
    seen = state.in_view
    return Track(object_id, state, mask if seen else None, 1.0, (x, 20, 10, 10) if seen else None,
                 100 if seen else 0, number * TENTH, number * TENTH)


def place(x: float, frame: str = 'map', deviation: float = 0.001) -> dict[str, Whereabouts]:
    return {'mug': Whereabouts(frame, np.array([x, 0.0, 1.0]), np.eye(3) * deviation ** 2)}


def told(frames: list, happenings: Happenings | None = None) -> list[tuple[int, str]]:
    """Number of the frame and kind of all that happens; frames: (tracks, places)."""
    happenings = happenings or Happenings()
    return [(found.stamp_ns // TENTH, found.kind)
            for tracks, where in frames for found in happenings.see(tracks, where)]


def test_coming_going_and_coming_back_are_told_of_the_frame_in_which_they_are_seen():
    states = [T, U, T, O, O, T, O, L, L, T]
    assert told([([track(n, state=state)], {}) for n, state in enumerate(states)]) == [
        (0, 'appeared'), (3, 'occluded'), (5, 'back'), (6, 'occluded'), (7, 'lost'), (9, 'back')]


def test_an_object_that_is_not_in_view_when_time_begins_has_not_appeared():
    assert told([([track(0, state=L)], {}), ([track(1)], {})]) == [(1, 'back')]


def test_moving_and_resting_are_told_once_each():
    rest = round(REST_S * 10)
    xs = [0.0] * 5 + [0.02 * k for k in range(1, 11)] + [0.2] * 2 * rest
    said = told([([track(n)], place(x)) for n, x in enumerate(xs)])
    assert [kind for _, kind in said] == ['appeared', 'moved', 'at_rest']
    moved, rested = said[1][0], said[2][0]
    # 0.04 m count: the third step is beyond it. A second of rest is waited for.
    assert moved == 7 and 14 + rest - 1 <= rested <= 14 + rest + 1


def test_noise_of_a_place_is_no_motion():
    noise = np.random.default_rng(0).normal(0.0, 0.02, 200)
    said = told([([track(n)], place(x, deviation=0.02)) for n, x in enumerate(noise)])
    assert [kind for _, kind in said] == ['appeared']


def test_another_frame_is_no_motion():
    frames = [([track(n)], place(0.0 if n < 5 else 9.0, 'map' if n < 5 else 'odom'))
              for n in range(30)]
    assert told(frames) == [(0, 'appeared')]


def two(number: int, apart: int) -> list[Track]:
    return [track(number, 'mug', x=10), track(number, 'bowl', x=20 + apart)]


def test_a_touch_is_told_when_it_has_lasted_and_again_only_after_they_came_apart():
    gaps = [9] * 3 + [1] * 10 + [9] + [1] * 5 + [9] * (TOUCH_FRAMES + 1) + [1] * 5
    said = [one for one in told([(two(n, gap), {}) for n, gap in enumerate(gaps)])
            if one[1] == 'touched']
    again = 3 + 10 + 1 + 5 + TOUCH_FRAMES + 1
    assert said == [(3 + TOUCH_FRAMES - 1, 'touched'), (again + TOUCH_FRAMES - 1, 'touched')]


def test_a_brush_of_one_frame_is_no_touch():
    gaps = [9, 1, 9, 1, 9, 1, 1, 9, 9]
    assert not [k for _, k in told([(two(n, gap), {}) for n, gap in enumerate(gaps)])
                if k == 'touched']


def test_what_is_known_of_objects_that_are_gone_is_let_go():
    happenings = Happenings()
    for n in range(50):
        happenings.see([track(n, f'object_{n}')], {})
    assert len(happenings._known) == 1
