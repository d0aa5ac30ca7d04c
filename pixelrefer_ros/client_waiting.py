# SPDX-License-Identifier: Apache-2.0
"""Waiting for a node that loads its models or sees nothing yet, and saying what is waited for."""

import time
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus

from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros import conversions

#: Seconds between two looks at the node, and after which it is said what is waited for.
LOOK, SAY = 0.2, 5.0
NO_IMAGE = 'no image has come yet'


class Trouble:
    """A context manager: inside, `said` is what /diagnostics says is wrong with a node's cameras."""

    def __init__(self, node: Any, name: str) -> None:
        self._node, self._prefix = node, f'{name}: camera'
        self.said = ''

    def __enter__(self) -> 'Trouble':
        self._subscription = self._node.create_subscription(
            DiagnosticArray, '/diagnostics', self._take, 10)
        return self

    def __exit__(self, *_: object) -> None:
        self._node.destroy_subscription(self._subscription)

    def _take(self, array: DiagnosticArray) -> None:
        cameras = [one for one in array.status if one.name.startswith(self._prefix)]
        if cameras:
            self.said = '; '.join(
                one.message for one in cameras if one.level != DiagnosticStatus.OK)


def wait_ready(client: Any, timeout: float) -> None:
    """Until list_objects has the stamp of an image. What is waited for is logged after some seconds
    and again when it is something else. Raises TimeoutError with what was said last."""
    begin, said, logged = time.monotonic(), 'nothing was heard of it', ''
    logger = client.node.get_logger()
    with Trouble(client.node, client.name) as trouble:
        # No last look that is too short for a reply: it would hide what was said before.
        while (waited := time.monotonic() - begin) < timeout and (
                not waited or timeout - waited > LOOK or timeout < 2 * LOOK):
            said = _missing(client, min(SAY, timeout - waited), trouble)
            if not said:
                return
            if said != logged and time.monotonic() - begin >= SAY:
                logger.info(f'waiting for {client.name}: {said}')
                logged = said
            time.sleep(LOOK)
    raise TimeoutError(f'{client.name} was not ready within {timeout:g} s: {said}')


def _missing(client: Any, patience: float, trouble: Trouble) -> str:
    """What is not there yet; empty: nothing."""
    try:
        if conversions.nanoseconds(client.listed(patience).header.stamp):
            return ''
    except PixelReferError as error:
        return error.message
    except TimeoutError as error:
        return str(error)
    return f'{NO_IMAGE}: {trouble.said}' if trouble.said else NO_IMAGE
