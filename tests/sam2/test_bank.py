# SPDX-License-Identifier: Apache-2.0
"""Which frames an object remembers, by policy."""

import pytest
import torch

from pixelrefer_model.prompt import Click
from pixelrefer_model.sam2 import MemoryPolicy, ObjectTracker
from pixelrefer_model.sam2.bank import MemoryBank, Remembered
from tests.sam2.conftest import frame

TRAINED, POINTERS = 4, 6


def filled(policy: MemoryPolicy, frames: int) -> MemoryBank:
    """A bank prompted on frame 0 that saw so many more; memory k is made of the number k."""
    bank = MemoryBank(policy, TRAINED, POINTERS)
    bank.anchor(entry(0))
    for index in range(1, frames + 1):
        bank.add(entry(index))
    return bank


def entry(index: int) -> Remembered:
    return Remembered(index, index, torch.full((1, 64), float(index)), torch.zeros(8))


def attended(bank: MemoryBank, now: int) -> list[tuple[int, int]]:
    """Frame and place of the spatial memories, the oldest first."""
    return [(int(memory[0, 0]), place) for memory, place in bank.selection(now).spatial]


def test_the_prompt_and_the_last_frames_are_attended_to():
    assert attended(filled(MemoryPolicy(), 9), 10) == [(0, 0), (6, 4), (7, 3), (8, 2), (9, 1)]


def test_a_stride_reaches_further_back_with_as_many_frames():
    """The newest always; before it every third one that was added."""
    assert attended(filled(MemoryPolicy(stride=3), 12), 13) == [
        (0, 0), (4, 4), (7, 3), (10, 2), (12, 1)]
    assert attended(filled(MemoryPolicy(stride=3), 13), 14) == [
        (0, 0), (4, 4), (7, 3), (10, 2), (13, 1)]


def test_fewer_or_more_frames_than_trained():
    assert attended(filled(MemoryPolicy(spatial=2), 9), 10) == [(0, 0), (8, 2), (9, 1)]
    assert attended(filled(MemoryPolicy(spatial=6), 9), 10) == [
        (0, 0), (4, 4), (5, 4), (6, 4), (7, 3), (8, 2), (9, 1)], 'the oldest share the last place'
    assert attended(filled(MemoryPolicy(spatial=0), 9), 10) == [(0, 0)]


def test_pointers_are_those_of_the_last_frames_whatever_the_stride():
    for policy in (MemoryPolicy(), MemoryPolicy(stride=5), MemoryPolicy(spatial=9)):
        ages = [age for _, age in filled(policy, 30).selection(31).pointers]
        assert ages == [POINTERS, *range(1, POINTERS + 1)]


@pytest.mark.parametrize('policy', [
    MemoryPolicy(), MemoryPolicy(stride=7), MemoryPolicy(spatial=9, stride=2),
    MemoryPolicy(spatial=0, pointers=0), MemoryPolicy(spatial=1, pointers=2)])
def test_a_bank_is_bounded_by_its_policy(policy):
    most = (TRAINED if policy.spatial is None else policy.spatial,
            POINTERS if policy.pointers is None else policy.pointers)
    bank = filled(policy, 200)
    spatial = [tensor for tensor in bank.tensors() if tensor.ndim == 2]
    assert len(spatial) == most[0] + 1
    assert len(bank) <= sum(most) + 1


def test_a_frame_that_is_seen_again_takes_the_place_of_the_first_time():
    bank = filled(MemoryPolicy(stride=2), 6)
    bank.drop_after(4)
    bank.add(entry(5))
    assert [index for index, _ in attended(bank, 6)][-1] == 5


@pytest.mark.parametrize('values', [
    {'stride': 0}, {'stride': 2, 'by_rank': False}, {'anchors': 0}, {'spatial': -1}])
def test_a_policy_that_makes_no_sense_is_refused(values):
    with pytest.raises(ValueError):
        MemoryPolicy(**values)


def test_longer_and_sparser_memories_track(narrow):
    tracker = ObjectTracker(narrow, memory=MemoryPolicy(spatial=8, stride=3))
    tracker.add('a', Click.at(40, 50), frame(0))
    for t in range(1, 30):
        track, = tracker.step(frame(t))
    assert track.stamp_ns == frame(29).stamp_ns
