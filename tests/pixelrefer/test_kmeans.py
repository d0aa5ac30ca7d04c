# SPDX-License-Identifier: Apache-2.0
"""Clustering of cells: three rounds, the corner cases of the published code, gradients."""

import torch

from pixelrefer_model.pixelrefer.kmeans import kmeans


def on_a_line(*points, first, valid=None, rounds=3):
    row = torch.tensor(points, dtype=torch.float32)[None, :, None]
    valid = torch.ones(row.shape[:2], dtype=torch.bool) if valid is None else torch.tensor([valid])
    return kmeans(row, valid, torch.tensor([first]), rounds)[0, :, 0]


def test_centroids_are_the_means_of_their_members_in_the_order_of_the_start():
    assert on_a_line(0, 1, 10, 12, first=[3, 0]).tolist() == [11, 0.5]


def test_a_centroid_without_members_stays_where_it_was():
    # Equal points: the first of the two takes all.
    assert on_a_line(4, 4, 4, 9, first=[0, 1, 3]).tolist() == [4, 4, 9]


def test_it_stops_after_three_rounds():
    points, first = [0, 1, 2, 3, 4, 5, 6, 7, 8, 30], [0, 1]
    rounds = [on_a_line(*points, first=first, rounds=n).tolist() for n in (1, 2, 3, 4)]
    assert rounds[2] == on_a_line(*points, first=first).tolist()
    assert rounds[0] != rounds[1] != rounds[2] != rounds[3]


def test_padding_is_no_point():
    valid = [True, True, True, False]
    assert on_a_line(0, 2, 9, 99, first=[0, 2], valid=valid).tolist() == [1, 9]


def test_centroids_that_no_longer_move_are_those_of_the_round_before():
    # The mean moves by less than 1e-6: the published code returns the start.
    start = torch.tensor(1.0)
    near = torch.nextafter(start, torch.tensor(2.0))
    for _ in range(3):
        near = torch.nextafter(near, torch.tensor(2.0))
    assert on_a_line(float(start), float(near), 9, first=[0, 2])[0] == start


def test_rows_of_a_batch_do_not_meet():
    points = torch.randn(3, 40, 5)
    first = torch.stack([torch.randperm(40)[:4] for _ in range(3)])
    valid = torch.arange(40) < torch.tensor([[40], [30], [9]])
    first[2] = torch.tensor([0, 3, 5, 8])
    first[1] = torch.tensor([0, 9, 15, 28])
    together = kmeans(points, valid, first)
    for b, n in enumerate((40, 30, 9)):
        alone = kmeans(points[b:b + 1, :n], valid[b:b + 1, :n], first[b:b + 1])
        assert torch.allclose(together[b], alone[0], atol=1e-5)


def test_gradients_reach_every_member():
    points = torch.tensor([[[0.0], [1.0], [10.0], [12.0]]], requires_grad=True)
    kmeans(points, torch.ones(1, 4, dtype=torch.bool), torch.tensor([[0, 3]])).sum().backward()
    assert points.grad.flatten().tolist() == [0.5] * 4
