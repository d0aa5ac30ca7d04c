# SPDX-License-Identifier: Apache-2.0
"""A memory in RAM does as one on disk, and what it let go of is never read as something else."""

import pytest
import torch
from memory_support import SECOND, sighting, tokens_of

from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.memory import Span
from pixelrefer_model.memory.bounds import Bounds
from pixelrefer_model.memory.store import MemoryStore
from pixelrefer_model.memory.trimming import trim

ALL = Span(0, 1 << 60)


def test_it_is_written_read_and_kept_within_its_bound():
    with MemoryStore.in_ram(segment_bytes=4096) as store:
        for n in range(0, 10_000, 50):
            store.write([sighting(n + k) for k in range(50)])
            trim(store, Bounds(bytes=1 << 20))
            assert store.bytes() <= 1 << 20
        moments = store.moments('mug', ALL)
        assert [m.stamp_ns // SECOND for m in (moments[0], moments[-1])] == [0, 9_999]
        assert torch.equal(store.observations(moments[-1:])[0].tokens, tokens_of(9_999))


def test_what_was_dropped_or_overwritten_is_an_error_and_not_other_tokens():
    with MemoryStore.in_ram() as store:
        store.write([sighting(1)])
        place, = store.query('SELECT segment, offset, length, crc FROM observations')
        segment = store.segments._data[place[0]]
        segment[:] = bytes(len(segment))
        with pytest.raises(PixelReferError) as caught:
            store.observations(store.moments('mug', ALL))
        assert caught.value.code == 'MEMORY'


def test_a_failed_transaction_leaves_nothing():
    with MemoryStore.in_ram() as store:
        store.write([sighting(1)])
        size = store.segments.bytes()
        with pytest.raises(ZeroDivisionError), store.transaction() as database:
            store.segments.append(b'more')
            database.execute('DELETE FROM observations')
            raise ZeroDivisionError
        assert store.segments.bytes() == size and len(store.moments('mug', ALL)) == 1
