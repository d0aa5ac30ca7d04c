# SPDX-License-Identifier: Apache-2.0
"""Steps made ahead by other processes are those that this process would make."""

import multiprocessing
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from training.ahead import LARGE_BYTES, WHOLE, Ahead, Part, Refreshed, packed, unpacked


@dataclass
class Some:
    """Values as steps hold them."""

    tensors: dict[str, Tensor]
    names: list[str]


class Numbers:
    """A step that is its number, and how far the training was when it was made."""

    def __init__(self, progress: Tensor) -> None:
        self.progress = progress

    def __call__(self, step: int) -> tuple[int, float]:
        return step, float(self.progress)


class Learner:
    """Is further with every step; remembers the steps."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    @property
    def progress(self) -> float:
        return len(self.seen) / 10

    def learn(self, step: tuple[int, float]) -> dict[str, Tensor]:
        self.seen.append(step)
        return {'loss': torch.tensor(0.0)}


class Growing:
    """A pool that has something only after it was looked at so often."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    @property
    def ready(self) -> bool:
        return self.looks <= 0

    def refresh(self) -> None:
        self.looks -= 1


def test_what_is_packed_comes_out_as_it_was_and_large_tensors_go_by_themselves():
    given = Some({'large': torch.rand(LARGE_BYTES // 4), 'none': torch.zeros(0, 3).long(),
                  'bits': torch.tensor([True, False]), 'low': torch.arange(5, dtype=torch.uint8)},
                 ['a', 'b'])
    held = packed(given)
    assert [one.dtype for one in held] == [torch.uint8] * 2 and held[1].nbytes == LARGE_BYTES
    assert held[0].nbytes < 10_000
    got = unpacked(held)
    assert got.names == given.names and list(got.tensors) == list(given.tensors)
    for name, value in given.tensors.items():
        assert torch.equal(got.tensors[name], value) and got.tensors[name].dtype == value.dtype


def test_parts_share_all_numbers_among_them():
    parts = [Part(index, 3) for index in range(3)]
    assert sorted(n for part in parts for n in range(10)[part.of_several]) == list(range(10))
    assert all(part.has(n) == (n in range(10)[part.of_several]) for part in parts
               for n in range(10))
    assert Part.own() == WHOLE and all(WHOLE.has(n) for n in range(4))


def test_pools_are_looked_at_until_there_is_enough():
    pool = Growing(3)
    assert Refreshed(pool).now() == (pool,)
    assert pool.looks == 0


def test_what_never_comes_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr('training.ahead.PATIENCE_S', 0.0)
    with pytest.raises(RuntimeError, match='nothing to make a step of came'):
        Refreshed(Growing(1000)).now()


def test_steps_come_in_order_from_any_number_on_and_know_how_far_the_training_is():
    learner = Learner()
    ahead = Ahead(Numbers, 7, 5.0, 2)
    with ahead:
        losses = ahead.learned(learner)
        for _ in range(8):
            assert next(losses)['loss'] == 0
    assert not multiprocessing.active_children()
    assert [number for number, _ in learner.seen] == list(range(7, 15))
    told = [progress for _, progress in learner.seen]
    # Two processes are at most two steps each ahead of what they were told.
    assert told[0] == 5.0 and 0.2 < told[-1] < 0.8 and ahead.waited > 0
