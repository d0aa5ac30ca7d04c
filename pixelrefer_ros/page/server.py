# SPDX-License-Identifier: Apache-2.0
"""The page's server: files, WebSockets, and what the bridge hears passed on to those who watch."""

import asyncio
import json
import logging
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import WSCloseCode, web

from pixelrefer_model.errors import PixelReferError
from pixelrefer_ros.page.bridge import Bridge
from pixelrefer_ros.page.browser import MOST_REQUESTS, Browser
from pixelrefer_ros.page.guard import Handler, add_headers, guard, is_loopback
from pixelrefer_ros.page.outbox import Message
from pixelrefer_ros.page.requests import MOST_BYTES

#: Browsers at a time; more are turned away with the reason.
MOST_BROWSERS = 8
#: Seconds between two pings: a browser that went without a word is found out by them.
PING_S = 20.0
_STATIC = Path(__file__).parent / 'static'
_FILES = ('page.css', 'page.js', 'wire.js', 'picture.js', 'objects.js', 'answers.js')


class Page:
    """A context manager around the bridge to one node, with the browsers that show it. camera: of
    which a browser is told first."""

    def __init__(self, node: str, camera: str = '') -> None:
        self._camera = camera
        self._bridge = Bridge(node, self.tell)
        self._threads = ThreadPoolExecutor(MOST_BROWSERS * MOST_REQUESTS, 'page_request')
        #: Replaced, never changed: `tell` reads it on other threads.
        self._browsers: tuple[Browser, ...] = ()
        #: The last message of a subject and camera, for a browser that comes later.
        self._last: dict[tuple[str, str | None], Message] = {}

    def __enter__(self) -> 'Page':
        self._bridge.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._bridge.__exit__(*error)
        self._threads.shutdown()

    def tell(self, subject: str, camera: str | None, message: Message) -> None:
        """Pass on what is new of a camera, or with None to everyone. From any thread."""
        if subject != 'event':
            self._last[subject, camera] = message
        for browser in self._browsers:
            if camera in (None, browser.camera):
                browser.outbox.put(subject, message)

    def application(self, host: str) -> web.Application:
        """What aiohttp serves at `host`."""
        application = web.Application(middlewares=[guard(host)], client_max_size=MOST_BYTES)
        application.on_response_prepare.append(add_headers)
        application.on_shutdown.append(self._say_goodbye)
        application.router.add_get('/', _file('index.html'))
        for name in _FILES:
            application.router.add_get(f'/{name}', _file(name))
        application.router.add_get('/socket', self._socket)
        return application

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=MOST_BYTES, heartbeat=PING_S, compress=False)
        await socket.prepare(request)
        if len(self._browsers) >= MOST_BROWSERS:
            await socket.close(code=WSCloseCode.TRY_AGAIN_LATER, message=(
                f'{MOST_BROWSERS} browsers show this page, which is what is allowed').encode())
            return socket
        browser = Browser(socket, self._bridge, self._threads, self._camera)
        browser.outbox.put('hello', json.dumps({'kind': 'hello', 'camera': self._camera}))
        self._browsers = (*self._browsers, browser)
        try:
            self._watch(browser)
            await browser.serve(lambda: self._watch(browser))
        finally:
            self._browsers = tuple(one for one in self._browsers if one is not browser)
            self._watch()
        return socket

    def _watch(self, browser: Browser | None = None) -> None:
        """Listen to the cameras that are looked at; a browser gets what is known of its own."""
        cameras = {one.camera for one in self._browsers}
        self._bridge.watch(cameras)
        for key in list(self._last):
            if key[1] is not None and key[1] not in cameras:
                self._last.pop(key, None)
        if browser is not None:
            for (subject, camera), message in list(self._last.items()):
                if camera in (None, browser.camera):
                    browser.outbox.put(subject, message)
            self._bridge.look()

    async def _say_goodbye(self, _application: web.Application) -> None:
        await asyncio.gather(*(browser.close() for browser in self._browsers))


def serve(node: str, host: str, port: int, camera: str) -> int:
    """Serve until SIGINT or SIGTERM; 0. Raises PixelReferError INTERNAL where it cannot listen."""
    logging.basicConfig(format='pixelrefer click: %(message)s')
    return asyncio.run(_serve(node, host, port, camera))


async def _serve(node: str, host: str, port: int, camera: str) -> int:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    if not is_loopback(host):
        print(f'pixelrefer click: warning: whoever reaches {host} sees the camera, and may select '
              'and ask: there is no password, and nothing is encrypted', file=sys.stderr)
    with Page(node, camera) as page:
        runner = web.AppRunner(page.application(host), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            try:
                await web.TCPSite(runner, host, port).start()
            except OSError as error:
                raise PixelReferError('INTERNAL', f'cannot listen at {host}, port {port}: '
                                      f'{error.strerror or error}') from error
            at = f'[{host}]' if ':' in host else host
            print(f'showing {node} at http://{at}:{runner.addresses[0][1]} (Ctrl-C ends it)',
                  flush=True)
            await stopped.wait()
        finally:
            await runner.cleanup()
    return 0


def _file(name: str) -> Handler:
    async def send(_request: web.Request) -> web.FileResponse:
        return web.FileResponse(_STATIC / name)
    return send
