# SPDX-License-Identifier: Apache-2.0
"""What the page's server lets in, what it bounds, and what a browser that misbehaves cannot do."""

import asyncio
import json
import urllib.error
import urllib.request

import pytest

aiohttp = pytest.importorskip('aiohttp', reason='the page needs aiohttp')

from page_support import PageProcess, talk  # noqa: E402
from ros_support import running  # noqa: E402
from standin_node import ENDLESS  # noqa: E402

from pixelrefer_ros import conversions  # noqa: E402
from pixelrefer_ros.page.browser import MOST_REQUESTS  # noqa: E402
from pixelrefer_ros.page.requests import MOST_BYTES  # noqa: E402
from pixelrefer_ros.page.server import MOST_BROWSERS  # noqa: E402


@pytest.fixture(scope='module')
def page(quick_node, tmp_path_factory):
    with PageProcess(quick_node.domain, tmp_path_factory.mktemp('page') / 'page.log') as made:
        yield made
        assert made.process.poll() is None, made.output
        assert 'Traceback' not in made.output, made.output


async def told(socket, kind: str) -> dict:
    """The next message of a kind; frames are acknowledged on the way."""
    while True:
        message = await socket.receive()
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        if message.type is aiohttp.WSMsgType.BINARY:
            await socket.send_json({'do': 'shown'})
        elif (found := json.loads(message.data))['kind'] == kind:
            return found


def stamp_of(frame: bytes) -> int:
    length = int.from_bytes(frame[:4], 'big')
    header = json.loads(frame[4:4 + length])
    assert frame[4 + length:4 + length + 2] == b'\xff\xd8', 'a JPEG'
    return int(header['stamp'])


async def frame(socket) -> int:
    """The stamp of the next frame, which is not acknowledged."""
    while True:
        message = await socket.receive()
        if message.type is aiohttp.WSMsgType.BINARY:
            return stamp_of(message.data)
        assert message.type is aiohttp.WSMsgType.TEXT, message


async def tracked(robot) -> int:
    stamp = robot.clock.tick()
    await asyncio.get_running_loop().run_in_executor(None, robot.track, stamp)
    return stamp


async def first_frame(socket, robot) -> int:
    """Let the camera run until a frame comes."""
    waiting = asyncio.ensure_future(frame(socket))
    while not waiting.done():
        await tracked(robot)
        await asyncio.wait([waiting], timeout=0.2)
    return waiting.result()


# --- who is let in

@pytest.mark.parametrize('path', ['/', '/page.js', '/socket'])
@pytest.mark.parametrize('host', ['evil.example', 'evil.example:80', 'localhost.evil.example', '',
                                  '[::1', 'robot'])
def test_a_name_that_only_points_here_is_refused(page, path, host):
    """DNS rebinding: the browser takes the page for one of evil.example."""
    request = urllib.request.Request(page.url + path, headers={'Host': host})
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request, timeout=60)
    assert error.value.code == 403


@pytest.mark.parametrize('host', ['localhost:9000', '127.0.0.1', '[::1]:8765', '192.168.0.7:8765'])
def test_addresses_and_localhost_are_honest_names_of_any_port(page, host):
    """As after `ssh -L 9000:localhost:8765`."""
    request = urllib.request.Request(f'{page.url}/', headers={'Host': host})
    with urllib.request.urlopen(request, timeout=60) as reply:
        assert b'PixelRefer' in reply.read()


@pytest.mark.parametrize('origin', ['http://evil.example', 'null', 'http://localhost:3000', None,
                                    'http://[', 'file://'])
def test_a_socket_is_only_for_the_pages_own_script(page, origin):
    """Cross-site WebSocket hijacking: browsers let any page open one, and say whose page it is."""

    async def run() -> int:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.ws_connect(f'{page.url}/socket', headers={
                        'Origin': origin} if origin else {}):
                    return 101
            except aiohttp.WSServerHandshakeError as error:
                return error.status

    assert asyncio.run(run()) == 403


def test_nothing_of_elsewhere_is_loaded_and_nothing_is_kept(page):
    for path in ('/', '/page.js', '/page.css', '/wire.js', '/picture.js', '/objects.js',
                 '/answers.js'):
        with urllib.request.urlopen(page.url + path, timeout=60) as reply:
            assert "default-src 'none'" in reply.headers['Content-Security-Policy']
            assert "frame-ancestors 'none'" in reply.headers['Content-Security-Policy']
            assert reply.headers['X-Content-Type-Options'] == 'nosniff'
            assert b'http://' not in reply.read().replace(b'http://www.w3.org', b'')
    for path in ('/../server.py', '/server.py', '/static/', '/index.html', '/%2e%2e/server.py'):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(page.url + path, timeout=60)
        assert error.value.code == 404


def listening(port: int) -> set[str]:
    """The addresses at which somebody listens on a port, as /proc/net/tcp writes them."""
    with open('/proc/net/tcp', encoding='ascii') as lines:
        rows = [line.split() for line in list(lines)[1:]]
    return {row[1].partition(':')[0] for row in rows
            if int(row[1].partition(':')[2], 16) == port and row[3] == '0A'}


def test_it_listens_on_the_loopback_alone_unless_told_otherwise(page, quick, tmp_path):
    assert listening(int(page.url.rpartition(':')[2])) == {'0100007F'}
    assert 'warning' not in page.output
    with PageProcess(quick.domain, tmp_path / 'wide.log', '--host', '0.0.0.0') as wide:
        assert listening(int(wide.url.rpartition(':')[2])) == {'00000000'}
        assert 'warning' in wide.output and 'no password' in wide.output


def test_a_port_that_is_taken_is_said_in_a_line(page, quick, tmp_path):
    port = page.url.rpartition(':')[2]
    second = PageProcess(quick.domain, tmp_path / 'second.log', '--port', port)
    assert second.process.wait(60) == 1
    assert f'cannot listen at 127.0.0.1, port {port}' in second.output
    assert 'Traceback' not in second.output


# --- what is bounded

def test_a_slow_browser_gets_the_newest_and_nothing_waits_for_it(page, quick):
    async def slow(socket) -> None:
        await first_frame(socket, quick)
        for _ in range(20):
            newest = await tracked(quick)
        await socket.send_json({'request': 1, 'do': 'remove', 'ids': ['nobody']})
        while True:
            message = await socket.receive()
            assert message.type is aiohttp.WSMsgType.TEXT, 'no frame before the last was shown'
            if json.loads(message.data)['kind'] == 'reply':
                break
            assert json.loads(message.data)['kind'] != 'objects', 'they wait for the frame, too'
        seen = []
        while newest not in seen:
            await socket.send_json({'do': 'shown'})
            seen.append(await frame(socket))
        assert len(seen) <= 2, 'what it missed is not made up for'

    talk(page, slow)


def test_browsers_beyond_the_bound_are_turned_away_with_the_reason(page):
    async def run() -> list:
        async with aiohttp.ClientSession(headers={'Origin': page.url}) as session:
            held = [await session.ws_connect(f'{page.url}/socket') for _ in range(MOST_BROWSERS)]
            for socket in held:
                await told(socket, 'hello')
            late = await session.ws_connect(f'{page.url}/socket')
            message = await late.receive()
            for socket in held:
                await socket.close()
            return [message.type, message.data, message.extra]

    kind, code, reason = asyncio.run(run())
    assert (kind, code) == (aiohttp.WSMsgType.CLOSE, 1013)
    assert f'{MOST_BROWSERS} browsers' in reason
    talk(page, lambda socket: told(socket, 'hello'))


def test_requests_beyond_the_bound_are_refused_and_a_browser_that_goes_ends_its_own(tmp_path):
    with running(tmp_path / 'node.log', {'stream_goals': 8, 'answer_deadline': 3600.0,
                                         'diagnostics_period': 0.1}, standin=0.0) as robot, \
            PageProcess(robot.domain, tmp_path / 'page.log') as page:

        async def ask_and_go(socket) -> None:
            await first_frame(socket, robot)
            await socket.send_json({'do': 'shown'})
            newest = await tracked(robot)
            await socket.send_json({'request': 0, 'do': 'select', 'id': 'cup', 'point': [15, 15],
                                    'stamp': str(newest), 'camera': ''})
            reply = await told(socket, 'reply')
            assert reply['result'] == {'id': 'cup', 'stamp_used': str(newest)}
            for number in range(1, MOST_REQUESTS + 2):
                await socket.send_json({'request': number, 'do': 'ask', 'question': ENDLESS,
                                        'ids': ['cup']})
            reply = await told(socket, 'reply')
            assert (reply['request'], reply['error']['code']) == (MOST_REQUESTS + 1, 'BUSY')
            assert 'requests of this page' in reply['error']['message']
            answering = set()
            while len(answering) < MOST_REQUESTS:
                answering.add((await told(socket, 'text'))['request'])

        talk(page, ask_and_go)
        # Their deadline is an hour off: what ends them is that nobody reads them any more.
        robot.until(lambda: int(robot.values().get('unanswered', 0)) == MOST_REQUESTS,
                    'the end of every answer')
        robot.until(lambda: not robot.node.count_subscribers('/pixelrefer/overlay/compressed'),
                    'nobody who looks')


@pytest.mark.parametrize('message', [
    'no json', '[]', '{}', '"x"', '{"do": 7}', '{"do": "format"}', '{"do": "ask", "request": -1}',
    '{"do": "ask", "request": 1, "question": "%s"}' % ('x' * 5000),
    '{"do": "ask", "request": 1, "question": "\\ud800"}',
    '{"do": "ask", "request": 1.5, "question": "What?"}',
    '{"do": "ask", "request": 1, "question": "What?", "ids": "cup"}',
    '{"do": "select", "request": 1, "stamp": 7, "point": [1, 2]}',
    '{"do": "select", "request": 1, "stamp": "-7", "point": [1, 2]}',
    '{"do": "select", "request": 1, "stamp": "9999999999999999999", "point": [1, 2]}',
    '{"do": "select", "request": 1, "stamp": "7", "point": [1, NaN]}',
    '{"do": "select", "request": 1, "stamp": "7", "point": [1, 1e99]}',
    '{"do": "select", "request": 1, "stamp": "7", "point": [1, 2, 3]}',
    '{"do": "select", "request": 1, "stamp": "7", "box": [1, 2, 3, true]}',
    '{"do": "correct", "request": 1, "stamp": "7", "point": [1, 2], "label": 2}',
    '{"do": "select", "request": 1, "stamp": "7", "point": [1, 2], "camera": "../x"}',
    '{"do": "watch", "camera": "a b"}', '[' * 10_000, '{"request": %s}' % ('9' * 5000),
    b'\x00\x01', 'x' * (MOST_BYTES + 1)])
def test_a_message_that_the_page_would_not_send_ends_that_browser_and_nothing_else(page, message):
    async def send(socket) -> int:
        await told(socket, 'hello')
        await (socket.send_bytes if isinstance(message, bytes) else socket.send_str)(message)
        while (found := await socket.receive()).type is not aiohttp.WSMsgType.CLOSE:
            assert found.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY)
        return found.data

    assert talk(page, send) == (1009 if len(message) > MOST_BYTES else 1008)
    talk(page, lambda socket: told(socket, 'hello'))


def test_a_click_is_of_exactly_the_stamp_that_it_names(page, quick):
    async def select(socket) -> dict:
        await first_frame(socket, quick)
        stamps = [await tracked(quick) for _ in range(3)]
        replies = []
        for number, stamp in enumerate((stamps[0], stamps[0] + 1)):
            await socket.send_json({'request': number, 'do': 'select', 'point': [15, 15],
                                    'stamp': str(stamp)})
            replies.append(await told(socket, 'reply'))
        return stamps[0], replies

    stamp, (right, wrong) = talk(page, select)
    assert right['result']['stamp_used'] == str(stamp)
    assert wrong['error']['code'] == 'STAMP_TOO_OLD' and wrong['error']['message']
    assert conversions.nanoseconds(conversions.time_message(stamp)) == stamp
