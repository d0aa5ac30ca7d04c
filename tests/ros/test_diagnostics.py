# SPDX-License-Identifier: Apache-2.0
"""What /diagnostics says of the camera, and how often it says it."""

import re
from threading import Condition
from types import SimpleNamespace

import numpy as np
import pytest
import rclpy
from lifecycle_msgs.msg import Transition
from rclpy.signals import SignalHandlerOptions
from ros_support import SECOND, image_message, running
from sensor_msgs.msg import CompressedImage

from pixelrefer_ros.camera import Camera
from pixelrefer_ros.counters import Counters
from pixelrefer_ros.demo.processes import own_domain
from pixelrefer_ros.diagnostics import OK, QUIET, WARN, Diagnostics, camera_status
from pixelrefer_ros.frame_ring import FrameRing
from pixelrefer_ros.frame_slot import FrameSlot
from pixelrefer_ros.objects import ObjectTable
from pixelrefer_ros.silence import SILENT, Silence
from pixelrefer_ros.transport import PROFILES, trouble_with


def test_a_camera_that_stopped_is_not_said_to_be_well():
    never, now, long_ago = (camera_status('camera', quiet, {}) for quiet in (None, 0.0, QUIET + 1.5))
    assert (never.level, now.level, long_ago.level) == (WARN, OK, WARN)
    assert f'{QUIET + 1.5:.1f} s' in long_ago.message


def test_a_node_that_hears_nothing_more_of_its_camera_says_so_until_it_comes_back(quick):
    def levels(since: int) -> set[bytes]:
        return {status.level for array in quick.diagnostics[since:] for status in array.status
                if status.name.endswith('camera')}

    for _ in range(2):
        seen = len(quick.diagnostics)
        quick.track(quick.clock.tick())
        quick.until(lambda: OK in levels(seen), 'a camera that is well')
        quick.until(lambda: WARN in levels(-1), 'a camera that stopped')


def test_a_silent_camera_is_logged_once_until_it_is_back():
    lines = []
    logger = SimpleNamespace(warning=lambda said: lines.append(f'W {said}'),
                             info=lambda said: lines.append(f'I {said}'))
    silence = Silence(logger, '/image')
    for quiet in (None, 0.1, SILENT - 0.1, SILENT + 1, SILENT + 2, 0.1, 0.2, SILENT + 3):
        silence.check(quiet, 'nobody publishes /image')
    gone = 'W no usable image on /image for {:.0f} s: nobody publishes /image'
    assert lines == [gone.format(SILENT + 1), 'I images come on /image', gone.format(SILENT + 3)]


def test_a_camera_that_never_came_is_silent_from_the_start(monkeypatch):
    lines = []
    silence = Silence(SimpleNamespace(warning=lines.append), '/image')
    silence.check(None, '')
    assert not lines
    monkeypatch.setattr(silence, '_since', silence._since - SILENT - 1)
    silence.check(None, '')
    silence.check(None, '')
    assert lines == [f'no usable image on /image for {SILENT + 1:.0f} s']


def test_a_node_says_in_its_log_which_topic_is_empty_and_where_images_are(tmp_path):
    with running(tmp_path / 'node.log', {'diagnostics_period': 0.1}, standin=0.0,
                 watched=False) as robot:
        robot.until(lambda: 'no usable image on /image for' in robot.process.output, 'a warning')
        line = next(line for line in robot.process.output.splitlines() if 'no usable image' in line)
        assert 'nobody publishes /image' not in line    # this client does
    with running(tmp_path / 'node.log', {
            'diagnostics_period': 0.1, 'cameras': '[front, wrist]'}, standin=0.0, watched=False) as robot:
        said = r'no usable image on /front/image for \d+ s: nobody publishes /front/image'
        robot.until(lambda: re.search(said, robot.process.output), said)
        other = robot.node.create_publisher(CompressedImage, '/front/image/compressed', 1)
        robot.until(lambda: any(
            'but somebody /front/image/compressed (image_transport:=compressed)' in status.message
            for array in robot.diagnostics[-2:] for status in array.status), 'where images are')
        robot.node.destroy_publisher(other)


def test_images_that_the_middleware_loses_are_said_to_be_large(monkeypatch):
    """Not over the wire, where they are lost indeed."""
    for name in PROFILES:
        monkeypatch.delenv(name, raising=False)
    settings = SimpleNamespace(jump_backward=1.0, jump_forward=10.0)
    camera = Camera('camera', settings, ObjectTable(), FrameRing(1 << 24), FrameSlot(Condition()),
                    Counters(), lambda reason: None, lambda header, error: None)
    camera.image(image_message(SECOND))
    assert camera.largest == 320 * 240 * 3 and trouble_with(camera.largest) == ''
    camera.image(image_message(2 * SECOND, np.zeros((480, 640, 3), np.uint8)))
    assert camera.largest == 921_600
    said = camera_status('camera', camera.quiet, {}, trouble_with(camera.largest))
    assert said.level == WARN and 'images of 921600 bytes' in said.message
    assert PROFILES[0] in said.message and 'subscribe to JPEG' in said.message
    monkeypatch.setenv(PROFILES[1], 'profile.xml')
    assert trouble_with(camera.largest) == ''


@pytest.fixture
def node():
    """A node of this process."""
    with own_domain() as domain:
        context = rclpy.Context()
        rclpy.init(context=context, domain_id=domain,
                   signal_handler_options=SignalHandlerOptions.NO)
        yield rclpy.create_node('diagnosed', context=context)
        rclpy.try_shutdown(context=context)


def test_the_period_can_be_changed(node):
    diagnostics = Diagnostics(node, 60.0, list)
    assert diagnostics.period == 60.0
    diagnostics.period = 0.25
    timer, = node.timers
    assert timer.timer_period_ns == SECOND // 4 and diagnostics.period == 0.25


def test_the_period_is_read_when_the_node_is_configured(tmp_path):
    parameters = {'autostart': False, 'diagnostics_period': 60.0}
    with running(tmp_path / 'node.log', parameters, active=False, standin=0.0) as robot:
        assert robot.set_parameters(diagnostics_period=0.1)[0].successful
        assert robot.change(Transition.TRANSITION_CONFIGURE)
        robot.until(lambda: len(robot.diagnostics) > 10, 'more than ten diagnostics')
