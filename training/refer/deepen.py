# SPDX-License-Identifier: Apache-2.0
"""A language model with more layers that begins as the one before: what is learned stays."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from pixelrefer_model.pixelrefer import LanguageConfig, PixelReferLite

#: What a layer adds to the stream of states; zero makes it add nothing.
ADDED = ('self_attn.o_proj.weight', 'mlp.down_proj.weight')
#: How many tokens before its own the heads of the first new layer look at, in turn, how sharply,
#: and what is left of the content they looked for.
BACK, SHARP, CONTENT = (1, 2, 1, 3), 3.0, 0.1


@torch.no_grad()
def deepened(model: PixelReferLite, layers: int) -> PixelReferLite:
    """A model with `layers` layers in its language model that says what `model` says.

    The new layers stand between the old ones, spread evenly. Each begins as a copy of the one
    before it that adds nothing yet, so that its gradients are those of a trained layer. The first
    new one looks at the tokens just before each: to say again what stands in the prompt, a time
    say, rests on knowing what comes after what (induction heads, arXiv:2209.11895), and to find
    that out alone takes longest. Raises ValueError for fewer layers than there are.
    """
    old = model.config.language.num_hidden_layers
    if layers < old:
        raise ValueError(f'{layers} layers are fewer than the {old} that there are')
    config = replace(model.config, language=replace(
        model.config.language, num_hidden_layers=layers, max_window_layers=layers))
    weights = model.state_dict()
    kept = {k: v for k, v in weights.items() if not k.startswith('model.layers.')}
    places = [round(n * (layers - 1) / max(old - 1, 1)) for n in range(old)]
    for layer in range(layers):
        source = max(n for n, place in enumerate(places) if place <= layer)
        own = f'model.layers.{source}.'
        for name, value in weights.items():
            if name.startswith(own):
                part = name.removeprefix(own)
                new = layer not in places and part in ADDED
                kept[f'model.layers.{layer}.{part}'] = torch.zeros_like(value) if new \
                    else value.clone()
    deeper = PixelReferLite.from_config(config)
    deeper.load_state_dict(kept)
    for layer in sorted(set(range(layers)) - set(places))[:1]:
        _look_back(deeper.model.layers[layer].self_attn, config.language)
    return deeper


def _look_back(attention: nn.Module, config: LanguageConfig) -> None:
    """Let each head look so many tokens back as BACK says. Queries and keys that are the same
    everywhere, biases that is, leave the rotary encoding alone to weigh a token by its distance m:
    the sum of cos(f * (m - back)) over all frequencies f, the highest at m = back."""
    half = config.hidden_size // config.num_attention_heads // 2
    frequencies = config.rope_theta ** (-torch.arange(half) / half)

    def turned(back: float) -> Tensor:
        return SHARP * torch.cat([torch.cos(-back * frequencies), torch.sin(-back * frequencies)])

    for projection, heads in ((attention.q_proj, config.num_attention_heads),
                              (attention.k_proj, config.num_key_value_heads)):
        projection.weight.mul_(CONTENT)
        projection.bias.copy_(torch.cat([turned(
            BACK[head % len(BACK)] if projection is attention.q_proj else 0.0)
            for head in range(heads)]))
