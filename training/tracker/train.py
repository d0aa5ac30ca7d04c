# SPDX-License-Identifier: Apache-2.0
"""Train the tiny SAM 2 of the small world: `./run python training/tracker/train.py --out DIR`.

Two processes of one thread train, another renders clips meanwhile. The budget is time
(`--minutes`), so that the result is as good as the machine allows; data, prompts and weights come
from `--seed`. Stopped and started again with the same --out, it goes on from its last checkpoint.
With `--start FOLDER` it begins with the weights of a checkpoint, and with longer clips at once.
With `--device cuda` one process trains on a GPU, with larger batches, which `--loaders` processes
make ahead while `--renderers` draw with the same GPU: there a step takes what its frames take, not
its clips. The clips take 7.4 MB each of the small world and 6.3 MB of shapes, 13.6 GB as it is set.
"""

import argparse
import json
import math
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from pixelrefer_model.sam2.checkpoint import load_model, save_model, set_input_size
from pixelrefer_model.sam2.network import Sam2Network
from training.ahead import REFRESH_S, device_name
from training.optimizer import Optimizer
from training.together import Together, run_together
from training.tracker import sources
from training.tracker.ahead import Batches, batches_ahead, make_batch
from training.tracker.card import write_card
from training.tracker.clips import Batch
from training.tracker.config import SIZE, tiny_config, tiny_model
from training.tracker.course import Phase, course
from training.tracker.measure import measure_tracker
from training.tracker.rollout import PROMPTS, Rollout
from training.world import Contract, World

#: With those of PixelRefer-Lite and of its tenses, and what comes before their first steps, three
#: hours of two cores.
MINUTES = 50.0
LAST_RATE, WARM_STEPS = 1e-5, 60
#: Of the running average, by what a step is worth: a GPU's has 8 to 20 times as many clips.
AVERAGE = {'cpu': 0.996, 'cuda': 0.99}
#: First prompts on any frame of a clip: decoding costs little once the frames are encoded.
FRESH = ('box', 'click', 'box', 'click')
#: What the names of matrices between hidden layers contain.
HIDDEN = ('.attn.', '_attn.', '_attn_', '.mlp.', '_mlps.', 'linear1', 'linear2', 'pointwise_conv',
          'object_pointer_proj')
#: Seconds between two saved states.
EVERY_S = {'cpu': 240.0, 'cuda': 30.0}
#: From step to step so many seconds count at most: what sleeps must not use up the time.
MOST_STEP_S = 20.0


def learning_rate(step: int, progress: float, peak: float) -> float:
    """Linear warm-up in steps, cosine in time."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return min(1.0, (step + 1) / WARM_STEPS) * (LAST_RATE + (peak - LAST_RATE) * cosine)


class Trainer:
    """Model, optimiser, running average and where in the time budget they are."""

    def __init__(self, out: Path, minutes: float, seed: int, start: Path | None = None,
                 together: Together = Together(), device: str = 'cpu') -> None:
        self.out, self.budget, self.seed, self.together = out, minutes * 60, seed, together
        self.device = torch.device(device)
        self.course = course(start is not None, self.device.type == 'cuda')
        self.model = tiny_model(tiny_config(SIZE), seed)
        if start:
            self.model.load_state_dict(load_model(start).state_dict())
        self.model.to(self.device)
        self.network = Sam2Network(self.model)
        self.average = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.optimizer = Optimizer(self.model.named_parameters(), self.course.rate, 0.02,
                                   hidden=lambda name: any(word in name for word in HIDDEN))
        self.rollout = Rollout(self.network, np.random.default_rng(seed))
        self.step, self.used, self.size = 0, 0.0, SIZE
        self._since: float | None = None
        #: `progress` for other processes.
        self.shared = torch.zeros(()).share_memory_()
        self.history: list[dict] = []
        if self.file.exists():
            self.load()
        self.shared.fill_(self.progress)
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
        state = torch.load(self.file, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state['model'])
        self.average = state['average']
        self.optimizer.load_state_dict(state['optimizer'])
        self.step, self.used = state['step'], state['used']
        self.history = json.loads(state['history'])

    def phase(self) -> Phase:
        return self.course.phase(self.progress)

    def train_step(self, batch: Batch) -> dict:
        """One step on a batch of any phase; what it measured."""
        begun = self._since or time.monotonic()
        frames, size = batch.labels.shape[1:3]
        self.resize(size)
        # Every draw depends on the seed, the step and the process: a run may stop anywhere.
        rng = self.rollout.rng = np.random.default_rng(
            (self.seed, self.step, self.together.rank, 1))
        kinds = {k: v for k, v in PROMPTS.items() if frames > 1 or k != 'mask'}
        share = np.array(list(kinds.values()))
        kind = str(rng.choice(list(kinds), p=share / share.sum()))
        # the true mask in the memory: often at first, never once it follows by itself
        forced = max(0.0, self.course.forced - self.progress) if frames > 1 else 0.0
        hint = rng.random() < max(0.0, self.course.hint - 3 * self.progress)
        score = self.rollout.run(batch, kind, forced=forced, hint=hint, again=0.2,
                                 fresh=FRESH if frames > 1 else ())
        score.loss.backward()
        parameters = self.optimizer.parameters()
        # Waits for batches, saving and drawing included.
        self._since = time.monotonic()
        self.used += self.together.average(parameters, min(self._since - begun, MOST_STEP_S))
        self.shared.fill_(self.progress)
        rate = learning_rate(self.step, self.progress, self.course.rate)
        for group in self.optimizer.param_groups:
            group['lr'] = rate
        if torch.isfinite(torch.nn.utils.clip_grad_norm_(parameters, 1.0)):
            self.optimizer.step()
        else:
            self.model.zero_grad(set_to_none=True)
        self.step += 1
        keep = min(AVERAGE[self.device.type], (1 + self.step) / (10 + self.step))
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


def one_by_one(trainer: Trainer, folder: Path) -> Iterator[Batch]:
    """The batches of the trainer's steps, each made when it is asked for."""
    stores, opened = [], -REFRESH_S
    while True:
        if time.monotonic() - opened >= REFRESH_S:
            stores, opened = sources.open_stores(folder), time.monotonic()
        yield make_batch(stores, trainer.phase(), trainer.seed, trainer.step,
                         trainer.together.rank)


def ahead(trainer: Trainer, folder: Path, processes: int) -> Iterator[Batch]:
    """The batches of the trainer's steps, made by other processes while it learns."""
    return batches_ahead(Batches(folder, trainer.course, trainer.shared, trainer.seed,
                                 trainer.together.rank), trainer.step, processes)


def train(together: Together, given: argparse.Namespace) -> None:
    """Train until the minutes are used up; the first process saves, exports and tells."""
    torch.set_num_threads(1)
    if given.device == 'cuda':
        torch.set_float32_matmul_precision('high')
    trainer = Trainer(given.out, given.minutes, given.seed, given.start, together, given.device)
    batches = ahead(trainer, given.clips, given.loaders) if given.loaders else \
        one_by_one(trainer, given.clips)
    window: deque = deque(maxlen=200)
    saved = trainer.used
    with tqdm(total=round(trainer.budget), initial=round(trainer.used), unit='s', mininterval=5,
              disable=not together.first) as bar:
        while trainer.progress < 1:
            window.append(trainer.train_step(next(batches)))
            if not together.first:
                continue
            bar.update(round(trainer.used) - bar.n)
            if trainer.step % 50 == 0:
                told = summarise(window)
                trainer.history.append({
                    'step': trainer.step, 'minutes': round(trainer.used / 60, 3),
                    'phase': trainer.course.phases.index(trainer.phase()), **told})
                bar.set_postfix(told)
            if trainer.used - saved > EVERY_S[given.device]:
                saved = trainer.used
                trainer.save()
                trainer.export(given.out)
                sources.draw_curve(trainer.history, given.out / 'curve.png')
    if together.first:
        trainer.save()
        trainer.export(given.out)
        sources.draw_curve(trainer.history, given.out / 'curve.png')
        (given.out / 'training.json').write_text(json.dumps({
            'seed': given.seed, 'minutes': given.minutes, 'steps': trainer.step,
            'processes': given.processes, 'device': device_name(trainer.device),
            'torch': torch.__version__, 'started': given.start is not None,
            'clips': sources.counts(given.clips),
            'phases': [asdict(p) for p in trainer.course.phases],
            'history': trainer.history}, indent=1) + '\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True,
                        help='where checkpoint, curve and card go')
    parser.add_argument('--minutes', type=float, default=MINUTES,
                        help='of training, saving included; measuring comes after them')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--start', type=Path, help='checkpoint whose weights it begins with')
    parser.add_argument('--processes', type=int, default=2, help='of one thread each')
    parser.add_argument('--clips', type=Path, help='folder for rendered clips (OUT/clips)')
    parser.add_argument('--world-clips', type=int, default=1500)
    parser.add_argument('--shape-clips', type=int, default=400)
    parser.add_argument('--scenes', type=int, default=40,
                        help='test scenes for the model card, 0 for none')
    parser.add_argument('--device', choices=('cpu', 'cuda'), default='cpu')
    parser.add_argument('--loaders', type=int, help='processes that make batches ahead, through '
                        '/dev/shm (8 on cuda, else none; the packaged tracker: 4)')
    parser.add_argument('--renderers', type=int, help='processes that render (6 on cuda, '
                        'else 1; the packaged tracker: 5)')
    given = parser.parse_args()
    on_gpu = given.device == 'cuda'
    given.processes = 1 if on_gpu else given.processes
    given.loaders = (8 if on_gpu else 0) if given.loaders is None else given.loaders
    given.renderers = given.renderers or (6 if on_gpu else 1)
    if given.loaders and given.processes > 1:
        parser.error('--loaders needs --processes 1')
    # Whatever ends this process ends those that render for it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    given.clips = given.clips or given.out / 'clips'
    for folder in (given.out, given.clips):
        folder.mkdir(parents=True, exist_ok=True)
    with sources.Rendering(given.clips, given.seed, given.shape_clips, given.world_clips,
                           given.renderers) as rendering:
        rendering.wait()
        run_together(given.processes, train, given)
    if not given.scenes:
        return
    torch.set_num_threads(1)
    with World(Contract.load()) as world:
        figures = measure_tracker(given.out, world, given.seed, given.scenes)
    write_card(given.out, json.loads((given.out / 'training.json').read_text()), figures,
               given.seed, given.scenes)


if __name__ == '__main__':
    main()
