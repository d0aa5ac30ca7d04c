# SPDX-License-Identifier: Apache-2.0
"""Measures how well an object that comes back is offered as the one it is:
`./run python training/refer/sameness.py --seed N --scenes M --out docs/accuracy`.

Test scenes, true masks. Every object is remembered as it is seen in the first seconds of its scene,
ten scenes to a memory, and asked for as it is seen five seconds later from where the camera is then,
once as it is and once in the light and on the table of another scene. Writes the tables of
sameness.md, below its text, and sameness.png; progress goes to standard error.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

if __package__ in (None, ''):
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import matplotlib
import numpy as np
import torch
from tqdm import tqdm

matplotlib.use('Agg')
import matplotlib.pyplot as plt

from pixelrefer_model.engine import checkpoint_folder
from pixelrefer_model.memory.observation import Observation
from pixelrefer_model.memory.sameness import TINY, Offer, SameGate, candidates
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.pixelrefer import PixelReferLite, RegionEncoder
from pixelrefer_model.sam2.pixels import box_of
from training.refer.facts import LEAST_AREA
from training.refer.measure import FIRST_SEED
from training.tracker.measure import Figure, share_figure
from training.world import Contract, ScenePlan, World

SECONDS = 8.0
#: When an object is seen before it goes and after it came back.
BEFORE, AFTER = (0.2, 0.9, 1.6), (6.4, 7.1, 7.8)
#: Scenes whose objects are remembered together.
MEMORY = 10
#: Words that may differ: two objects that differ in one of them are look-alikes.
ATTRIBUTES = ('category', 'colour', 'pattern', 'size')
#: From so many metres on an object has moved.
MOVED = 0.05
LEVELS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
#: Of look-alikes of an object that is new, no more than this share may be offered by a gate.
ALLOWED = 0.05
LIGHTS = ('as it was', 'other light and table')
#: What a likeness is to.
GROUPS = ('itself', 'itself, moved', 'look-alike by size', 'look-alike otherwise', 'others')


@dataclass(frozen=True)
class Return:
    """An object that came back. id: scene and number. light: one of LIGHTS. observations: how many
    it was asked for with. found: every remembered object, the most alike first."""

    id: tuple[int, int]
    light: str
    observations: int
    moved: bool
    found: list[Offer]


@dataclass
class Measured:
    """What came back, and the words of every object by its id."""

    returns: list[Return]
    words: dict[tuple[int, int], dict[str, str]]

    def of(self, light: str, observations: int) -> list[Return]:
        """Those of a light that were asked for with so many observations."""
        return [one for one in self.returns
                if one.light == light and one.observations == observations]

    def differ(self, one: Return, offer: Offer) -> set[str]:
        """The attributes in which a return and a remembered object differ."""
        a, b = self.words[one.id], self.words[id_of(offer)]
        return {name for name in ATTRIBUTES if a[name] != b[name]}


def id_of(offer: Offer) -> tuple[int, int]:
    """Scene and number of a remembered object."""
    scene, number = offer.object_id.split('.')
    return int(scene), int(number)


def measure(world: World, encoder: RegionEncoder, numbers: Sequence[int], seed: int) -> Measured:
    """Everything that comes back in the scenes of these numbers."""
    measured = Measured([], {})
    shown = iter(tqdm(numbers, unit='scene', mininterval=5))
    for at in range(0, len(numbers), MEMORY):
        plans = {n: world.plan(FIRST_SEED + 10_000 * seed + n, 'test', SECONDS,
                               ('motion', 'events')[n % 2]) for n in numbers[at:at + MEMORY]}
        with tempfile.TemporaryDirectory() as folder, MemoryStore.open(Path(folder)) as store:
            for n, plan in plans.items():
                store.write(sightings(world, encoder, plan, n, BEFORE))
                measured.words.update({(n, i): o.words for i, o in enumerate(plan.objects)})
            for n, plan in plans.items():
                other = world.plan(FIRST_SEED + 10_000 * seed + 9_999 - n, 'test', 1.0, 'calm')
                for light, lit in zip(LIGHTS, (plan, relit(plan, other)), strict=True):
                    measured.returns += _returns(
                        store, plan, n, light, sightings(world, encoder, lit, n, AFTER))
                next(shown)
    next(shown, None)
    return measured


def sightings(world: World, encoder: RegionEncoder, plan: ScenePlan, number: int,
              times: Sequence[float]) -> list[Observation]:
    """The objects of a scene as they are seen at these times, stamped scene after scene."""
    made = []
    for t in times:
        shot = world.render(plan, t)
        masks = {i: shot.seg == i + 1 for i in range(len(plan.objects))}
        masks = {i: mask for i, mask in masks.items() if mask.sum() >= LEAST_AREA}
        tokens = encoder.encode(shot.rgb, list(masks.values()))
        made += [Observation(
            f'{number}.{i}', round((1000 * number + t + 1) * 1e9), 'camera', 0, box_of(mask),
            int(mask.sum()), of_object, encoder.key)
            for (i, mask), of_object in zip(masks.items(), tokens, strict=True)]
    return made


def relit(plan: ScenePlan, other: ScenePlan) -> ScenePlan:
    """The same scene in the light, on the table and in the room of another."""
    names = ('table', 'table_tint', 'floor', 'wall', 'light', 'light_dir', 'ambient')
    return replace(plan, look=replace(
        plan.look, **{name: getattr(other.look, name) for name in names}))


def _returns(store: MemoryStore, plan: ScenePlan, number: int, light: str,
             seen: list[Observation]) -> Iterator[Return]:
    remembered = {one.object_id for one in store.objects()}
    for i in range(len(plan.objects)):
        own = [replace(one, object_id='back', stamp_ns=one.stamp_ns + 10 ** 15)
               for one in seen if one.object_id == f'{number}.{i}']
        if not own or f'{number}.{i}' not in remembered:
            continue
        moved = float(np.linalg.norm(plan.position(i, AFTER[0]) - plan.position(i, BEFORE[-1])))
        for count in {1, len(AFTER)}:
            yield Return((number, i), light, count, moved >= MOVED,
                         candidates(store, own[:count]))


# --- figures

def share(returns: Sequence[Return], hit: Callable[[Return], list[bool]]) -> Figure | None:
    """The share of hits, with an interval by resampling scenes."""
    scenes: dict[int, list[bool]] = {}
    for one in returns:
        scenes.setdefault(one.id[0], []).extend(hit(one))
    return share_figure(list(scenes.values()), np.random.default_rng(0))


def look_alikes(measured: Measured, one: Return) -> list[Offer]:
    """The remembered objects of its scene that differ from it in one attribute."""
    return [offer for offer in one.found if id_of(offer)[0] == one.id[0]
            and len(measured.differ(one, offer)) == 1]


def likenesses(measured: Measured, light: str) -> dict[str, list[list[float]]]:
    """By GROUPS and scene, how alike what came back is to itself, to look-alikes of its scene and
    to the objects of any scene that differ in more than one attribute."""
    values: dict[str, dict[int, list[float]]] = {name: {} for name in GROUPS}
    for one in measured.of(light, len(AFTER)):
        for offer in one.found:
            differ, own_scene = measured.differ(one, offer), id_of(offer)[0] == one.id[0]
            names = ['itself', 'itself, moved'][:1 + one.moved] if id_of(offer) == one.id else \
                ['others'] if len(differ) > 1 else [] if not (differ and own_scene) else \
                ['look-alike by size' if differ == {'size'} else 'look-alike otherwise']
            for name in names:
                values[name].setdefault(one.id[0], []).append(offer.likeness)
    return {name: list(by_scene.values()) for name, by_scene in values.items()}


def at_least(values: list[list[float]], level: float) -> Figure | None:
    """The share of likenesses, by scene, that are at least `level`."""
    return share_figure([[value >= level for value in scene] for scene in values],
                        np.random.default_rng(0))


def gate_rows(measured: Measured, gate: SameGate, light: str, observations: int
              ) -> list[tuple[str, Figure | None]]:
    """What a gate offers of a memory, where the object is in it and where it is new."""
    some = measured.of(light, observations)
    twinned = [one for one in some if look_alikes(measured, one)]

    def offered(one: Return, known: bool) -> list[Offer]:
        return gate.choose([offer for offer in one.found if known or id_of(offer) != one.id])

    def wrong(known: bool, least: int, most: int) -> Callable[[Return], list[bool]]:
        return lambda one: [any(least <= len(measured.differ(one, offer)) <= most
                                for offer in offered(one, known))]

    def right(one: Return) -> list[bool]:
        return [one.id in map(id_of, offered(one, True))]

    def alone(one: Return) -> list[bool]:
        return [[one.id] == list(map(id_of, offered(one, True)))]

    def twin(one: Return) -> list[bool]:
        return [bool(set(offered(one, False)) & set(look_alikes(measured, one)))]

    return [('remembered: it is offered', share(some, right)),
            ('remembered: it alone is offered', share(some, alone)),
            ('remembered and moved: it is offered', share([r for r in some if r.moved], right)),
            ('remembered: a look-alike is offered', share(some, wrong(True, 1, 1))),
            ('remembered: another that differs in more is offered',
             share(some, wrong(True, 2, len(ATTRIBUTES)))),
            ('new, its look-alike of the scene remembered: that is offered', share(twinned, twin)),
            ('new: one with the same four words is offered', share(some, wrong(False, 0, 0))),
            ('new: a look-alike of any scene is offered', share(some, wrong(False, 1, 1))),
            ('new: another that differs in more is offered',
             share(some, wrong(False, 2, len(ATTRIBUTES))))]


def least_likeness(measured: Measured) -> float | None:
    """The least of LEVELS at which no more than ALLOWED of the look-alikes of new objects would be
    offered, in either light; None where there is none."""
    for level in LEVELS:
        gate = SameGate(level, TINY.lead)
        found = [dict(gate_rows(measured, gate, light, len(AFTER)))[
            'new, its look-alike of the scene remembered: that is offered'] for light in LIGHTS]
        if all(figure is not None and figure.value <= ALLOWED for figure in found):
            return level
    return None


def _shown(figure: Figure | None) -> str:
    return 'not measured' if figure is None else \
        f'{figure.value:.3f} ({figure.low:.3f} to {figure.high:.3f}), {figure.n}'


def tables(measured: Measured) -> str:
    """The figures as Markdown: share (95 % interval), n."""
    lines = [f'| gate {TINY.likeness:g}, lead {TINY.lead:g} | ' + ' | '.join(
        f'{light}, {count} seen' for light in LIGHTS for count in (1, len(AFTER))) + ' |',
        '|---|---|---|---|---|']
    columns = [gate_rows(measured, TINY, light, count)
               for light in LIGHTS for count in (1, len(AFTER))]
    for rows in zip(*columns, strict=True):
        lines.append(f'| {rows[0][0]} | ' + ' | '.join(_shown(row[1]) for row in rows) + ' |')
    for light in LIGHTS:
        lines += ['', f'| {light}: likeness of at least | ' + ' | '.join(GROUPS) + ' |',
                  '|---|---|---|---|---|---|']
        values = likenesses(measured, light)
        lines += [f'| {level:g} | ' + ' | '.join(
            _shown(at_least(values[name], level)) for name in GROUPS) + ' |' for level in LEVELS]
    return '\n'.join(lines) + '\n'


def draw(measured: Measured, file: Path) -> None:
    """The shares over the likeness."""
    levels = np.linspace(0.4, 1.0, 31)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.6), sharey=True, layout='constrained')
    for axis, light in zip(axes, LIGHTS, strict=True):
        for name, values in likenesses(measured, light).items():
            every = np.concatenate([[], *values])
            axis.plot(levels, [(every >= level).mean() if len(every) else np.nan
                               for level in levels], label=name)
        axis.axvline(TINY.likeness, color='0.6', linestyle='--')
        axis.set(xlabel='likeness of at least', title=light, ylim=(0, 1.01))
        axis.grid(alpha=0.3)
    axes[0].set_ylabel('share')
    figure.legend(*axes[0].get_legend_handles_labels(), loc='outside lower center', ncols=5)
    figure.savefig(file, dpi=90)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description='Measures the offers of remembered objects.')
    parser.add_argument('--seed', type=int, required=True, help='0 to 9999: which test scenes')
    parser.add_argument('--scenes', type=int, required=True, help='1 to 4000')
    parser.add_argument('--out', type=Path, help='folder of sameness.md and sameness.png')
    parser.add_argument('--refer', default='tiny', help='checkpoint (default: packaged)')
    given = parser.parse_args()
    os.environ.setdefault('LP_NUM_THREADS', '1')
    torch.set_num_threads(1)
    encoder = RegionEncoder(PixelReferLite.from_checkpoint(
        checkpoint_folder(given.refer, 'refer')))
    with World(Contract.load()) as world:
        measured = measure(world, encoder, range(given.scenes), given.seed)
    text = tables(measured)
    print(text)
    print('these scenes would choose a likeness of', least_likeness(measured), file=sys.stderr)
    if given.out:
        file = given.out / 'sameness.md'
        before = file.read_text(encoding='utf-8').split('| gate ')[0] if file.exists() else ''
        file.write_text(before + text, encoding='utf-8')
        draw(measured, given.out / 'sameness.png')
    return 0


if __name__ == '__main__':
    sys.exit(main())
