# SPDX-License-Identifier: Apache-2.0
"""How often the shipped PixelRefer-Lite answers rightly on test scenes, by the way that a robot
uses it: RegionEncoder, the prompt of `compose`, greedy decoding. Nothing is teacher-forced."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

import numpy as np
import torch
from torch import Tensor

from pixelrefer_model.engine import CANNOT_TELL
from pixelrefer_model.frame import Frame
from pixelrefer_model.language import Evidence, LanguageModel, compose
from pixelrefer_model.language.generate import collect
from pixelrefer_model.memory import Now, Observation
from pixelrefer_model.pixelrefer import PixelReferLite, RegionEncoder
from pixelrefer_model.sam2 import ObjectTracker, TrackState
from training.refer.answers import right
from training.refer.facts import LEAST_AREA, LEAST_FAINT, Fact, facts_of, visible, with_motion
from training.refer.questions import IS, Asker, Item, shuffled_pairs
from training.tracker.measure import Figure, make_prompt, share_figure
from training.world import ScenePlan, World

#: Frames of a scene at 10 Hz; questions about now are asked on the last, those about a window on
#: the stamped frames.
RATE_HZ, LENGTH = 10.0, 25
STAMPED = (0, 8, 16, 24)
#: First seed of the scenes measured here; training and the curve use none above.
FIRST_SEED = 5_000_000
SMALL_AREA = 400
MOST_NEW_TOKENS = 32
#: Every so many scenes questions are drawn and balanced anew, so that processes can share the work.
BLOCK = 20
#: One of these is asked about every object, beside what is asked about all.
SOMETIMES = ('size', 'position', 'choice', 'is_category', 'is_colour', 'is_pattern')
NAMES = ('category', 'colour', 'pattern', 'relation', 'support', 'same_colour', 'motion',
         'motion_still', 'count', 'caption', 'small_category', 'small_colour', 'size', 'position',
         'choice', 'is_so', 'unseen_category', 'unseen_colour', 'sure', 'faint', 'not_faint')
#: Answers of so much confidence count as sure.
SURE = 0.9


@dataclass(frozen=True)
class HeldOutScene:
    """A rendered test scene with its questions.

    number: of the scene in its seed. images, segs: by number of the frame, uint8 [H, W, 3] and
    uint8 [H, W], i + 1 for object i.
    facts: of every object on the last frame. now, window, faint: questions about the last frame,
    about the stamped frames, and about objects of which next to nothing is seen. unseen: objects
    of a category in a colour that training never shows together.
    """

    number: int
    images: dict[int, np.ndarray]
    segs: dict[int, np.ndarray]
    facts: list[Fact]
    now: list[Item]
    window: list[Item]
    faint: list[Item]
    unseen: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Answered:
    """One answer: to what, about the scene of this number, what was said (nothing where the
    objects had no mask) with which confidence, and whether that is right."""

    item: Item
    scene: int
    text: str
    confidence: float
    good: bool


@dataclass
class Score:
    """Whether each question was answered rightly, by figure and scene; and every answer, for
    reports."""

    hits: dict[str, list[list[bool]]] = field(default_factory=lambda: defaultdict(list))
    answers: list[Answered] = field(default_factory=list)

    def figure(self, name: str) -> Figure | None:
        """A figure with its 95 % interval, None where nothing was asked."""
        return share_figure(self.hits[name], np.random.default_rng(0))

    def figures(self) -> dict[str, Figure | None]:
        """The named figures."""
        return {name: self.figure(name) for name in NAMES}

    def add(self, other: 'Score') -> None:
        """Take in the answers about other scenes."""
        for name, scenes in other.hits.items():
            for scene, hits in enumerate(scenes):
                for good in hits:
                    self.count(name, scene, good)
        self.answers += other.answers

    def count(self, name: str, scene: int, good: bool) -> None:
        """One more answer about the scene of this number."""
        by_scene = self.hits[name]
        by_scene.extend([] for _ in range(scene + 1 - len(by_scene)))
        by_scene[scene].append(good)


def held_out_scenes(world: World, seed: int, scenes: int | range, *,
                    every_frame: bool = True) -> Iterator[HeldOutScene]:
    """The scenes of a seed, rendered one at a time; the same for the same arguments.

    scenes: how many, or which numbers: from the first of a BLOCK on (ValueError).

    In every other scene each object is still or moves with equal chance, and only there motion is
    asked about; the rest are as the contract's shares give them. A tracker needs every frame,
    questions with true masks only the stamped ones.
    """
    numbers = range(scenes) if isinstance(scenes, int) else scenes
    if numbers.start % BLOCK or numbers.step != 1:
        raise ValueError(f'{numbers} does not begin with a block of {BLOCK} scenes')
    for index in numbers:
        if index % BLOCK == 0:
            rng = Random(f'{seed} {index}')
            asker = Asker(rng, world.contract, 'all')
        moving = index % 2 == 0
        plan = world.plan(FIRST_SEED + seed * 10_000 + index, 'test', LENGTH / RATE_HZ + 0.2,
                          'motion' if moving else None)
        shots = {k: world.render(plan, _time(k))
                 for k in (range(LENGTH) if every_frame else STAMPED)}
        segs = {k: shot.seg for k, shot in shots.items()}
        facts = facts_of(plan, _time(STAMPED[-1]), segs[STAMPED[-1]])
        window = list(_window_items(asker, plan, segs, facts)) if moving else []
        yield HeldOutScene(index, {k: shot.rgb for k, shot in shots.items()}, segs, facts,
                           list(_items(asker, rng, facts)), window,
                           [asker.faint(i) for i, fact in enumerate(facts)
                            if LEAST_FAINT <= fact.area < LEAST_AREA],
                           frozenset(i for i, fact in enumerate(facts) if (
                               fact.category, fact.colour) in world.contract.held_out))


def _time(frame: int) -> float:
    return 0.1 + frame / RATE_HZ


def _items(asker: Asker, rng: Random, facts: list[Fact]) -> Iterator[Item]:
    """Questions about the last frame, yes and no and the like balanced over the whole run."""
    seen = visible(facts)
    for i in seen:
        for kind in ('category', 'colour', 'pattern', 'detailed', 'support',
                     rng.choice(SOMETIMES)):
            item = asker.single(kind, facts, i)
            if item:
                yield item
    pairs = [(seen[i], seen[j]) for i, j in shuffled_pairs(len(seen), rng)]
    for kind, most in (('relation', 3), ('depth', 3), ('same_colour', 3)):
        made = 0
        for i, j in pairs:
            item = asker.pair(kind, facts, i, j) if made < most else None
            if item:
                made += 1
                yield item
    if len(seen) > 1:
        for _ in range(4):
            chosen = tuple(rng.sample(seen, rng.randint(2, min(4, len(seen)))))
            item = asker.group('count', facts, chosen)
            if item:
                yield item


def _window_items(asker: Asker, plan: ScenePlan, segs: dict[int, np.ndarray],
                  facts: list[Fact]) -> Iterator[Item]:
    """One question about the motion of each object seen at the first and the last stamp."""
    before = facts_of(plan, _time(STAMPED[0]), segs[STAMPED[0]])
    pose = plan.camera_pose(_time(STAMPED[-1]))
    for i in visible(facts):
        if before[i].visible:
            moved = with_motion(facts[i], before[i], pose, plan.contract)
            item = asker.single('motion', [*facts[:i], moved, *facts[i + 1:]], i)
            if item:
                yield item


def true_masks(scene: HeldOutScene) -> dict[int, dict[int, np.ndarray]]:
    """Per stamped frame and object its true mask, where so much of it is seen that it is asked
    about."""
    least = {STAMPED[-1]: LEAST_FAINT}
    return {f: {i: scene.segs[f] == i + 1 for i in range(len(scene.facts))
                if (scene.segs[f] == i + 1).sum() >= least.get(f, LEAST_AREA)} for f in STAMPED}


def tracked_masks(scene: HeldOutScene, tracker: ObjectTracker) -> dict[int, dict[int, np.ndarray]]:
    """The same as the tracker gives it, after a box drawn by hand on the first frame that shows
    the object, followed through every frame. Only clear sight counts, as on a robot."""
    tracker.reset()
    rng = np.random.default_rng(scene.number)
    found: dict[int, dict[int, np.ndarray]] = {f: {} for f in STAMPED}
    for number, image in scene.images.items():
        seg, frame = scene.segs[number], Frame(image, stamp_ns=round((1 + number / RATE_HZ) * 1e9))
        tracks = tracker.step(frame)
        for i in range(len(scene.facts)):
            mask = seg == i + 1
            if str(i) not in tracker.ids and mask.sum() >= LEAST_AREA:
                tracks = [*tracks, tracker.add(str(i), make_prompt('box', mask, rng), frame)]
        if number in found:
            found[number] = {int(track.object_id): track.mask for track in tracks
                             if track.state is TrackState.TRACKED and track.mask.any()}
    return found


def tokens_of(scene: HeldOutScene, masks: dict[int, dict[int, np.ndarray]],
              encoder: RegionEncoder) -> dict[tuple[int, int], Tensor]:
    """Object tokens [K, D] by frame and object, at every stamp."""
    tokens: dict[tuple[int, int], Tensor] = {}
    for f, of_objects in masks.items():
        if of_objects:
            encoded = encoder.encode(scene.images[f], list(of_objects.values()))
            tokens.update({(f, i): t for i, t in zip(of_objects, encoded, strict=True)})
    return tokens


def last_sights(tokens: dict[tuple[int, int], Tensor], likeness: float
                ) -> dict[tuple[int, int], Tensor]:
    """The same with each object's last sight that shows it for now, as the engine remembers it.
    likeness: see `Now`."""
    last = {}
    for i in {i for _, i in tokens}:
        sights = [Observation(str(i), round(f / RATE_HZ * 1e9), '', 0, (0, 0, 0, 0), 0,
                              tokens[f, i], '') for f, other in sorted(tokens) if other == i]
        last[STAMPED[-1], i] = Now(likeness=likeness).of(sights)[-1].tokens
    return {**tokens, **last}


def score_scene(scene: HeldOutScene, tokens: dict[tuple[int, int], Tensor],
                language: LanguageModel, score: Score) -> None:
    """Ask a scene's questions of the given object tokens; without any it counts as wrong, but where
    nothing is the answer."""
    prompts, asked = [], []
    for item, frames in [*((i, STAMPED[-1:]) for i in scene.now),
                         *((i, STAMPED) for i in scene.window),
                         *((i, STAMPED[-1:]) for i in scene.faint)]:
        # Of what hardly shows now the model alone is to say so: it was seen well before.
        evidence = evidence_of(item, frames, tokens, 1 if item.answer == CANNOT_TELL
                               else language.model.config.now_looks)
        if evidence is None:
            count(item, scene, '', 0.0, score)
            continue
        prompts.append(compose(item.text, evidence))
        asked.append(item)
    for at in range(0, len(prompts), 16):
        some = prompts[at:at + 16]
        said = collect(language.generate(some, max_new_tokens=MOST_NEW_TOKENS), len(some))
        for item, one in zip(asked[at:], said, strict=False):
            count(item, scene, one.text, one.confidence, score)


def score_last_sights(scene: HeldOutScene, tokens: dict[tuple[int, int], Tensor],
                      language: LanguageModel, score: Score) -> None:
    """As `score_scene` for what the engine answers: of now from the last sight of each object that
    shows it, of a window from what was seen in it."""
    score_scene(replace(scene, window=[], faint=[]), last_sights(
        tokens, language.model.config.now_likeness), language, score)
    score_scene(replace(scene, now=[], faint=[]), tokens, language, score)


def evidence_of(item: Item, frames: Sequence[int], tokens: dict[tuple[int, int], Tensor],
                looks: int) -> list[Evidence] | None:
    """An object's tokens on `frames`; None where an object has none. Now, which is one frame, is
    shown by so many `looks`, see `Now`: the first sight is that of the selection."""
    evidence = []
    for i in item.objects:
        seen = [f for f in frames if (f, i) in tokens]
        if not seen:
            return None
        stacked = [tokens[f, i] for f in seen]
        if len(frames) == 1:
            first = tokens[min(f for f, other in tokens if other == i), i]
            # The last sight may be the first.
            stacked = [first, *stacked] if looks == 2 and first is not stacked[-1] else stacked
        evidence.append(Evidence(str(i), torch.stack(stacked), None if len(frames) == 1 else [
            (f - seen[0]) / RATE_HZ for f in seen]))
    return evidence


def count(item: Item, scene: HeldOutScene, text: str, confidence: float, score: Score) -> None:
    """Add an answer to every figure that it belongs to."""
    if item.answer == CANNOT_TELL:
        score.count('faint', scene.number, text in ('', CANNOT_TELL))
        return
    good = right(item.kind, text, item.answer)
    score.answers.append(Answered(item, scene.number, text, confidence, good))
    names = [{'detailed': 'caption', 'depth': 'relation'}.get(
        item.kind, 'is_so' if item.kind in IS else item.kind)]
    if text:
        score.count('not_faint', scene.number, text != CANNOT_TELL)
    if text and confidence >= SURE:
        names.append('sure')
    if item.kind in ('relation', 'depth'):
        names.append(f'only_{item.kind}')
    if item.kind == 'motion' and item.answer.startswith('Still'):
        names.append('motion_still')
    small = scene.facts[item.objects[0]].area < SMALL_AREA
    if small and item.kind in ('category', 'colour'):
        names.append(f'small_{item.kind}')
    if item.objects[0] in scene.unseen and item.kind in ('category', 'colour'):
        names.append(f'unseen_{item.kind}')
    for name in names:
        score.count(name, scene.number, good)


@dataclass(frozen=True)
class Scores:
    """With true masks; with the tracker's, of which questions about now need the last frame's; and
    with the tracker's where they rest on the last sight of an object, as the engine's answers do.
    """

    true: Score = field(default_factory=Score)
    tracked: Score = field(default_factory=Score)
    last_sight: Score = field(default_factory=Score)


def measure_refer(model: PixelReferLite, scenes: Iterable[HeldOutScene],
                  tracker: ObjectTracker | None) -> Scores:
    """Scores with true masks and, given a tracker, with its masks."""
    encoder, language, scores = RegionEncoder(model), LanguageModel(model), Scores()
    for scene in scenes:
        score_scene(scene, tokens_of(scene, true_masks(scene), encoder), language, scores.true)
        if tracker is not None:
            tokens = tokens_of(scene, tracked_masks(scene, tracker), encoder)
            score_scene(scene, tokens, language, scores.tracked)
            score_last_sights(scene, tokens, language, scores.last_sight)
    return scores
