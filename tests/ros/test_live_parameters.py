# SPDX-License-Identifier: Apache-2.0
"""Parameters that change while the node works: the live ones take effect, the others are refused
with the reason, and nothing is lost meanwhile."""

from rcl_interfaces.srv import GetParameters
from ros_support import box, to_ns
from rclpy.parameter import parameter_value_to_python
from sensor_msgs.msg import CompressedImage
from standin_node import ENDLESS
from test_threads import asking, reply_of, select

from pixelrefer.msg import ErrorCode
from pixelrefer_ros.parameters import RULES

NAN = float('nan')


def values_of(robot, *names: str) -> dict[str, object]:
    reply = robot.call(GetParameters, 'get_parameters', GetParameters.Request(names=list(names)))
    return dict(zip(names, map(parameter_value_to_python, reply.values)))


REFUSED = {
    'of another device': ({'device': 'cuda'}, 'clean it up first'),
    'of more objects': ({'max_objects': 3}, 'clean it up first'),
    'of the start': ({'stream_goals': 3}, 'read-only'),
    'out of range': ({'max_tokens': 0}, 'range'),
    'above its range': ({'overlay_quality': 101}, 'range'),
    'no number': ({'abstain_below': NAN}, 'range'),
    'of another type': ({'max_tokens': 'many'}, 'type'),
}


def test_what_may_not_be_set_now_is_refused_with_the_reason_and_keeps_its_value(quick):
    for what, (change, reason) in REFUSED.items():
        before = values_of(quick, *change)
        result, = quick.set_parameters(**change)
        assert not result.successful and reason in result.reason, (what, result.reason)
        assert values_of(quick, *change) == before, what


def test_parameters_change_while_frames_come_and_questions_are_asked(quick):
    select(quick, 'cup')
    counts = {name: int(value) for name, value in quick.values().items()
              if name.startswith('frames_')}
    rounds, asked = 6, []
    for number in range(rounds):
        asked.append(asking(quick, 'What is it?', 'cup'))
        quick.send(quick.clock.tick())
        good = quick.set_parameters(publish_masks=number % 2 == 0, max_tokens=number + 1,
                                    answer_deadline=20.0 + number)
        assert all(result.successful for result in good)
        assert not quick.set_parameters(lockstep=True)[0].successful
        if number % 2:
            assert [reply_of(quick, one).error_code for one in asked] == [ErrorCode.OK] * len(asked)
            asked.clear()
    objects = quick.track(quick.clock.tick())
    assert not objects.objects[0].mask.counts
    quick.set_parameters(publish_masks=True)
    assert quick.track(quick.clock.tick()).objects[0].mask.counts

    def whole() -> bool:
        now = {name: int(value) - counts[name] for name, value in quick.values().items()
               if name in counts}
        return now['frames_seen'] == rounds + 2 and 2 * now['frames_seen'] == sum(now.values())

    quick.until(whole, 'every frame to be counted once')
    assert quick.values()['frames_failed'] == str(counts['frames_failed'])
    quick.set_parameters(publish_masks=False, max_tokens=RULES['max_tokens'].default,
                         answer_deadline=RULES['answer_deadline'].default)


def test_the_deadline_of_the_next_question_is_that_which_was_set(quick):
    select(quick, 'cup')
    assert quick.set_parameters(answer_deadline=0.2)[0].successful
    response = quick.ask(ENDLESS, 'cup')
    assert quick.set_parameters(answer_deadline=30.0)[0].successful
    assert response.error_code == ErrorCode.DEADLINE_EXCEEDED and '0.200 s' in response.error_msg


def test_the_quality_of_the_next_overlay_is_that_which_was_set(quick):
    overlays: list[CompressedImage] = quick.collect(CompressedImage, 'overlay/compressed')
    quick.until(lambda: quick.node.count_subscribers('/pixelrefer/overlay/compressed'),
                'a listener')
    sizes = {}
    for quality in (95, 5):
        assert quick.set_parameters(overlay_quality=quality)[0].successful
        seen = len(overlays)
        while len(overlays) == seen:
            quick.track(quick.clock.tick())
            quick.values()
        sizes[quality] = len(overlays[-1].data)
    quick.set_parameters(overlay_quality=RULES['overlay_quality'].default)
    assert sizes[5] < sizes[95] / 2


def test_answers_follow_what_was_set_for_the_model(robot):
    before = values_of(robot, 'max_tokens', 'abstain_below', 'abstain_under_px', 'temperature')
    stamp = robot.clock.tick()
    robot.track(stamp)
    assert robot.add(box('cup'), stamp_ns=stamp).error_code == ErrorCode.OK
    sure = robot.ask('What is it?', 'cup').answer
    assert sure.tokens and not sure.abstained
    robot.set_parameters(max_tokens=1)
    assert robot.ask('What is it?', 'cup').answer.tokens == 1
    robot.set_parameters(max_tokens=before['max_tokens'], abstain_below=1.0)
    assert robot.ask('What is it?', 'cup').answer.abstained
    robot.set_parameters(abstain_below=0.0, abstain_under_px=1_000_000)
    unseen = robot.ask('What is it?', 'cup').answer
    assert unseen.abstained and unseen.tokens == 0
    robot.set_parameters(**before)
    assert robot.ask('What is it?', 'cup').answer.text == sure.text


def test_observations_follow_the_interval_that_was_set(robot):
    stamp = robot.clock.tick()
    robot.track(stamp)
    assert robot.add(box('cup'), stamp_ns=stamp).error_code == ErrorCode.OK

    def made_of(frames: int) -> int:
        robot.describe('cup', max_frames=1)
        before = int(robot.values()['observations_made'])
        for _ in range(frames):
            robot.track(robot.clock.tick())
            # Encoded before the next comes, or that would take its place.
            robot.until(lambda: robot.values()['keyframes_waiting'] == '0', 'an idle encoder')
            robot.ask('What is it?', 'cup', max_tokens=1)
        return int(robot.values()['observations_made']) - before

    assert robot.set_parameters(keyframe_interval=3600.0)[0].successful
    assert made_of(3) == 0
    assert robot.set_parameters(keyframe_interval=0.0)[0].successful
    assert made_of(3) == 3
    robot.set_parameters(keyframe_interval=RULES['keyframe_interval'].default)


def test_a_question_about_now_rests_on_as_many_looks_as_were_set(robot):
    first = robot.clock.tick()
    robot.track(first)
    assert robot.add(box('cup'), stamp_ns=first).error_code == ErrorCode.OK
    robot.set_parameters(keyframe_interval=0.0)
    robot.describe('cup')
    last = robot.clock.tick()
    robot.track(last)
    robot.until(lambda: robot.values()['keyframes_waiting'] == '0', 'an idle encoder')

    def rests_on(**fields) -> list[int]:
        answer = robot.ask('What is it?', 'cup', max_tokens=1, **fields).answer
        assert to_ns(answer.header.stamp) == last
        return [to_ns(stamp) for stamp in answer.stamps]

    assert robot.set_parameters(now_looks=2)[0].successful
    assert rests_on() == [first, last]
    assert rests_on(max_frames=1) == [last]
    assert robot.set_parameters(now_looks=1)[0].successful
    assert rests_on() == [last]
    # Nothing that has moved is quite like what was selected.
    assert robot.set_parameters(now_likeness=1.0)[0].successful
    answer = robot.ask('What is it?', 'cup', max_tokens=1).answer
    assert ([to_ns(stamp) for stamp in answer.stamps], answer.left_out) == ([first], 1)
    robot.set_parameters(now_looks=RULES['now_looks'].default,
                         now_likeness=RULES['now_likeness'].default,
                         keyframe_interval=RULES['keyframe_interval'].default)
