# SPDX-License-Identifier: Apache-2.0
"""A headless browser for tests, by its DevTools protocol: real pages, real clicks, real keys."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import aiohttp

#: What Chromium is called where it is installed; PIXELREFER_BROWSER names another one.
NAMES = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
#: Ends what hangs.
WATCHDOG = 120.0
_KEYS = {'Enter': ('Enter', 13, '\r'), 'ArrowLeft': ('ArrowLeft', 37, ''),
         'ArrowUp': ('ArrowUp', 38, ''), 'ArrowRight': ('ArrowRight', 39, '')}


def find_browser() -> str | None:
    """The program, or None where there is none."""
    named = os.environ.get('PIXELREFER_BROWSER')
    return next(filter(None, map(shutil.which, [named] if named else NAMES)), None)


class Browser:
    """One tab of a browser of its own. A context manager. folder: for its profile."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._number = 0

    def __enter__(self) -> 'Browser':
        self._process = subprocess.Popen(
            [find_browser(), '--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run',
             '--disable-dev-shm-usage', '--disable-extensions', '--mute-audio',
             '--remote-debugging-port=0', f'--user-data-dir={self._folder}', 'about:blank'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self._loop = asyncio.new_event_loop()
        try:
            self._loop.run_until_complete(self._connect())
        except BaseException:
            self.__exit__()
            raise
        self.call('Page.enable')
        self.call('Runtime.enable')
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self._close())
        self._loop.close()
        self._process.terminate()
        try:
            self._process.wait(WATCHDOG)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    async def _connect(self) -> None:
        self._session = aiohttp.ClientSession()
        self._socket = None
        told, end = self._folder / 'DevToolsActivePort', time.monotonic() + WATCHDOG
        while not (told.exists() and told.read_text().count('\n')):
            assert self._process.poll() is None, 'the browser does not start'
            assert time.monotonic() < end, 'the browser does not listen'
            await asyncio.sleep(0.05)
        port = told.read_text().split()[0]
        while True:
            async with self._session.get(f'http://127.0.0.1:{port}/json') as reply:
                tabs = [one for one in await reply.json() if one['type'] == 'page']
            if tabs:
                break
            await asyncio.sleep(0.05)
        self._socket = await self._session.ws_connect(
            tabs[0]['webSocketDebuggerUrl'], max_msg_size=0)

    async def _close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        await self._session.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol; gives its result."""
        return self._loop.run_until_complete(
            asyncio.wait_for(self._call(method, parameters), WATCHDOG))

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        await self._socket.send_json(
            {'id': self._number, 'method': method, 'params': parameters})
        while True:
            message = json.loads((await self._socket.receive()).data)
            if message.get('id') == self._number:
                assert 'error' not in message, message['error']
                return message['result']

    # --- what a person does and sees

    def open(self, url: str, width: int = 1280, height: int = 860, *, dark: bool = False,
             scale: float = 1.0) -> None:
        """Show a page, in a window of this size."""
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height,
                  deviceScaleFactor=scale, mobile=False)
        self.call('Emulation.setEmulatedMedia', features=[
            {'name': 'prefers-color-scheme', 'value': 'dark' if dark else 'light'}])
        self.call('Page.navigate', url=url)
        self.until(f'location.href === {json.dumps(url)} && document.readyState === "complete"',
                   'the page')

    def run(self, script: str) -> Any:
        """The value of an expression of JavaScript."""
        result = self.call('Runtime.evaluate', expression=script, returnByValue=True,
                           awaitPromise=True)
        assert 'exceptionDetails' not in result, result['exceptionDetails']
        return result['result'].get('value')

    def text(self, selector: str) -> str:
        """The text of the first element that matches, '' without one."""
        return self.run(f'document.querySelector({json.dumps(selector)})?.textContent ?? ""')

    def until(self, script: str, what: str) -> Any:
        """Wait until an expression is true; gives its value."""
        end = time.monotonic() + WATCHDOG
        while not (value := self.run(script)):
            assert time.monotonic() < end, (
                f'waited in vain for {what}; the page says: {self.run("document.body.innerText")}')
            time.sleep(0.02)
        return value

    def mouse(self, kind: str, x: float, y: float) -> None:
        """mousePressed, mouseMoved or mouseReleased, in pixels of the window."""
        self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left',
                  buttons=int(kind != 'mouseReleased'), clickCount=1)

    def click(self, selector: str) -> None:
        """Click on the middle of an element."""
        x, y = self.run(
            f'(() => {{ const e = document.querySelector({json.dumps(selector)}); '
            "e.scrollIntoView({block: 'nearest'}); const b = e.getBoundingClientRect(); "
            'return [b.x + b.width / 2, b.y + b.height / 2]; })()')
        self.mouse('mousePressed', x, y)
        self.mouse('mouseReleased', x, y)

    def type(self, text: str) -> None:
        """Text into what has the focus."""
        self.call('Input.insertText', text=text)

    def press(self, key: str) -> None:
        """A key, by its name or its letter."""
        name, code, text = _KEYS.get(key, (key, ord(key[0].upper()), key))
        fields = {'key': name, 'windowsVirtualKeyCode': code, **({'text': text} if text else {})}
        self.call('Input.dispatchKeyEvent', type='keyDown', **fields)
        self.call('Input.dispatchKeyEvent', type='keyUp', key=name, windowsVirtualKeyCode=code)

    def screenshot(self) -> bytes:
        """A PNG of the window."""
        return base64.b64decode(self.call('Page.captureScreenshot', format='png')['data'])
