# SPDX-License-Identifier: Apache-2.0
"""PixelRefer, which sees the whole image: packing is only a matter of speed, tokens are as many as
there are cells, and nothing is computed for tokens that are dropped."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.pixelrefer import (
    EncodePolicy, ImageEncoder, PixelRefer, PixelReferConfig, PixelReferLite, RegionEncoder,
    collate, encoder_for, prepare_images, prepare_regions, prepare_video)
from pixelrefer_model.pixelrefer.configuration_pixelrefer import FULL
from pixelrefer_model.pixelrefer.processing_pixelrefer import (
    cell_coordinates, crop_region, pack_regions, region_images)
from pixelrefer_support import boxed, clustered, outline, tower_alone

MASKS = [boxed(20, 30, 30, 25), boxed(60, 20, 90, 95), boxed(100, 2, 2, 80), boxed(5, 5, 4, 3)]
OF = [0, 1, 0, 1]


@pytest.fixture(scope='module')
def config(small_config):
    return replace(small_config, model_type=FULL, image_token_index=62, shrink_patches=100)


@pytest.fixture(scope='module')
def model(config):
    torch.manual_seed(4)
    return PixelRefer.from_config(config).eval()


@pytest.fixture(scope='module')
def images(picture):
    return [picture, picture[::-1].copy()]


def project(model, features):
    return model.model.mm_projector.readout(features)


def region_alone(model, crop, inputs, r, size, first):
    encoder, (rows, columns) = model.model.region_encoder, inputs.grids[r].tolist()
    place = torch.from_numpy(cell_coordinates(crop.box, (rows, columns), size))
    grid = tower_alone(model, inputs.patches[r], (rows, columns)) + encoder.pos_linear(place)
    cells = grid[torch.from_numpy(crop.mask_grid).flatten() > 0]
    return encoder.feat_linear(cells if first is None else clustered(cells, first, rounds=5))


@torch.inference_mode()
def test_packed_regions_and_images_equal_each_alone(model, config, images):
    policy = EncodePolicy.robot()
    made = region_images(images, MASKS, OF, config, policy)
    inputs, whole = pack_regions(made, config, policy), prepare_images(images, config, policy)
    batch = collate([inputs], policy.kmeans, whole)
    objects, seen = model.encode(batch)
    objects = [tokens[:n] for tokens, n in zip(objects, batch.counts)]
    seen = seen.split(whole.tokens)
    for tokens, patches, grid in zip(seen, whole.patches, whole.grids):
        alone = project(model, tower_alone(model, patches, grid.tolist()))
        assert torch.allclose(tokens, alone, atol=1e-4)
    counts = [len(cells) for cells in inputs.cells]
    many = [r for r, n in enumerate(counts) if n > inputs.k]
    first = dict(zip(many, policy.kmeans.indices([counts[r] for r in many], inputs.k)))
    assert 0 < len(many) < len(MASKS)
    for r, tokens in enumerate(objects):
        assert len(tokens) == min(inputs.k, counts[r])
        alone = region_alone(model, made.crops[r], inputs, r, (120, 160), first.get(r))
        assert torch.allclose(tokens, alone, atol=1e-4), r


@torch.inference_mode()
def test_a_token_of_a_video_is_the_mean_of_a_square_of_patches(model, config, images):
    whole = prepare_video(images, config, EncodePolicy.published())
    nothing = prepare_regions(images, [], [], config, EncodePolicy.published())
    objects, seen = model.encode(collate([nothing], images=whole))
    assert objects.shape == (0, config.mask_num, 48)
    for tokens, patches, (rows, columns) in zip(seen.split(whole.tokens), whole.patches, whole.grids.tolist()):
        grid = tower_alone(model, patches, (rows, columns)).view(rows // 2, 2, columns // 2, 2, -1)
        assert torch.allclose(tokens, project(model, grid.mean((1, 3)).flatten(0, 1)), atol=1e-4)


def test_one_pass_encodes_all_objects_and_each_image_once(model, config, images):
    encoder = ImageEncoder(model)
    before = encoder.calls
    made = encoder.encode_regions(images, MASKS, OF)
    after = encoder.calls
    crops = prepare_regions(images, MASKS, OF, config, encoder.policy).patch_count
    whole = sum(prepare_images(images, config, encoder.policy).tokens)
    assert after.calls - before.calls == 1 and after.patches - before.patches == crops + whole
    assert sum(map(len, made.images)) == whole and made.index.tolist() == [0, 1, 2, 3]
    assert all(tokens.device.type == 'cpu' for tokens in (*made.tokens, *made.images))


def test_dropped_tokens_are_not_projected(model, picture):
    rows = []
    hook = model.model.mm_projector.register_forward_hook(
        lambda module, given, made: rows.append(len(made)))
    try:
        made = ImageEncoder(model).encode_video([picture] * 4, [MASKS[0]], [2])
    finally:
        hook.remove()
    assert [len(tokens) for tokens in made.images][1:] == [1, 1, 1]
    assert rows == [sum(map(len, made.images))]


def test_masks_of_a_video_may_be_of_other_frames(model, picture):
    encoder, other = ImageEncoder(model), np.ascontiguousarray(picture[:, ::-1])
    there = encoder.encode_video([picture] * 2, [MASKS[0]], [0], mask_frames=[other])
    here = encoder.encode_video([other] * 2, [MASKS[0]], [1])
    assert torch.allclose(there.tokens[0], here.tokens[0], atol=1e-5)
    assert not torch.allclose(there.images[0], here.images[0], atol=1e-2)


def test_an_object_that_fills_no_cell_has_no_token_as_published_and_some_for_the_robot(
        model, picture):
    thin = outline(30, 20, 90, 80)
    published, robot = (ImageEncoder(model, policy).encode_regions([picture], [thin], [0])
                        for policy in (EncodePolicy.published(), EncodePolicy.robot(None)))
    assert published.missed.tolist() == robot.missed.tolist() == [True]
    assert published.tokens[0].shape == (0, 48) and len(robot.tokens[0]) > 0


def test_an_empty_mask_is_skipped_or_refused_and_never_zeros(model, picture):
    nothing = boxed(0, 0, 0, 0)
    skipping = ImageEncoder(model, EncodePolicy.robot(empty='skip'))
    made = skipping.encode_regions([picture], [nothing, MASKS[0]], [0, 0])
    assert made.index.tolist() == [1] and len(made.tokens) == 1 and len(made.images) == 1
    before = skipping.calls
    assert skipping.encode_regions([picture], [nothing], [0]).tokens == []
    assert skipping.calls == before
    for policy in (EncodePolicy.published(), EncodePolicy.robot()):
        with pytest.raises(PixelReferError) as error:
            ImageEncoder(model, policy).encode(picture, [nothing])
        assert error.value.code == 'EMPTY_MASK'


def test_a_large_object_is_shrunk_linearly_and_by_area_in_lite(config, small_config, picture):
    for one, how in ((config, cv2.INTER_LINEAR), (small_config, cv2.INTER_AREA)):
        crop, _ = crop_region(picture, boxed(20, 20, 110, 90), one, EncodePolicy.published())
        height, width = crop.image.shape[:2]
        assert height < crop.context.shape[0]
        assert np.array_equal(crop.image, cv2.resize(crop.context, (width, height),
                                                     interpolation=how))


def test_the_crop_lacks_the_last_row_and_column(config, picture):
    inside, _ = crop_region(picture, boxed(50, 40, 20, 10), config, EncodePolicy.published())
    assert inside.box == (40 - 14, 50 - 14, 49 + 14, 69 + 14)
    assert inside.context.shape[:2] == (37, 47)
    corner, _ = crop_region(picture, boxed(0, 110, 12, 10), config, EncodePolicy.published())
    assert corner.box == (110 - 14, 0, 119, 11 + 14)
    with pytest.raises(PixelReferError) as error:
        crop_region(np.zeros((1, 40, 3), np.uint8), np.ones((1, 40), bool), config,
                    EncodePolicy.published())
    assert error.value.code == 'BAD_IMAGE'


def test_objects_are_shrunk_at_twice_the_size_that_lite_shrinks_them_at():
    lite, full = (PixelReferConfig.from_dict({'model_type': kind}) for kind in (
        'pixelreferlite_qwen2', 'pixelrefer_qwen2'))
    assert (lite.shrink_patches, full.shrink_patches) == (50, 100)
    assert full.spatial_merge_size == 2


@pytest.mark.parametrize('dtype, values', [(np.uint8, {0, 1}), (bool, {0, 1})])
def test_masks_of_whole_numbers_stay_zero_or_one_at_the_patches(config, picture, dtype, values):
    crop, _ = crop_region(picture, boxed(50, 40, 21, 13).astype(dtype), config,
                          EncodePolicy.published())
    assert set(np.unique(crop.mask_grid).tolist()) == values


def test_masks_of_shares_stay_shares_and_select_every_cell_they_touch(config, picture):
    mask = boxed(30, 30, 60, 50) & (np.random.default_rng(0).random((120, 160)) < 0.3)
    whole, shares = (crop_region(picture, mask.astype(dtype), config, EncodePolicy.published())[0]
                     for dtype in (np.uint8, np.float64))
    assert shares.mask_grid.dtype == np.float64
    assert ((shares.mask_grid > 0) & (shares.mask_grid < 1)).any()
    assert (shares.mask_grid > 0).sum() > (whole.mask_grid > 0).sum()


def test_a_device_without_room_is_said_and_the_next_call_works(model, small, images, monkeypatch):
    def full(*_):
        raise torch.cuda.OutOfMemoryError('CUDA out of memory')
    for encoder in (ImageEncoder(model), RegionEncoder(small)):
        monkeypatch.setattr(encoder.model.tower, 'forward', full)
        with pytest.raises(PixelReferError) as error:
            encoder.encode_regions(images, MASKS, OF)
        assert error.value.code == 'OUT_OF_MEMORY' and '4 regions' in error.value.message
        assert error.value.__context__ is None
        monkeypatch.undo()
        assert len(encoder.encode_regions(images[:1], MASKS[:1], OF[:1]).tokens) == 1


def test_each_variant_has_its_encoder(model, small, config, small_config):
    assert type(encoder_for(model)) is ImageEncoder and encoder_for(model).moments == 1
    assert type(encoder_for(small)) is RegionEncoder and encoder_for(small).moments is None
    for variant, other in ((PixelRefer, small_config), (PixelReferLite, config)):
        with pytest.raises(PixelReferError):
            variant.from_config(other)


def test_the_same_call_gives_the_same_tokens_in_16_bits_too(model, images):
    rough = PixelRefer(model.config).to(torch.bfloat16)
    rough.load_state_dict(model.state_dict())
    for one in (model, rough):
        first, again = (ImageEncoder(one).encode_regions(images, MASKS, OF) for _ in range(2))
        for made, other in zip([*first.tokens, *first.images], [*again.tokens, *again.images]):
            assert made.dtype == one.dtype and torch.equal(made, other)
