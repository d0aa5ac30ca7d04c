# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer ask`: objects are tracked through a video, the answer rests on what was seen."""

import cv2
import numpy as np
import pytest
from cli_support import CAN, IMAGE, MUG, ROOT, VIDEO, VIDEO_MUG


def test_a_question_about_two_objects_of_an_image(told):
    said = told('ask', IMAGE, 'Is <object1> to the left or to the right of <object2>?',
                '--box', MUG, '--box', CAN)
    answer, = said['answers']
    assert 'right' in answer['text'].lower() and answer['seconds'] == [0.0]
    assert answer['objects'] == ['object1', 'object2']


def test_an_object_is_followed_through_the_video_and_its_motion_told(told, tmp_path):
    said = told('ask', VIDEO, 'Which way does <object1> move?', '--box', f'0:{VIDEO_MUG}',
                '--save', tmp_path / 'last.png')
    assert 'left' in said['answers'][0]['text'].lower()
    assert said['objects'][0]['state'] == 'TRACKED'
    # In the last frame it lies where it went, more than its own width from where it was.
    assert said['objects'][0]['box'][0] < 224 - 60
    capture = cv2.VideoCapture(str(VIDEO))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    drawn = cv2.imread(str(tmp_path / 'last.png'))
    unlike = [np.abs(drawn[:, 250:].astype(int) - one[:, 250:]).mean() for one in frames]
    assert int(np.argmin(unlike)) == len(frames) - 1 and unlike[-1] == 0


def test_observations_are_so_far_apart_and_so_many(told):
    def rests_on(*options: object) -> tuple[list[float], int]:
        answer, = told('ask', VIDEO, 'What is it?', '--box', VIDEO_MUG, '--stop', 1, '--max-tokens',
                       1, *options)['answers']
        return answer['seconds'], answer['left_out']
    assert rests_on() == ([0.0, 0.5, 1.0], 0)
    # In the middle lie two, equally near: the newer one is taken.
    assert rests_on('--every', 0.2, '--frames', 3) == ([0.0, 0.6, 1.0], 3)
    assert rests_on('--every', 0, '--frames', 64) == ([round(k / 10, 1) for k in range(11)], 0)
    assert rests_on('--every', 0.2, '--frames', 1) == ([1.0], 5)


def test_only_the_part_asked_for_is_looked_at_with_the_times_of_the_whole(told):
    said = told('ask', VIDEO, 'What is it?', '--point', '240,170', '--start', 0.5, '--stop', 1.2,
                '--max-tokens', 1)
    assert said['answers'][0]['seconds'] == [0.5, 1.0]
    assert said['objects'][0]['selected_on_frame'] == 5


def test_objects_are_selected_each_on_its_frame(told):
    said = told('ask', VIDEO, 'Are <object1> and <object2> near?', '--box', '3:156,86,183,137',
                '--box', VIDEO_MUG, '--stop', 0.6, '--every', 0, '--max-tokens', 1, '--frames', 64)
    assert [one['selected_on_frame'] for one in said['objects']] != [0, 0]
    by_id = {one['id']: one['selected_on_frame'] for one in said['objects']}
    assert by_id == {'object1': 3, 'object2': 0}


def test_times_are_those_of_the_video(told, tmp_path):
    writer = cv2.VideoWriter(str(tmp_path / 'slow.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 4.0,
                             (320, 240))
    capture = cv2.VideoCapture(str(VIDEO))
    for _ in range(4):
        writer.write(capture.read()[1])
    writer.release()
    said = told('ask', tmp_path / 'slow.avi', 'What is it?', '--box', VIDEO_MUG, '--every', 0,
                '--max-tokens', 1)
    assert said['answers'][0]['seconds'] == [0.0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize('options, question', [
    ((), 'Is it red?'),
    (('--task', 'reason'), 'There is 1 region in the image: <object1> Is it red?'),
    (('--task', 'regions'), 'There is 1 region in the image: <region0> <object1>. Is it red?'),
    (('--task', 'choice', '--option', '(A) yes', '--option', '(B) no'),
     "Is it red? (A) yes (B) no. Answer with the option's letter from the given choices directly."),
    (('--task', 'best_choice', '--option', '(A) yes', '--option', '(B) no'),
     "Question: Is it red?\nOptions:\n(A) yes\n(B) no\nAnswer with the option's letter from the "
     'given choices directly and only give the best option.'),
])
def test_a_question_is_put_as_the_benchmarks_put_it(asked, options, question):
    assert asked('ask', IMAGE, 'Is it red?', '--box', MUG, *options) == [(question, ['object1'])]


def test_several_regions_are_listed(asked):
    (question, ids), = asked('ask', IMAGE, 'Which is taller? <region0> or <region1>?', '--box', MUG,
                             '--box', CAN, '--task', 'regions')
    assert ids == ['object1', 'object2'] and question == (
        'There are 2 region in the image: <region0><object1>, <region1><object2>. '
        'Which is taller? <region0> or <region1>?')


def test_a_full_model_is_asked_about_the_whole_film(told):
    said = told('ask', VIDEO, 'What is <object1>?', '--box', f'0:{VIDEO_MUG}', '--refer',
                ROOT / 'tests' / 'golden' / 'pixelrefer', '--max-tokens', 3)
    (answer,) = said['answers']
    assert answer['tokens'] == 3 and len(answer['seconds']) == 1 and answer['left_out'] == 0
