# SPDX-License-Identifier: Apache-2.0
"""Train the tiny SAM 2 of the small world: `./run python training/tracker/train.py --out DIR`.

One process trains, another renders clips meanwhile. The budget is time (`--minutes`), so that the
result is as good as the machine allows; data, prompts and weights come from `--seed`. Stopped and
started again with the same --out, it goes on from its last checkpoint.
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

from pixelrefer_model.sam2.checkpoint import save_model, set_input_size
from pixelrefer_model.sam2.network import Sam2Network
from training.tracker import sources
from training.tracker.card import write_card
from training.tracker.clips import ClipStore, Cut, draw_batch
from training.tracker.config import tiny_config, tiny_model
from training.tracker.measure import measure_tracker
from training.tracker.rollout import PROMPTS, Rollout
from training.world import Contract, World

SIZE = 256


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
    Phase(1.00, 256, 6, 2, 3, 0.60, 1.05),
)
PEAK_RATE, LAST_RATE, WARM_STEPS = 8e-4, 1e-5, 60
AVERAGE = 0.996
EVERY_CHECKPOINT_S, EVERY_EXPORT_S = 240.0, 600.0


def learning_rate(step: int, progress: float) -> float:
    """Linear warm-up in steps, cosine in time."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return min(1.0, (step + 1) / WARM_STEPS) * (LAST_RATE + (PEAK_RATE - LAST_RATE) * cosine)


class Trainer:
    """Model, optimiser, running average and where in the time budget they are."""

    def __init__(self, out: Path, minutes: float, seed: int) -> None:
        self.out, self.budget, self.seed = out, minutes * 60, seed
        self.model = tiny_model(tiny_config(SIZE), seed)
        self.network = Sam2Network(self.model)
        self.average = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=PEAK_RATE,
                                           weight_decay=0.02, betas=(0.9, 0.98))
        self.rng = np.random.default_rng(seed)
        self.rollout = Rollout(self.network, self.rng)
        self.step, self.used, self.size = 0, 0.0, SIZE
        self.history: list[dict] = []
        if self.file.exists():
            self.load()

    @property
    def file(self) -> Path:
        return self.out / 'training.pt'

    @property
    def progress(self) -> float:
        return self.used / self.budget

    def save(self) -> None:
        part = self.file.with_suffix('.part')
        torch.save({'model': self.model.state_dict(), 'average': self.average,
                    'optimiser': self.optimiser.state_dict(), 'step': self.step,
                    'used': self.used, 'rng': json.dumps(self.rng.bit_generator.state),
                    'history': json.dumps(self.history)}, part)
        os.replace(part, self.file)

    def load(self) -> None:
        state = torch.load(self.file, weights_only=True)
        self.model.load_state_dict(state['model'])
        self.average = state['average']
        self.optimiser.load_state_dict(state['optimiser'])
        self.step, self.used = state['step'], state['used']
        self.rng.bit_generator.state = json.loads(state['rng'])
        self.history = json.loads(state['history'])

    def phase(self) -> Phase:
        return next((p for p in PHASES if self.progress < p.until), PHASES[-1])

    def train_step(self, stores: list[tuple[ClipStore, float]]) -> dict:
        """One step of the current phase; what it measured."""
        phase = self.phase()
        self.resize(phase.size)
        begun = PHASES[PHASES.index(phase) - 1].until if phase is not PHASES[0] else 0.0
        through = (self.progress - begun) / (phase.until - begun)
        cut = Cut(phase.size, phase.frames, phase.objects, phase.narrow, phase.wide)
        batch = draw_batch(stores, phase.clips, cut, self.rng)
        kinds = {k: v for k, v in PROMPTS.items() if phase.frames > 1 or k != 'mask'}
        share = np.array(list(kinds.values()))
        kind = str(self.rng.choice(list(kinds), p=share / share.sum()))
        # the true mask in the memory: often at first, never once it follows by itself
        forced = max(0.0, 0.7 * (0.9 - self.progress) / 0.7) if phase.frames > 1 else 0.0
        hint = self.rng.random() < max(0.0, 0.35 - 3 * self.progress)
        score = self.rollout.run(batch, kind, forced=forced, hint=hint, again=0.2,
                                 fresh=('box', 'click') if phase.frames > 1 else ())
        rate = learning_rate(self.step, self.progress)
        for group in self.optimiser.param_groups:
            group['lr'] = rate
        self.optimiser.zero_grad(set_to_none=True)
        score.loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if torch.isfinite(norm):
            self.optimiser.step()
        self.step += 1
        keep = min(AVERAGE, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        follow = score.overlaps if kind == 'mask' else score.overlaps[1:]
        return {'kind': kind, 'hint': bool(hint), 'through': through,
                'loss': float(score.loss.detach()),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True,
                        help='where checkpoint, curve and card go')
    parser.add_argument('--minutes', type=float, default=70)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--clips', type=Path, help='folder for rendered clips (OUT/clips)')
    parser.add_argument('--world-clips', type=int, default=1500)
    parser.add_argument('--shape-clips', type=int, default=400)
    parser.add_argument('--scenes', type=int, default=40, help='test scenes for the model card')
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    clips = given.clips or given.out / 'clips'
    given.out.mkdir(parents=True, exist_ok=True)
    clips.mkdir(parents=True, exist_ok=True)
    renderer = multiprocessing.get_context('spawn').Process(
        target=sources.render, daemon=True,
        args=(clips, given.seed, given.shape_clips, given.world_clips))
    renderer.start()
    trainer = Trainer(given.out, given.minutes, given.seed)
    trainer.export(given.out)
    stores = sources.open_when_ready(clips, renderer)
    window: deque = deque(maxlen=200)
    last_saved = last_exported = trainer.used
    with tqdm(total=round(trainer.budget), initial=round(trainer.used), unit='s',
              mininterval=5) as bar:
        while trainer.progress < 1:
            begun = time.monotonic()
            if trainer.step % 50 == 0:
                stores = sources.open_stores(clips)
            window.append(trainer.train_step(stores))
            trainer.used += time.monotonic() - begun
            bar.update(round(trainer.used) - bar.n)
            if trainer.step % 50 == 0:
                told = summarise(window)
                trainer.history.append({
                    'step': trainer.step, 'minutes': round(trainer.used / 60, 3),
                    'phase': PHASES.index(trainer.phase()), **told})
                bar.set_postfix(told)
            if trainer.used - last_saved > EVERY_CHECKPOINT_S:
                trainer.save()
                sources.draw_curve(trainer.history, given.out / 'curve.png')
                last_saved = trainer.used
            if trainer.used - last_exported > EVERY_EXPORT_S:
                trainer.export(given.out)
                last_exported = trainer.used
    trainer.save()
    trainer.export(given.out)
    sources.draw_curve(trainer.history, given.out / 'curve.png')
    training = {'seed': given.seed, 'minutes': given.minutes, 'steps': trainer.step,
                'world_clips': given.world_clips, 'shape_clips': given.shape_clips,
                'phases': [asdict(p) for p in PHASES], 'history': trainer.history}
    (given.out / 'training.json').write_text(json.dumps(training, indent=1) + '\n')
    with World(Contract.load()) as world:
        figures = measure_tracker(given.out, world, given.seed, given.scenes)
    write_card(given.out, training, figures, given.seed, given.scenes)


if __name__ == '__main__':
    main()
