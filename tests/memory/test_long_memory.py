# SPDX-License-Identifier: Apache-2.0
"""Questions about the past rest on what is stored, with what is not written yet."""

from pathlib import Path

import pytest
import torch
from memory_support import SECOND, sighting, tokens_of

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import KeepLast, Now, Span
from pixelrefer_model.memory.finding import find
from pixelrefer_model.memory.forgetting import forget
from pixelrefer_model.memory.long_memory import LongMemory
from pixelrefer_model.memory.record import Happening, Told
from pixelrefer_model.memory.recorder import Recorder
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.memory.trimming import empty

ALL = Span(0, 1 << 60)


@pytest.fixture
def recorder(tmp_path: Path):
    with MemoryStore.open(tmp_path) as store, Recorder(store) as recorder:
        yield recorder


def seconds(selection) -> list[float]:
    return [o.stamp_ns / SECOND for o in selection.observations]


def test_what_ram_has_let_go_of_is_selected_from_the_store_with_its_tokens(recorder):
    memory = LongMemory(KeepLast(2), recorder)
    for n in range(10):
        memory.observe([sighting(n)])
    recorder.flush()
    selection = memory.select('mug', ALL, 4, 'k')
    assert seconds(selection) == [0, 3, 6, 9] and selection.left_out == 6
    assert all(torch.equal(o.tokens, tokens_of(o.stamp_ns / SECOND))
               for o in selection.observations)


def test_what_is_not_written_yet_is_there_all_the_same(recorder, monkeypatch):
    monkeypatch.setattr(recorder, 'put', lambda records: None)
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(1), sighting(2)])
    assert seconds(memory.select('mug', ALL, 4, 'k')) == [1, 2]
    assert seconds(memory.select('mug', Now(), 1, 'k')) == [2]


def test_after_a_restart_an_object_is_answered_about_from_before(recorder):
    LongMemory(KeepLast(8), recorder).observe([sighting(1), sighting(7)])
    recorder.flush()
    memory = LongMemory(KeepLast(8), recorder)
    assert seconds(memory.select('mug', Now(), 1, 'k')) == [7]
    memory.observe([sighting(20)])
    assert seconds(memory.select('mug', ALL, 4, 'k')) == [1, 7, 20]
    # Its own start is where it was seen first.
    assert memory.select('mug', Span(6 * SECOND, 30 * SECOND), 4, 'k').seconds == [6.0, 19.0]


def test_tokens_of_other_keys_are_kept_and_said_not_to_fit(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(1, key='old'), sighting(2, key='old')])
    recorder.flush()
    with pytest.raises(PixelReferError) as caught:
        memory.select('mug', ALL, 4, 'k')
    assert caught.value.code == 'NO_OBSERVATION' and '2 were made with another' in \
        caught.value.message
    memory.observe([sighting(3)])
    recorder.flush()
    assert seconds(memory.select('mug', ALL, 4, 'k')) == [3]
    assert seconds(memory.select('mug', ALL, 4, 'old')) == [1, 2]


def test_a_new_line_of_time_is_not_mixed_with_the_one_before(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(100), sighting(101)])
    memory.clear()
    memory.observe([sighting(5, epoch=1)])
    recorder.flush()
    selection = memory.select('mug', ALL, 4, 'k')
    assert seconds(selection) == [5] and selection.seconds == [0.0]


def test_a_line_of_time_that_has_begun_hides_the_one_before_until_it_is_seen_again(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(100), sighting(101), sighting(50, 'cup')])
    memory.release('cup')
    recorder.flush()
    memory.clear(back=True)
    with pytest.raises(PixelReferError) as caught:
        memory.select('mug', ALL, 4, 'k')
    assert caught.value.code == 'NO_OBSERVATION'
    # Also where the new stamps are not before the old ones.
    memory.observe([sighting(200, epoch=1)])
    recorder.flush()
    selection = memory.select('mug', ALL, 4, 'k')
    assert seconds(selection) == [200] and selection.seconds == [0.0]
    # What is tracked no longer is remembered as it was.
    assert seconds(memory.select('cup', Now(), 1, 'k')) == [50]


def test_after_a_reset_now_is_of_the_new_epoch_and_a_window_reaches_beyond_it(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(1)])
    recorder.flush()
    memory.clear(tracked=['mug'])
    with pytest.raises(PixelReferError):
        memory.select('mug', Now(), 1, 'k')
    assert seconds(memory.select('mug', ALL, 4, 'k')) == [1]
    memory.observe([sighting(2, epoch=1)])
    assert seconds(memory.select('mug', Now(), 1, 'k')) == [2]
    assert seconds(memory.select('mug', ALL, 4, 'k')) == [1, 2]


def test_an_object_is_known_from_its_first_observation_on_also_when_it_is_let_go_of(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    assert not memory.knows('mug')
    memory.observe([sighting(1)])
    memory.release('mug')
    assert memory.knows('mug') and seconds(memory.select('mug', Now(), 1, 'k')) == [1]
    recorder.flush()
    assert memory.knows('mug') and memory.held()[0] == 0


def test_what_comes_late_of_what_was_forgotten_stays_out(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(1), sighting(5, 'cup')])
    assert memory.in_turn(lambda: memory.forget(['mug'], None, 3 * SECOND)).result() == 1
    memory.observe([sighting(2), sighting(6, 'cup')])
    assert not memory.knows('mug')
    memory.observe([sighting(4)])
    assert memory.knows('mug')
    assert memory.in_turn(lambda: memory.forget([], None, 10 * SECOND)).result() == 3
    memory.observe([sighting(7), sighting(7, 'cup'), sighting(7, 'plate')])
    assert memory.held()[0] == 0 and not any(map(memory.knows, ('mug', 'cup', 'plate')))


def test_a_second_stretch_that_is_forgotten_lets_nothing_late_of_the_first_in(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    for begin in (2, 6):
        memory.in_turn(lambda begin=begin: memory.forget(
            ['mug'], Span(begin * SECOND, (begin + 1) * SECOND), 9 * SECOND)).result()
    for second in range(1, 9):
        memory.observe([sighting(second)])
    recorder.flush()
    assert seconds(memory.select('mug', ALL, 8, 'k')) == [1, 4, 5, 8]


def test_a_model_that_reads_the_whole_image_is_asked_about_what_is_at_hand(recorder):
    memory = LongMemory(KeepLast(1), recorder, recall=False)
    memory.observe([sighting(1), sighting(2), sighting(3)])
    recorder.flush()
    # The first and the last one: what was between them is in the store alone.
    assert seconds(memory.select('mug', ALL, 4, 'k')) == [1, 3]


def test_joined_and_split_objects_are_so_at_hand_and_in_the_store(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(1), sighting(2, 'cup'), sighting(3, 'cup')])
    assert memory.in_turn(lambda: memory.join('mug', 'cup')).result() == 2
    assert seconds(memory.select('mug', ALL, 4, 'k')) == [1, 2, 3]
    assert not memory.knows('cup')
    assert memory.in_turn(lambda: memory.split('mug', 3 * SECOND, 'bowl')).result() == 1
    assert seconds(memory.select('mug', ALL, 4, 'k')) == [1, 2]
    bowl = memory.select('bowl', Now(), 1, 'k').observations[0]
    assert bowl.object_id == 'bowl' and bowl.stamp_ns == 3 * SECOND


@pytest.mark.parametrize('go', [
    pytest.param(lambda memory: memory.split('mug', 5 * SECOND, 'bowl'), id='split off'),
    pytest.param(lambda memory: memory.forget(['mug'], Span(5 * SECOND, 99 * SECOND), 9 * SECOND),
                 id='forgotten')])
def test_where_all_that_was_at_hand_goes_now_is_the_newest_that_is_stored(recorder, go):
    memory = LongMemory(KeepLast(2), recorder)
    memory.observe([sighting(n) for n in range(10)])
    recorder.flush()
    assert seconds(memory.select('mug', Now(2), 4, 'k')) == [0, 9]
    memory.in_turn(lambda: go(memory)).result()
    assert seconds(memory.select('mug', Now(), 4, 'k')) == [4]


def test_an_id_that_is_given_anew_at_once_does_not_show_what_had_it_before(recorder):
    memory = LongMemory(KeepLast(4), recorder)
    memory.observe([sighting(0), sighting(1)])
    memory.release('mug')
    memory.expect('mug')
    memory.pointed_at('mug', 20 * SECOND)
    memory.observe([sighting(20), sighting(21)])
    recorder.flush()
    assert seconds(memory.select('mug', Now(2), 4, 'k')) == [20, 21]


def test_what_is_let_go_of_while_a_question_is_prepared_is_left_out_of_it(recorder, monkeypatch):
    memory = LongMemory(KeepLast(1), recorder)
    for n in range(5):
        memory.observe([sighting(n)])
    recorder.flush()
    read, times = recorder.store.observations, []

    def gone_before_it_is_read(moments):
        times.append(moments[0].stamp_ns // SECOND)
        if times == [1, 2]:
            recorder.call(lambda store: empty(store, 1, [moments[0].number]))
        return read(moments)

    monkeypatch.setattr(recorder.store, 'observations', gone_before_it_is_read)
    assert seconds(memory.select('mug', ALL, 9, 'k')) == [0, 1, 3, 4]
    assert times == [1, 2, 1, 3]


def test_what_is_damaged_is_said_to_be_lost(recorder):
    memory = LongMemory(KeepLast(1), recorder)
    for n in range(3):
        memory.observe([sighting(n)])
    recorder.flush()
    file = next(recorder.store.folder.rglob('*.tokens'))
    file.write_bytes(bytes(file.stat().st_size))
    with pytest.raises(PixelReferError) as caught:
        memory.select('mug', ALL, 9, 'k')
    assert caught.value.code == 'MEMORY' and 'lost' in caught.value.message


@pytest.mark.parametrize('ids, window, most, code', [
    (['mug', 'fork'], lambda: ALL, 4, 'NO_OBSERVATION'),
    (['mug'], lambda: ALL, 0, 'BAD_BUDGET'),
    (['mug'], lambda: Span(5, 4), 4, 'BAD_WINDOW'),
    (['mug'], lambda: Span(8 * SECOND, 9 * SECOND), 4, 'NO_OBSERVATION'),
])
def test_a_question_that_cannot_be_served_says_why_and_changes_nothing(
        recorder, ids, window, most, code):
    memory = LongMemory(KeepLast(2), recorder)
    for n in range(5):
        memory.observe([sighting(n)])
    recorder.flush()
    with pytest.raises(PixelReferError) as caught:
        memory.select_all(ids, window(), most, 'k')
    assert caught.value.code == code
    assert seconds(memory.select('mug', ALL, 9, 'k')) == [0, 1, 2, 3, 4]


def test_thousands_of_objects_are_remembered_asked_about_found_and_forgotten(tmp_path):
    ids = [f'object_{n}' for n in range(3000)]
    with MemoryStore.open(tmp_path) as store, Recorder(store, most_waiting=9000) as recorder:
        memory = LongMemory(KeepLast(1), recorder)
        for second in range(3):
            memory.observe([sighting(second, one) for one in ids])
        recorder.flush()
        assert recorder.dropped == 0 and len(store.objects()) == 3000
        selections = memory.select_all(ids, ALL, 2, 'k')
        assert {tuple(seconds(one)) for one in selections} == {(0, 2)}
        recorder.call(lambda store: store.write([Told(
            ('object_2718',), 'What is it?', 'a teapot', 0.9, 'm', 0, 2 * SECOND)]))
        assert [hit.object.object_id for hit in find(store, 'teapot')] == ['object_2718']
        assert recorder.call(lambda store: forget(store, ids[:2000])) == 6000
        assert {one.object_id for one in store.objects()} == set(ids[2000:])


def test_after_a_reset_that_lets_go_of_objects_they_are_remembered_as_they_were(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(1), sighting(1, 'cup')])
    memory.clear(tracked=['cup'])
    assert seconds(memory.select('mug', Now(), 1, 'k')) == [1]
    # What is split off what is awaited is awaited too.
    memory.in_turn(lambda: memory.split('cup', SECOND, 'bowl')).result()
    with pytest.raises(PixelReferError):
        memory.select('bowl', Now(), 1, 'k')


def test_an_object_that_is_picked_again_has_no_now_until_it_is_seen(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(1)])
    memory.release('mug')
    memory.expect('mug')
    recorder.flush()
    with pytest.raises(PixelReferError):
        memory.select('mug', Now(), 1, 'k')
    memory.observe([sighting(9)])
    assert seconds(memory.select('mug', Now(), 1, 'k')) == [9]
    assert seconds(memory.select('mug', ALL, 4, 'k')) == [1, 9]


def test_a_window_without_an_end_is_forgotten_up_to_now_and_what_comes_is_remembered(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(n) for n in range(1, 6)])
    open_end = Span(3 * SECOND, 1 << 62)
    assert memory.in_turn(lambda: memory.forget(['mug'], open_end, 6 * SECOND)).result() == 3
    memory.observe([sighting(5.5)])
    memory.observe([sighting(7)])
    recorder.flush()
    assert seconds(memory.select('mug', ALL, 9, 'k')) == [1, 2, 7]


def test_what_is_told_or_happens_of_what_is_being_forgotten_is_not_remembered(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(1), sighting(2)])
    memory.withhold(['mug'], None, 3 * SECOND)
    late = Told(('mug',), 'What is it?', 'a secret', 0.9, 'm', 0, 2 * SECOND, since_ns=SECOND)
    memory.record([late, Happening('mug', 'moved', 0, 2 * SECOND),
                   Happening('cup', 'touched', 0, 2 * SECOND, other='mug')])
    memory.record([Happening('mug', 'moved', 0, 4 * SECOND)])
    recorder.flush()
    store = recorder.store
    assert (store.count('answers'), store.count('words'), store.count('events')) == (0, 0, 1)


def test_a_refused_change_of_the_store_changes_nothing_at_hand(recorder, monkeypatch):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(1), sighting(2, 'cup')])
    recorder.flush()

    def refuse(*_):
        raise PixelReferError('MEMORY', 'no room')

    for name in ('join', 'split'):
        monkeypatch.setattr(f'pixelrefer_model.memory.long_memory.{name}', refuse)
    for change in (lambda: memory.join('mug', 'cup'), lambda: memory.split('mug', 0, 'bowl')):
        with pytest.raises(PixelReferError):
            memory.in_turn(change).result()
    assert memory.knows('cup') and not memory.knows('bowl')
    assert seconds(memory.select('mug', ALL, 4, 'k')) == [1]


def test_after_a_new_epoch_stamps_that_went_back_a_little_are_of_another_line(recorder):
    memory = LongMemory(KeepLast(8), recorder)
    memory.observe([sighting(20), sighting(25)])
    memory.clear()
    memory.observe([sighting(3, epoch=1)])
    recorder.flush()
    assert recorder.store.line == 2 and seconds(memory.select('mug', ALL, 4, 'k')) == [3]
