# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer describe`: one answer an object, in their order, about what was selected."""

import cv2
import numpy as np
import pytest
from cli_support import CAN, IMAGE, MUG, VIDEO, VIDEO_MUG

from pixelrefer_model.cli.session import is_full
from pixelrefer_model.language.tasks import DESCRIPTIONS
from pixelrefer_model.video import read_image


def test_each_object_is_described_in_the_order_in_which_it_was_selected(pixelrefer):
    status, out, err = pixelrefer('describe', IMAGE, '--point', '190,100', '--box', MUG,
                                  '--point', '105,110', '--task', 'category')
    assert status == 0, err
    names = [line.split(': ') for line in out.splitlines()]
    assert [name for name, _ in names] == ['object1', 'object2', 'object3']
    for (_, text), thing in zip(names, ('can', 'mug', 'bottle'), strict=True):
        assert thing in text


def test_of_one_object_only_the_answer_is_printed(pixelrefer):
    status, out, _ = pixelrefer('describe', IMAGE, '--box', MUG, '--task', 'category')
    assert status == 0 and 'mug' in out and 'object1' not in out and out.count('\n') == 1


@pytest.mark.parametrize('name', DESCRIPTIONS)
def test_every_published_task_can_be_named(asked, name):
    published = DESCRIPTIONS[name].replace('<region>', '<object1>')
    assert asked('describe', IMAGE, '--box', MUG, '--task', name) == [(published, ['object1'])]


def test_a_full_model_is_asked_in_its_own_words(asked):
    line = ('describe', IMAGE, '--box', MUG, '--box', CAN, '--task', 'video_detailed')
    assert asked(*line, full=True) == [
        ('Please describe in detail the marked object <object1> in the video.', [name])
        for name in ('object1', 'object2')]


def test_which_model_it_is_says_its_configuration(tmp_path):
    for kind, full in (('pixelrefer_qwen2', True), ('pixelreferlite_qwen2', False)):
        (tmp_path / 'config.json').write_text(f'{{"model_type": "{kind}"}}')
        assert is_full(str(tmp_path)) is full
    assert not is_full('tiny')


def test_the_same_line_says_the_same_every_time(told, pixelrefer):
    line = ('describe', VIDEO, '--box', VIDEO_MUG, '--stop', 1, '--task', 'detailed')
    assert told(*line) == told(*line)


def test_a_mask_is_taken_as_it_was_given(told, tmp_path):
    mask = np.zeros((240, 320), np.uint16)
    mask[145:200:2, 230:290] = 1    # stripes, as no tracker draws them
    cv2.imwrite(str(tmp_path / 'mask.png'), mask)
    said = told('describe', IMAGE, '--mask', tmp_path / 'mask.png', '--save', tmp_path / 'out.png')
    assert said['objects'][0]['area'] == int(mask.sum())
    assert said['objects'][0]['box'] == [230, 145, 60, 55]
    changed = (read_image(tmp_path / 'out.png') != read_image(IMAGE)).any(2)
    assert changed[150:200][mask[150:200] > 0].mean() > 0.99


def test_a_picture_is_saved_of_the_image_with_its_objects(told, tmp_path):
    said = told('describe', IMAGE, '--box', MUG, '--box', CAN, '--save', tmp_path / 'out.png')
    drawn, image = read_image(tmp_path / 'out.png'), read_image(IMAGE)
    changed = (drawn != image).any(2)
    assert drawn.shape == image.shape
    for one in said['objects']:
        x, y, width, height = one['box']
        assert changed[y:y + height, x:x + width].sum() >= one['area']
    assert not changed[:, :100].any(), 'where there is no object nothing is drawn'


def test_a_video_is_described_over_its_time(told):
    said = told('describe', VIDEO, '--box', VIDEO_MUG, '--stop', 2, '--task', 'video_sentence')
    assert said['answers'][0]['seconds'] == [0.0, 0.5, 1.5, 2.0]
    assert 'mug' in said['answers'][0]['text']


def test_an_answer_that_was_cut_says_so(pixelrefer):
    _, out, _ = pixelrefer('describe', IMAGE, '--box', MUG, '--task', 'detailed',
                           '--max-tokens', 2)
    assert out.rstrip().endswith('[...]')


def test_answers_drawn_by_chance_are_the_same_for_the_same_seed(pixelrefer):
    def told(*more: object) -> str:
        status, out, err = pixelrefer('describe', IMAGE, '--box', MUG, '--task', 'detailed',
                                      '--temperature', 3, *more)
        assert status == 0, err
        return out

    assert told('--seed', 1) == told('--seed', 1)
    assert len({told('--seed', seed) for seed in range(4)}) > 1
