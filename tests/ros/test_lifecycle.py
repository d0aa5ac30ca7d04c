# SPDX-License-Identifier: Apache-2.0
"""The lifecycle over the wire: checkpoints that fail, another try, images as files, and back."""

import json
import shutil
from pathlib import Path

import cv2
import pytest
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from ros_support import SECOND, Goal, box, click, mask, picture, running, to_ns

from pixelrefer.msg import ErrorCode, Event, TrackedObject
from pixelrefer.srv import (
    AddObjects, Ask, Describe, FindObjects, Forget, ListObjects, Measure, MergeObjects,
    RemoveObjects, Reset, SplitObject)
from pixelrefer_model.engine import TINY

SERVED = {'add_objects': AddObjects, 'remove_objects': RemoveObjects, 'list_objects': ListObjects,
          'describe': Describe, 'ask': Ask, 'reset': Reset, 'measure': Measure,
          'find_objects': FindObjects, 'merge_objects': MergeObjects,
          'split_object': SplitObject, 'forget': Forget}


@pytest.fixture(scope='module')
def node(tmp_path_factory: pytest.TempPathFactory):
    """A node that waits to be configured, with compressed images."""
    log = tmp_path_factory.mktemp('lifecycle') / 'node.log'
    parameters = {'autostart': False, 'image_transport': 'compressed', 'max_tokens': 4,
                  'diagnostics_period': 0.2}
    with running(log, parameters, active=False) as robot:
        yield robot


def truncated(folder: Path) -> Path:
    weights = folder / 'model.safetensors'
    weights.write_bytes(weights.read_bytes()[:-1000])
    return weights


def without_weights(folder: Path) -> Path:
    (folder / 'model.safetensors').unlink()
    return folder


def of_another_architecture(folder: Path) -> Path:
    config = json.loads((folder / 'config.json').read_text())
    config['model_type'] = 'bert'
    config['architectures'] = ['BertModel']
    (folder / 'config.json').write_text(json.dumps(config))
    return folder


def with_weights_of_the_other(folder: Path) -> Path:
    other = next(path for kind, path in TINY.items() if kind != folder.name)
    shutil.copy(other / 'model.safetensors', folder / 'model.safetensors')
    return folder


@pytest.mark.parametrize('kind', TINY)
@pytest.mark.parametrize('fault', [
    truncated, without_weights, of_another_architecture, with_weights_of_the_other])
def test_a_bad_checkpoint_fails_configure_with_its_name_and_the_reason(
        node, tmp_path, kind, fault):
    folder = tmp_path / kind
    shutil.copytree(TINY[kind], folder)
    named = fault(folder)
    assert all(r.successful for r in node.set_parameters(**{f'{kind}_model': str(folder)}))
    try:
        assert not node.change(Transition.TRANSITION_CONFIGURE)
        assert node.state() == 'unconfigured'
        said = node.until(lambda: next(
            (s.message for array in node.diagnostics[-2:] for s in array.status
             if str(folder) in s.message), None), 'diagnostics that name the checkpoint')
        assert str(named) in said
        assert 'CHECKPOINT' in node.process.output and str(named) in node.process.output
    finally:
        assert all(r.successful for r in node.set_parameters(**{f'{kind}_model': 'tiny'}))


def test_a_checkpoint_that_is_not_there_fails_configure(node, tmp_path):
    node.set_parameters(refer_model=str(tmp_path / 'nowhere'))
    assert not node.change(Transition.TRANSITION_CONFIGURE)
    assert str(tmp_path / 'nowhere') in node.process.output
    node.set_parameters(refer_model='tiny')


def test_before_activation_every_request_is_refused(node):
    for name, kind in SERVED.items():
        response = node.call(kind, name, kind.Request())
        assert response.error_code == ErrorCode.NOT_ACTIVE, name
        assert 'active' in response.error_msg and response.epoch == 0


def test_before_activation_a_goal_is_aborted_with_the_reason(node):
    with Goal(node, 'What is it?') as goal:
        assert goal.result().error_code == ErrorCode.NOT_ACTIVE
        assert goal.status == GoalStatus.STATUS_ABORTED


def jpeg(quality: int = 95) -> bytes:
    return cv2.imencode('.jpg', cv2.cvtColor(picture(), cv2.COLOR_RGB2BGR),
                        [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def png() -> bytes:
    return cv2.imencode('.png', cv2.cvtColor(picture(), cv2.COLOR_RGB2BGR))[1].tobytes()


def test_after_the_faults_the_same_process_works_through_its_whole_life(node):
    assert node.change(Transition.TRANSITION_CONFIGURE)
    assert [r.successful for r in node.set_parameters(max_objects=3)] == [False]
    assert node.list().error_code == ErrorCode.NOT_ACTIVE
    assert node.change(Transition.TRANSITION_ACTIVATE)
    node.watched()
    assert node.add(click(5, 5), use_newest=True).error_code == ErrorCode.NO_FRAME
    first = node.clock.tick()
    node.send_compressed(first, jpeg())
    node.objects_of(first)
    added = node.add(mask('cup'), stamp_ns=first)
    assert added.error_code == ErrorCode.OK and added.results[0].object.state == 1
    assert node.ask('What is it?', 'cup').error_code == ErrorCode.OK

    assert node.change(Transition.TRANSITION_DEACTIVATE)
    assert node.list().error_code == ErrorCode.NOT_ACTIVE
    published = len(node.objects)
    assert node.change(Transition.TRANSITION_ACTIVATE)
    node.watched()
    listed = node.list()
    assert [(o.id, o.state) for o in listed.objects] == [('cup', TrackedObject.LOST)]
    assert listed.epoch == 1 and len(node.objects) == published


BAD_FILES = {
    'a JPEG cut in half': (lambda: jpeg()[:len(jpeg()) // 2], 'jpeg', 'BAD_IMAGE'),
    'a PNG cut short': (lambda: png()[:-100], 'png', 'BAD_IMAGE'),
    'a JPEG that says it is huge': (
        lambda: jpeg().replace(b'\x00\x11\x08\x00\xf0\x01\x40', b'\x00\x11\x08\xff\xff\xff\xff'),
        'jpeg', 'BAD_IMAGE'),
    'no file': (lambda: b'', 'jpeg', 'BAD_ENCODING'),
    'another file': (lambda: b'GIF89a' + bytes(100), 'gif', 'BAD_ENCODING'),
    'compressed depth': (lambda: bytes(12) + png(), '16UC1; compressedDepth png', 'BAD_ENCODING'),
}


@pytest.mark.parametrize('make, format_, code', BAD_FILES.values(), ids=BAD_FILES)
def test_a_bad_image_file_is_rejected_and_the_next_one_tracked(node, make, format_, code):
    seen, stamp = len(node.events), node.clock.tick()
    node.send_compressed(stamp, make(), format_)
    event = node.until(
        lambda: [e for e in node.events[seen:] if e.kind == Event.FRAME_REJECTED], 'an event')[0]
    assert event.error_code == getattr(ErrorCode, code) and ';' in event.error_msg
    assert to_ns(event.header.stamp) == stamp
    good = node.clock.tick()
    node.send_compressed(good, png(), 'png')
    assert [o.id for o in node.objects_of(good).objects] == ['cup']


def test_cleanup_frees_the_models_and_the_node_can_begin_again(node):
    assert node.change(Transition.TRANSITION_DEACTIVATE)
    assert node.change(Transition.TRANSITION_CLEANUP)
    assert node.state() == 'unconfigured'
    assert all(r.successful for r in node.set_parameters(image_transport='raw'))
    assert node.change(Transition.TRANSITION_CONFIGURE)
    assert node.change(Transition.TRANSITION_ACTIVATE)
    node.watched()
    assert not node.list().objects
    node.clock.now += SECOND
    stamp = node.clock.tick()
    node.track(stamp)
    assert node.add(box('cup'), stamp_ns=stamp).error_code == ErrorCode.OK
