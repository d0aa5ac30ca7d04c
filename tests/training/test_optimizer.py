# SPDX-License-Identifier: Apache-2.0
"""Rules of Muon: it steps as torch's own does, and what it steps by is orthogonal."""

import pytest
import torch
from torch import nn

from training.optimizer import Muon, Optimizer, orthogonal


@pytest.mark.parametrize('shape', [(24, 24), (16, 40), (40, 16)])
def test_a_step_is_near_to_an_orthogonal_matrix(shape):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(3, *shape)))
    assert values.median() > 0.65 and values.max() < 1.3


@pytest.mark.skipif(not hasattr(torch.optim, 'Muon'), reason='PyTorch before 2.9 has no Muon')
def test_it_steps_as_torchs_own_but_for_the_rounding_of_bfloat16():
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(*shape)) for shape in ((12, 30), (30, 12), (12, 30))]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    options = {'lr': 0.02, 'momentum': 0.95}
    one = Muon([{'params': ours, 'weight_decay': 0.1}], **options)
    other = torch.optim.Muon([{'params': theirs, 'weight_decay': 0.1}],
                             adjust_lr_fn='match_rms_adamw', **options)
    for _ in range(5):
        before = [p.detach().clone() for p in ours]
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn_like(a)
            b.grad = a.grad.clone()
        one.step()
        other.step()
    for a, b, old in zip(ours, theirs, before, strict=True):
        assert (a - b).norm() < 0.05 * (a - old).norm()


def test_a_run_goes_on_with_the_momentum_that_it_saved():
    torch.manual_seed(0)
    start = torch.randn(8, 8)

    def train(steps: int, state: dict | None) -> tuple[nn.Parameter, Optimizer]:
        weight = nn.Parameter(start.clone() if state is None else state['weight'].clone())
        named = [('hidden', weight), ('head', nn.Parameter(torch.ones(2)))]
        made = Optimizer(named, 0.01, 0.0, hidden=lambda name: name == 'hidden')
        if state is not None:
            made.load_state_dict(state['optimizer'])
        for _ in range(steps):
            weight.grad = (weight - 1).detach()
            made.step()
        return weight, made

    whole, _ = train(6, None)
    half, optimizer = train(3, None)
    rest, _ = train(3, {'weight': half.detach(), 'optimizer': optimizer.state_dict()})
    assert torch.equal(whole, rest)


def test_what_has_no_gradient_stays():
    weight = nn.Parameter(torch.randn(4, 4))
    before = weight.detach().clone()
    Muon([{'params': [weight], 'weight_decay': 0.5}], lr=0.1).step()
    assert torch.equal(weight, before)
