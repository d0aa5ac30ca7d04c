# SPDX-License-Identifier: Apache-2.0
"""Questions with their answers, made from what is true of the objects in a frame or a window."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from pixelrefer_model.engine import CANNOT_TELL
from pixelrefer_model.language.tasks import choice_prompt
from training.refer import answers
from training.refer.facts import AIR, CATEGORIES, COLOURS, PATTERNS, SIZES, Fact, relation
from training.refer.paraphrases import paraphrases, vary_surface
from training.refer.wording import PREFIXES, PUBLISHED, wordings
from training.world import Contract

#: Asked about one object in one frame, about one object over a window, about two, about several.
SINGLE = ('category', 'colour', 'pattern', 'size', 'phrase', 'sentence', 'detailed', 'position',
          'support', 'choice', 'is_category', 'is_colour', 'is_pattern')
WINDOW = ('motion', 'category', 'colour', 'phrase', 'sentence', 'detailed')
PAIR = ('relation', 'depth', 'is_left', 'is_right', 'is_in_front', 'is_behind', 'same_colour',
        'same_category', 'held', 'held_in')
GROUP = ('count', 'count_colour')
#: Whether an object is of a kind, a colour, a pattern.
IS = {'is_category': ('category', CATEGORIES), 'is_colour': ('colour', COLOURS),
      'is_pattern': ('pattern', PATTERNS)}
#: What cannot be told of an object of which next to nothing is seen.
FAINT = ('category', 'colour', 'pattern', 'size', 'phrase', 'sentence', 'detailed')
#: Share of the training questions in one of the many paraphrases.
PARAPHRASED = 0.6
_NAMES = 'abcdefgh'


@dataclass(frozen=True)
class Item:
    """A question, as it is given to `compose`, and its canonical answer.

    objects: indices of the objects asked about, in the order of the request. probes: words of the
    text that the objects are held against, as they stand there, each with how many match it.
    """

    kind: str
    text: str
    objects: tuple[int, ...]
    answer: str
    probes: tuple[tuple[str, int], ...] = ()


@dataclass
class Balance:
    """Keeps the answers of a kind at equal shares by refusing those that are ahead."""

    slack: int = 1
    counts: dict[str, Counter] = field(default_factory=lambda: defaultdict(Counter))

    def allows(self, kind: str, answer: str, others: Sequence[str]) -> bool:
        """Whether `answer` may be given once more; counts it when it may."""
        count = self.counts[kind]
        if count[answer] - min(count[other] for other in others) >= self.slack:
            return False
        count[answer] += 1
        return True

    def state(self) -> dict[str, dict[str, int]]:
        """What was given so far, as plain values."""
        return {kind: dict(count) for kind, count in self.counts.items()}

    def load_state(self, state: dict[str, dict[str, int]]) -> None:
        """Go on with what `state` gave."""
        self.counts.clear()
        self.counts.update({kind: Counter(count) for kind, count in state.items()})


class Asker:
    """Makes questions of every kind about the objects of a scene.

    part: which wordings are used, see `wordings`. Deterministic per `rng`.
    """

    def __init__(self, rng: Random, contract: Contract,
                 part: Literal['train', 'test', 'all'] = 'train') -> None:
        self.rng = rng
        self.contract = contract
        self.part = part
        self.balance = Balance()

    def text(self, kind: str, count: int, published: float = 0.25) -> str:
        """A wording of a kind about `count` objects, with the names put in."""
        rng = self.rng
        if self.part != 'test' and kind in PUBLISHED and rng.random() < published:
            return self.named(self._led_in(rng.choice(PUBLISHED[kind]), count))
        if self.part == 'train' and rng.random() < PARAPHRASED:
            chosen = self._led_in(rng.choice(rng.choice(paraphrases(kind))), count)
        else:
            chosen = self._led_in(rng.choice(wordings(kind, self.part)), count)
        return self.named(vary_surface(chosen, rng) if self.part == 'train' else chosen)

    def _led_in(self, wording: str, count: int) -> str:
        if '{a}' in wording and count in PREFIXES and self.rng.random() < 0.1 \
                and '\n' not in wording:
            return self.rng.choice(PREFIXES[count]) + wording
        return wording

    @staticmethod
    def named(wording: str) -> str:
        """A wording with the objects' names put in."""
        for k, name in enumerate(_NAMES):
            wording = wording.replace('{' + name + '}', f'<object{k + 1}>')
        return wording

    # --- one object

    def single(self, kind: str, facts: list[Fact], i: int, *, video: bool = False,
               balanced: bool = True) -> Item | None:
        """A question about object `i`; None when its answer is not known or is ahead."""
        fact = facts[i]
        if kind == 'choice':
            return self._choice(facts, i)
        if kind in IS:
            return self._is(kind, facts, i)
        if kind == 'motion':
            if fact.motion is None:
                return None
            answer = answers.MOTION_ANSWERS[fact.motion]
        elif kind == 'support':
            if fact.held == AIR:
                return None
            below = 'table' if fact.support is None else 'object'
            if balanced and not self.balance.allows('support', below, ('table', 'object')):
                return None
            held = answers.resting(fact, facts)
            answer = held[0].upper() + held[1:] + '.'
        else:
            answer = {
                'category': lambda: fact.category, 'colour': lambda: fact.colour,
                'pattern': lambda: fact.pattern, 'size': lambda: fact.size,
                'phrase': lambda: answers.phrase(fact),
                'sentence': lambda: answers.sentence(fact, video),
                'detailed': lambda: answers.detailed(fact, facts, video),
                'position': lambda: f'{answers.where(fact).capitalize()}.'}[kind]()
        return Item(kind, self.text(kind, 1), (i,), answer)

    def faint(self, i: int) -> Item:
        """A question about an object of which next to nothing is seen."""
        kind = self.rng.choice(FAINT)
        return Item(kind, self.text(kind, 1), (i,), CANNOT_TELL)

    def _is(self, kind: str, facts: list[Fact], i: int) -> Item | None:
        part, vocabulary = IS[kind]
        true = getattr(facts[i], part)
        asked = true if self.rng.random() < 0.5 else self.rng.choice(vocabulary)
        item = self._yes_no(kind, (i,), asked == true)
        word = answers.article(asked) if part == 'category' else asked
        return item and replace(item, text=item.text.replace('{k}', word),
                                probes=((asked, int(asked == true)),))

    def _choice(self, facts: list[Fact], i: int) -> Item:
        kind, vocabulary = self.rng.choice((
            ('category', CATEGORIES), ('colour', COLOURS), ('pattern', PATTERNS), ('size', SIZES)))
        true = getattr(facts[i], kind)
        others = self.rng.sample([w for w in vocabulary if w != true], min(3, len(vocabulary) - 1))
        options = self.rng.sample([true, *others], len(others) + 1)
        listed = [f'({letter}) {word}' for letter, word in zip(answers.LETTERS, options)]
        known = wordings(kind, 'train')
        if self.part == 'train':
            known += tuple(w for group in paraphrases(kind) for w in group)
        open_ones = [w for w in known if w.startswith(('What', 'Which')) and '.' not in w]
        question = self.named(self.rng.choice(open_ones))
        right = answers.LETTERS[options.index(true)]
        return Item('choice', choice_prompt(question, listed), (i,), f'({right})',
                    tuple((word, int(word == true)) for word in options))

    # --- two objects

    def pair(self, kind: str, facts: list[Fact], i: int, j: int) -> Item | None:
        """A question about `i` and `j`; None when it has no clear or no wanted answer."""
        a, b = facts[i], facts[j]
        side, depth = relation(a, b, self.contract)
        if kind == 'relation':
            return side and self._item(kind, (i, j), answers.SIDES[side])
        if kind == 'depth':
            return depth and self._item(kind, (i, j), answers.DEPTHS[depth])
        if kind in ('is_left', 'is_right'):
            return side and self._yes_no(kind, (i, j), side == kind[3:])
        if kind in ('is_in_front', 'is_behind'):
            behind = kind == 'is_behind'
            return depth and self._yes_no(kind, (i, j), (depth == 'behind') == behind)
        if kind == 'same_colour':
            return self._yes_no(kind, (i, j), a.colour == b.colour)
        if kind == 'same_category':
            return self._yes_no(kind, (i, j), a.category == b.category)
        wanted = 'in' if kind == 'held_in' else 'on'
        if a.support == j and a.held != wanted:
            # "In" is no clear yes and no clear no to "on".
            return None
        return self._yes_no(kind, (i, j), a.support == j)

    def _yes_no(self, kind: str, objects: tuple[int, ...], true: bool) -> Item | None:
        if not self.balance.allows(kind, str(true), ('True', 'False')):
            return None
        return self._item(kind, objects, answers.YES if true else answers.NO)

    def _item(self, kind: str, objects: tuple[int, ...], answer: str) -> Item:
        return Item(kind, self.text(kind, len(objects)), objects, answer)

    # --- several objects

    def group(self, kind: str, facts: list[Fact], objects: tuple[int, ...]) -> Item | None:
        """How many of `objects` are of a kind or colour that at least one scene object has."""
        part = 'colour' if kind == 'count_colour' else 'category'
        vocabulary = COLOURS if kind == 'count_colour' else CATEGORIES
        have = [getattr(facts[i], part) for i in objects]
        asked = self.rng.choice(vocabulary if self.rng.random() < 0.2 else have)
        number = have.count(asked)
        counts = [str(n) for n in range(min(len(objects), 3) + 1)]
        if str(number) not in counts or not self.balance.allows(
                f'{kind}{len(objects)}', str(number), counts[:3]) and number < 3:
            return None
        word = asked if part == 'colour' else answers.plural(asked)
        if self.rng.random() < 0.3:
            names = [f'<object{k + 1}>' for k in range(len(objects))]
            text = f'How many of {", ".join(names[:-1])} and {names[-1]} are {{k}}?'
        else:
            text = self.text(kind, len(objects))
        return Item(kind, text.replace('{k}', word), objects, str(number), ((word, number),))


def shuffled_pairs(count: int, rng: Random) -> list[tuple[int, int]]:
    """Every ordered pair of `count` objects, in random order."""
    pairs = [(i, j) for i in range(count) for j in range(count) if i != j]
    rng.shuffle(pairs)
    return pairs
