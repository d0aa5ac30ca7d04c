# SPDX-License-Identifier: Apache-2.0
"""The packaged bag holds what the script is about, and its truth is told frame by frame."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from oracle import BYSTANDER, HIDER, MOVER, discs, stamp

from pixelrefer_ros.demo.lockstep import bag_pictures
from pixelrefer_ros.demo.run import CAMERA, PACKAGED_BAG
from pixelrefer_ros.demo.truth import Truth, TruthError


@pytest.fixture(scope='module')
def packaged() -> Truth:
    return Truth.load(PACKAGED_BAG)


def test_every_frame_of_the_packaged_bag_has_its_truth(packaged):
    pictures = dict(bag_pictures(PACKAGED_BAG, f'{CAMERA}/compressed'))
    assert sorted(pictures) == packaged.stamps_ns.tolist()
    first = cv2.imdecode(np.frombuffer(pictures[int(packaged.stamps_ns[0])], np.uint8), 1)
    assert first.shape[:2] == packaged.seg.shape[1:]
    assert packaged.seconds > 15


def test_the_packaged_bag_shows_its_cast_hides_one_and_moves_another(packaged):
    cast = packaged.cast
    parts = {cast.hider, cast.mover, cast.bystander}
    assert len(parts) == 3
    assert all(packaged.visible(i, cast.select_ns) for i in parts)
    during = [s for s in packaged.stamps_ns if cast.hidden_ns[0] <= s <= cast.hidden_ns[1]]
    after = [s for s in packaged.stamps_ns if s > cast.hidden_ns[1] + 2_000_000_000]
    assert len(during) >= 5 and not any(packaged.mask(cast.hider, s).any() for s in during)
    assert len(after) >= 20 and all(packaged.visible(cast.hider, s) for s in after)
    motions = {i: packaged.motion(i, *cast.moved_ns) for i in parts}
    assert motions.pop(cast.mover) != 'still'
    assert set(motions.values()) == {'still'}


def test_the_truth_agrees_with_what_the_scene_says_of_itself(packaged):
    told = json.loads((PACKAGED_BAG / 'truth.json').read_text())
    assert [packaged.motion(i, *packaged.cast.moved_ns)
            for i in range(len(told['motion']))] == told['motion']
    middle = int(packaged.stamps_ns[len(packaged.stamps_ns) // 2])
    for i, j in told['left_of']:
        if packaged.visible(i, middle) and packaged.visible(j, middle):
            assert packaged.side(i, j, middle) == 'left'


def test_what_is_hidden_is_not_visible_and_comes_back():
    truth = discs()
    assert truth.visible(HIDER, stamp(5.9))
    assert not truth.visible(HIDER, stamp(7))
    assert truth.visible(HIDER, stamp(8.1))


@pytest.mark.parametrize(('step', 'word'), [
    ((0.2, 0.1), 'right'), ((-0.2, 0.1), 'left'), ((0.1, 0.2), 'away'), ((0.1, -0.2), 'closer'),
    ((0.004, 0.004), 'still')])
def test_a_motion_is_named_after_the_stronger_of_the_cameras_axes(step, word):
    truth = discs()
    truth.world[-1, BYSTANDER] = truth.world[0, BYSTANDER] + (*step, 0)
    assert truth.motion(BYSTANDER, int(truth.stamps_ns[0]), int(truth.stamps_ns[-1])) == word


def test_sides_are_those_of_the_image():
    truth = discs()
    assert truth.side(HIDER, MOVER, stamp(1)) == 'left'
    assert truth.side(MOVER, HIDER, stamp(1)) == 'right'
    assert truth.side_clear(HIDER, MOVER, stamp(1))


def test_a_side_is_in_doubt_when_two_are_side_by_side_or_one_is_hidden():
    truth = discs()
    assert not truth.side_clear(HIDER, MOVER, stamp(7)), 'hidden'
    truth.seg[:, truth.seg[0] == HIDER + 1] = 0
    truth.seg[:, 95:115, 70:80] = HIDER + 1
    assert not truth.side_clear(HIDER, MOVER, stamp(1)), 'one above the other'


def test_what_carries_an_object_is_named():
    truth = discs()
    support, inside = truth.support.copy(), truth.inside.copy()
    support[:, MOVER], inside[:, MOVER] = HIDER, True
    carried = replace(truth, support=support, inside=inside)
    assert carried.scene(MOVER, stamp(1)).support == 'in a mug'
    assert carried.scene(HIDER, stamp(1)).support == 'on the table'


def test_a_stamp_that_no_frame_has_is_an_error():
    with pytest.raises(TruthError):
        discs().mask(HIDER, stamp(1) + 1)


def test_an_object_was_seen_last_where_enough_of_it_shows():
    truth = discs()
    assert truth.last_visible(HIDER, stamp(7)) == stamp(6.4)
    assert truth.last_visible(HIDER, stamp(9)) == stamp(9)
    truth.share[:] = 0
    with pytest.raises(TruthError, match='visible in no frame'):
        truth.last_visible(MOVER, stamp(9))

