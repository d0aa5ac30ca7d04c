# SPDX-License-Identifier: Apache-2.0
"""Muon for the hidden layers' matrices, AdamW for everything else.

Muon (Jordan et al. 2024) takes an orthogonal step for each matrix. Embeddings, heads, norms and
biases are not such matrices and stay with AdamW, as its authors advise.
"""

import math
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

#: The quintic that drives every singular value towards 1, and how often it is applied.
QUINTIC, ROUNDS = (3.4445, -4.7750, 2.0315), 5


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest orthogonal matrices of [B, m, n], roughly: singular values near 1."""
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """The steps of torch.optim.Muon with its steps scaled to AdamW's size, in float32.

    torch's own multiplies in bfloat16, which took more than half of a training step on a CPU
    without instructions for it; here all matrices of a shape are one batch.
    """

    def __init__(self, groups: Iterable[dict], lr: float, momentum: float = 0.95) -> None:
        super().__init__(groups, {'lr': lr, 'momentum': momentum, 'weight_decay': 0.0})

    @torch.no_grad()
    def step(self) -> None:
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            keep, shapes = group['momentum'], {}
            for p in group['params']:
                if p.grad is not None:
                    past = self.state[p].setdefault('momentum_buffer', torch.zeros_like(p))
                    past.lerp_(p.grad, 1 - keep)
                    shapes.setdefault(p.shape, []).append((p, p.grad.lerp(past, keep)))
            for shape, some in shapes.items():
                steps = orthogonal(torch.stack([update for _, update in some]))
                size = group['lr'] * 0.2 * math.sqrt(max(shape))
                for (p, _), step in zip(some, steps, strict=True):
                    p.mul_(1 - group['lr'] * group['weight_decay']).add_(step, alpha=-size)


class Optimizer:
    """Both optimisers as one; every group says in `part` what it is part of.

    named: all parameters. hidden: whether a matrix of this name lies between hidden layers.
    part: names the part that a parameter belongs to, which may have a learning rate of its own.
    Weight decay is for matrices only.
    """

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], rate: float, decay: float, *,
                 hidden: Callable[[str], bool], part: Callable[[str], str] = lambda name: ''
                 ) -> None:
        sorted_out: dict[tuple[str, str], list[nn.Parameter]] = {}
        for name, parameter in named:
            how = 'vector' if parameter.dim() < 2 else \
                'muon' if parameter.dim() == 2 and hidden(name) else 'matrix'
            sorted_out.setdefault((part(name), how), []).append(parameter)

        def groups(*wanted: str) -> list[dict]:
            return [{'params': some, 'part': of, 'weight_decay': 0.0 if how == 'vector' else decay}
                    for (of, how), some in sorted_out.items() if how in wanted]

        # The rates of AdamW serve Muon too, whose steps are scaled to AdamW's size.
        self.muon = Muon(groups('muon'), lr=rate)
        self.adamw = torch.optim.AdamW(groups('matrix', 'vector'), lr=rate, betas=(0.9, 0.98))

    @property
    def param_groups(self) -> list[dict]:
        """The groups of both."""
        return [*self.muon.param_groups, *self.adamw.param_groups]

    def parameters(self, *parts: str) -> list[nn.Parameter]:
        """The parameters of some parts, of all for none, in a fixed order."""
        return [p for group in self.param_groups if not parts or group['part'] in parts
                for p in group['params']]

    def step(self) -> None:
        """Update what has a gradient, and let the gradients go."""
        for optimizer in (self.muon, self.adamw):
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict:
        """Plain values and tensors."""
        return {'muon': self.muon.state_dict(), 'adamw': self.adamw.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Go on with what `state_dict` gave."""
        self.muon.load_state_dict(state['muon'])
        self.adamw.load_state_dict(state['adamw'])
