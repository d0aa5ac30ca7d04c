# SPDX-License-Identifier: Apache-2.0
"""Parts of benchmarks/gpu.py about the tracker: frames, transformers' session, compiled encoder.

Random weights in the released shapes; the packaged recording, enlarged to 640x480.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

import cv2
import torch
from transformers import Sam2VideoConfig, Sam2VideoModel

from benchmarks.answers import in_turn
from benchmarks.figures import clock, forget_peak, in_ms, peak_mb
from benchmarks.tracking import WARM, make_tracker, prompts, recording, take_turns
from pixelrefer_model.engine import TINY
from pixelrefer_model.frame import Frame
from pixelrefer_model.prompt import Box
from pixelrefer_model.sam2 import ComputePolicy, MaskPolicy, MemoryPolicy, ObjectTracker, pixels
from pixelrefer_model.sam2.checkpoint import load_model, save_model

WIDTH, HEIGHT = 640, 480
#: Of each released size: channels, heads, blocks, windows, blocks whose attention is global, and
#: the side of the background of positions.
SHAPES = {
    'tiny': (96, 1, [1, 2, 7, 2], [8, 4, 14, 7], [5, 7, 9], 7),
    'small': (96, 1, [1, 2, 11, 2], [8, 4, 14, 7], [7, 10, 13], 7),
    'base-plus': (112, 2, [2, 3, 16, 3], [8, 4, 14, 7], [12, 16, 20], 14),
    'large': (144, 2, [2, 6, 36, 4], [8, 4, 16, 8], [23, 33, 43], 7)}


@dataclass(frozen=True)
class Plan:
    """What is measured. names: of SHAPES, or `packaged`; size: input in pixels; first: frames until
    as much is remembered as ever will be; each: frames, or rounds, that are measured then."""

    names: tuple[str, ...] = tuple(SHAPES)
    size: int = 1024
    counts: tuple[int, ...] = (1, 4, 8)
    first: int = WARM
    each: int = 10


SMALL = Plan(('packaged',), 128, (1, 2), 2, 2)


def build(name: str, plan: Plan, device: str) -> Sam2VideoModel:
    """A model as `load_model` gives it in bfloat16."""
    if name == 'packaged':
        return load_model(TINY['tracker'], device=device, dtype=torch.bfloat16,
                          input_size=plan.size)
    width, heads, blocks, windows, everywhere, background = SHAPES[name]
    widths = [width << stage for stage in range(4)]
    config = Sam2VideoConfig(
        vision_config={
            'model_type': 'sam2_vision_model', 'backbone_channel_list': widths[::-1],
            'backbone_config': {
                'model_type': 'sam2_hiera_det_model', 'hidden_size': width,
                'num_attention_heads': heads, 'embed_dim_per_stage': widths,
                'blocks_per_stage': blocks, 'window_size_per_stage': windows,
                'num_attention_heads_per_stage': [heads << stage for stage in range(4)],
                'global_attention_blocks': everywhere,
                'window_positional_embedding_background_size': [background] * 2}},
        enable_temporal_pos_encoding_for_object_pointers=True,
        enable_occlusion_spatial_embedding=True)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        save_model(Sam2VideoModel(config), folder, torch.bfloat16)
        return load_model(folder, device=device, dtype=torch.bfloat16, input_size=plan.size)


def film() -> Iterator[Frame]:
    """The packaged recording at the size of a camera's images."""
    for frame in recording():
        yield Frame(cv2.resize(frame.image, (WIDTH, HEIGHT)), frame.stamp_ns)


def boxes(count: int) -> list[Box]:
    """Boxes of what is seen in the first frame of `film`."""
    small = next(recording())
    x, y = WIDTH / small.width, HEIGHT / small.height
    return [Box(x * box.x0, y * box.y0, x * box.x1, y * box.y1) for box in prompts(count)]


def steps(tracker: ObjectTracker, frames: Iterator[Frame], count: int, device: str) -> list[float]:
    """Seconds of each frame; reading it is not counted."""
    took = []
    for _ in range(count):
        frame, start = next(frames), clock(device)
        tracker.step(frame)
        took.append(clock(device) - start)
    return took


def tracker(device: str, small: bool) -> list[str]:
    """The tracker alone: a frame once as much is remembered as ever will be, and those before."""
    plan = SMALL if small else Plan()
    lines = ['## Tracker, ms a frame', '',
             f'{plan.size} px, bfloat16, {plan.each} frames of {WIDTH}x{HEIGHT} after the first '
             f'{plan.first}; median (least to most). Every number of objects has a tracker of its '
             'own; what libraries do once in a process is in the rows of the first shape. Peak: of '
             'the process, weights included.', '',
             f'| shape | objects | ms | median of the first {plan.first} | most of them | peak, MB '
             '|', '|---' * 6 + '|']
    for name in plan.names:
        model = build(name, plan, device)
        for count in plan.counts:
            frames = film()
            followed = make_tracker(model, boxes(count), next(frames))
            first = steps(followed, frames, plan.first, device)
            forget_peak(device)
            took = steps(followed, frames, plan.each, device)
            lines.append(f'| {name} | {count} | {in_ms(took)} | {1e3 * median(first):.2f} | '
                         f'{1e3 * max(first):.2f} | {peak_mb(device)} |')
        del model, followed
    return lines


def session(device: str, small: bool) -> list[str]:
    """The tracker and transformers' session in turns, frame by frame."""
    plan = SMALL if small else Plan()
    model = build(plan.names[0], plan, device)
    lines = ['## Against transformers\' session, ms a frame', '',
             f'{plan.names[0]}, {plan.size} px, bfloat16, in turns frame by frame after the first '
             f'{plan.first}; {plan.each} rounds of 2 frames, median (least to most).', '',
             '| objects | session | tracker | times the frame rate | logits differ by at most |',
             '|---' * 5 + '|']
    for count in plan.counts:
        with torch.inference_mode():
            turns = take_turns(model, boxes(count), film(), plan.each, 2, plan.first)
        lines.append(f'| {count} | {in_ms(turns.base)} | {in_ms(turns.ours)} | {turns.ratio:.2f} '
                     f'| {turns.logits:.1e} |')
    return lines


def compiled(device: str, small: bool) -> list[str]:
    """`tracker_compile` in turns with the encoder as it is."""
    plan = SMALL if small else Plan()
    model = build(plan.names[0], plan, device)
    trackers = [ObjectTracker(model, memory=MemoryPolicy.plain(), masks=MaskPolicy(islands=0.0),
                              compute=ComputePolicy(compile_encoder=it)) for it in (False, True)]
    frame, start = next(film()), clock(device)
    eager, fast = (one.network for one in trackers)
    images = pixels.to_pixels(frame.image, eager.size, eager.device, eager.dtype)

    @torch.inference_mode()
    def encode(network) -> float:
        begin = clock(device)
        network.encode(images)
        return clock(device) - begin

    encode(fast)
    seconds = clock(device) - start
    encoder = in_turn(plan.each, lambda: encode(eager), lambda: encode(fast))
    frames = [film() for _ in trackers]
    for one, stream in zip(trackers, frames):
        one.add('it', boxes(1)[0], next(stream))
        steps(one, stream, plan.first, device)
    whole = in_turn(plan.each, *(
        lambda one=one, stream=stream: steps(one, stream, 1, device)[0]
        for one, stream in zip(trackers, frames)))
    return ['## Compiled image encoder, ms', '',
            f'{plan.names[0]}, {plan.size} px, bfloat16, in turns, {plan.each} rounds, median '
            f'(least to most). Compiling, with the first image: {seconds:.1f} s.', '',
            '| | as it is | compiled |', '|---|---|---|',
            f'| encoder alone | {in_ms(encoder[0])} | {in_ms(encoder[1])} |',
            f'| frame with 1 object | {in_ms(whole[0])} | {in_ms(whole[1])} |']
