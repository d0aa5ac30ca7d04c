# SPDX-License-Identifier: Apache-2.0
"""How PixelRefer-Lite is trained on objects, questions and answers: on CPU cores, or on a GPU."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Groups of parameters that learn by themselves, and how their names begin.
HEADS, VISION, LANGUAGE = 'heads', 'vision', 'language'
PARTS = {VISION: ('model.vision_encoder', 'model.region_encoder'),
         LANGUAGE: ('model.layers', 'model.embed', 'model.norm')}


@dataclass(frozen=True)
class Recipe:
    """How it is trained. minutes: of training in all; vision: share of the first stage. singles,
    clips: records of a step and process; objects: at most, of a single frame and of a clip.
    pairs: questions about two objects per frame; asked: per object of a frame and of a window.
    looks: steps in a row that a prepared record is shown in, with other questions each time.
    buckets: batches of like length that the questions of a step make. grey: share of the records
    that are shown without colours, and not asked about them.
    first, second: what learns in the two stages. steps: where not 0, it is over after so many,
    however long they take."""

    minutes: float = 80.0
    vision: float = 0.38
    first: tuple[str, ...] = (HEADS, VISION)
    second: tuple[str, ...] = (HEADS, VISION, LANGUAGE)
    seed: int = 0
    rate: float = 2e-3
    last_rate: float = 0.02
    warm_up: int = 80
    decay: float = 0.03
    clip: float = 1.0
    singles: int = 4
    clips: int = 2
    looks: int = 1
    objects: tuple[int, int] = (5, 3)
    pairs: int = 10
    asked: tuple[int, int] = (3, 3)
    buckets: int = 3
    grey: float = 0.12
    heads_later: float = 1.0
    steps: int = 0


#: What a run that starts with the weights of a checkpoint does otherwise.
FROM_WEIGHTS = {'vision': 0.04, 'first': (HEADS,), 'rate': 1.2e-3}
#: On a GPU a step of many more scenes takes little longer, so that preparing them is what counts.
ON_GPU = {'minutes': 7.0, 'vision': 0.3, 'singles': 56, 'clips': 28, 'looks': 2, 'grey': 0.25}


def recipe_of(minutes: float | None, seed: int, started: bool, on_gpu: bool,
              keep_language: bool = False) -> Recipe:
    """The recipe of a run that begins with weights or without, on a GPU or not; its own minutes for
    None. keep_language: the language model stays as it is, and what was taught to it since."""
    own = {} if minutes is None else {'minutes': minutes}
    kept = {'second': (HEADS, VISION)} if keep_language else {}
    return Recipe(**{**(ON_GPU if on_gpu else {}), **(FROM_WEIGHTS if started else {}), **own,
                     **kept}, seed=seed)


def progress_of(recipe: Recipe, state: Mapping[str, Any] | None) -> float:
    """How far a run is that goes on with `state`, or begins with None: 0 at the start, 1 when the
    time, or the steps, are used up."""
    if state is None:
        return 0.0
    if recipe.steps:
        return state['step'] / recipe.steps
    return state['seconds'] / (recipe.minutes * 60)
