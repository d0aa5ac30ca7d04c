# SPDX-License-Identifier: Apache-2.0
"""What is remembered of objects is found, answered about, joined, split and forgotten, over the
wire, with the packaged models."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ros_support import HEIGHT, SECOND, WIDTH, box_mask, click, mask, picture, running, to_ns

from pixelrefer.msg import ErrorCode, Event, TimeWindow, TrackedObject
from pixelrefer.srv import FindObjects, Forget, MergeObjects, SplitObject
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import ObjectMemory, Observation
from pixelrefer_ros import conversions, models
from pixelrefer_ros.remembering import Remembering

QUICK = {'stamp_wait': 0.3, 'diagnostics_period': 0.2, 'max_tokens': 4}


def find(robot, **fields) -> FindObjects.Response:
    return robot.call(FindObjects, 'find_objects', FindObjects.Request(**fields))


def found(robot, **fields) -> list[str]:
    response = find(robot, **fields)
    assert response.error_code == ErrorCode.OK, response.error_msg
    return [one.id for one in response.objects]


def merge(robot, keep: str, merge: str) -> MergeObjects.Response:
    return robot.call(MergeObjects, 'merge_objects', MergeObjects.Request(keep=keep, merge=merge))


def split(robot, object_id: str, stamp_ns: int, new_id: str = '') -> SplitObject.Response:
    return robot.call(SplitObject, 'split_object', SplitObject.Request(
        id=object_id, from_stamp=conversions.time_message(stamp_ns), new_id=new_id))


def see(robot, *prompts) -> int:
    """An image comes and objects are selected on it; its stamp."""
    stamp = robot.clock.tick(SECOND)
    robot.track(stamp)
    if prompts:
        assert robot.add(*prompts, stamp_ns=stamp).error_code == ErrorCode.OK
        # An answer waits for what was selected before it to be observed.
        robot.describe(detail='category')
    return stamp


def watch(robot, object_id: str, times: int) -> list[int]:
    """Images come, and the object is observed in each; their stamps."""
    stamps = []
    for _ in range(times):
        stamps.append(robot.clock.tick(SECOND))
        robot.track(stamps[-1])
        robot.ask('What is it?', object_id, max_tokens=1)
    return stamps


EVER = TimeWindow(start=conversions.time_message(1))


def stamps_of(robot, object_id: str) -> list[int]:
    """On what an answer about all of an object's past rests."""
    answer = robot.ask('What is it?', object_id, window=EVER, max_frames=64, max_tokens=1)
    assert answer.error_code == ErrorCode.OK, answer.error_msg
    return [to_ns(stamp) for stamp in answer.answer.stamps]


def test_what_is_not_tracked_any_more_is_found_and_answered_about(robot):
    stamp = see(robot, mask('cup'))
    later = watch(robot, 'cup', 2)
    assert robot.remove('cup').error_code == ErrorCode.OK
    one, = find(robot).objects
    assert (one.id, one.state, one.observations) == ('cup', TrackedObject.UNKNOWN, 3)
    assert [to_ns(one.first_seen), to_ns(one.last_seen)] == [stamp, later[-1]]
    assert 'depth' in one.position_error and not one.earlier
    answer = robot.ask('What is <object:cup>?').answer
    assert answer.object_ids == ['cup'] and list(answer.object_states) == [TrackedObject.UNKNOWN]
    assert [to_ns(s) for s in answer.stamps] == [later[-1]]
    assert stamps_of(robot, 'cup') == [stamp, *later]


def test_an_object_goes_on_under_its_id_and_no_name_is_given_away_twice(robot):
    first = see(robot, mask('cup'), click(220, 120))
    _, named = [o.id for o in robot.list().objects]
    robot.remove(every=True)
    again = see(robot, mask('cup'), click(220, 120))
    kept, other = [o.id for o in robot.list().objects]
    assert kept == 'cup' and other != named
    assert stamps_of(robot, 'cup') == [first, again]
    robot.remove('cup')
    # As another object under the same id it begins anew.
    third = robot.clock.tick(SECOND)
    robot.track(third)
    robot.add(mask('cup'), stamp_ns=third, on_existing=2)
    robot.describe('cup')
    assert stamps_of(robot, 'cup') == [third]


def test_objects_are_found_by_what_is_said_of_them_which_is_asked_for_where_nothing_was(robot):
    stamp = robot.clock.tick(SECOND)
    robot.track(stamp)
    robot.add(mask('cup'), click(220, 120, 'disc'), stamp_ns=stamp)
    robot.until(lambda: len(found(robot)) == 2, 'two objects that are remembered')
    before = len(robot.answers)
    # Whatever they are described as: nobody asked, so it is asked for once.
    find(robot, words='anything')
    robot.until(lambda: len(robot.answers) == before + 2, 'two descriptions')
    told = {answer.object_ids[0]: answer.text for answer in robot.answers[before:]}
    for object_id, text in told.items():
        assert object_id in found(robot, words=text)
    assert len(robot.answers) == before + 2
    assert found(robot, words='disc') == ['disc']
    assert found(robot, words='xylophone') == []


def test_objects_are_found_by_likeness_time_and_place(robot):
    first = see(robot, mask('cup'))
    robot.remove('cup')
    second = see(robot, mask('same'), click(220, 120, 'disc'))
    assert found(robot, like_id='cup') == ['same', 'disc']
    scores = [one.score for one in find(robot, like_id='cup').objects]
    assert scores[0] > 0.99 > scores[1]
    assert found(robot, like_id='cup', max_results=1) == ['same']
    assert found(robot, window=TimeWindow(
        end=conversions.time_message(first))) == ['cup']
    assert set(found(robot, window=TimeWindow(
        start=conversions.time_message(second)))) == {'same', 'disc'}
    assert found(robot, frame_id='map', radius=1.0) == []


BAD_SEARCHES = [
    ({'words': 'the of'}, 'EMPTY_QUESTION'), ({'like_id': 'tray'}, 'UNKNOWN_ID'),
    ({'radius': -1.0}, 'BAD_BOX'), ({'radius': float('nan')}, 'BAD_BOX'),
    ({'window': TimeWindow(seconds=-1.0)}, 'BAD_WINDOW')]


@pytest.mark.parametrize(('fields', 'code'), BAD_SEARCHES)
def test_a_search_that_cannot_be_made_says_why(robot, fields, code):
    see(robot, mask('cup'))
    response = find(robot, **fields)
    assert response.error_code == getattr(ErrorCode, code) and response.error_msg
    assert found(robot) == ['cup']


def test_two_ids_of_one_object_are_joined_and_it_is_tracked_on(robot):
    first = see(robot, mask('cup'))
    robot.remove('cup')
    second = see(robot, mask('other'))
    response = merge(robot, 'cup', 'other')
    assert (response.error_code, response.observations) == (ErrorCode.OK, 1)
    third = robot.clock.tick(SECOND)
    array = robot.track(third)
    assert [(o.id, o.state) for o in array.objects] == [('cup', TrackedObject.TRACKED)]
    assert stamps_of(robot, 'cup') == [first, second, third]
    assert found(robot) == ['cup']
    event = next(e for e in robot.events if e.kind == Event.MERGED)
    assert (event.object_id, event.other_id) == ('cup', 'other')


def test_an_id_that_was_two_objects_is_split_and_the_newer_is_tracked_on(robot):
    first = see(robot, mask('cup'))
    later = watch(robot, 'cup', 2)
    response = split(robot, 'cup', later[0])
    assert (response.error_code, response.observations) == (ErrorCode.OK, 2)
    new_id = response.split_id
    assert new_id.startswith('object_')
    last = robot.clock.tick(SECOND)
    assert [o.id for o in robot.track(last).objects] == [new_id]
    assert stamps_of(robot, 'cup') == [first]
    assert stamps_of(robot, new_id) == [*later, last]


def test_what_cannot_be_joined_or_split_stays_as_it_was(robot):
    stamp = see(robot, mask('cup'), click(220, 120, 'disc'))
    for response, code in (
            (merge(robot, 'cup', 'cup'), 'DUPLICATE_ID'), (merge(robot, 'cup', 'tray'), 'UNKNOWN_ID'),
            (merge(robot, 'cup', 'disc'), 'BAD_ID'), (split(robot, 'tray', stamp), 'UNKNOWN_ID'),
            (split(robot, 'cup', 0), 'BAD_WINDOW'), (split(robot, 'cup', stamp, 'a b'), 'BAD_ID'),
            (split(robot, 'cup', stamp, 'disc'), 'DUPLICATE_ID')):
        assert response.error_code == getattr(ErrorCode, code), response.error_msg
        assert response.error_msg
    assert sorted(found(robot)) == ['cup', 'disc']
    assert [o.id for o in robot.list().objects] == ['cup', 'disc']


def test_what_is_forgotten_is_found_and_answered_about_no_more_and_tracking_goes_on(robot):
    first = see(robot, mask('cup'), click(220, 120, 'disc'))
    later = watch(robot, 'cup', 3)
    assert robot.forget('tray').error_code == ErrorCode.UNKNOWN_ID
    part = robot.forget('cup', window=TimeWindow(
        start=conversions.time_message(later[0]), end=conversions.time_message(later[1])))
    assert (part.error_code, part.observations) == (ErrorCode.OK, 2)
    assert stamps_of(robot, 'cup') == [first, later[2]]
    assert robot.forget('cup').observations == 2
    assert found(robot) == ['disc']
    assert robot.ask('What is it?', 'cup').error_code == ErrorCode.NO_OBSERVATION
    last = robot.clock.tick(SECOND)
    assert [o.id for o in robot.track(last).objects] == ['cup', 'disc']
    assert stamps_of(robot, 'cup') == [last]
    # The last seconds: up to now, and not what comes after.
    assert robot.forget('cup', window=TimeWindow(seconds=5.0)).error_code == ErrorCode.OK
    assert robot.ask('What is it?', 'cup', window=EVER).error_code == ErrorCode.NO_OBSERVATION
    after = watch(robot, 'cup', 1)
    assert stamps_of(robot, 'cup') == after
    assert robot.forget().error_code == ErrorCode.OK
    assert found(robot) == []


def test_two_that_are_split_at_once_get_ids_of_their_own(robot):
    first = see(robot, mask('cup'), click(220, 120, 'disc'))
    robot.remove(every=True)
    stamp = conversions.time_message(first)
    waiting = [robot.call_async(SplitObject, 'split_object', SplitObject.Request(
        id=name, from_stamp=stamp)) for name in ('cup', 'disc')]
    made = {robot.until(lambda one=one: one.done() and one.result(), 'a split').split_id
            for one in waiting}
    assert len(made) == 2 and set(found(robot)) == made


def test_after_a_jump_back_a_window_is_of_the_new_time_and_older_objects_are_said_to_be(robot):
    see(robot, mask('cup'), click(220, 120, 'disc'))
    robot.remove('disc')
    robot.clock.now -= 500 * SECOND
    again = see(robot)
    assert robot.ask('What is it?', 'cup', window=EVER).error_code == ErrorCode.NO_OBSERVATION
    stamp = robot.clock.tick(SECOND)
    robot.track(stamp)
    robot.add(mask('cup'), stamp_ns=stamp, on_existing=1)
    robot.describe('cup')
    assert stamps_of(robot, 'cup') == [stamp] and again < stamp
    earlier = {one.id: one.earlier for one in find(robot).objects}
    assert earlier == {'cup': False, 'disc': True}
    # What it looked like is remembered all the same.
    assert robot.ask('What is it?', 'disc').error_code == ErrorCode.OK


def test_a_memory_on_disk_outlives_the_node(tmp_path: Path):
    parameters = {**QUICK, 'memory': 'disk', 'memory_folder': str(tmp_path / 'memory')}
    with running(tmp_path / 'first.log', parameters) as robot:
        first = see(robot, mask('cup'))
        text = robot.describe('cup', detail='sentence').answers[0].text
        clock = robot.clock
        # Two nodes do not record into one folder.
        with running(tmp_path / 'second.log', parameters, active=False) as second:
            second.until(lambda: 'not configured' in second.process.output, 'a refusal')
            assert 'records into' in second.process.output
    with running(tmp_path / 'third.log', parameters) as robot:
        robot.clock = clock
        robot.track(clock.tick(SECOND))
        assert robot.list().objects == []
        assert found(robot, words=text) == ['cup'] and stamps_of(robot, 'cup') == [first]
        again = see(robot, mask('cup'))
        assert stamps_of(robot, 'cup') == [first, again]
        def held() -> bytes:
            return b''.join(path.read_bytes() for path in sorted(
                (tmp_path / 'memory').rglob('*')) if path.is_file())

        words = text.encode()
        robot.until(lambda: words in held(), 'a description on the disk')
        (tokens,) = (tmp_path / 'memory' / 'tokens').glob('*')
        some = tokens.read_bytes()[:64]
        assert any(some) and some in held()
        assert robot.forget().error_code == ErrorCode.OK
        assert words not in held() and some not in held()
        assert found(robot) == []


def test_a_disk_that_takes_no_more_is_an_error_in_the_diagnostics_and_tracking_goes_on(tmp_path):
    folder = tmp_path / 'memory'
    with running(tmp_path / 'node.log', {
            **QUICK, 'memory': 'disk', 'memory_folder': str(folder)}) as robot:
        (folder / 'tokens' / f'{1:08d}.tokens').symlink_to('/dev/full')
        see(robot, mask('cup'))
        level, said = robot.until(
            lambda: robot.status('memory')[0] == b'\x02' and robot.status('memory'), 'an error')
        assert 'No space left' in said
        stamp = robot.clock.tick(SECOND)
        assert [o.id for o in robot.track(stamp).objects] == ['cup']
        # What is at hand is answered about.
        assert robot.ask('What is it?', 'cup').error_code == ErrorCode.OK


def test_without_a_memory_nothing_outlives_its_tracking(tmp_path: Path):
    with running(tmp_path / 'node.log', {**QUICK, 'memory': 'none'}) as robot:
        see(robot, mask('cup'))
        later = watch(robot, 'cup', 2)
        assert stamps_of(robot, 'cup') == [later[-1]]
        assert find(robot).error_code == ErrorCode.UNSUPPORTED
        assert robot.remove('cup').error_code == ErrorCode.OK
        assert robot.ask('What is it?', 'cup').error_code == ErrorCode.UNKNOWN_ID


def test_an_object_that_looks_like_one_that_is_gone_is_offered_as_the_same(robot):
    see(robot, mask('cup'), click(220, 120, 'disc'))
    robot.remove('cup')
    # The disc is in view, so that whatever appears is another.
    see(robot, mask('other'))
    event = robot.until(lambda: next((e for e in robot.events if e.kind == Event.MAYBE_SAME
                                      and e.object_id == 'other'), None), 'an offer')
    assert event.other_id == 'cup' and event.score > 0.85
    assert event.header.frame_id == 'camera_optical_frame'
    assert sorted(found(robot)) == ['cup', 'disc', 'other']


def test_an_object_that_is_picked_under_the_id_of_another_one_is_doubted(robot):
    see(robot, mask('cup'))
    robot.remove('cup')
    see(robot, click(220, 120, 'cup'))
    event = robot.until(lambda: next((e for e in robot.events if e.kind == Event.MAYBE_OTHER),
                                     None), 'a doubt')
    assert event.object_id == 'cup' and event.score < 0.85


def test_an_object_that_is_back_and_looks_otherwise_is_doubted(robot):
    see(robot, mask('cup'))
    watch(robot, 'cup', 2)
    bare, orange = picture(), picture()
    bare[:] = bare[5, 5]
    orange[box_mask()] = (230, 130, 30)
    for image in (bare, bare, bare, orange, orange, orange):
        robot.track(robot.clock.tick(SECOND), image)
    event = robot.until(lambda: next((e for e in robot.events if e.kind == Event.MAYBE_OTHER),
                                     None), 'a doubt')
    assert event.object_id == 'cup' and event.score < 0.85


def test_with_other_checkpoints_than_the_packaged_one_nothing_is_offered_unless_it_is_wanted():
    def gate(**values):
        return models.same_gate(SimpleNamespace(**values))
    assert gate(refer_model='lite-2b', same_likeness=0.0) is None
    assert gate(refer_model='lite-2b', same_likeness=0.9).likeness == 0.9
    assert gate(refer_model='tiny', same_likeness=0.0).likeness == 0.85


def test_what_happened_to_an_object_is_told_and_can_be_put_into_its_prompt(robot):
    see(robot, mask('cup'))
    robot.until(lambda: find(robot).objects[0].history, 'a history')
    assert find(robot).objects[0].history == ['cup was first seen at 0.0.']
    assert robot.ask('What is it?', 'cup').answer.facts == ''
    try:
        assert robot.set_parameters(history_in_prompt=True)[0].successful
        told = robot.ask('What is it?', 'cup').answer.facts
        # This robot knows no places: the model is not to take no news for no motion.
        assert told == '<object:cup> was first seen at 0.0. <object:cup> may have moved.'
    finally:
        robot.set_parameters(history_in_prompt=False)


def test_objects_that_begin_to_touch_are_an_event_and_a_reason_to_observe(robot):
    # The red box stands on a yellow tray: masks of a colour so different meet without a gap.
    image, tray = picture(), np.zeros((HEIGHT, WIDTH), bool)
    tray[150:175, 40:140] = True
    image[tray] = (230, 200, 30)
    stamp = robot.clock.tick()
    robot.track(stamp, image)
    robot.add(mask('cup'), mask('tray', tray), stamp_ns=stamp)
    for _ in range(4):
        robot.track(robot.clock.tick(), image)
    event = robot.until(lambda: next(
        (e for e in robot.events if e.kind == Event.TOUCHED), None), 'a touch')
    assert {event.object_id, event.other_id} == {'cup', 'tray'}


def test_a_request_to_forget_that_is_refused_forgets_nothing():
    memory = ObjectMemory()
    memory.observe([Observation(
        'cup', SECOND, 'camera', 0, (0, 0, 4, 4), 16, torch.zeros(2, 3), 'k')])
    pipeline = SimpleNamespace(
        engine=SimpleNamespace(memory=memory), known=lambda ids: None,
        newest=lambda: (2 * SECOND, ''), settings=SimpleNamespace(question_queue=0))
    services = Remembering(lambda: pipeline, None, None, None).services
    with pytest.raises(PixelReferError) as caught:
        services['~/forget'][1](Forget.Request(ids=['cup']), None)
    assert caught.value.code == 'BUSY' and memory.knows('cup')


def test_where_the_disk_refuses_to_forget_that_is_the_answer_and_no_prompt_is_kept_all_the_same():
    def refuse(*_):
        raise PixelReferError('MEMORY', 'no room')

    events, failed, dropped = [], [], []
    memory = SimpleNamespace(
        withhold=lambda *_: 0, forget=refuse, in_turn=ObjectMemory().in_turn)
    pipeline = SimpleNamespace(
        engine=SimpleNamespace(memory=memory, language=SimpleNamespace(prefixes=dropped)),
        language=SimpleNamespace(call=ObjectMemory().in_turn), known=lambda ids: None,
        newest=lambda: (2 * SECOND, ''), settings=SimpleNamespace(question_queue=1))
    dropped.append('a prompt')
    remembering = Remembering(
        lambda: pipeline, SimpleNamespace(told=lambda *event: events.append(event)),
        lambda reply: failed.append('OK'), lambda reply, error: failed.append(error.code))
    for _ in range(2):      # nor does a refused request keep its place
        remembering.services['~/forget'][1](Forget.Request(ids=['cup']), None)
    assert failed == ['MEMORY', 'MEMORY'] and dropped == [] and events == []
