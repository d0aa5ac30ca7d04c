# SPDX-License-Identifier: Apache-2.0
"""The slot, the ring and the table: what they hold, what they drop, and what they say."""

import threading

import numpy as np
import pytest

from pixelrefer.msg import TrackedObject
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_ros.frame_ring import FrameRing
from pixelrefer_ros.frame_slot import FrameQueue, FrameSlot
from pixelrefer_ros.objects import LARGEST_INDEX, ObjectTable, Sight

IMAGE = np.zeros((20, 20, 3), np.uint8)
SEEN = Sight(TrackedObject.TRACKED)


def frame(stamp_ns: int) -> Frame:
    return Frame(IMAGE, stamp_ns)


def code_of(call, *args) -> tuple[str, str]:
    with pytest.raises(PixelReferError) as caught:
        call(*args)
    return caught.value.code, caught.value.message


def test_the_slot_gives_the_newest_frame_and_counts_those_it_dropped():
    slot = FrameSlot(threading.Condition())
    assert slot.take() is None
    for stamp in range(5):
        slot.put(frame(stamp), epoch=3)
    taken = slot.take()
    assert (taken.frame.stamp_ns, taken.epoch, slot.dropped) == (4, 3, 4)
    assert slot.take() is None and slot.dropped == 4


def test_the_queue_of_lockstep_drops_nothing_and_holds_up_who_is_too_fast():
    waiting = FrameQueue(threading.Condition(), most=2)
    sender = threading.Thread(
        target=lambda: [waiting.put(frame(stamp), 0) for stamp in range(6)])
    sender.start()
    taken = []
    while len(taken) < 6:
        if (one := waiting.take()) is not None:
            taken.append(one.frame.stamp_ns)
    sender.join()
    assert taken == list(range(6)) and waiting.dropped == 0


def test_closing_lets_go_of_who_is_held_up():
    waiting = FrameQueue(threading.Condition(), most=1)
    waiting.put(frame(1), 0)
    sender = threading.Thread(target=waiting.put, args=(frame(2), 0))
    sender.start()
    waiting.close()
    sender.join()
    assert waiting.take() is None and waiting.dropped == 2


def test_the_ring_is_bounded_in_bytes_and_always_holds_the_newest():
    ring = FrameRing(most_bytes=3 * IMAGE.nbytes)
    for stamp in range(10):
        ring.put(frame(stamp))
        assert ring.held()[1] <= 3 * IMAGE.nbytes
        assert ring.newest().stamp_ns == stamp
    assert ring.held() == (3, 3 * IMAGE.nbytes)
    tiny = FrameRing(most_bytes=1)
    tiny.put(frame(1))
    tiny.put(frame(2))
    assert tiny.held() == (1, IMAGE.nbytes)


def test_the_ring_finds_exact_stamps_and_says_what_it_holds():
    ring = FrameRing(most_bytes=2 * IMAGE.nbytes)
    assert code_of(ring.find, 5, 0)[0] == code_of(ring.newest)[0] == 'NO_FRAME'
    for stamp in (1_000_000_000, 2_000_000_000, 3_000_000_000):
        ring.put(frame(stamp))
    assert ring.find(2_000_000_000, 0).stamp_ns == 2_000_000_000
    for stamp in (1_000_000_000, 2_500_000_000):
        code, said = code_of(ring.find, stamp, 0)
        assert code == 'STAMP_TOO_OLD' and '2.000000000 to 3.000000000' in said
    assert ring.find(3_000_000_010, 10) is None
    assert code_of(ring.find, 3_000_000_011, 10)[0] == 'STAMP_IN_FUTURE'
    ring.clear()
    assert code_of(ring.find, 2_000_000_000, 0)[0] == 'NO_FRAME'
    # As told, a stamp can be named: of this one a float has 48 ns too many.
    ring.put(frame(1_735_689_602_200_000_000))
    assert 'to 1735689602.200000000 s' in code_of(ring.find, 5, 0)[1]


def test_an_index_is_given_out_once_in_an_epoch_and_kept_over_its_end():
    table = ObjectTable()
    assert [table.put(i, SEEN, 0).index for i in 'abc'] == [1, 2, 3]
    table.remove(['a', 'c'])
    assert table.put('d', SEEN, 0).index == 4
    assert table.put('b', SEEN, 0).index == 2
    assert table.begin_epoch() == ['b', 'd']
    assert [(e.object_id, e.index, e.sight.state) for e in table.entries()] == [
        ('b', 2, TrackedObject.LOST), ('d', 4, TrackedObject.LOST)]
    table.put('e', SEEN, 1)
    assert len({e.index for e in table.entries()}) == 3


def test_an_object_was_not_seen_in_an_epoch_that_just_began():
    table = ObjectTable()
    table.put('a', Sight(TrackedObject.TRACKED, stamp_ns=7, last_seen_ns=7), 0)
    table.begin_epoch()
    sight = table.get('a').sight
    assert (sight.state, sight.stamp_ns, sight.last_seen_ns) == (TrackedObject.LOST, 0, 0)


def test_when_every_index_is_given_out_no_object_is_added_until_a_new_epoch():
    table = ObjectTable()
    for _ in range(LARGEST_INDEX):
        table.put('a', SEEN, 0)
        table.remove(['a'])
    code, said = code_of(table.check_room)
    assert code == 'INDEX_EXHAUSTED' and '~/reset' in said
    table.begin_epoch()
    assert table.put('a', SEEN, 1).index == 1


def test_more_objects_than_allowed_are_refused():
    table = ObjectTable(most=2)
    table.put('a', SEEN, 0)
    table.put('b', SEEN, 0)
    assert code_of(table.check_room)[0] == 'TOO_MANY_OBJECTS'
    table.remove(['a'])
    table.check_room()


def test_what_is_of_an_epoch_that_is_over_goes_nowhere():
    table = ObjectTable()
    table.put('a', SEEN, 0)
    table.begin_epoch()
    published = []
    assert table.put('b', SEEN, 0) is None
    assert table.update({'a': SEEN}, 0, (1, '')) is None
    assert not table.while_current(0, lambda: published.append(0))
    assert table.while_current(1, lambda: published.append(1))
    assert published == [1] and table.get('a').sight.state == TrackedObject.LOST


def test_with_an_unknown_id_nothing_is_removed():
    table = ObjectTable()
    table.put('a', SEEN, 0)
    code, said = code_of(table.remove, ['a', 'b'])
    assert code == 'UNKNOWN_ID' and "'b'" in said and "'a'" in said
    assert table.get('a') is not None


def test_only_changes_of_state_are_told():
    table = ObjectTable()
    table.put('a', SEEN, 0)
    assert table.update({'a': SEEN, 'gone': SEEN}, 0, (1, '')) == []
    occluded = Sight(TrackedObject.OCCLUDED)
    (before, after), = table.update({'a': occluded}, 0, (2, 'optical'))
    assert (before.sight, after.sight) == (SEEN, occluded) and table.frame() == (2, 'optical')


def test_made_ids_are_free_ones():
    table = ObjectTable()
    table.put('object_1', SEEN, 0)
    assert table.name('') == 'object_2' and table.name('a.b:c-1_') == 'a.b:c-1_'
    for bad in ('a b', '<object1>', 'a' * 65, 'caf\u00e9'):
        assert code_of(table.name, bad)[0] == 'BAD_ID'
