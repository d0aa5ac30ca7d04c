# SPDX-License-Identifier: Apache-2.0
"""How many objects go through the network at once."""

import logging
from collections.abc import Callable
from typing import TypeVar

from pixelrefer_model.device import guarded
from pixelrefer_model.errors import PixelReferError
from pixelrefer_model.sam2.network import Sam2Network

#: On a CPU objects are batched up to so many pixels of masks at the network's input size: 4 objects
#: at 288 x 288. More are slower, since what is made of them no longer fits in the cache.
CPU_CELLS = 340_000
#: After so many calls without want of memory twice as many objects are tried: it may have been
#: another model's moment.
TRY_AGAIN = 300

Made = TypeVar('Made')
_log = logging.getLogger(__name__)


class Batches:
    """Splits work over objects: all at once, on a CPU so many that its cache holds what is made of
    them, and fewer from then on where the device had no memory for as many."""

    def __init__(self, network: Sam2Network) -> None:
        self._network = network
        #: Most objects that the device had memory for; None: no bound is known.
        self.most: int | None = None
        self._well = 0

    def run(self, count: int, act: Callable[[slice], Made]) -> list[Made]:
        """What `act` makes of each batch of `count` objects, in order.

        A batch that the device has no memory for is tried again as two halves. Raises
        PixelReferError OUT_OF_MEMORY where one object alone is too much.
        """
        made, start = [], 0
        while start < count:
            rows = min(self._limit(), count - start)
            try:
                made.append(guarded(
                    act, slice(start, start + rows), device=self._network.device,
                    what='to follow one object; a smaller input or fewer remembered frames may do'))
            except PixelReferError as error:
                if error.code != 'OUT_OF_MEMORY' or rows == 1:
                    raise
                self.most, self._well = rows // 2, 0
                _log.warning('%s has no memory for %d objects at once; %d are followed at once '
                             'from now on', self._network.device, rows, self.most)
            else:
                start += rows
        self._well += 1
        if self.most and self._well >= TRY_AGAIN:
            self.most, self._well = 2 * self.most if 2 * self.most < count else None, 0
        return made

    def _limit(self) -> int:
        most = self.most or 1_000_000
        if self._network.device.type == 'cpu':
            most = min(most, max(1, CPU_CELLS // self._network.size ** 2))
        return most
