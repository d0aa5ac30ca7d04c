# SPDX-License-Identifier: Apache-2.0
"""Activation over the wire: begun again it is another time, and where it fails it says why; with
a stand-in for the models."""

from lifecycle_msgs.msg import Transition
from ros_support import SECOND, click, running, to_ns

from pixelrefer.msg import ErrorCode, Event


def test_a_node_that_is_activated_again_follows_a_camera_whose_stamps_began_anew(tmp_path):
    with running(tmp_path / 'node.log', {}, standin=0.0) as robot:
        robot.clock.now = 1000 * SECOND
        for _ in range(2):
            robot.track(robot.clock.tick())
        assert robot.list().epoch == 0
        assert robot.change(Transition.TRANSITION_DEACTIVATE)
        assert robot.change(Transition.TRANSITION_ACTIVATE)
        robot.watched()
        listed = robot.list()
        assert (listed.epoch, to_ns(listed.header.stamp)) == (1, 0)
        stamp = 10 * SECOND
        assert robot.track(stamp).epoch == 1
        assert robot.add(click(15, 15, 'cup'), stamp_ns=stamp).error_code == ErrorCode.OK
        answer = robot.ask('What is it?', 'cup').answer
        assert [to_ns(s) for s in answer.stamps] == [stamp]
        assert not [e for e in robot.events if e.kind == Event.FAULT]


def test_an_activation_that_fails_says_why_and_leaves_the_node_inactive(tmp_path):
    parameters = {'autostart': False, 'diagnostics_period': 0.1,
                  'qos_overrides./image.subscription.reliability': 'certain'}
    with running(tmp_path / 'node.log', parameters, active=False, standin=0.0) as robot:
        assert robot.change(Transition.TRANSITION_CONFIGURE)
        for _ in range(2):
            assert not robot.change(Transition.TRANSITION_ACTIVATE)
            assert robot.state() == 'inactive'
            refused = robot.list()
            assert refused.error_code == ErrorCode.NOT_ACTIVE and 'certain' in refused.error_msg
        robot.until(lambda: any('certain' in status.message for array in robot.diagnostics
                                for status in array.status), 'diagnostics that say why')
        assert 'not activated' in robot.process.output and 'Traceback' in robot.process.output
        # What had been subscribed to by then was let go of, each time.
        robot.until(lambda: not robot.node.count_subscribers('/depth')
                    and not robot.node.count_subscribers('/pixelrefer/click'), 'nothing left behind')
        assert robot.change(Transition.TRANSITION_CLEANUP)


def test_lockstep_after_a_live_activation_asks_for_every_image(tmp_path):
    """The live one has declared its QoS as parameters, which are read-only from then on."""
    with running(tmp_path / 'node.log', {}, standin=0.0) as robot:
        def reliability() -> set[str]:
            return {one.qos_profile.reliability.name
                    for one in robot.node.get_subscriptions_info_by_topic('/image')}

        robot.until(lambda: reliability() == {'BEST_EFFORT'}, 'a live subscription')
        assert robot.change(Transition.TRANSITION_DEACTIVATE)
        assert robot.change(Transition.TRANSITION_CLEANUP)
        assert robot.set_parameters(lockstep=True)[0].successful
        assert robot.change(Transition.TRANSITION_CONFIGURE)
        assert robot.change(Transition.TRANSITION_ACTIVATE)
        robot.until(lambda: reliability() == {'RELIABLE'}, 'a subscription in lockstep')


def test_a_transition_that_raises_leaves_a_node_that_says_so_and_can_be_configured_again(tmp_path):
    with running(tmp_path / 'node.log', {'diagnostics_period': 0.1}, standin=0.0,
                 stumbles=True) as robot:
        assert robot.track(SECOND).epoch == 0
        assert robot.add(click(15, 15, 'cup'), stamp_ns=SECOND).error_code == ErrorCode.OK
        assert not robot.change(Transition.TRANSITION_DEACTIVATE)
        robot.until(lambda: robot.state() == 'unconfigured', 'a node to be configured again')
        refused = robot.list()
        assert refused.error_code == ErrorCode.NOT_ACTIVE
        assert 'not deactivated: RuntimeError: stumbled' in refused.error_msg
        assert 'Traceback' in robot.process.output
        assert robot.change(Transition.TRANSITION_CONFIGURE)
        assert robot.change(Transition.TRANSITION_ACTIVATE)
        robot.watched()
        assert robot.track(20 * SECOND).epoch == 1
        assert robot.add(click(15, 15, 'cup'), stamp_ns=20 * SECOND).error_code == ErrorCode.OK
