# SPDX-License-Identifier: Apache-2.0
"""The tiny SAM 2: the released architecture with narrow widths."""

import math
from dataclasses import asdict

import torch
from torch import nn
from transformers import Sam2VideoConfig, Sam2VideoModel
from transformers.models.sam2_video.configuration_sam2_video import Sam2VideoMaskDecoderConfig

from pixelrefer_model.sam2 import LookPolicy

#: Side of the input in pixels.
SIZE = 288
WIDTH = 128
STAGES = (24, 48, 96, 192)


def tiny_config(size: int = SIZE, width: int = WIDTH, stages: tuple[int, ...] = STAGES
                ) -> Sam2VideoConfig:
    """The configuration for a `size` x `size` input; `size` is a multiple of 32, `width` of 64.

    memory_encoder_output_channels is 64 because the memory attention of transformers has that
    number built in. Tracking takes the single mask: choosing among alternatives by a predicted
    IoU needs a better IoU head than so small a network has. prompt_look: at its input size a
    prompt gains by being looked at closer.
    """
    return Sam2VideoConfig(
        image_size=size, num_maskmem=5, max_object_pointers_in_encoder=16,
        multimask_output_for_tracking=False, prompt_look=asdict(LookPolicy.closer()),
        memory_attention_hidden_size=width, memory_attention_num_layers=2,
        memory_attention_downsample_rate=2,
        memory_attention_feed_forward_hidden_size=3 * width, memory_attention_dropout=0.0,
        memory_attention_rope_dropout=0.0, memory_attention_rope_feat_sizes=[size // 16] * 2,
        memory_encoder_hidden_size=width, memory_encoder_output_channels=64,
        mask_downsampler_embed_dim=width, memory_fuser_embed_dim=width,
        memory_fuser_intermediate_dim=2 * width,
        prompt_encoder_config={'hidden_size': width, 'image_size': size},
        # transformers 5.17 takes a dict here for a prompt encoder's
        mask_decoder_config=Sam2VideoMaskDecoderConfig(
            hidden_size=width, mlp_dim=3 * width, num_attention_heads=4,
            iou_head_hidden_dim=width, dynamic_multimask_via_stability=False),
        vision_config={
            'model_type': 'sam2_vision_model', 'fpn_hidden_size': width,
            'backbone_channel_list': list(reversed(stages)),
            'backbone_feature_sizes': [[size // k] * 2 for k in (4, 8, 16)],
            'backbone_config': {
                'model_type': 'sam2_hiera_det_model', 'hidden_size': stages[0],
                'image_size': [size, size], 'embed_dim_per_stage': list(stages),
                'blocks_per_stage': [1, 2, 3, 1], 'num_attention_heads': 1,
                'num_attention_heads_per_stage': [1, 2, 4, 4],
                'window_size_per_stage': [8, 4, 8, 8], 'global_attention_blocks': [4],
                'window_positional_embedding_background_size': [8, 8]}})


def tiny_model(config: Sam2VideoConfig | None = None, seed: int = 0) -> Sam2VideoModel:
    """A new tiny model, initialised so that it learns from scratch in an hour on one core."""
    torch.manual_seed(seed)
    model = Sam2VideoModel(config or tiny_config()).eval()
    initialise(model)
    return model


@torch.no_grad()
def initialise(model: Sam2VideoModel) -> None:
    """Replace the library's initialisation, which is meant to be overwritten by a checkpoint.

    Zero position embeddings and a standard deviation of .02 everywhere leave narrow layers dead;
    and the mask decoder moves no positions through its values, so that a prompt can become a
    region only if the image features carry where they are.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        elif isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(module.weight, nonlinearity='relu')
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight, std=0.15)
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)) \
                and module.bias is not None:
            nn.init.zeros_(module.bias)
    _place(model)
    neck, decoder = model.vision_encoder.neck, model.mask_decoder
    for conv in neck.convs:
        conv.weight.mul_(0.22)  # image features must not drown the encoding of the prompt
    model.prompt_encoder.mask_embed.conv3.weight.mul_(3.0)
    for mlp in decoder.output_hypernetworks_mlps:
        mlp.proj_out.weight.mul_(0.15)
    attentions = [decoder.transformer.final_attn_token_to_image]
    for layer in decoder.transformer.layers:
        attentions += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    for attention in attentions:
        # equal queries and keys: likeness of encodings is nearness from the first step on
        nn.init.orthogonal_(attention.q_proj.weight, gain=1.4)
        attention.k_proj.weight.copy_(attention.q_proj.weight)
    encoding = model.shared_image_embedding.positional_embedding
    encoding.normal_().mul_(0.6)
    model.prompt_encoder.shared_embedding.positional_embedding.copy_(encoding)
    for layer in model.memory_attention.layers:
        # the rotary encoding of a constant prefers what is near
        for attention in (layer.self_attn, layer.cross_attn_image):
            attention.q_proj.bias.fill_(0.8)
            attention.k_proj.bias.fill_(0.8)
    for layer in model.memory_encoder.memory_fuser.layers:
        layer.scale.fill_(0.1)
    for parameter in (model.memory_temporal_positional_encoding, model.no_memory_embedding,
                      model.no_object_pointer, model.occlusion_spatial_embedding_parameter):
        nn.init.trunc_normal_(parameter, std=0.02)
    model.mask_downsample.weight.fill_(1 / 16)


def _place(model: Sam2VideoModel) -> None:
    """Fill the image encoder's position embedding with slow two-dimensional waves."""
    table = model.vision_encoder.backbone.pos_embed
    channels, (height, width) = table.shape[1], table.shape[-2:]
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width),
                          indexing='ij')
    frequency = torch.rand(channels, 2) * 1.75 + 0.25
    sign = torch.where(torch.rand(channels, 2) < 0.5, -1.0, 1.0)
    angle = (frequency * sign) @ torch.stack([x.flatten(), y.flatten()])
    phase = torch.rand(channels, 1)
    table.copy_(0.6 * torch.sin(2 * math.pi * (angle + phase)).view(1, channels, height, width))
