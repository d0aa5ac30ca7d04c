# SPDX-License-Identifier: Apache-2.0
"""Train the tiny SAM 2 of the small world: `./run python training/tracker/train.py --out DIR`.

Two processes of one thread train, another renders clips meanwhile. The budget is time
(`--minutes`), so that the result is as good as the machine allows; data, prompts and weights come
from `--seed`. Stopped and started again with the same --out, it goes on from its last checkpoint.
With `--start FOLDER` it begins with the weights of a checkpoint, and with longer clips at once.
"""

import argparse
import json
import math
import multiprocessing
import os
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pixelrefer_model.sam2.checkpoint import load_model, save_model, set_input_size
from pixelrefer_model.sam2.network import Sam2Network
from training.optimizer import Optimizer
from training.together import Together, run_together
from training.tracker import sources
from training.tracker.card import write_card
from training.tracker.clips import ClipStore, Cut, draw_batch
from training.tracker.config import SIZE, tiny_config, tiny_model
from training.tracker.measure import measure_tracker
from training.tracker.rollout import PROMPTS, Rollout
from training.world import Contract, World


@dataclass(frozen=True)
class Phase:
    """A part of the training, until `until` of the time: S, T, clips, objects per clip, window."""

    until: float
    size: int
    frames: int
    clips: int
    objects: int
    narrow: float
    wide: float


#: Windows of half size show objects as large as whole frames do, at a quarter of the cost.
PHASES = (
    Phase(0.12, 128, 1, 10, 3, 0.25, 0.60),
    Phase(0.18, 256, 1, 4, 4, 0.40, 1.05),
    Phase(0.34, 128, 3, 6, 2, 0.25, 0.60),
    Phase(0.55, 128, 6, 5, 2, 0.25, 0.60),
    Phase(0.82, 160, 5, 4, 3, 0.35, 0.80),
    Phase(1.00, SIZE, 6, 2, 3, 0.60, 1.05),
)


@dataclass(frozen=True)
class Course:
    """The phases of a training; how often the memory is given the true mask at its beginning, and
    a first mask is hinted at; the highest learning rate."""

    phases: tuple[Phase, ...]
    forced: float
    hint: float
    rate: float


FROM_NOTHING = Course(PHASES, 0.9, 0.35, 8e-4)
#: Clips are long, for it is the following that is left to learn, and windows as wide as frames are.
FROM_WEIGHTS = Course((
    Phase(0.25, 160, 12, 2, 3, 0.40, 0.95),
    Phase(1.00, SIZE, 8, 2, 3, 0.65, 1.05),
), 0.15, 0.0, 5e-4)
LAST_RATE, WARM_STEPS = 1e-5, 60
AVERAGE = 0.996
#: First prompts on any frame of a clip: decoding costs little once the frames are encoded.
FRESH = ('box', 'click', 'box', 'click')
#: What the names of matrices between hidden layers contain.
HIDDEN = ('.attn.', '_attn.', '_attn_', '.mlp.', '_mlps.', 'linear1', 'linear2', 'pointwise_conv',
          'object_pointer_proj')
EVERY_CHECKPOINT_S, EVERY_EXPORT_S = 240.0, 600.0


def learning_rate(step: int, progress: float, peak: float) -> float:
    """Linear warm-up in steps, cosine in time."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return min(1.0, (step + 1) / WARM_STEPS) * (LAST_RATE + (peak - LAST_RATE) * cosine)


class Trainer:
    """Model, optimiser, running average and where in the time budget they are."""

    def __init__(self, out: Path, minutes: float, seed: int, start: Path | None = None,
                 together: Together = Together()) -> None:
        self.out, self.budget, self.seed, self.together = out, minutes * 60, seed, together
        self.course = FROM_WEIGHTS if start else FROM_NOTHING
        self.model = tiny_model(tiny_config(SIZE), seed)
        if start:
            self.model.load_state_dict(load_model(start).state_dict())
        self.network = Sam2Network(self.model)
        self.average = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.optimizer = Optimizer(self.model.named_parameters(), self.course.rate, 0.02,
                                   hidden=lambda name: any(word in name for word in HIDDEN))
        self.rollout = Rollout(self.network, np.random.default_rng(seed))
        self.step, self.used, self.size = 0, 0.0, SIZE
        self.history: list[dict] = []
        if self.file.exists():
            self.load()
        together.share(self.model)

    @property
    def file(self) -> Path:
        return self.out / 'training.pt'

    @property
    def progress(self) -> float:
        return self.used / self.budget

    def save(self) -> None:
        part = self.file.with_suffix('.part')
        torch.save({'model': self.model.state_dict(), 'average': self.average,
                    'optimizer': self.optimizer.state_dict(), 'step': self.step,
                    'used': self.used, 'history': json.dumps(self.history)}, part)
        os.replace(part, self.file)

    def load(self) -> None:
        state = torch.load(self.file, weights_only=True)
        self.model.load_state_dict(state['model'])
        self.average = state['average']
        self.optimizer.load_state_dict(state['optimizer'])
        self.step, self.used = state['step'], state['used']
        self.history = json.loads(state['history'])

    def phase(self) -> Phase:
        phases = self.course.phases
        return next((p for p in phases if self.progress < p.until), phases[-1])

    def train_step(self, stores: list[tuple[ClipStore, float]]) -> dict:
        """One step of the current phase; what it measured."""
        begun = time.monotonic()
        phase = self.phase()
        self.resize(phase.size)
        # Every draw depends on the seed, the step and the process: a run may stop anywhere.
        rng = self.rollout.rng = np.random.default_rng(
            (self.seed, self.step, self.together.rank))
        cut = Cut(phase.size, phase.frames, phase.objects, phase.narrow, phase.wide)
        batch = draw_batch(stores, phase.clips, cut, rng)
        kinds = {k: v for k, v in PROMPTS.items() if phase.frames > 1 or k != 'mask'}
        share = np.array(list(kinds.values()))
        kind = str(rng.choice(list(kinds), p=share / share.sum()))
        # the true mask in the memory: often at first, never once it follows by itself
        forced = max(0.0, self.course.forced - self.progress) if phase.frames > 1 else 0.0
        hint = rng.random() < max(0.0, self.course.hint - 3 * self.progress)
        score = self.rollout.run(batch, kind, forced=forced, hint=hint, again=0.2,
                                 fresh=FRESH if phase.frames > 1 else ())
        score.loss.backward()
        parameters = self.optimizer.parameters()
        self.used += self.together.average(parameters, time.monotonic() - begun)
        rate = learning_rate(self.step, self.progress, self.course.rate)
        for group in self.optimizer.param_groups:
            group['lr'] = rate
        if torch.isfinite(torch.nn.utils.clip_grad_norm_(parameters, 1.0)):
            self.optimizer.step()
        else:
            self.model.zero_grad(set_to_none=True)
        self.step += 1
        keep = min(AVERAGE, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        follow = score.overlaps if kind == 'mask' else score.overlaps[1:]
        return {'kind': kind, 'loss': float(score.loss.detach()),
                'first': score.overlaps[0] if kind != 'mask' and not hint else float('nan'),
                'follow': float(np.nanmean(follow)) if follow and not np.isnan(follow).all()
                else float('nan'), 'absent': score.absent_right}

    def resize(self, size: int) -> None:
        if size != self.size:
            set_input_size(self.model, size)
            self.network = self.rollout.network = Sam2Network(self.model)
            self.size = size

    def export(self, folder: Path) -> None:
        """Write the running average as a checkpoint for SIZE px."""
        size = self.size
        self.resize(SIZE)
        own = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average)
        save_model(self.model, folder, torch.float16)
        self.model.load_state_dict(own)
        self.resize(size)


def summarise(window: deque) -> dict:
    """Means over the last steps, by what they measured."""
    def mean(values: list[float]) -> float:
        values = [v for v in values if not np.isnan(v)]
        return round(float(np.mean(values)), 4) if values else float('nan')

    return {'loss': mean([w['loss'] for w in window]),
            'box': mean([w['first'] for w in window if w['kind'] == 'box']),
            'click': mean([w['first'] for w in window if w['kind'] == 'click']),
            'follow': mean([w['follow'] for w in window]),
            'absent': mean([w['absent'] for w in window])}


def train(together: Together, given: argparse.Namespace) -> None:
    """Train until the minutes are used up; the first process saves, exports and tells."""
    torch.set_num_threads(1)
    trainer = Trainer(given.out, given.minutes, given.seed, given.start, together)
    stores = sources.open_stores(given.clips)
    window: deque = deque(maxlen=200)
    saved = exported = trainer.used
    with tqdm(total=round(trainer.budget), initial=round(trainer.used), unit='s', mininterval=5,
              disable=not together.first) as bar:
        while trainer.progress < 1:
            if trainer.step % 50 == 0:
                stores = sources.open_stores(given.clips)
            window.append(trainer.train_step(stores))
            if not together.first:
                continue
            bar.update(round(trainer.used) - bar.n)
            if trainer.step % 50 == 0:
                told = summarise(window)
                trainer.history.append({
                    'step': trainer.step, 'minutes': round(trainer.used / 60, 3),
                    'phase': trainer.course.phases.index(trainer.phase()), **told})
                bar.set_postfix(told)
            if trainer.used - saved > EVERY_CHECKPOINT_S:
                trainer.save()
                sources.draw_curve(trainer.history, given.out / 'curve.png')
                saved = trainer.used
            if trainer.used - exported > EVERY_EXPORT_S:
                trainer.export(given.out)
                exported = trainer.used
    if together.first:
        trainer.save()
        trainer.export(given.out)
        sources.draw_curve(trainer.history, given.out / 'curve.png')
        (given.out / 'training.json').write_text(json.dumps({
            'seed': given.seed, 'minutes': given.minutes, 'steps': trainer.step,
            'processes': given.processes, 'started': given.start is not None,
            'world_clips': given.world_clips, 'shape_clips': given.shape_clips,
            'phases': [asdict(p) for p in trainer.course.phases],
            'history': trainer.history}, indent=1) + '\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True,
                        help='where checkpoint, curve and card go')
    parser.add_argument('--minutes', type=float, default=70)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--start', type=Path, help='checkpoint whose weights it begins with')
    parser.add_argument('--processes', type=int, default=2, help='of one thread each')
    parser.add_argument('--clips', type=Path, help='folder for rendered clips (OUT/clips)')
    parser.add_argument('--world-clips', type=int, default=1500)
    parser.add_argument('--shape-clips', type=int, default=400)
    parser.add_argument('--scenes', type=int, default=40, help='test scenes for the model card')
    given = parser.parse_args()
    given.clips = given.clips or given.out / 'clips'
    for folder in (given.out, given.clips):
        folder.mkdir(parents=True, exist_ok=True)
    renderer = multiprocessing.get_context('spawn').Process(
        target=sources.render, daemon=True,
        args=(given.clips, given.seed, given.shape_clips, given.world_clips))
    renderer.start()
    sources.open_when_ready(given.clips, renderer)
    run_together(given.processes, train, given)
    torch.set_num_threads(1)
    with World(Contract.load()) as world:
        figures = measure_tracker(given.out, world, given.seed, given.scenes)
    write_card(given.out, json.loads((given.out / 'training.json').read_text()), figures,
               given.seed, given.scenes)


if __name__ == '__main__':
    main()
