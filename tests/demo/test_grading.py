# SPDX-License-Identifier: Apache-2.0
"""The demo's grades are strict and fair: every part of an answer counts, nothing else does."""

from dataclasses import replace

import numpy as np
import pytest

from pixelrefer_ros.demo.grading import (
    Scene, iou, judge_category, judge_description, judge_motion, judge_side, judge_time)

MUG = Scene('mug', 'red', 'striped', 'small', 'on a book', x=0.5, y=0.1)


@pytest.mark.parametrize(('answer', 'right'), [
    ('mug', True), ('A Mug.', True), ('It is a mug.', True),
    ('bowl', False), ('mug or bowl', False), ('', False), ('cup', False), ('smug', False)])
def test_a_category_is_its_one_word(answer, right):
    assert judge_category(answer, 'mug').right is right


@pytest.mark.parametrize(('answer', 'right'), [
    ('To the left.', True), ('Left of it', True), ('To the right.', False),
    ('left, not right', False), ('Behind.', False), ('', False)])
def test_a_side_is_named_once(answer, right):
    assert judge_side(answer, 'left').right is right


@pytest.mark.parametrize(('answer', 'right'), [
    ('Still, it does not move.', True), ('Left, it moves to the left.', False),
    ('It moves.', False), ('Closer', False), ('still or left', False)])
def test_standing_still_is_a_motion_like_the_others(answer, right):
    assert judge_motion(answer, 'still').right is right


@pytest.mark.parametrize(('answer', 'right'), [
    ('At 12.5.', True), ('at 13.2 s', True), ('It was at 12.', True), ('At 11.7.', False),
    ('At 13.3.', False), ('Between 12 and 13.', False), ('No.', False), ('', False)])
def test_a_time_is_one_number_near_enough(answer, right):
    assert judge_time(answer, 12.5).right is right


@pytest.mark.parametrize(('answer', 'wrong'), [
    ('A small striped red mug on a book, at the upper centre of the image.', ()),
    ('a SMALL striped, red mug on a book at the upper centre', ()),
    ('A large striped red mug on a book, at the upper centre of the image.', ('size',)),
    ('A small plain red mug on a book, at the upper centre of the image.', ('pattern',)),
    ('A small striped blue mug on a book, at the upper centre of the image.', ('colour',)),
    ('A small striped red book on a mug, at the upper centre of the image.',
     ('category', 'support')),
    ('A small striped red mug in a book, at the upper centre of the image.', ('support',)),
    ('A small striped red mug on the table, at the upper centre of the image.', ('support',)),
    ('A small striped red mug on a book, at the lower centre of the image.', ('place',)),
    ('A small striped red mug on a book.', ('place',)),
    ('A small striped red or blue mug on a book, at the upper centre.', ('colour',)),
    ('', ('size', 'pattern', 'colour', 'category', 'support', 'place'))])
def test_a_description_is_right_in_every_part(answer, wrong):
    assert judge_description(answer, MUG).wrong == wrong


def test_the_support_may_have_the_objects_own_words():
    on_a_mug = replace(MUG, support='on a mug')
    assert judge_description(
        'A small striped red mug on a mug, at the upper centre of the image.', on_a_mug).right


@pytest.mark.parametrize(('x', 'named', 'right'), [
    (0.32, 'left', True), (0.32, 'centre', True), (0.34, 'left', True), (0.34, 'right', False),
    (0.25, 'centre', False), (0.97, 'right', True), (0.0, 'left', True)])
def test_beside_a_border_either_third_is_right(x, named, right):
    answer = f'A small striped red mug on a book, at the upper {named} of the image.'
    assert judge_description(answer, replace(MUG, x=x)).right is right


def test_iou_of_masks():
    mask = np.zeros((4, 4), bool)
    mask[:2] = True
    assert iou(mask, mask) == 1.0
    assert iou(np.roll(mask, 1, axis=0), mask) == pytest.approx(1 / 3)
    assert iou(None, mask) == 0.0
    assert iou(None, np.zeros((4, 4), bool)) == 1.0, 'nothing said of nothing'
