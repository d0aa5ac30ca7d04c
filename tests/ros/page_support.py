# SPDX-License-Identifier: Apache-2.0
"""`pixelrefer click` as a process, and a person who looks at it."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from headless import WATCHDOG, Browser
from ros_support import ROOT, Robot

STAMP = "document.querySelector('#picture').dataset.stamp"


class PageProcess:
    """The command on a ROS domain, at a port of its own. A context manager."""

    def __init__(self, domain: int, log: Path, *options: str) -> None:
        environment = {
            **os.environ, 'ROS_DOMAIN_ID': str(domain), 'PYTHONUNBUFFERED': '1',
            'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
            'PYTHONPATH': os.pathsep.join([str(ROOT), os.environ.get('PYTHONPATH', '')])}
        self._log = log
        with log.open('w') as out:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'pixelrefer_model.cli', 'click', '--port', '0', *options],
                stdout=out, stderr=subprocess.STDOUT, cwd=ROOT, env=environment)

    def __enter__(self) -> 'PageProcess':
        end = time.monotonic() + WATCHDOG
        while 'http://' not in self.output:
            assert self.process.poll() is None and time.monotonic() < end, self.output
            time.sleep(0.05)
        self.url = self.output.partition(' at ')[2].split()[0]
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(WATCHDOG)

    @property
    def output(self) -> str:
        """What it printed so far."""
        return self._log.read_text()


class Person:
    """Somebody in front of a browser that shows the page of a robot's node."""

    def __init__(self, browser: Browser, page: PageProcess, robot: Robot) -> None:
        self.see, self.page, self.robot = browser, page, robot
        browser.open(f'{page.url}/')

    def picture(self, image: Any = None) -> int:
        """A new picture of the camera that the page shows; gives its stamp."""
        end = time.monotonic() + WATCHDOG
        while time.monotonic() < end:
            stamp = self.robot.clock.tick()
            self.robot.track(stamp, image)
            for _ in range(50):
                if self.see.run(STAMP) == str(stamp):
                    return stamp
                time.sleep(0.02)
        raise AssertionError(f'no picture is shown: {self.see.run("document.body.innerText")}')

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where on the screen a pixel of the picture is."""
        return tuple(self.see.run(
            "(() => { const c = document.querySelector('#picture'), b = c.getBoundingClientRect(); "
            f'return [b.x + {x} * b.width / c.width, b.y + {y} * b.height / c.height]; }})()'))

    def click(self, x: float, y: float) -> None:
        """Click on a pixel of the picture."""
        at = self.place(x, y)
        self.see.mouse('mousePressed', *at)
        self.see.mouse('mouseReleased', *at)

    def drag(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Draw a box on the picture, from one pixel to another."""
        self.see.mouse('mousePressed', *self.place(x0, y0))
        self.see.mouse('mouseMoved', *self.place((x0 + x1) / 2, y1))
        self.see.mouse('mouseMoved', *self.place(x1, y1))
        self.see.mouse('mouseReleased', *self.place(x1, y1))

    def name(self, object_id: str) -> None:
        """A name for the next object."""
        self.see.run(f"document.querySelector('#name').value = {json.dumps(object_id)}")

    def ask(self, question: str) -> None:
        """Type a question, send it."""
        self.see.click('#words')
        self.see.type(question)
        self.see.press('Enter')

    def reads(self, selector: str, text: str) -> None:
        """Wait until an element says something."""
        self.see.until(f'document.querySelector({json.dumps(selector)})?.textContent.includes('
                       f'{json.dumps(text)})', f'{text!r} in {selector}')

    def selects(self, object_id: str, x: float = 15.0, y: float = 15.0) -> None:
        """Select an object by a click."""
        self.name(object_id)
        self.click(x, y)
        self.reads('#said', f'{object_id} selected')


def talk(page: PageProcess, conversation: Callable[[Any], Any], **headers: str) -> Any:
    """A conversation on a WebSocket, without a browser: `await conversation(socket)`."""

    async def run() -> Any:
        async with aiohttp.ClientSession() as session, session.ws_connect(
                f'{page.url}/socket', headers={'Origin': page.url, **headers}) as socket:
            return await asyncio.wait_for(conversation(socket), WATCHDOG)

    return asyncio.run(run())
