# SPDX-License-Identifier: Apache-2.0
"""Muon for the hidden layers' matrices, AdamW for everything else.

Muon (Jordan et al. 2024; torch.optim.Muon) takes an orthogonal step for each matrix. Embeddings,
heads, norms and biases are not such matrices and stay with AdamW, as its authors advise.
"""

from collections.abc import Callable, Iterable

import torch
from torch import nn


class Optimizer:
    """Both optimisers as one; every group says in `part` what it is part of.

    named: all parameters. hidden: whether a matrix of this name lies between hidden layers.
    part: names the part that a parameter belongs to, which may have a learning rate of its own.
    Weight decay is for matrices only. Raises RuntimeError where PyTorch is older than 2.9, the
    first with Muon; running the models needs no such PyTorch.
    """

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], rate: float, decay: float, *,
                 hidden: Callable[[str], bool], part: Callable[[str], str] = lambda name: ''
                 ) -> None:
        if not hasattr(torch.optim, 'Muon'):
            raise RuntimeError(f'training needs PyTorch 2.9 or newer, this is {torch.__version__}')
        sorted_out: dict[tuple[str, str], list[nn.Parameter]] = {}
        for name, parameter in named:
            how = 'vector' if parameter.dim() < 2 else \
                'muon' if parameter.dim() == 2 and hidden(name) else 'matrix'
            sorted_out.setdefault((part(name), how), []).append(parameter)

        def groups(*wanted: str) -> list[dict]:
            return [{'params': some, 'part': of, 'weight_decay': 0.0 if how == 'vector' else decay}
                    for (of, how), some in sorted_out.items() if how in wanted]

        # The rates of AdamW serve Muon too when its steps are scaled to AdamW's size.
        self.muon = torch.optim.Muon(groups('muon'), lr=rate, momentum=0.95,
                                     adjust_lr_fn='match_rms_adamw')
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
