# SPDX-License-Identifier: Apache-2.0
"""SAM 2 checkpoints as their authors publish them: one .pt file, other names, no configuration.

Names are translated strictly, one rule per part; sizes that the tensors have are read from them,
and what they do not show (heads, windows, where attention is global) is known per released size.
"""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, cat
from transformers import Sam2VideoConfig

#: A tensor of this name tells the authors' layout from transformers'.
MARK = 'image_encoder.trunk.pos_embed'
#: Of each released size, by (channels, blocks per stage): its name, heads, windows and the blocks
#: whose attention is global.
_SIZES: dict[tuple[int, tuple[int, ...]], tuple[str, int, list[int], list[int]]] = {
    (96, (1, 2, 7, 2)): ('tiny', 1, [8, 4, 14, 7], [5, 7, 9]),
    (96, (1, 2, 11, 2)): ('small', 1, [8, 4, 14, 7], [7, 10, 13]),
    (112, (2, 3, 16, 3)): ('base+', 2, [8, 4, 14, 7], [12, 16, 20]),
    (144, (2, 6, 36, 4)): ('large', 2, [8, 4, 16, 8], [23, 33, 43]),
}
#: Where the layers of a three-layer perceptron went.
_THREE = {'0': 'proj_in', '1': 'layers.0', '2': 'proj_out'}
_TWO = {'0': 'proj_in', '1': 'proj_out'}
#: (pattern of the authors' name, transformers' name); a group that is a digit of a perceptron or of
#: a sequence is looked up in the table beside it. The ending `.weight` or `.bias` stays.
_RULES: list[tuple[str, str, dict[str, str]]] = [
    (r'image_encoder\.trunk\.(pos_embed|pos_embed_window)', r'vision_encoder.backbone.\1', {}),
    (r'image_encoder\.trunk\.patch_embed\.proj', 'vision_encoder.backbone.patch_embed.projection',
     {}),
    (r'image_encoder\.trunk\.blocks\.(\d+)\.norm([12])',
     r'vision_encoder.backbone.blocks.\1.layer_norm\2', {}),
    (r'image_encoder\.trunk\.blocks\.(\d+)\.(attn\.qkv|attn\.proj|proj)',
     r'vision_encoder.backbone.blocks.\1.\2', {}),
    (r'image_encoder\.trunk\.blocks\.(\d+)\.mlp\.layers\.(?P<of>[01])',
     r'vision_encoder.backbone.blocks.\1.mlp.{}', _TWO),
    (r'image_encoder\.neck\.convs\.(\d+)\.conv', r'vision_encoder.neck.convs.\1', {}),
    (r'memory_attention\.layers\.(\d+)\.(self_attn|cross_attn_image)\.([qkv]_proj)',
     r'memory_attention.layers.\1.\2.\3', {}),
    (r'memory_attention\.layers\.(\d+)\.(self_attn|cross_attn_image)\.out_proj',
     r'memory_attention.layers.\1.\2.o_proj', {}),
    (r'memory_attention\.layers\.(\d+)\.(linear[12])', r'memory_attention.layers.\1.\2', {}),
    (r'memory_attention\.layers\.(\d+)\.norm([123])', r'memory_attention.layers.\1.layer_norm\2',
     {}),
    (r'memory_attention\.norm', 'memory_attention.layer_norm', {}),
    (r'memory_encoder\.mask_downsampler\.encoder\.(?P<of>\d+)',
     'memory_encoder.mask_downsampler.{}',
     {str(3 * k + j): f'layers.{k}.{name}' for k in range(4)
      for j, name in enumerate(('conv', 'layer_norm'))} | {'12': 'final_conv'}),
    (r'memory_encoder\.pix_feat_proj', 'memory_encoder.feature_projection', {}),
    (r'memory_encoder\.fuser\.layers\.(\d+)\.(?P<of>dwconv|norm|pwconv1|pwconv2|gamma)',
     r'memory_encoder.memory_fuser.layers.\1.{}',
     {'dwconv': 'depthwise_conv', 'norm': 'layer_norm', 'pwconv1': 'pointwise_conv1',
      'pwconv2': 'pointwise_conv2', 'gamma': 'scale'}),
    (r'memory_encoder\.out_proj', 'memory_encoder.projection', {}),
    (r'sam_prompt_encoder\.pe_layer\.positional_encoding_gaussian_matrix',
     'prompt_encoder.shared_embedding.positional_embedding', {}),
    (r'sam_prompt_encoder\.(not_a_point_embed|no_mask_embed)', r'prompt_encoder.\1', {}),
    (r'sam_prompt_encoder\.mask_downscaling\.(?P<of>[01346])', 'prompt_encoder.mask_embed.{}',
     {'0': 'conv1', '1': 'layer_norm1', '3': 'conv2', '4': 'layer_norm2', '6': 'conv3'}),
    (r'sam_mask_decoder\.transformer\.(layers\.\d+\.(?:self_attn|cross_attn_token_to_image|'
     r'cross_attn_image_to_token)|final_attn_token_to_image)\.([qkv]_proj)',
     r'mask_decoder.transformer.\1.\2', {}),
    (r'sam_mask_decoder\.transformer\.(layers\.\d+\.(?:self_attn|cross_attn_token_to_image|'
     r'cross_attn_image_to_token)|final_attn_token_to_image)\.out_proj',
     r'mask_decoder.transformer.\1.o_proj', {}),
    (r'sam_mask_decoder\.transformer\.layers\.(\d+)\.norm([1234])',
     r'mask_decoder.transformer.layers.\1.layer_norm\2', {}),
    (r'sam_mask_decoder\.transformer\.layers\.(\d+)\.mlp\.layers\.(?P<of>[01])',
     r'mask_decoder.transformer.layers.\1.mlp.{}', _TWO),
    (r'sam_mask_decoder\.transformer\.norm_final_attn',
     'mask_decoder.transformer.layer_norm_final_attn', {}),
    (r'sam_mask_decoder\.(iou_token|mask_tokens|obj_score_token|conv_s0|conv_s1)',
     r'mask_decoder.\1', {}),
    (r'sam_mask_decoder\.output_upscaling\.(?P<of>[013])', 'mask_decoder.{}',
     {'0': 'upscale_conv1', '1': 'upscale_layer_norm', '3': 'upscale_conv2'}),
    (r'sam_mask_decoder\.(output_hypernetworks_mlps\.\d+|iou_prediction_head|pred_obj_score_head)'
     r'\.layers\.(?P<of>[012])', r'mask_decoder.\1.{}', _THREE),
    (r'maskmem_tpos_enc', 'memory_temporal_positional_encoding', {}),
    (r'no_mem_embed', 'no_memory_embedding', {}),
    (r'no_mem_pos_enc', 'no_memory_positional_encoding', {}),
    (r'no_obj_ptr', 'no_object_pointer', {}),
    (r'no_obj_embed_spatial', 'occlusion_spatial_embedding_parameter', {}),
    (r'mask_downsample', 'mask_downsample', {}),
    (r'obj_ptr_proj\.layers\.(?P<of>[012])', 'object_pointer_proj.{}', _THREE),
    (r'obj_ptr_tpos_proj', 'temporal_positional_encoding_projection_layer', {}),
]
_POINTS = [f'sam_prompt_encoder.point_embeddings.{k}.weight' for k in range(4)]


class Unknown(ValueError):
    """What the tensors are is not known; the message says which or how."""


def translate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors under the authors' names -> under those of transformers' Sam2VideoModel.

    Raises Unknown naming the tensors that no rule knows.
    """
    made, unknown = {}, []
    for name, tensor in tensors.items():
        if name in _POINTS:
            continue
        known = _name(name)
        if known is None:
            unknown.append(name)
        else:
            made[known] = tensor
    missing = [name for name in _POINTS if name not in tensors]
    if unknown or missing:
        told = [f'{len(names)} {what} ({", ".join(names[:3])})' for what, names in
                (('unexpected', unknown), ('missing', missing)) if names]
        raise Unknown('; '.join(told))
    made['prompt_encoder.point_embed.weight'] = cat([tensors[name] for name in _POINTS])
    return made


def _name(name: str) -> str | None:
    stem, ending = re.fullmatch(r'(.*?)(\.weight|\.bias)?', name).groups()
    for pattern, known, table in _RULES:
        found = re.fullmatch(pattern, stem)
        if found is None:
            continue
        if table:
            part = table.get(found['of'])
            if part is None:
                return None
            known = known.replace('{}', part)
        return found.expand(known) + (ending or '')
    return None


def read_sizes(tensors: Mapping[str, Tensor]) -> Sam2VideoConfig:
    """The configuration of one of the released sizes, from its tensors under the authors' names.

    SAM 2.1 encodes the ages of pointers and says in the memory that an object is absent; SAM 2.0
    does neither, and lacks the tensors for it. Raises Unknown for other sizes.
    """
    try:
        place, window = tensors[MARK], tensors[f'{MARK}_window']
        widths, blocks = [], []
        while (weight := tensors.get(
                f'image_encoder.trunk.blocks.{sum(blocks)}.attn.proj.weight')) is not None:
            if not widths or len(weight) != widths[-1]:
                widths.append(len(weight))
                blocks.append(0)
            blocks[-1] += 1
        key = (place.shape[1], tuple(blocks))
        memories = len(tensors['maskmem_tpos_enc'])
    except KeyError as error:
        raise Unknown(f'1 missing ({error.args[0]})') from error
    except (IndexError, TypeError) as error:
        raise Unknown(f'a tensor of another shape ({error})') from error
    if key not in _SIZES:
        sizes = ', '.join(f'{name}: {width} channels, {list(depth)} blocks'
                          for (width, depth), (name, *_) in _SIZES.items())
        raise Unknown(f'an image encoder of {key[0]} channels and {list(key[1])} blocks is none of '
                      f'the released ones ({sizes}); a config.json beside it would say the rest')
    _, heads, windows, everywhere = _SIZES[key]
    if window.shape[-1] != windows[0]:
        raise Unknown(f'{MARK}_window has a side of {window.shape[-1]}; {windows[0]} is expected')
    backbone: dict[str, Any] = {
        'model_type': 'sam2_hiera_det_model', 'hidden_size': widths[0],
        'num_attention_heads': heads, 'embed_dim_per_stage': widths, 'blocks_per_stage': blocks,
        'num_attention_heads_per_stage': [heads << k for k in range(4)],
        'window_size_per_stage': windows, 'global_attention_blocks': everywhere,
        'window_positional_embedding_background_size': list(place.shape[2:])}
    return Sam2VideoConfig(
        num_maskmem=memories,
        enable_temporal_pos_encoding_for_object_pointers='obj_ptr_tpos_proj.weight' in tensors,
        enable_occlusion_spatial_embedding='no_obj_embed_spatial' in tensors,
        vision_config={'model_type': 'sam2_vision_model', 'backbone_channel_list': widths[::-1],
                       'backbone_config': backbone})
