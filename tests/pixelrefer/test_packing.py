# SPDX-License-Identifier: Apache-2.0
"""Packing is only a matter of speed: every region comes out as if it were encoded alone, by the
plain reading of the paper (one image at a time, one region at a time, torch's own attention)."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.pixelrefer import (
    EncodePolicy, EvenlySpaced, PixelReferLite, RegionEncoder, SeededPermutation, collate,
    prepare_regions)
from pixelrefer_model.pixelrefer.processing_pixelrefer import (
    cell_coordinates, pack_regions, region_images)
from pixelrefer_support import CHECKPOINT, boxed, clustered, outline, tower_alone

MASKS = [boxed(20, 30, 30, 25), boxed(5, 5, 4, 3), boxed(60, 20, 90, 95), boxed(100, 2, 2, 80),
         boxed(150, 110, 10, 10)]
OTHER = [boxed(40, 40, 20, 20), boxed(90, 10, 12, 40)]


def attention(module, width):
    """torch's own multi-head attention with the weights of an infusion."""
    own = nn.MultiheadAttention(width, 8, batch_first=True)
    own.load_state_dict(module.state_dict())
    return own


def region_alone(model, config, crop, inputs, r, size, first):
    encoder, k = model.model.region_encoder, config.mask_num
    features = {i: tower_alone(model, inputs.patches[i], inputs.grids[i])
                for i in {int(inputs.crop[r]), int(inputs.global_[r]), int(inputs.local[r])}}
    rows, columns = inputs.grids[inputs.crop[r]]
    place = torch.from_numpy(cell_coordinates(crop.box, (rows, columns), size))
    grid = features[int(inputs.crop[r])] + encoder.pos_linear(place)
    if (rows, columns) != crop.mask_grid.shape:
        planes = grid.T.view(1, -1, rows, columns)
        planes = F.interpolate(planes, crop.mask_grid.shape, mode='bilinear', align_corners=False)
        grid = planes[0].flatten(1).T
    cells = grid[torch.from_numpy(crop.mask_grid).flatten() > 0]
    if len(cells) > k:
        tokens = clustered(cells, first)
    else:
        tokens = torch.cat([cells, torch.zeros(k - len(cells), cells.shape[1])])
    width = tokens.shape[1]
    for norm, module, image in (
            (encoder.ln_local, encoder.fusion_attention_local, inputs.local[r]),
            (encoder.ln_global, encoder.fusion_attention_global, inputs.global_[r])):
        seen = features[int(image)][None]
        tokens = tokens + attention(module, width)(norm(tokens)[None], seen, seen)[0][0]
    return encoder.feat_linear(tokens)


@pytest.mark.parametrize('policy', [EncodePolicy.published(4), EncodePolicy.robot()],
                         ids=['published', 'robot'])
@torch.inference_mode()
def test_a_packed_region_equals_the_region_alone(small, small_config, picture, policy):
    images = region_images([picture], MASKS, [0] * len(MASKS), small_config, policy)
    inputs = pack_regions(images, small_config, policy)
    tokens = small.region_tokens(collate([inputs], policy.kmeans))
    many = [r for r, cells in enumerate(inputs.cells) if len(cells) > inputs.k]
    first = dict(zip(many, policy.kmeans.indices([len(inputs.cells[r]) for r in many], inputs.k)))
    for r, crop in enumerate(images.crops):
        alone = region_alone(small, small_config, crop, inputs, r, picture.shape[:2], first.get(r))
        assert torch.allclose(tokens[r], alone, atol=1e-4), r


def test_the_published_cases_above_include_a_second_resize(small_config, picture):
    inputs = prepare_regions([picture], MASKS, [0] * 5, small_config, EncodePolicy.published())
    assert any(cells.shape[1] == 4 for cells in inputs.cells)


@torch.inference_mode()
def test_an_empty_mask_as_published_is_zero_tokens_that_look_at_the_context(
        small, small_config, picture):
    policy = EncodePolicy.published()
    call = prepare_regions([picture], [MASKS[0], boxed(0, 0, 0, 0)], [0, 0], small_config, policy)
    assert call.grids[call.crop[1]].tolist() == [4, 4] and call.local[0] == call.local[1]
    stages = small.region_stages(collate([call], policy.kmeans))
    assert stages.pooled[0].any() and not stages.pooled[1].any()
    assert stages.after_local[1].any() and stages.tokens.isfinite().all()


@torch.inference_mode()
def test_calls_that_are_collated_come_out_as_if_encoded_one_by_one(small, small_config, picture):
    policy = EncodePolicy.robot()
    calls = [prepare_regions([picture], MASKS, [0] * 5, small_config, policy),
             prepare_regions([picture[::-1].copy()], OTHER, [0, 0], small_config, policy)]
    together = small.region_tokens(collate(calls))
    apart = torch.cat([small.region_tokens(collate([call])) for call in calls])
    assert torch.allclose(together, apart, atol=1e-4)


@torch.inference_mode()
def test_taking_some_regions_of_a_call_keeps_them_as_they_were(small, small_config, picture):
    call = prepare_regions([picture, picture[::-1].copy()], MASKS, [0, 1, 0, 1, 0], small_config,
                           EncodePolicy.robot())
    whole = small.region_tokens(collate([call]))
    some = small.region_tokens(collate([call.take([3, 0])]))
    assert torch.allclose(some, whole[[3, 0]], atol=1e-4)
    assert call.take([0, 2, 4]).patch_count < call.patch_count


def test_tokens_do_not_depend_on_the_other_regions_of_the_call(small, picture):
    encoder = RegionEncoder(small)
    together = encoder.encode(picture, np.stack(MASKS))
    for r, mask in enumerate(MASKS):
        assert torch.allclose(encoder.encode(picture, mask[None])[0], together[r], atol=1e-4)


def test_published_tokens_do_depend_on_them(small, picture):
    encoder = RegionEncoder(small, EncodePolicy.published())
    alone = encoder.encode(picture, MASKS[2][None])[0]
    assert not torch.allclose(alone, encoder.encode(picture, np.stack(MASKS))[2], atol=1e-2)


def test_one_pass_encodes_all_objects_and_the_frame_once(small, small_config, picture):
    encoder = RegionEncoder(small)
    before = encoder.calls
    encoder.encode(picture, np.stack(MASKS))
    after = encoder.calls
    assert after.calls - before.calls == 1
    inputs = prepare_regions([picture], MASKS, [0] * 5, small_config, EncodePolicy.robot())
    own = sum(len(inputs.patches[i]) for i in (*inputs.crop, *inputs.local))
    frame = (small_config.global_image_size // small_config.patch_size) ** 2
    assert after.patches - before.patches == own + frame


@torch.inference_mode()
def test_keys_and_values_of_an_image_are_made_once_however_many_regions_look_at_it(
        small, small_config, picture, monkeypatch):
    encoder, width, seen = small.model.region_encoder, small_config.vision.hidden_size, []
    made_with = [infusion.in_proj_weight[width:].data_ptr() for infusion in (
        encoder.fusion_attention_local, encoder.fusion_attention_global)]
    plain = F.linear

    def counting(values, weight, bias=None):
        if weight.data_ptr() in made_with:
            seen.append(values.shape[:2])
        return plain(values, weight, bias)

    images = [picture, picture[::-1].copy()]
    call = prepare_regions(images, MASKS, [0, 1, 0, 0, 1], small_config, EncodePolicy.robot())
    batch = collate([call])
    monkeypatch.setattr(F, 'linear', counting)
    small.region_tokens(batch)
    local, frame = 8 * 8, 12 * 12
    assert seen == [(5, local), (2, frame)]


def test_no_mask_is_no_token_and_no_pass(small, picture):
    encoder = RegionEncoder(small)
    before = encoder.calls
    assert encoder.encode(picture, np.zeros((0, 120, 160), bool)).shape == (0, 16, 48)
    assert encoder.calls == before


def test_the_same_call_gives_the_same_tokens(small, picture):
    for policy in (EncodePolicy.published(7), EncodePolicy.robot()):
        encoder = RegionEncoder(small, policy)
        assert torch.equal(encoder.encode(picture, np.stack(MASKS)),
                           encoder.encode(picture, np.stack(MASKS)))


def test_every_weight_that_makes_tokens_gets_a_gradient(small_config, picture):
    model = PixelReferLite.from_config(small_config)
    call = prepare_regions([picture], MASKS, [0] * 5, small_config, EncodePolicy.robot())
    model.region_tokens(collate([call])).square().mean().backward()
    without = [name for name, weight in model.named_parameters()
               if '_encoder.' in name and (weight.grad is None or not weight.grad.any())]
    # A bias of the keys moves all scores of a query alike.
    assert [name for name in without if not name.endswith('k_proj.bias')] == []


@torch.inference_mode()
def test_a_mask_that_selects_no_cell_falls_back_to_the_cells_it_touches(small, picture):
    thin = outline(30, 20, 90, 80)
    published, robot = (RegionEncoder(small, policy).encode_regions([picture], [thin], [0])
                        for policy in (EncodePolicy.published(), EncodePolicy.robot(None)))
    assert published.missed.tolist() == robot.missed.tolist() == [True]
    solid = RegionEncoder(small).encode_regions([picture], [boxed(30, 20, 9, 8)], [0])
    assert solid.missed.tolist() == [False]
    assert not torch.allclose(published.tokens, robot.tokens, atol=1e-2)


def test_a_thin_mask_is_counted_and_warned_of_ever_more_rarely(small, picture, caplog):
    encoder = RegionEncoder(small, EncodePolicy.robot(None))
    thin, solid = outline(30, 20, 90, 80), boxed(30, 20, 9, 8)
    encoder.encode(picture, [solid])
    assert encoder.missed == 0 and caplog.records == []
    for _ in range(20):
        encoder.encode(picture, [thin, solid])
    assert encoder.missed == 20
    assert [record.args[-1] for record in caplog.records] == [1, 2, 4, 8, 16]
    assert {(r.levelname, r.name.split('.')[0]) for r in caplog.records} == {
        ('WARNING', 'pixelrefer_model')}


def test_an_empty_mask_that_is_skipped_costs_the_other_regions_nothing(small, picture):
    nothing = boxed(0, 0, 0, 0)
    encoder = RegionEncoder(small, EncodePolicy.robot(empty='skip'))
    made = encoder.encode_regions([picture], [nothing, MASKS[0], nothing, MASKS[1]], [0] * 4)
    assert made.index.tolist() == [1, 3] and made.missed.tolist() == [False, False]
    assert torch.equal(made.tokens, encoder.encode(picture, MASKS[:2]))
    calls = encoder.calls
    assert encoder.encode(picture, [nothing]).shape == (0, 16, 48)
    assert encoder.calls == calls
    with pytest.raises(PixelReferError) as error:
        RegionEncoder(small, EncodePolicy.robot()).encode(picture, [MASKS[0], nothing])
    assert error.value.code == 'EMPTY_MASK'


def test_every_mask_has_its_row_where_none_is_skipped(small, picture):
    encoder = RegionEncoder(small, EncodePolicy.published())
    made = encoder.encode_regions([picture], [MASKS[0], boxed(0, 0, 0, 0)], [0, 0])
    assert made.index.tolist() == [0, 1] and len(made.tokens) == 2


def test_bfloat16_tokens_stay_near_float32(picture):
    exact, rough = (
        RegionEncoder(PixelReferLite.from_checkpoint(CHECKPOINT, dtype=dtype)).encode(
            picture, np.stack(MASKS)) for dtype in (torch.float32, torch.bfloat16))
    assert rough.dtype == torch.bfloat16 and rough.device.type == 'cpu'
    error = (rough.float() - exact).square().mean().sqrt() / exact.square().mean().sqrt()
    assert error < 0.05


def test_first_centroids_are_drawn_as_torch_draws_them():
    torch.manual_seed(106)
    drawn = [torch.randperm(n)[:32] for n in (84, 80)]
    for ours, theirs in zip(SeededPermutation(106).indices([84, 80], 32), drawn):
        assert torch.equal(ours, theirs)


def test_evenly_spaced_centroids_are_distinct_and_in_range():
    for n in (17, 32, 100):
        indices = EvenlySpaced().indices([n], 16)[0]
        assert len(set(indices.tolist())) == 16 and 0 <= int(indices.min()) and indices.max() < n
