# SPDX-License-Identifier: Apache-2.0
"""ObjectTracker: SAM 2 on a stream, with objects that come and go at any frame."""

import logging
import os
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import Sam2VideoModel

from pixelrefer_model.device import guarded
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.frame import Frame
from pixelrefer_model.prompt import MaskPrompt, Prompt, check_selects
from pixelrefer_model.sam2 import pixels
from pixelrefer_model.sam2.bank import MEMORY_DTYPE, MemoryBank, Remembered
from pixelrefer_model.sam2.batches import Batches
from pixelrefer_model.sam2.checkpoint import load_model, look_of
from pixelrefer_model.sam2.look import Following, look_closer
from pixelrefer_model.sam2.network import Decoded, Sam2Network
from pixelrefer_model.sam2.policy import (
    ComputePolicy, LookPolicy, MaskPolicy, MemoryPolicy, StatePolicy)
from pixelrefer_model.sam2.prompting import point_at
from pixelrefer_model.sam2.publish import exclude, publish
from pixelrefer_model.sam2.track import Held, Track, TrackState
from pixelrefer_model.sam2.tracked import Given, Seen, Tracked

#: Features of so many processed frames are kept for prompts on a frame just past.
KEPT_FRAMES = 4
Made = TypeVar('Made')
_log = logging.getLogger(__name__)


class ObjectTracker:
    """Follows objects through frames. State is bounded: per object by its MemoryPolicy, for all by
    KEPT_FRAMES encoded frames. Objects never influence one another.

    Not thread safe: one worker owns it. Requests that cannot be served raise PixelReferError and
    change nothing. Where the device has no memory for all objects at once they are followed in
    smaller batches; OUT_OF_MEMORY is raised where that does not help, and the next call may work.
    """

    def __init__(self, model: Sam2VideoModel | Sam2Network, *, memory: MemoryPolicy | None = None,
                 states: StatePolicy | None = None, masks: MaskPolicy | None = None,
                 look: LookPolicy = LookPolicy.never(),
                 compute: ComputePolicy = ComputePolicy()) -> None:
        self.network = model if isinstance(model, Sam2Network) else Sam2Network(
            model, compute)
        self.memory = memory or MemoryPolicy.good()
        self.states = states or StatePolicy()
        self.masks = masks or MaskPolicy()
        self.look = look
        self._again = Following(self.network, look) if look.following else None
        self.compute = compute
        #: Frames encoded so far; closer looks at a prompt are not counted.
        self.encoded = 0
        self._objects: dict[str, Tracked] = {}
        self._kept: deque[Seen] = deque(maxlen=KEPT_FRAMES)
        self._next = 0
        self._batches = Batches(self.network)

    @classmethod
    def from_checkpoint(cls, path: str | os.PathLike, *, device: str = 'cpu',
                        dtype: torch.dtype = torch.float32, input_size: int | None = None,
                        memory: MemoryPolicy | None = None, states: StatePolicy | None = None,
                        masks: MaskPolicy | None = None, look: LookPolicy | None = None,
                        compute: ComputePolicy = ComputePolicy()) -> 'ObjectTracker':
        """A tracker from a folder with config.json and weights, as `facebook/sam2.1-hiera-*` are,
        or from an official .pt file, see `load_model`.

        input_size: another input size in pixels than the checkpoint's. look: None as its
        config.json says under `prompt_look`, and never where that says nothing. Raises
        PixelReferError CHECKPOINT naming file and reason.
        """
        model = load_model(path, device=device, dtype=dtype, input_size=input_size)
        return cls(model, memory=memory, states=states, masks=masks, compute=compute,
                   look=look_of(path, model.config) if look is None else look)

    def beside(self) -> 'ObjectTracker':
        """A tracker for the frames of another camera: the same network, none of the objects. One
        worker owns both."""
        return ObjectTracker(self.network, memory=self.memory, states=self.states,
                             masks=self.masks, look=self.look, compute=self.compute)

    @property
    def ids(self) -> list[str]:
        """The objects, in the order in which they were added."""
        return list(self._objects)

    @torch.inference_mode()
    def add(self, object_id: str, prompt: Prompt, frame: Frame) -> Track:
        """Follow a new object from `frame` on, where `prompt` shows it.

        On a frame older than the newest one processed the prompt is applied there and the object
        is caught up over the kept frames; the track is of the newest frame. Raises PixelReferError
        DUPLICATE_ID, what `prompt.check` raises, or BAD_LABELS for clicks that are all off it.
        """
        if object_id in self._objects:
            raise PixelReferError('DUPLICATE_ID', f'{object_id!r} is tracked already; correct or '
                                  'replace it, or choose another id')
        prompt.check(frame.width, frame.height)
        check_selects(prompt)
        tracked = self._fresh(object_id)
        track = self._apply(tracked, prompt, frame, alone=True)
        self._objects[object_id] = tracked
        return track

    @torch.inference_mode()
    def correct(self, object_id: str, prompt: Prompt, frame: Frame) -> Track:
        """Refine an object on `frame`, with all that is remembered of it until then.

        Points on the frame of the last prompt add to that prompt, up to MOST_POINTS. Raises
        PixelReferError UNKNOWN_ID, BAD_POINTS when they are more, or what `prompt.check` raises.
        """
        tracked = self._known(object_id).copy()
        prompt.check(frame.width, frame.height)
        track = self._apply(tracked, prompt, frame, alone=False)
        self._objects[object_id] = tracked
        return track

    @torch.inference_mode()
    def replace(self, object_id: str, prompt: Prompt, frame: Frame) -> Track:
        """Forget what is remembered of an object and follow what `prompt` shows under its id.

        Raises PixelReferError UNKNOWN_ID, or what `add` raises of the prompt.
        """
        self._known(object_id)
        prompt.check(frame.width, frame.height)
        check_selects(prompt)
        tracked = self._fresh(object_id)
        track = self._apply(tracked, prompt, frame, alone=True)
        self._objects[object_id] = tracked
        return track

    def remove(self, object_id: str) -> None:
        """Forget an object. Raises PixelReferError UNKNOWN_ID."""
        self._known(object_id)
        del self._objects[object_id]

    def rename(self, object_id: str, new_id: str) -> None:
        """Let an object have another id, in its place among the others. Raises PixelReferError
        UNKNOWN_ID, or DUPLICATE_ID for one that another has."""
        tracked = self._known(object_id)
        if new_id in self._objects:
            raise PixelReferError('DUPLICATE_ID', f'{new_id!r} is tracked too; an id that is free '
                                  'is allowed')
        tracked.rename(new_id)
        self._objects = {each.id: each for each in self._objects.values()}

    def reset(self) -> None:
        """Forget everything: objects and frames."""
        self._objects.clear()
        self._kept.clear()
        self._next = 0
        self._batches.most = None

    def lose(self, stamp_ns: int) -> list[Track]:
        """Time jumped to `stamp_ns`: kept frames are forgotten, every object keeps its id and its
        memory and is LOST, not seen in the new time, until it is surely back."""
        self._kept.clear()
        for tracked in self._objects.values():
            tracked.machine.lose()
            tracked.bank.jump()
            tracked.given = None
            tracked.track = Track(tracked.id, TrackState.LOST, None, 0.0, None, 0, stamp_ns,
                                  tracked.machine.last_seen_ns)
        return [tracked.track for tracked in self._objects.values()]

    @torch.inference_mode()
    def step(self, frame: Frame) -> list[Track]:
        """Follow every object into `frame`, the newest; tracks in the order of adding.

        The frame is encoded once, not at all when a prompt came on it already. Objects that were
        prompted on it keep that answer. Raises PixelReferError STAMP_TOO_OLD for a frame older
        than the newest one processed.
        """
        if self._kept and frame.stamp_ns < self._kept[-1].stamp_ns:
            raise PixelReferError(
                'STAMP_TOO_OLD', f'the frame of {frame.stamp_ns} ns is older than the newest one '
                f'processed, {self._kept[-1].stamp_ns} ns; frames are taken in order')
        seen = self._frame(frame)
        large = self._guarded(
            self._follow, [each for each in self._objects.values() if each.index != seen.index],
            seen, frame.image,
            what='to follow the objects; fewer of them or a smaller input may do')
        if self.masks.exclusive:
            exclude(list(self._objects.values()), seen, large)
        return [tracked.track for tracked in self._objects.values()]

    def held(self) -> Held:
        """Count what is kept between frames; tensors that share memory count their memory once."""
        tensors = [tensor for seen in self._kept if seen.features is not None
                   for tensor in seen.features.tensors()]
        tensors += [tensor for each in self._objects.values() for tensor in each.tensors()]
        stores = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
                  for tensor in tensors}
        return Held(len(tensors), sum(stores.values()))

    def _known(self, object_id: str) -> Tracked:
        if object_id not in self._objects:
            known = ', '.join(self._objects) or 'none'
            raise PixelReferError('UNKNOWN_ID',
                                  f'no object {object_id!r} is tracked; tracked are: {known}')
        return self._objects[object_id]

    def _fresh(self, object_id: str) -> Tracked:
        config = self.network.config
        bank = MemoryBank(self.memory, config.num_maskmem - 1,
                          config.max_object_pointers_in_encoder - 1)
        return Tracked(object_id, bank, self.states)

    def _frame(self, frame: Frame) -> Seen:
        """The frame's features: kept, or encoded now and kept if it is the newest."""
        same = next((place for place, seen in enumerate(self._kept)
                     if seen.stamp_ns == frame.stamp_ns), None)
        if same is not None and self._kept[same].features is not None:
            return self._kept[same]
        network = self.network
        features = self._guarded(
            lambda: network.encode(pixels.to_pixels(
                frame.image, network.size, network.device, network.dtype)),
            what='to encode a frame; a smaller input may do')
        self.encoded += 1
        if same is not None:
            self._kept[same] = replace(self._kept[same], features=features)
            return self._kept[same]
        later = [seen.index for seen in self._kept if seen.stamp_ns > frame.stamp_ns]
        if later:
            # no longer kept: it stands just before the first later frame that is
            return Seen(later[0] - 1, frame.stamp_ns, frame.height, frame.width, features)
        seen = Seen(self._next, frame.stamp_ns, frame.height, frame.width, features)
        self._next += 1
        self._kept.append(seen)
        return seen

    def _apply(self, tracked: Tracked, prompt: Prompt, frame: Frame, alone: bool) -> Track:
        """`_prompt`, or PixelReferError OUT_OF_MEMORY."""
        return self._guarded(self._prompt, tracked, prompt, frame, alone,
                             what=f'to take a prompt for {tracked.id!r}; fewer objects or a '
                             'smaller input may do')

    def _guarded(self, act: Callable[..., Made], *arguments: object, what: str) -> Made:
        """See `guarded`; what is given up are the features of the kept frames."""
        return guarded(act, *arguments, device=self.network.device, free=self._give_up, what=what)

    def _give_up(self) -> None:
        for place, seen in enumerate(self._kept):
            self._kept[place] = replace(seen, features=None)

    def _prompt(self, tracked: Tracked, prompt: Prompt, frame: Frame, alone: bool) -> Track:
        """Apply a prompt on `frame`, remember it as an anchor, catch up to the newest frame."""
        network, seen, large = self.network, self._frame(frame), None
        index = tracked.bank.index_of(seen.stamp_ns)
        if index is not None:
            # no longer kept, but remembered of this object: what came after it is made anew
            seen = replace(seen, index=index)
        index = seen.index
        same = tracked.given is not None and tracked.given.stamp_ns == seen.stamp_ns
        before = tracked.given if same else None
        alone = alone or (same and tracked.bank.first_ns == seen.stamp_ns
                          and tracked.given.selects)
        if isinstance(prompt, MaskPrompt):
            mask = pixels.to_mask_prompt(prompt.mask, network.size, network.device)
            decoded, full = network.given(seen.features, mask)
            given = Given(seen.stamp_ns, None, None, decoded.logits)
        else:
            decoded, given, whole = point_at(
                network, tracked, prompt, seen, before, alone, self.memory.believe_prompt)
            if whole:
                decoded, large = look_closer(network, self.look, frame.image, given.points,
                                             given.labels, decoded)
            full = network.full_size(decoded.logits)
        score = decoded.score.clamp(min=1.0) if self.memory.believe_prompt else decoded.score
        memory = network.remember(seen.features.coarse, full, score,
                                  torch.ones(1, dtype=torch.bool, device=network.device))
        tracked.bank.drop_after(index)
        tracked.bank.anchor(Remembered(index, seen.stamp_ns, memory[0].to(MEMORY_DTYPE),
                                       decoded.pointer[0]))
        tracked.given, tracked.index = given, index
        publish([tracked], seen, decoded, [
            lambda area: tracked.machine.prompted(area, seen.stamp_ns)], self.masks,
            None if large is None else large[None])
        for later in [each for each in self._kept
                      if each.index > index and each.features is not None]:
            self._follow([tracked], later)
        return tracked.track

    def _follow(self, objects: list[Tracked], seen: Seen, image: np.ndarray | None = None
                ) -> dict[str, Tensor]:
        """Decode one frame for several objects as one batch, then remember the good ones; gives
        each one's mask logits at the size of the frame. image: the frame's own, where it is there
        to be looked at again."""
        if not objects:
            return {}
        network, features = self.network, seen.features
        several = network.multimask(False, 0)

        def decode(at: slice) -> Decoded:
            image = network.condition(
                features.coarse, [each.bank.selection(seen.index) for each in objects[at]])
            return network.choose(network.candidates(image, features.fine, None, None), several)

        decoded = Decoded.joined(self._batches.run(len(objects), decode))
        # one transfer for all objects: each waits for the device
        measured = torch.stack([decoded.score.float(), decoded.iou.float(),
                                (decoded.logits > 0).sum((1, 2)).float()], dim=1).tolist()
        large = publish(objects, seen, decoded, [
            lambda area, tracked=tracked, score=score, iou=iou:
            tracked.machine.update(score, iou, area, seen.stamp_ns)
            for tracked, (score, iou, _) in zip(objects, measured)], self.masks,
            None if self._again is None or image is None else torch.stack([
                self._again.look(image, far) for far in pixels.to_masks(
                    decoded.logits.float().cpu(), seen.height, seen.width)]))
        kept = []
        for row, (tracked, (score, iou, cells)) in enumerate(zip(objects, measured)):
            tracked.index = seen.index
            if self.memory.takes(score, iou, int(cells)) and (
                    tracked.machine.state.in_view or not self.memory.by_rank):
                kept.append(row)
        if kept:
            self._remember([objects[row] for row in kept], seen, decoded if len(kept) == len(
                objects) else decoded.rows(torch.tensor(kept, device=network.device)))
        return large

    def _remember(self, objects: list[Tracked], seen: Seen, decoded: Decoded) -> None:
        """Add the frame to the objects' memories; not where the device has no memory for it."""
        network = self.network
        try:
            memory = torch.cat(self._batches.run(len(objects), lambda at: network.remember(
                seen.features.coarse, network.full_size(decoded.logits[at]),
                decoded.score[at]).to(MEMORY_DTYPE)))
        except PixelReferError as error:
            # the masks are right all the same, and an older memory serves the next frame too
            _log.warning('the frame of %d ns is not remembered: %s', seen.stamp_ns, error)
            return
        for row, tracked in enumerate(objects):
            # clones: a view would keep the whole batch, other objects' memories included
            tracked.bank.add(Remembered(seen.index, seen.stamp_ns, memory[row].clone(),
                                        decoded.pointer[row].clone()))
