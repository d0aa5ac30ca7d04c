# SPDX-License-Identifier: Apache-2.0
"""Decode steps of fixed shape, captured as CUDA graphs so that a token costs one launch."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pixelrefer_model.language.cache import KeyValueCache
from pixelrefer_model.language.decoding import Decoding, forward

if TYPE_CHECKING:
    from pixelrefer_model.pixelrefer.modeling_pixelrefer import PixelReferModel

#: The smallest cache of a captured step, tokens; larger ones double, so that few shapes occur.
LEAST_ROOM = 256


@dataclass(frozen=True)
class Eager:
    """Each decode step launches its kernels anew; rows that are done leave the batch."""


@dataclass(frozen=True)
class CudaGraphs:
    """Decode steps are captured once for each number of prompts and room, and replayed.

    most: captured steps that are held, each with its cache; what was not used for longest goes
    first. On a device other than CUDA the same steps run without a capture.
    """

    most: int = 4


Steps = Eager | CudaGraphs


class FixedStep:
    """One decode step over a whole cache, all tensors at fixed places."""

    def __init__(self, model: 'PixelReferModel', rows: int, room: int) -> None:
        self._model = model
        #: Whether answers are being made in its cache.
        self.busy = False
        self.cache = KeyValueCache(model.model.config, rows, room, device=model.device,
                                   dtype=model.dtype)
        self._tokens = torch.zeros(rows, dtype=torch.long, device=model.device)
        self.positions = torch.zeros_like(self._tokens)
        self.scores = model.logits(torch.zeros(
            rows, model.config.language.hidden_size, device=model.device, dtype=model.dtype))
        self._replay: Callable[[], None] = self._step
        if model.device.type == 'cuda':
            self._replay = self._captured()

    def decode(self, state: Decoding, tokens: Tensor) -> Decoding:
        """As `decoding.decode`, for a state whose positions are this step's own."""
        self._tokens.copy_(tokens)
        self._replay()
        state.scores = self.scores
        state.lengths = [min(n + 1, self.cache.room - 1) for n in state.lengths]
        return state

    def _step(self) -> None:
        cache, positions = self.cache, self.positions[:, None]
        cache.place(positions, cache.room, None)
        hidden = forward(self._model, self._model.model.embed_tokens(self._tokens[:, None]),
                         positions, cache, (cache.columns <= positions)[:, None])
        self.scores.copy_(self._model.logits(hidden[:, -1]))
        self.positions.add_(1).clamp_(max=cache.room - 1)

    def _captured(self) -> Callable[[], None]:
        """Capture the step. Libraries set themselves up at first use, which no graph may hold, so
        a few steps run before, beside the stream in use."""
        aside = torch.cuda.Stream(self._model.device)
        aside.wait_stream(torch.cuda.current_stream(self._model.device))
        with torch.cuda.stream(aside):
            for _ in range(3):
                self._step()
        torch.cuda.current_stream(self._model.device).wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        # What other threads do meanwhile is neither captured nor stopped.
        with torch.cuda.graph(graph, capture_error_mode='thread_local'):
            self._step()
        return graph.replay


class FixedSteps:
    """The steps of one model by shape, at most `policy.most` of them."""

    def __init__(self, model: 'PixelReferModel', policy: CudaGraphs) -> None:
        self._model, self._policy = model, policy
        #: The least recently used first.
        self._held: OrderedDict[tuple[int, int], FixedStep] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    def take(self, rows: int, room: int) -> FixedStep:
        """The step for so many prompts and at least so much room, `busy` from now on until its
        taker is done; made if there is none, and not held if the one that is held is busy."""
        step = self.of(rows, room)
        if step.busy:
            step = FixedStep(self._model, rows, step.cache.room)
        step.busy = True
        return step

    def of(self, rows: int, room: int) -> FixedStep:
        """The step that is held for so many prompts and at least so much room; made if there is
        none."""
        shape = rows, max(LEAST_ROOM, 1 << (room - 1).bit_length())
        if shape not in self._held:
            while len(self._held) >= self._policy.most:
                self._held.popitem(last=False)
            self._held[shape] = FixedStep(self._model, *shape)
        self._held.move_to_end(shape)
        return self._held[shape]

    def clear(self) -> None:
        """Give all of them up."""
        self._held.clear()
