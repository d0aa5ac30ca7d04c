# SPDX-License-Identifier: Apache-2.0
"""Time the tracker against the inference session of transformers, at equal masks.

    ./run python benchmarks/tracking.py [--threads 1] [--device cpu] [--rounds 5]

Both see the packaged recording frame by frame, each with its own copy of the packaged checkpoint,
and take turns on every frame; a round is a few frames, after the memories are full. The baseline is
run as its users run a stream: one call per frame, the masks enlarged to the frame and cut at zero.
The tracker's policies are those that make it remember what the session remembers. Writes
tracking.md and tracking.png beside this file. Exit status: 0 equal masks, 1 not.
"""

import argparse
import copy
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import cv2
import numpy as np
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor
from transformers import Sam2VideoConfig, Sam2VideoInferenceSession, Sam2VideoModel

from pixelrefer_model.engine import TINY
from pixelrefer_model.frame import Frame
from pixelrefer_model.prompt import Box
from pixelrefer_model.sam2 import MaskPolicy, MemoryPolicy, ObjectTracker, pixels
from pixelrefer_model.sam2.checkpoint import set_input_size
from pixelrefer_ros.demo.lockstep import bag_pictures
from pixelrefer_ros.demo.run import CAMERA
from pixelrefer_ros.demo.truth import Truth

BAG = Path(__file__).resolve().parents[1] / 'pixelrefer_ros' / 'demo' / 'bag'
OBJECTS, CURVE, TARGET = 8, (1, 2, 4, 8, 16), 1.5
#: Frames until as many memories and pointers are attended to as ever will be.
WARM = 16
#: The same at 512 px, where a frame takes seconds.
FEW_WARM = 7
#: The session rounds its memory to bfloat16, so does the tracker with it; a sum in another order is
#: rounded the other way now and then, which moves logits (of about 10) by so much at most. The sign
#: of one that is nearer to zero says nothing.
TOLERANCE = 0.05
STAGES = ('encode', 'condition', 'decode', 'remember', 'publish')


class Session:
    """The baseline: transformers' own session on a stream."""

    def __init__(self, model: Sam2VideoModel, boxes: list[Box], frame: Frame) -> None:
        device, dtype = model.no_memory_embedding.device, model.no_memory_embedding.dtype
        # its tables of positions in that type too, as of a model that a user casts
        self.model, self.index = model.to(dtype), -1
        self.session = Sam2VideoInferenceSession(
            dtype=dtype, inference_device=device, inference_state_device=device,
            video_storage_device=device, max_vision_features_cache_size=1)
        for name, box in enumerate(boxes):
            points, labels = pixels.to_points(box, frame.width, frame.height,
                                              model.config.image_size, device)
            self.session.add_point_inputs(
                self.session.obj_id_to_idx(name), 0,
                {'point_coords': points[None], 'point_labels': labels[None]})
            self.session.obj_with_new_inputs.append(name)
        self.step(frame)

    def step(self, frame: Frame) -> tuple[Tensor, np.ndarray]:
        """Logits [N, 4h, 4w] and masks [N, H, W] of the next frame."""
        self.index += 1
        images = pixels.to_pixels(frame.image, self.model.config.image_size,
                                  self.session.inference_device, self.session.dtype)
        out = self.model(self.session, frame=images, frame_idx=self.index)
        large = F.interpolate(out.pred_masks.float(), (frame.height, frame.width),
                              mode='bilinear', align_corners=False)[:, 0]
        return out.pred_masks[:, 0].float().cpu(), (large > 0).cpu().numpy()


def make_tracker(model: Sam2VideoModel, boxes: list[Box], frame: Frame) -> ObjectTracker:
    """A tracker of these objects with the session's memory."""
    tracker = ObjectTracker(model, memory=MemoryPolicy.plain(), masks=MaskPolicy(islands=0.0))
    for name, box in enumerate(boxes):
        tracker.add(str(name), box, frame)
    return tracker


@dataclass
class Turns:
    """Seconds per frame of every round, the baseline's and ours, and how far masks agreed."""

    base: list[float] = field(default_factory=list)
    ours: list[float] = field(default_factory=list)
    logits: float = 0.0
    differing: int = 0
    unequal: int = 0
    checked: int = 0

    @property
    def ratio(self) -> float:
        """Frame rate over the baseline's, median of the rounds."""
        return median(base / ours for base, ours in zip(self.base, self.ours))

    def compare(self, session: tuple[Tensor, np.ndarray], tracks: list, frame: Frame) -> None:
        """Count the pixels in which masks differ although the logit is not next to zero."""
        expected, masks = session
        logits = torch.stack([track.logits for track in tracks])
        self.logits = max(self.logits, float((expected - logits).abs().max()))
        large = pixels.to_masks(logits, frame.height, frame.width)
        differ = (large > 0).numpy() != masks
        self.differing += int(differ.sum())
        self.unequal += int((differ & (large.abs() > TOLERANCE).numpy()).sum())
        self.checked += differ.size


def take_turns(model: Sam2VideoModel, boxes: list[Box], frames: Iterator[Frame], rounds: int,
               each: int, warm: int) -> Turns:
    """Both on the same frames, in turns; `each` frames to a round."""
    first = next(frames)
    session = Session(copy.deepcopy(model), boxes, first)
    tracker, turns = make_tracker(model, boxes, first), Turns()
    for number in range(-warm, rounds * each):
        frame = next(frames)
        sides: list[tuple[list[float], Callable]] = [
            (turns.base, session.step), (turns.ours, tracker.step)]
        results = {}
        for seconds, step in sides[::1 if number % 2 else -1]:  # who begins takes turns, too
            started = clock(model)
            results[id(seconds)] = step(frame)
            took = clock(model) - started
            if number >= 0 and number % each == 0:
                seconds.append(0.0)
            if number >= 0:
                seconds[-1] += took / each
        turns.compare(results[id(turns.base)], results[id(turns.ours)], frame)
    return turns


def clock(model: Sam2VideoModel) -> float:
    """Seconds, when all that was begun on the model's device is done."""
    if model.no_memory_embedding.device.type == 'cuda':
        torch.cuda.synchronize()
    return time.perf_counter()


def shares(model: Sam2VideoModel, boxes: list[Box], frames: Iterator[Frame], count: int, warm: int
           ) -> dict[str, float]:
    """Median seconds per frame of every stage of the tracker. What is in no other stage is
    publish: masks at the size of the frame, boxes, states; encode includes the resizing."""
    tracker = make_tracker(model, boxes, next(frames))
    network, spent = tracker.network, dict.fromkeys(STAGES, 0.0)

    def timed(stage: str, function: Callable) -> Callable:
        def call(*arguments, **options):
            started = clock(model)
            result = function(*arguments, **options)
            spent[stage] += clock(model) - started
            return result
        return call

    for name, stage in (('encode', 'encode'), ('condition', 'condition'),
                        ('candidates', 'decode'), ('choose', 'decode'),
                        ('full_size', 'remember'), ('remember', 'remember')):
        setattr(network, name, timed(stage, getattr(network, name)))
    seen: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for number in range(warm + count):
        frame = next(frames)
        spent.update(dict.fromkeys(STAGES, 0.0))
        started = clock(model)
        pixels.to_pixels(frame.image, network.size, network.device, network.dtype)
        resizing = clock(model) - started
        started = clock(model)
        tracker.step(frame)
        spent['publish'] = clock(model) - started - sum(spent.values()) - resizing
        spent['encode'] += resizing
        if number >= warm:
            for stage in STAGES:
                seen[stage].append(spent[stage])
    return {stage: median(seconds) for stage, seconds in seen.items()}


def recording() -> Iterator[Frame]:
    """The packaged recording, over and over, under ever newer stamps."""
    stamp = 0
    while True:
        for _, jpeg in bag_pictures(BAG, f'{CAMERA}/compressed'):
            image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
            yield Frame(np.ascontiguousarray(image[..., ::-1]), stamp)
            stamp += 100_000_000


def prompts(count: int) -> list[Box]:
    """Boxes of what is seen in the first frame, over again where there are not so many."""
    truth = Truth.load(BAG)
    first = int(truth.stamps_ns[0])
    boxes = [pixels.box_of(truth.mask(k, first)) for k in range(len(truth.words))
             if truth.visible(k, first)]
    return [Box(x, y, x + w, y + h) for x, y, w, h in
            (boxes[k % len(boxes)] for k in range(count))]


def released_shape(size: int) -> Sam2VideoModel:
    """A model of the shape of sam2.1-hiera-tiny with random weights."""
    torch.manual_seed(0)
    model = Sam2VideoModel(Sam2VideoConfig()).eval()
    set_input_size(model, size)
    return model


def hardware(device: str) -> str:
    if device.startswith('cuda'):
        return torch.cuda.get_device_name(device)
    lines = Path('/proc/cpuinfo').read_text().splitlines() if platform.system() == 'Linux' else []
    named = next((line.split(':')[1].strip() for line in lines if 'model name' in line), '')
    return named or platform.processor() or platform.machine()


def plot(curve: dict[int, Turns], file: Path) -> tuple[float, float, float, float]:
    """Draw milliseconds per frame over objects. Slope and start (ms) of the baseline's and our
    line."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot
    counts = sorted(curve)
    figure, axes = pyplot.subplots(figsize=(5, 3.2))
    lines = []
    for label, name in (('transformers\' session', 'base'), ('ObjectTracker', 'ours')):
        took = [1e3 * median(getattr(curve[n], name)) for n in counts]
        axes.plot(counts, took, marker='o', label=label)
        lines += np.polyfit(counts, took, 1).tolist()
    axes.set(xlabel='objects', ylabel='ms per frame', xticks=counts, ylim=(0, None))
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, dpi=120)
    return tuple(lines)


def table(rows: dict[str, dict[str, float]]) -> list[str]:
    """Milliseconds and shares of the stages."""
    lines = ['| model | ' + ' | '.join(STAGES) + ' | whole |', '|---|' + '---|' * 6]
    for name, spent in rows.items():
        whole = sum(spent.values())
        lines.append(f'| {name} | ' + ' | '.join(
            f'{1e3 * spent[s]:.1f} ms ({spent[s] / whole:.0%})' for s in STAGES)
            + f' | {1e3 * whole:.0f} ms |')
    return lines


def main(argv: list[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--frames', type=int, default=6, help='of a round (default: %(default)s)')
    parser.add_argument('--objects', type=int, default=OBJECTS)
    parser.add_argument('--curve', type=int, nargs='*', default=CURVE)
    parser.add_argument('--warm', type=int, default=WARM)
    parser.add_argument('--out', type=Path, default=Path(__file__).resolve().parent)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    tiny = Sam2VideoModel.from_pretrained(TINY['tracker'], dtype=torch.float32)
    tiny = tiny.to(args.device).eval()
    large = released_shape(512).to(args.device)
    with torch.inference_mode():
        turns = take_turns(tiny, prompts(args.objects), recording(), args.rounds, args.frames,
                           args.warm)
        print(f'{args.objects} objects: {turns.ratio:.2f} times the frame rate', flush=True)
        curve = {n: take_turns(tiny, prompts(n), recording(), args.rounds, 2, args.warm)
                 for n in args.curve}
        stages = {
            f'packaged, {tiny.config.image_size} px': shares(
                tiny, prompts(args.objects), recording(), args.rounds, args.warm),
            'shape of sam2.1-hiera-tiny, 512 px': shares(
                large, prompts(args.objects), recording(), args.rounds, min(args.warm, FEW_WARM))}
    slope, start, our_slope, our_start = plot(curve, args.out / 'tracking.png')
    every = [turns, *curve.values()]
    equal = not any(each.unequal for each in every)
    report = [
        '# Tracking against transformers\' session', '',
        f'{hardware(args.device)}, {args.device}, {args.threads} thread(s), float32; torch '
        f'{torch.__version__}, transformers {transformers.__version__}, Python '
        f'{platform.python_version()}. Packaged checkpoint at {tiny.config.image_size} px, '
        f'packaged recording, in turns frame by frame, {args.rounds} rounds, medians.', '',
        '| objects | session | ObjectTracker | times the frame rate |', '|---|---|---|---|',
        *(f'| {n} | {1e3 * median(t.base):.0f} ms | {1e3 * median(t.ours):.0f} ms | '
          f'{t.ratio:.2f} |' for n, t in sorted((curve | {args.objects: turns}).items())), '',
        f'Target: {TARGET} times with {OBJECTS} objects; measured with {args.objects}: '
        f'**{turns.ratio:.2f}**.', '',
        f'Masks: {sum(t.differing for t in every)} of {sum(t.checked for t in every):,} pixels '
        f'differ, {sum(t.unequal for t in every)} of them by more than rounding; logits differ by '
        f'at most {max(t.logits for t in every):.1e} (the memory is bfloat16 in both).', '',
        '![ms per frame over objects](tracking.png)', '',
        f'One more object costs {our_slope:.1f} ms a frame (the session: {slope:.1f} ms), on top '
        f'of {our_start:.0f} ms that every frame costs ({start:.0f} ms).', '',
        f'Stages with {args.objects} objects (the second model has random weights, and {FEW_WARM} '
        'frames behind it, so that its memory is full and its object pointers are not):', '',
        *table(stages), '']
    text = '\n'.join(report)
    print(text)
    (args.out / 'tracking.md').write_text(text, encoding='utf-8')
    return 0 if equal else 1


if __name__ == '__main__':
    sys.exit(main())
