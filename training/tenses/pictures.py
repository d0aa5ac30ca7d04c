# SPDX-License-Identifier: Apache-2.0
"""Pictures and clips of the stages before with their object tokens, made once: so that what was
learned of them is asked again, and no vision is needed for it.

`python -m training.tenses.pictures --records DIR --out DIR` makes them, of rendered records.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pixelrefer_model.pixelrefer import (
    EncodePolicy, PixelReferLite, RegionEncoder, SeededPermutation, collate)
from pixelrefer_model.weights import checkpoint_folder
from training.ahead import WHOLE, Part
from training.refer.facts import Fact
from training.refer.records import Record, read_shard
from training.refer.scenes import Scene, make_scene
from training.world import Contract

#: How often each record is seen, varied anew each time.
LOOKS = 2
#: Objects of a single frame and of a clip, at most.
MOST = (5, 3)
#: Scenes that are encoded at once.
BATCH = 4


@dataclass(frozen=True)
class Picture:
    """A scene without its images, and the object tokens [R, K, D] of its regions."""

    scene: Scene
    tokens: Tensor


def picture_path(folder: Path, number: int) -> Path:
    """Where the pictures of a shard lie."""
    return folder / f'seen-{number:04d}.pt'


@torch.inference_mode()
def pictures_of(records: Iterable[Record], model: PixelReferLite, contract: Contract,
                seed: int | None) -> list[Picture]:
    """Every record as a picture: with a seed LOOKS times, images and masks varied as in the
    training of objects; without one as it is."""
    policy, made, scenes = EncodePolicy.robot(), [], []
    for number, record in enumerate(records):
        for look in range(1 if seed is None else LOOKS):
            rng = None if seed is None else np.random.default_rng((seed, number, look, 23))
            scene = make_scene(record, model.config, policy, contract,
                               most=MOST[len(record.views) > 1], rng=rng)
            if scene is not None:
                scenes.append(scene)
    for at in range(0, len(scenes), BATCH):
        some = scenes[at:at + BATCH]
        batch = collate([scene.inputs for scene in some], policy.kmeans if seed is None
                        else SeededPermutation(seed + at))
        tokens = model.region_tokens(batch.to(model.device)).cpu()
        rows = tokens.split([len(scene.regions) for scene in some])
        made += [Picture(replace(scene, inputs=None), part.clone())
                 for scene, part in zip(some, rows, strict=True)]
    return made


def write_pictures(path: Path, pictures: Sequence[Picture], key: str) -> None:
    """Write pictures so that a reader never meets half a file. key: what their tokens are made
    with."""
    part = path.with_suffix('.part')
    torch.save({'key': key, 'pictures': [{
        'regions': one.scene.regions, 'seconds': one.scene.seconds, 'motions': one.scene.motions,
        'facts': [[asdict(fact) for fact in view] for view in one.scene.facts],
        'poses': [pose.tolist() for pose in one.scene.poses],
        'tokens': one.tokens.to(torch.bfloat16)} for one in pictures]}, part)
    part.rename(path)


def read_pictures(path: Path, key: str) -> list[Picture]:
    """The pictures of a file. Raises ValueError where its tokens are of another checkpoint."""
    held = torch.load(path, weights_only=True)
    if held['key'] != key:
        raise ValueError(f'{path} was made with {held["key"]}, not with {key}')
    return [Picture(Scene(
        None, one['regions'], [[Fact(**fact) for fact in view] for view in one['facts']],
        [np.array(pose) for pose in one['poses']], one['seconds'], one['motions']),
        one['tokens'].float()) for one in held['pictures']]


class PicturePool:
    """The pictures and clips of every file that is there, drawn in a seeded order; of one of
    several processes that read them, those of its `part`."""

    def __init__(self, folder: Path, key: str, seed: int, part: Part = WHOLE) -> None:
        self.singles: list[Picture] = []
        self.clips: list[Picture] = []
        self.seed, self._folder, self._key, self._part = seed, folder, key, part
        self._read: set[Path] = set()
        self.refresh()

    @property
    def ready(self) -> bool:
        """Whether there are pictures and clips."""
        return bool(self.singles and self.clips)

    def refresh(self) -> None:
        """Read the files that were finished since."""
        for path in sorted(set(self._folder.glob('seen-*.pt')) - self._read):
            self._read.add(path)
            if not self._part.has(int(path.stem.split('-')[1])):
                continue
            for one in read_pictures(path, self._key):
                (self.clips if len(one.scene.seconds) > 1 else self.singles).append(one)

    def draw(self, step: int, singles: int, clips: int, rank: int = 0) -> list[Picture]:
        """Pictures of one step of one process; the same for the same arguments and pool."""
        rng = np.random.default_rng((self.seed, step, 29, rank))
        return [some[i] for some, count in ((self.singles, singles), (self.clips, clips))
                for i in rng.choice(len(some), min(count, len(some)), replace=False)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--records', type=Path, required=True,
                        help='folder of the shards of training/refer/render.py')
    parser.add_argument('--out', type=Path, required=True, help='folder of the pictures')
    parser.add_argument('--start', default='tiny', help='checkpoint that makes the object tokens')
    parser.add_argument('--device', default='cpu', help='that makes the object tokens')
    parser.add_argument('--shards', type=int, help='the first so many of them (all)')
    parser.add_argument('--part', default='0/1', help='I/N: every N-th shard from the I-th on')
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    model = PixelReferLite.from_checkpoint(checkpoint_folder(given.start, 'refer'),
                                           device=given.device)
    key, contract = RegionEncoder(model).key, Contract.load()
    part, parts = map(int, given.part.split('/'))
    shards = sorted(given.records.glob('shard-*.zip'))[:given.shards]
    for path in tqdm(shards[part::parts], unit='shard'):
        number = int(path.stem.split('-')[1])
        made = picture_path(given.out, number)
        if not made.exists():
            write_pictures(made, pictures_of(read_shard(path), model, contract, number), key)


if __name__ == '__main__':
    main()
