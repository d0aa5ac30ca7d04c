# SPDX-License-Identifier: Apache-2.0
"""The .pt files of SAM 2's authors load as they are, strictly, and give the same masks."""

import re

import pytest
import torch
from transformers import Sam2VideoConfig, Sam2VideoModel

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.prompt import Box
from pixelrefer_model.sam2 import ObjectTracker, official
from pixelrefer_model.sam2.checkpoint import load_model, save_model
from tests.sam2.conftest import frame

HEADS = r'output_hypernetworks_mlps\.\d|iou_prediction_head|pred_obj_score_head'
#: Back from transformers' names to the authors': pattern and replacement, the first that fits.
BACK = [
    (r'vision_encoder\.backbone\.patch_embed\.projection', 'image_encoder.trunk.patch_embed.proj'),
    (r'vision_encoder\.backbone\.blocks\.(\d+)\.layer_norm', r'image_encoder.trunk.blocks.\1.norm'),
    (r'vision_encoder\.backbone\.(blocks\.\d+\.mlp)\.proj_in', r'image_encoder.trunk.\1.layers.0'),
    (r'vision_encoder\.backbone\.(blocks\.\d+\.mlp)\.proj_out', r'image_encoder.trunk.\1.layers.1'),
    (r'vision_encoder\.backbone\.', 'image_encoder.trunk.'),
    (r'vision_encoder\.neck\.convs\.(\d+)', r'image_encoder.neck.convs.\1.conv'),
    (r'memory_attention\.layer_norm', 'memory_attention.norm'),
    (r'memory_attention\.(layers\.\d+)\.layer_norm', r'memory_attention.\1.norm'),
    (r'memory_attention\.(.*)\.o_proj', r'memory_attention.\1.out_proj'),
    (r'memory_encoder\.mask_downsampler\.final_conv', 'memory_encoder.mask_downsampler.encoder.12'),
    (r'memory_encoder\.feature_projection', 'memory_encoder.pix_feat_proj'),
    (r'memory_encoder\.projection', 'memory_encoder.out_proj'),
    (r'memory_encoder\.memory_fuser\.(layers\.\d+)\.depthwise_conv',
     r'memory_encoder.fuser.\1.dwconv'),
    (r'memory_encoder\.memory_fuser\.(layers\.\d+)\.layer_norm', r'memory_encoder.fuser.\1.norm'),
    (r'memory_encoder\.memory_fuser\.(layers\.\d+)\.pointwise_conv',
     r'memory_encoder.fuser.\1.pwconv'),
    (r'memory_encoder\.memory_fuser\.(layers\.\d+)\.scale', r'memory_encoder.fuser.\1.gamma'),
    (r'prompt_encoder\.shared_embedding\.positional_embedding',
     'sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix'),
    (r'prompt_encoder\.mask_embed\.conv1', 'sam_prompt_encoder.mask_downscaling.0'),
    (r'prompt_encoder\.mask_embed\.layer_norm1', 'sam_prompt_encoder.mask_downscaling.1'),
    (r'prompt_encoder\.mask_embed\.conv2', 'sam_prompt_encoder.mask_downscaling.3'),
    (r'prompt_encoder\.mask_embed\.layer_norm2', 'sam_prompt_encoder.mask_downscaling.4'),
    (r'prompt_encoder\.mask_embed\.conv3', 'sam_prompt_encoder.mask_downscaling.6'),
    (r'prompt_encoder\.', 'sam_prompt_encoder.'),
    (r'mask_decoder\.upscale_conv1', 'sam_mask_decoder.output_upscaling.0'),
    (r'mask_decoder\.upscale_layer_norm', 'sam_mask_decoder.output_upscaling.1'),
    (r'mask_decoder\.upscale_conv2', 'sam_mask_decoder.output_upscaling.3'),
    (r'mask_decoder\.transformer\.layer_norm_final_attn',
     'sam_mask_decoder.transformer.norm_final_attn'),
    (r'mask_decoder\.(transformer\.layers\.\d+)\.layer_norm', r'sam_mask_decoder.\1.norm'),
    (r'mask_decoder\.(transformer\.layers\.\d+\.mlp)\.proj_in', r'sam_mask_decoder.\1.layers.0'),
    (r'mask_decoder\.(transformer\.layers\.\d+\.mlp)\.proj_out', r'sam_mask_decoder.\1.layers.1'),
    (r'mask_decoder\.(transformer\..*)\.o_proj', r'sam_mask_decoder.\1.out_proj'),
    (rf'mask_decoder\.({HEADS})\.proj_in', r'sam_mask_decoder.\1.layers.0'),
    (rf'mask_decoder\.({HEADS})\.layers\.0', r'sam_mask_decoder.\1.layers.1'),
    (rf'mask_decoder\.({HEADS})\.proj_out', r'sam_mask_decoder.\1.layers.2'),
    (r'mask_decoder\.', 'sam_mask_decoder.'),
    (r'memory_temporal_positional_encoding', 'maskmem_tpos_enc'),
    (r'no_memory_embedding', 'no_mem_embed'),
    (r'no_memory_positional_encoding', 'no_mem_pos_enc'),
    (r'no_object_pointer', 'no_obj_ptr'),
    (r'occlusion_spatial_embedding_parameter', 'no_obj_embed_spatial'),
    (r'object_pointer_proj\.proj_in', 'obj_ptr_proj.layers.0'),
    (r'object_pointer_proj\.layers\.0', 'obj_ptr_proj.layers.1'),
    (r'object_pointer_proj\.proj_out', 'obj_ptr_proj.layers.2'),
    (r'temporal_positional_encoding_projection_layer', 'obj_ptr_tpos_proj'),
]
LIKE = {'tiny': (96, [1, 2, 7, 2], 1, [7, 7], [8, 4, 14, 7], [5, 7, 9]),
        'small': (96, [1, 2, 11, 2], 1, [7, 7], [8, 4, 14, 7], [7, 10, 13]),
        'base+': (112, [2, 3, 16, 3], 2, [14, 14], [8, 4, 14, 7], [12, 16, 20]),
        'large': (144, [2, 6, 36, 4], 2, [7, 7], [8, 4, 16, 8], [23, 33, 43])}


def authors(model: Sam2VideoModel) -> dict[str, torch.Tensor]:
    """The weights of `model` as the authors of SAM 2 would have saved them."""
    made = {}
    for name, tensor in model.state_dict().items():
        if name.startswith('shared_image_embedding'):
            continue
        if name == 'prompt_encoder.point_embed.weight':
            made |= {f'sam_prompt_encoder.point_embeddings.{k}.weight': row[None].clone()
                     for k, row in enumerate(tensor)}
            continue
        layer = re.match(r'memory_encoder\.mask_downsampler\.layers\.(\d)\.(conv|layer_norm)', name)
        if layer:
            place = 3 * int(layer[1]) + (layer[2] == 'layer_norm')
            made['memory_encoder.mask_downsampler.encoder.' + str(place)
                 + name[layer.end():]] = tensor
            continue
        for pattern, known in BACK:
            if re.match(pattern, name):
                name = re.sub('^' + pattern, known, name)
                break
        made[name] = tensor
    return made


def released(size: str, **options) -> Sam2VideoConfig:
    width, blocks, heads, background, windows, everywhere = LIKE[size]
    return Sam2VideoConfig(vision_config={
        'model_type': 'sam2_vision_model',
        'backbone_channel_list': [8 * width, 4 * width, 2 * width, width],
        'backbone_config': {
            'model_type': 'sam2_hiera_det_model', 'hidden_size': width,
            'blocks_per_stage': blocks, 'num_attention_heads': heads,
            'embed_dim_per_stage': [width, 2 * width, 4 * width, 8 * width],
            'num_attention_heads_per_stage': [heads, 2 * heads, 4 * heads, 8 * heads],
            'window_positional_embedding_background_size': background,
            'window_size_per_stage': windows, 'global_attention_blocks': everywhere}}, **options)


@pytest.mark.parametrize('named', ['model.pt', 'sam2.1_hiera_any.pt'])
def test_a_file_of_the_authors_gives_the_masks_of_the_same_weights(narrow, tmp_path, named):
    save_model(narrow, tmp_path)
    (tmp_path / 'model.safetensors').unlink()
    torch.save({'model': authors(narrow)}, tmp_path / named)
    for path in (tmp_path, tmp_path / named):
        one, other = ObjectTracker(narrow), ObjectTracker.from_checkpoint(path)
        for each in (one, other):
            each.add('a', Box(22, 34, 58, 68), frame(0))
        for t in range(1, 3):
            assert torch.equal(one.step(frame(t))[0].logits, other.step(frame(t))[0].logits)


@pytest.mark.parametrize('size', LIKE)
def test_released_sizes_are_read_from_the_tensors(size):
    config = released(size)
    with torch.device('meta'):
        model = Sam2VideoModel(config)
    tensors = authors(model)
    assert official.read_sizes(tensors).to_dict() == config.to_dict()
    translated = official.translate(tensors)
    expected = {name: value.shape for name, value in model.state_dict().items()
                if not name.startswith('shared_image_embedding')}
    assert {name: value.shape for name, value in translated.items()} == expected


def test_sam_2_0_has_neither_ages_of_pointers_nor_a_mark_of_absence():
    config = released('tiny', enable_temporal_pos_encoding_for_object_pointers=False,
                      enable_occlusion_spatial_embedding=False)
    with torch.device('meta'):
        tensors = authors(Sam2VideoModel(config))
    assert official.read_sizes(tensors).to_dict() == config.to_dict()


def refusal(tensors: dict, path) -> str:
    torch.save({'model': tensors}, path)
    with pytest.raises(PixelReferError) as raised:
        load_model(path)
    assert raised.value.code == 'CHECKPOINT' and str(path) in raised.value.message
    return raised.value.message


def test_what_is_missing_unknown_or_of_no_released_size_is_named(narrow, tmp_path):
    path = tmp_path / 'sam2.pt'
    assert 'released' in refusal(authors(narrow), path)
    save_model(narrow, tmp_path)
    whole = authors(narrow)
    assert 'ema.decay' in refusal(whole | {'ema.decay': torch.ones(1)}, path)
    for gone, told in (('no_obj_ptr', 'no_object_pointer'),
                       ('sam_prompt_encoder.point_embeddings.2.weight', 'point_embeddings.2')):
        assert told in refusal({k: v for k, v in whole.items() if k != gone}, path)


def test_two_files_in_one_folder_are_not_guessed_between(narrow, tmp_path):
    for name in ('one.pt', 'two.pt'):
        torch.save({'model': authors(narrow)}, tmp_path / name)
    with pytest.raises(PixelReferError, match='2 .pt files'):
        load_model(tmp_path)
