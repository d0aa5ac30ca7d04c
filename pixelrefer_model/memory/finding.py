# SPDX-License-Identifier: Apache-2.0
"""Finding remembered objects: by words, by likeness of their tokens, by time and by place."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory.observation import Whereabouts
from pixelrefer_model.memory.record import Remembered
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.memory.window import Span

#: Observations that a likeness is compared with, the newest: brute force, 60 MB of 1536 numbers each.
MOST_COMPARED = 20_000
#: Words that say nothing of an object.
_EMPTY = frozenset('a an the of on in at to is are was it its this that my and or with'.split())
_WORD = re.compile(r'\w+')


@dataclass(frozen=True)
class Near:
    """Within `radius` metres of `center` [3], in `frame`."""

    frame: str
    center: Sequence[float]
    radius: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.center).all() and np.isfinite(self.radius) and self.radius > 0):
            raise PixelReferError(
                'BAD_BOX', f'a radius of {self.radius:g} m about {list(self.center)}; finite '
                'numbers and a radius above 0 are allowed')


@dataclass(frozen=True)
class Hit:
    """A remembered object and how well it fits, 0 to 1: of words the share that was said of it, of
    a likeness the cosine. text: what was said of it that fits best."""

    object: Remembered
    score: float
    text: str
    where: Whereabouts | None


def find(store: MemoryStore, words: str = '', *, like: np.ndarray | None = None, key: str = '',
         span: Span | None = None, near: Near | None = None, most: int = 0) -> list[Hit]:
    """The objects that fit all that is asked for, the best first and of equals the one seen last;
    at most `most` (0: all). What is left out does not restrict.

    like: float32 [D] of length 1, see `likeness_of`; compared with observations made with `key`.
    """
    scores: dict[str, float] = {one.object_id: 1.0 for one in store.objects()}
    texts = {object_id: '' for object_id in scores}
    if words.strip():
        said = _said(store, words)
        scores = {i: said[i][0] for i in scores if i in said}
        texts = {i: said[i][1] for i in scores}
    if like is not None:
        cosines = alike(store, like, key)
        scores = {i: score * max(0.0, cosines[i]) for i, score in scores.items() if i in cosines}
    hits = []
    for one in store.objects():
        if one.object_id not in scores or (span and not store.moments(one.object_id, span)):
            continue
        where = store.where(one.object_id)
        if near is not None and not _within(where, near):
            continue
        hits.append(Hit(one, scores[one.object_id], texts[one.object_id], where))
    hits.sort(key=lambda hit: -hit.score)
    return hits[:most or None]


def terms_of(words: str) -> list[str]:
    """The words that say something of an object, each once, in small letters. Raises
    PixelReferError EMPTY_QUESTION where there is none."""
    terms = [term for term in dict.fromkeys(_WORD.findall(words.lower())) if term not in _EMPTY]
    if not terms:
        raise PixelReferError(
            'EMPTY_QUESTION', f'{words[:80]!r} has no word that says something of an object')
    return terms


def _said(store: MemoryStore, words: str) -> dict[str, tuple[float, str]]:
    """Of each object of which one of the words was said, or that is called so: the share of the
    words, and the text that has most of them."""
    terms = terms_of(words)
    found: dict[str, dict[str, set[str]]] = {}
    for term in terms:
        for object_id, text in store.query(
                'SELECT w.object, w.text FROM found f JOIN words w ON w.number = f.rowid '
                'WHERE found MATCH ?', (f'"{term}"',)):
            found.setdefault(object_id, {}).setdefault(text, set()).add(term)
    for one in store.objects():
        own = set(_WORD.findall(one.object_id.lower().replace('_', ' '))) & set(terms)
        if own:
            found.setdefault(one.object_id, {}).setdefault('', set()).update(own)
    return {object_id: (len(set().union(*texts.values())) / len(terms),
                        max(texts, key=lambda text: (len(texts[text]), bool(text), -len(text))))
            for object_id, texts in found.items()}


def alike(store: MemoryStore, like: np.ndarray, key: str, narrowed: str = '',
          values: Sequence[object] = ()) -> dict[str, float]:
    """The cosine of each object's most alike observation, of the newest MOST_COMPARED made with
    `key`. like: float32 [D] of length 1. narrowed: a further condition on observations o."""
    rows = store.query(
        'SELECT o.object, o.likeness FROM observations o JOIN keys k ON k.number = o.key '
        f'WHERE k.key = ? {narrowed} ORDER BY o.number DESC LIMIT ?', (key, *values, MOST_COMPARED))
    if not rows:
        return {}
    every = np.frombuffer(b''.join(blob for _, blob in rows), np.float16).reshape(len(rows), -1)
    if every.shape[1] != len(like):
        raise PixelReferError(
            'MEMORY', f'a likeness of {len(like)} numbers; {every.shape[1]} are remembered')
    best: dict[str, float] = {}
    for (object_id, _), cosine in zip(rows, (every.astype(np.float32) @ like).tolist()):
        best[object_id] = max(cosine, best.get(object_id, -1.0))
    return best


def _within(where: Whereabouts | None, near: Near) -> bool:
    return where is not None and where.frame == near.frame and float(
        np.linalg.norm(where.position - np.asarray(near.center, float))) <= near.radius
