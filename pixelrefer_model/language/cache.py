# SPDX-License-Identifier: Apache-2.0
"""Keys and values: of a batch under way, and of prompts that may come again."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import Qwen2Config


class KeyValueCache:
    """Keys and values of a batch, in memory that is taken once: two of [L, B, H, room, d].

    Column n holds the token at position n, in every row, so what a token may look at is a matter
    of its position alone. Fits where transformers' layers take a cache. Bound: B x room tokens;
    `room` is a prompt with its answer, never more than the positions of the model.
    """

    def __init__(self, config: Qwen2Config, rows: int, room: int, *, device: torch.device,
                 dtype: torch.dtype) -> None:
        size = getattr(config, 'head_dim', None) or (
            config.hidden_size // config.num_attention_heads)
        shape = (config.num_hidden_layers, rows, config.num_key_value_heads, room, size)
        # Zeros: a column that nobody may look at still meets the values' weighted sum, times 0.
        self.keys = torch.zeros(shape, device=device, dtype=dtype)
        self.values = torch.zeros(shape, device=device, dtype=dtype)
        self.columns = torch.arange(room, device=device)
        self.place(self.columns[None, :0], 0, 0)

    @property
    def room(self) -> int:
        """Most tokens of a row."""
        return self.keys.shape[3]

    @property
    def bytes(self) -> int:
        """Bytes that keys and values take, filled or not."""
        return 2 * self.keys.element_size() * self.keys.nelement()

    def place(self, positions: Tensor, width: int, start: int | None) -> None:
        """What the next forward pass writes, and the columns that it sees.

        positions: int64 [B, S]. width: columns seen from the first on. start: where every row
        starts to write, if they all do at the same position; None otherwise.
        """
        self._positions, self._width, self._start = positions, width, start
        self._rows = torch.arange(len(positions), device=positions.device)[:, None]

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object
               ) -> tuple[Tensor, Tensor]:
        """Write [B, H, S, d] of a layer; keys and values [B, H, width, d] to look at."""
        for kept, new in ((self.keys[layer], keys), (self.values[layer], values)):
            if self._start is not None:
                kept[:, :, self._start:self._start + new.shape[2]] = new
            else:
                kept[self._rows, :, self._positions] = new.transpose(1, 2)
        return self.keys[layer, :, :, :self._width], self.values[layer, :, :, :self._width]

    def get_seq_length(self, layer: int = 0) -> int:
        """Columns seen; some versions of transformers ask."""
        return self._width

    def keep(self, index: Tensor) -> None:
        """Drop all rows but these (int64)."""
        # one after the other, so that only one of them is there twice at a time
        self.keys = self.keys[:, index]
        self.values = self.values[:, index]


@dataclass(frozen=True)
class TokenizedPrompt:
    """A prompt as the model takes it.

    ids: int64 [N]. places: int64 [n], where object tokens (or image tokens) stand. rows: [n, D],
    what stands there. All on the CPU but `rows`, which lie where they were made.
    """

    ids: Tensor
    places: Tensor
    rows: Tensor = field(repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def common(self, other: 'TokenizedPrompt') -> int:
        """How many leading tokens are the same, object tokens compared value by value."""
        shorter = min(len(self), len(other))
        same = _leading(self.ids[:shorter] == other.ids[:shorter])
        inside = int((self.places < same).sum())
        if inside == 0:
            return same
        if not torch.equal(self.rows[0], other.rows[0]):
            return int(self.places[0])
        equal = _leading((self.rows[:inside] == other.rows[:inside]).all(dim=1))
        return same if equal == inside else int(self.places[equal])

    def up_to_the_last_place(self) -> 'TokenizedPrompt':
        """Without the text behind the last object token: what the next question may share."""
        end = int(self.places[-1]) + 1 if len(self.places) else 0
        return TokenizedPrompt(self.ids[:end], self.places, self.rows)


@dataclass(frozen=True)
class KeepPrefixes:
    """How much of the prompts' keys and values is kept for later ones, in bytes (0: nothing).

    What was not used for longest goes first. A token of the 2B model takes 28.7 kB in bfloat16.
    """

    most_bytes: int = 256 << 20


@dataclass(frozen=True)
class Prefix:
    """The beginning of a prompt with its keys and values, [L, H, N, d] each."""

    prompt: TokenizedPrompt
    keys: Tensor = field(repr=False)
    values: Tensor = field(repr=False)

    @property
    def bytes(self) -> int:
        """Bytes held, those of the object tokens that it is compared by included."""
        return sum(t.element_size() * t.nelement()
                   for t in (self.keys, self.values, self.prompt.rows))


class PrefixCache:
    """Keys and values of prompts up to their last object token, for questions yet to come.

    Only for weights that do not change. Bounded by `policy.most_bytes`.
    """

    def __init__(self, policy: KeepPrefixes) -> None:
        self.policy = policy
        self.bytes = 0
        #: The least recently used first.
        self._kept: OrderedDict[int, Prefix] = OrderedDict()
        self._next = 0

    def __len__(self) -> int:
        return len(self._kept)

    def longest(self, prompt: TokenizedPrompt) -> tuple[Prefix | None, int]:
        """The kept prefix that shares most leading tokens with a prompt, and how many.

        Never the whole prompt: its last token has to be read for the answer to begin.
        """
        best, most = None, 0
        for number, prefix in self._kept.items():
            shared = min(prefix.prompt.common(prompt), len(prompt) - 1)
            if shared > most:
                best, most = number, shared
        if best is None:
            return None, 0
        self._kept.move_to_end(best)
        return self._kept[best], most

    def keep(self, prompt: TokenizedPrompt, keys: Tensor, values: Tensor) -> None:
        """Keep a prompt's keys and values [L, H, >=N, d] (copied) up to its last object token.

        Nothing is stored twice: one that is the beginning of another gives way to it.
        """
        start = prompt.up_to_the_last_place()
        if not len(start):
            return
        shared = {number: p.prompt.common(start) for number, p in self._kept.items()}
        if any(n == len(start) for n in shared.values()):
            return
        size = 2 * keys[:, :, :len(start)].nelement() * keys.element_size() + (
            start.rows.nelement() * start.rows.element_size())
        if size > self.policy.most_bytes:
            return
        for number, n in shared.items():
            if n == len(self._kept[number].prompt):
                self._drop(number)
        while self.bytes + size > self.policy.most_bytes:
            self._drop(next(iter(self._kept)))
        prefix = Prefix(start, keys[:, :, :len(start)].clone(), values[:, :, :len(start)].clone())
        self._kept[self._next] = prefix
        self._next += 1
        self.bytes += prefix.bytes

    def clear(self) -> None:
        """Keep nothing of what was kept."""
        self._kept.clear()
        self.bytes = 0

    def _drop(self, number: int) -> None:
        self.bytes -= self._kept.pop(number).bytes


def tokenized(ids: Sequence[int], place_ids: Sequence[int], rows: Tensor) -> TokenizedPrompt:
    """A prompt of these ids, with `rows` where the ids of `place_ids` stand, in order.

    Raises ValueError if there are not as many rows as places.
    """
    ids = torch.tensor(ids, dtype=torch.long)
    places = torch.isin(ids, torch.tensor(place_ids)).nonzero()[:, 0]
    if len(places) != len(rows):
        raise ValueError(f'{len(places)} places for {len(rows)} object tokens')
    return TokenizedPrompt(ids, places, rows)


def _leading(equal: Tensor) -> int:
    """How many leading values of a bool vector are true."""
    return int(equal.long().cumprod(0).sum())
