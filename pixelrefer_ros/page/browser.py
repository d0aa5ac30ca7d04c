# SPDX-License-Identifier: Apache-2.0
"""One browser that shows the page: what it is sent, and what it asks for."""

import asyncio
import json
import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros.page.bridge import Bridge
from pixelrefer_ros.page.outbox import Outbox
from pixelrefer_ros.page.requests import Doing, Malformed, Request, Values, parse

#: Requests of one browser that may be under way; more are refused.
MOST_REQUESTS = 4
#: Messages that may wait for a browser before nothing more is read of it.
MOST_WAITING = 16
_log = logging.getLogger(__name__)


class Browser:
    """A WebSocket with an outbox. A frame goes out when the one before was shown, so that a slow
    browser gets the newest and nothing piles up on the way."""

    def __init__(self, socket: web.WebSocketResponse, bridge: Bridge, threads: Executor,
                 camera: str) -> None:
        self.outbox = Outbox()
        self.camera = camera
        self._socket = socket
        self._bridge = bridge
        self._threads = threads
        self._under_way: dict[int, Doing] = {}

    async def serve(self, watch: Callable[[], None]) -> None:
        """Talk until the browser goes. watch(): called when it looks at another camera."""
        sending = asyncio.create_task(self._send())
        try:
            async for message in self._socket:
                if message.type is not WSMsgType.TEXT:
                    raise Malformed('text is allowed')
                self._take(Values(message.data), watch)
                while len(self.outbox) > MOST_WAITING and not sending.done():
                    await asyncio.sleep(0.05)
        except Malformed as error:
            await self._socket.close(
                code=WSCloseCode.POLICY_VIOLATION, message=str(error).encode()[:120])
        finally:
            for doing in self._under_way.values():
                doing.cancel()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def close(self) -> None:
        """Send the browser away: the page ends."""
        await self._socket.close(code=WSCloseCode.GOING_AWAY, message=b'the page was ended')

    async def _send(self) -> None:
        while not self._socket.closed:
            subject, message = await self.outbox.take()
            if subject == 'frame':
                self.outbox.hold('frame', 'objects')
                await self._socket.send_bytes(message)
            else:
                await self._socket.send_str(message)

    def _take(self, values: Values, watch: Callable[[], None]) -> None:
        """A message of the browser. Raises Malformed."""
        do = values.text('do')
        if do == 'shown':
            self.outbox.release()
        elif do == 'watch':
            self.camera = values.camera()
            self.outbox.drop('frame', 'objects')
            watch()
        elif do == 'cancel':
            doing = self._under_way.get(values.whole('request'))
            if doing is not None:
                doing.cancel()
        else:
            self._begin(parse(values))

    def _begin(self, request: Request) -> None:
        number = request.number
        if number in self._under_way:
            raise Malformed('request: a number that is not under way is allowed')
        if len(self._under_way) >= MOST_REQUESTS:
            self._reply(number, PixelReferError(
                'BUSY', f'{MOST_REQUESTS} requests of this page are under way, which is what is '
                'allowed; wait for one of them, or cancel it'))
            return
        doing = self._under_way[number] = Doing(lambda text: self.outbox.put(
            f'text {number}', json.dumps({'kind': 'text', 'request': number, 'text': text})))
        asyncio.get_running_loop().run_in_executor(
            self._threads, request.act, self._bridge.client, doing
        ).add_done_callback(lambda done: self._end(number, done))

    def _end(self, number: int, done: asyncio.Future) -> None:
        self._under_way.pop(number)
        if not done.cancelled():
            self._reply(number, done.exception() or done.result())
            self._bridge.look()

    def _reply(self, number: int, outcome: Any) -> None:
        """Send what came of a request: values, or an error in words."""
        message: dict[str, Any] = {'kind': 'reply', 'request': number}
        if isinstance(outcome, PixelReferError):
            message['error'] = {'code': outcome.code, 'message': outcome.message}
        elif isinstance(outcome, Exception):
            if not isinstance(outcome, TimeoutError):
                _log.error('a request failed', exc_info=outcome)
            message['error'] = {'code': '', 'message': str(outcome) or type(outcome).__name__}
        else:
            message['result'] = outcome
        self.outbox.put(f'reply {number}', json.dumps(message))
