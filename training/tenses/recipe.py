# SPDX-License-Identifier: Apache-2.0
"""How the tenses are trained: on CPU cores, or on a GPU."""

from dataclasses import dataclass

from training.refer.recipe import HEADS, Recipe


@dataclass(frozen=True)
class TenseRecipe(Recipe):
    """How the tenses are trained. layers: of the language model, new ones are added. scenes: of a
    step and process; queries: questions about time of each, and ahead: more about what is going on
    and comes next, which need comparing most; before: about one of its moments as a picture or a
    clip. others: more scenes, and read: questions of READ about each of them, with the history and
    a moment or two; drills: about made-up histories. late: share of the time after which it can
    read, and the second numbers of queries and drills count, for what has to be seen. told: share
    of the queries that carry the history; last: that rest on the last sight alone, or what that is
    worth could not be measured; unplaced: that tell nothing that is known of places, and say so.
    placed: share of all histories that tell places.
    """

    minutes: float = 38.0
    vision: float = 0.0
    first: tuple[str, ...] = (HEADS,)
    rate: float = 2e-3
    warm_up: int = 40
    singles: int = 1
    clips: int = 3
    pairs: int = 20
    asked: tuple[int, int] = (4, 2)
    buckets: int = 8
    layers: int = 5
    scenes: int = 2
    queries: tuple[int, int] = (10, 15)
    ahead: int = 4
    before: int = 3
    others: int = 1
    read: int = 6
    drills: tuple[int, int] = (36, 20)
    late: float = 0.55
    told: float = 0.5
    last: float = 0.1
    placed: float = 0.2
    unplaced: float = 0.15


#: What is different where the checkpoint that it begins with has learned to read already: fewer
#: drills and questions about time, more about single moments, a lower rate, and no loss of heads,
#: which would begin anew and disturb what is learned.
AGAIN = {'late': 0.0, 'rate': 1e-3, 'warm_up': 20, 'drills': (6, 6), 'queries': (8, 8),
         'before': 10, 'read': 4, 'pairs': 16, 'asked': (6, 2), 'unplaced': 0.25,
         'heads_later': 0.0}
#: And on CPU cores: one long scene a step, and rather clips, which are asked about now too.
AGAIN_ON_CPU = {**AGAIN, 'scenes': 1, 'others': 0, 'clips': 8, 'singles': 1}
#: On a GPU a step of many more scenes takes little longer.
ON_GPU = {'minutes': 6.0, 'scenes': 16, 'others': 8, 'drills': (280, 160), 'singles': 24,
          'clips': 12, 'buckets': 4, 'ahead': 8, 'unplaced': 0.25, 'late': 0.4}
AGAIN_ON_GPU = {**ON_GPU, **AGAIN, 'drills': (96, 96)}


def recipe_of(minutes: float | None, seed: int, again: bool, on_gpu: bool) -> TenseRecipe:
    """The recipe of a run that begins with a checkpoint that has learned to read, `again`, or with
    one that has not, on a GPU or not; its own minutes for None."""
    chosen = (AGAIN_ON_GPU if again else ON_GPU) if on_gpu else AGAIN_ON_CPU if again else {}
    own = {} if minutes is None else {'minutes': minutes}
    return TenseRecipe(**{**chosen, **own}, seed=seed)
