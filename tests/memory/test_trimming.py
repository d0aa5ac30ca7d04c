# SPDX-License-Identifier: Apache-2.0
"""Rules of the bounds: what goes first, what stays, and that no step costs more than a segment."""

from pathlib import Path

import pytest
import torch
from memory_support import SECOND, sighting, tokens_of

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import Span, trimming
from pixelrefer_model.memory.bounds import Bounds, ThinOut
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.memory.trimming import trim

ALL = Span(0, 1 << 60)
#: So many observations of the small tokens fill a segment.
EACH, SEGMENT = 10, 10 * 64


@pytest.fixture
def store(tmp_path: Path):
    with MemoryStore.open(tmp_path, segment_bytes=SEGMENT) as store:
        yield store


def seconds(store: MemoryStore, object_id: str = 'mug') -> list[int]:
    return [m.stamp_ns // SECOND for m in store.moments(object_id, ALL)]


def check(store: MemoryStore) -> None:
    """Every observation that is left still has its own tokens."""
    for one in store.objects():
        moments = store.moments(one.object_id, ALL)
        for moment, seen in zip(moments, store.observations(moments)):
            assert torch.equal(seen.tokens, tokens_of(moment.stamp_ns / SECOND, one.object_id))


def within(store: MemoryStore, monkeypatch, tokens: int, steps: int = 100) -> None:
    """Trim so often; the segments hold at most so many bytes then. The database counts for
    nothing."""
    monkeypatch.setattr(MemoryStore, 'bytes', lambda self: self.segments.bytes())
    monkeypatch.setattr(Bounds, 'LEAST', 1)
    for _ in range(steps):
        trim(store, Bounds(bytes=tokens))
    assert store.segments.bytes() <= tokens


def test_old_detail_goes_before_old_objects_and_first_and_last_sighting_stay(store, monkeypatch):
    store.write([sighting(n, 'early') for n in range(20)])
    for n in range(20, 200, 5):
        store.write([sighting(n + k) for k in range(5)])
        within(store, monkeypatch, 4 * SEGMENT, steps=1)
    early, mug = seconds(store, 'early'), seconds(store)
    assert early[0] == 0 and early[-1] == 19 and mug[0] == 20 and mug[-1] == 199
    # The newer half of the time has more of what is left than the older one.
    assert sum(s >= 110 for s in mug) > 2 * sum(s < 110 for s in mug)
    check(store)


def test_events_outlive_what_was_seen_between_them(store, monkeypatch):
    store.write([sighting(n, reason='moved' if n % 25 == 7 else 'interval')
                 for n in range(200)])
    within(store, monkeypatch, 3 * SEGMENT)
    assert {7, 32, 57, 82, 107} <= set(seconds(store))
    check(store)


def test_events_do_not_crowd_out_all_else_and_what_is_rewritten_for_them_is_bounded(
        store, monkeypatch):
    """Else, when nearly all that is kept are events, whole files are rewritten for the little that
    may go between them."""
    monkeypatch.setattr(MemoryStore, 'bytes', lambda self: self.segments.bytes())
    monkeypatch.setattr(Bounds, 'LEAST', 1)
    rewritten, came, append = [], 0, store.segments.append
    for n in range(0, 500, 10):
        store.write([sighting(n + k, reason='moved' if k % 2 else 'interval') for k in range(10)])
        came += SEGMENT
        store.segments.append = lambda data: rewritten.append(len(data)) or append(data)
        trim(store, Bounds(bytes=8 * SEGMENT))
        store.segments.append = append
        assert store.segments.bytes() <= 8 * SEGMENT
    assert sum(rewritten) <= came * (1 - trimming.WORTH) / trimming.WORTH
    reasons = [moment.reason for moment in store.moments('mug', ALL)]
    assert reasons.count('moved') <= 0.75 * len(reasons)
    check(store)


def test_any_number_of_objects_that_were_seen_once_stays_within_the_bound(store, monkeypatch):
    monkeypatch.setattr(MemoryStore, 'bytes', lambda self: self.segments.bytes())
    monkeypatch.setattr(Bounds, 'LEAST', 1)
    rewritten, append = [], store.segments.append
    for n in range(0, 500, 20):
        store.write([sighting(n + k, f'object_{n + k}') for k in range(20)])
        store.segments.append = lambda data: rewritten.append(len(data)) or append(data)
        trim(store, Bounds(bytes=8 * SEGMENT))
        store.segments.append = append
        assert store.segments.bytes() <= 8 * SEGMENT
    left = {one.object_id for one in store.objects()}
    assert left == {f'object_{n}' for n in range(500 - len(left), 500)} and len(left) > 40
    assert sum(rewritten) <= 500 * 64
    check(store)


def test_a_lower_bound_is_reached_without_letting_go_of_more_than_it_asks_for(tmp_path):
    """What the database's file has freed counts until it is given back."""
    with MemoryStore.open(tmp_path, segment_bytes=64 << 10) as store:
        store.write([sighting(n, mask='1;' * 1000) for n in range(3000)])
        before = store.bytes()
        assert before > 4 << 20
        for _ in range(30):
            trim(store, Bounds(bytes=2 << 20))
        assert store.bytes() <= 2 << 20
        left = seconds(store)
        assert len(left) > 400 and (left[0], left[-1]) == (0, 2999)


def test_what_was_said_does_not_crowd_out_the_objects(store):
    from pixelrefer_model.memory.record import Happening
    store.write([sighting(n) for n in range(100)])
    store.write([Happening('mug', 'moved', 0, 99 * SECOND + n, text='x' * 100)
                 for n in range(12_000)])
    for _ in range(5):
        trim(store, Bounds(bytes=1 << 20))
    assert store.bytes() <= 1 << 20 and seconds(store) == list(range(100))
    assert store.query('SELECT max(stamp_ns) FROM events') == [(99 * SECOND + 11_999,)]


def test_where_nothing_is_left_to_thin_the_object_seen_longest_ago_goes(store, monkeypatch):
    for n in range(60):
        store.write([sighting(n, f'object_{n}')])
    within(store, monkeypatch, 3 * SEGMENT)
    left = {one.object_id for one in store.objects()}
    assert 'object_59' in left and 'object_0' not in left
    assert left == {f'object_{n}' for n in range(60 - len(left), 60)}
    check(store)


def test_a_step_rewrites_one_segment_at_most(store, monkeypatch):
    store.write([sighting(n) for n in range(200)])
    monkeypatch.setattr(trimming, 'MOST_STEPS', 1)
    monkeypatch.setattr(MemoryStore, 'bytes', lambda self: self.segments.bytes())
    monkeypatch.setattr(Bounds, 'LEAST', 1)
    appended, append = [], store.segments.append
    store.segments.append = lambda data: appended.append(len(data)) or append(data)
    for _ in range(10):
        appended.clear()
        trim(store, Bounds(bytes=SEGMENT))
        assert sum(appended) <= 2 * SEGMENT


def test_what_is_too_old_goes_and_the_ends_stay(store):
    store.write([sighting(n) for n in range(50)])
    assert trim(store, Bounds(age_s=10.0)).observations == 38
    assert seconds(store) == [0, *range(39, 50)]
    check(store)


def test_one_object_may_have_so_many_observations(store):
    store.write([sighting(n) for n in range(50)])
    trim(store, Bounds(observations=8))
    assert seconds(store) == [0, *range(43, 50)]
    check(store)


def test_a_file_of_which_little_is_wanted_gives_its_room_back(store):
    store.write([sighting(n) for n in range(50)])
    files = len(store.segments.numbers())
    for _ in range(10):
        trim(store, Bounds(observations=5))
    assert len(store.segments.numbers()) < files and store.segments.bytes() <= 2 * SEGMENT
    check(store)


def test_what_nothing_wants_of_any_file_is_given_back_and_nothing_else(store):
    store.write([sighting(n) for n in range(50)])
    with store.transaction() as database:
        trimming.delete(database, [m.number for m in store.moments('mug', ALL)[::3]])
    left = seconds(store)
    trimming.compact(store)
    assert store.segments.bytes() == 33 * SEGMENT // EACH and seconds(store) == left
    check(store)
    files = store.segments.numbers()
    trimming.compact(store)
    assert store.segments.numbers() == files


def test_damaged_tokens_are_let_go_of_and_do_not_keep_the_memory_from_being_trimmed(
        store, monkeypatch):
    store.write([sighting(n) for n in range(100)])
    file = store.folder / 'tokens' / '00000001.tokens'
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)
    within(store, monkeypatch, 3 * SEGMENT)
    assert 0 not in seconds(store) and 99 in seconds(store)
    check(store)


def test_answers_and_events_are_bounded_too(store, monkeypatch):
    from pixelrefer_model.memory.record import Happening, Told
    monkeypatch.setattr(trimming, 'MOST_ROWS', 5)
    store.write([Happening('mug', 'moved', 0, n) for n in range(9)])
    store.write([Told(('mug',), f'{n}?', 'yes', 1.0, 'm', 0, n) for n in range(9)])
    trim(store, Bounds())
    assert [n for n, in store.query('SELECT stamp_ns FROM events')] == [4, 5, 6, 7, 8]
    assert [n for n, in store.query('SELECT stamp_ns FROM answers')] == [4, 5, 6, 7, 8]
    assert len(store.query('SELECT * FROM words')) == 5


@pytest.mark.parametrize('make', [lambda: Bounds(bytes=10), lambda: Bounds(age_s=-1.0),
                                  lambda: Bounds(observations=-1), lambda: ThinOut(1)])
def test_bounds_that_bound_nothing_are_refused(make):
    with pytest.raises(PixelReferError) as caught:
        make()
    assert caught.value.code == 'BAD_BUDGET' and 'allowed' in caught.value.message
