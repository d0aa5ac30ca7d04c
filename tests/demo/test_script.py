# SPDX-License-Identifier: Apache-2.0
"""The demo's verdict follows from what was answered and tracked, and from nothing else."""

import io
import re

import cv2
import numpy as np
import pytest
from oracle import MOVER, OracleRobot, discs, stamp

from pixelrefer_model.prompt import Box, Click, MaskPrompt
from pixelrefer_ros.demo.report import Report
from pixelrefer_ros.demo.run import FAILED, WELL, play
from pixelrefer_ros.demo.script import Planner, prompt_of

#: Answers of the script: three categories, three details, three sides, three motions, then four
#: about what was hidden; and from memory three that were looked for, three categories, two motions;
#: and over the whole time two motions, three sides at first, three times of the last sight.
QUESTIONS = 32


def run(out=None, **faults):
    """The exit status, the text, and the robot of a run."""
    robot, report = OracleRobot(discs(), **faults), Report(io.StringIO())
    status = play(robot, robot.truth, report, out)
    return status, '\n'.join(report.lines), robot


def ticks(text):
    """How many answers were ticked: their lines begin with a time."""
    return len(re.findall(r'(?m)^  ✓ +\d+\.\d s', text))


def test_a_robot_that_is_right_passes_and_leaves_pictures(tmp_path):
    status, text, robot = run(tmp_path)
    assert status == WELL
    assert len(robot.asked) == QUESTIONS and ticks(text) == QUESTIONS
    assert '✗' not in text
    sheet = cv2.imread(str(tmp_path / 'contact_sheet.png'))
    assert sheet is not None and sheet.std() > 0
    [video] = tmp_path.glob('overlay.*')
    film = cv2.VideoCapture(str(video))
    frames = 0
    while film.read()[0]:
        frames += 1
    assert frames == len(robot.recording.tracked_ns)


@pytest.mark.parametrize(('lies', 'status'), [(6, WELL), (7, FAILED)])
def test_four_answers_of_five_have_to_be_right(lies, status):
    found, text, _ = run(lies=lies)
    assert found == status
    assert ticks(text) == QUESTIONS - lies
    if status == FAILED:
        assert '25 of 32 answers are right, and 80% have to be' in text


@pytest.mark.parametrize(('faults', 'sentence'), [
    ({'swapped': 12.0}, 'the mask of masked has IoU 0.00 at the end'),
    ({'blind': {'masked': 6.0}}, 'the mask of masked has IoU 0.00 at the end'),
    ({'blind': {'clicked': 15.85}}, 'the mask of clicked has IoU 0.00 at the end')])
def test_every_mask_has_to_hold_under_its_own_id_to_the_end(faults, sentence):
    status, text, _ = run(**faults)
    assert status == FAILED
    assert sentence in text


def test_a_node_that_stops_tracking_does_not_pass_on_its_early_frames():
    robot, report = OracleRobot(discs()), Report(io.StringIO())
    robot.finish = lambda: None
    assert play(robot, robot.truth, report, None) == FAILED
    assert 'of clicked was tracked' in '\n'.join(report.lines)


def test_objects_are_selected_by_a_click_on_them_a_box_around_them_and_their_mask():
    mask = np.zeros((40, 60), bool)
    mask[10:30, 20:50] = True
    mask[14:26, 24:46] = False
    click, box = prompt_of('clicked', mask), prompt_of('boxed', mask)
    assert isinstance(click, Click) and mask[int(click.points[0, 1]), int(click.points[0, 0])]
    assert box == Box(20.0, 10.0, 50.0, 30.0)
    whole = prompt_of('masked', mask)
    assert isinstance(whole, MaskPrompt) and (whole.mask == mask).all()
    for prompt in (click, box, whole):
        prompt.check(60, 40)


def test_what_was_is_asked_when_nothing_is_tracked_any_more():
    robot = OracleRobot(discs())
    planner = Planner(robot, robot.truth, Report(io.StringIO()))
    gone, let_go = [], robot.let_go
    robot.let_go = lambda ids: gone.extend([len(planner.asked), *ids]) or let_go(ids)
    planner.run()
    assert gone == [16, 'clicked', 'boxed', 'masked'] and not robot.tracked
    assert [a.truth for a in planner.asked[16:]] == [
        'clicked', 'boxed', 'masked', 'ball', 'book', 'mug', 'right', 'still', 'right', 'still',
        'left', 'right', 'left', *['at 14.9 s of its own'] * 3]


def test_what_was_so_at_first_is_asked_when_it_is_so_no_longer():
    robot = OracleRobot(discs())
    robot.truth.seg[100:] = robot.truth.seg[100:, :, ::-1]      # left and right have changed places
    planner = Planner(robot, robot.truth, Report(io.StringIO()))
    planner.run()
    asked = [a for a in planner.asked if 'At first' in a.question]
    assert [a.truth for a in asked] == ['left', 'right', 'left']
    assert all(a.verdict.right for a in asked)


def test_questions_are_asked_in_order_of_time_about_what_has_happened_by_then():
    robot = OracleRobot(discs())
    planner = Planner(robot, robot.truth, Report(io.StringIO()))
    planner.run()
    times = [asked.at_ns for asked in planner.asked]
    assert times == sorted(times)
    moved = next(a for a in planner.asked if 'clicked> move' in a.question)
    assert moved.truth == 'right' and moved.at_ns > robot.truth.cast.moved_ns[1]
    assert {a.truth for a in planner.asked if 'move' in a.question} == {'right', 'still'}
    assert robot.truth.motion(MOVER, stamp(9), stamp(11)) == 'right'
