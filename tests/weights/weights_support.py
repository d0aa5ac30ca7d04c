# SPDX-License-Identifier: Apache-2.0
"""A hub on 127.0.0.1: as much of the Hugging Face hub's HTTP as huggingface_hub uses to fetch."""

import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
NAME = 'facebook/sam2.1-hiera-tiny'
#: Nothing waits longer, and no server outlives its test.
WATCHDOG_S = 60
LARGE = 1 << 16


def noise(count: int) -> bytes:
    """Bytes that no transfer can shorten."""
    return np.random.default_rng(count).bytes(count)


def commit(content: dict[str, bytes]) -> str:
    """A commit id that stands for the content."""
    return hashlib.sha1(repr(sorted(content.items())).encode()).hexdigest()


class Hub:
    """Serves one repository. A context manager.

    content: file name -> bytes of the branch `main`; older commits stay to be had. Faults, none at
    first: after `stall_after` bytes of a file no more are sent until `released` is set, or the
    connection breaks, for the next `breaks` files; `spoil` names a file that is sent with one bit
    changed; files are listed with `more_bytes` than they have. `ranges` and `gets` record what was
    asked for.
    """

    def __init__(self, name: str, content: dict[str, bytes]) -> None:
        self.name = name
        self.commits: dict[str, dict[str, bytes]] = {}
        self.main = ''
        self.push(content)
        self.stall_after: int | None = None
        self.breaks = 0
        self.released = threading.Event()
        self.spoil: str | None = None
        self.more_bytes = 0
        self.gets: list[str] = []
        self.ranges: list[tuple[str, int]] = []
        handler = type('Handler', (_Handler,), {'hub': self, 'timeout': WATCHDOG_S})
        self._server = ThreadingHTTPServer(('127.0.0.1', 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f'http://127.0.0.1:{self._server.server_port}'

    def push(self, content: dict[str, bytes]) -> str:
        """A new commit on main; its id."""
        self.main = commit(content)
        self.commits[self.main] = dict(content)
        return self.main

    def __enter__(self) -> 'Hub':
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(WATCHDOG_S)

    def listing(self, revision: str) -> dict | None:
        """What the API says of a revision."""
        sha = self.main if revision == 'main' else revision
        if sha not in self.commits:
            return None
        siblings = []
        for path, data in self.commits[sha].items():
            one = {'rfilename': path, 'size': len(data) + self.more_bytes, 'blobId': hashlib.sha1(
                b'blob %d\0' % len(data) + data).hexdigest()}
            if len(data) >= LARGE:  # these are in LFS, and git holds a pointer to them
                one['blobId'] = hashlib.sha1(path.encode()).hexdigest()
                one['lfs'] = {'sha256': hashlib.sha256(data).hexdigest(), 'size': len(data),
                              'pointerSize': 134}
            siblings.append(one)
        return {'id': self.name, 'modelId': self.name, 'sha': sha, 'private': False, 'tags': [],
                'siblings': siblings}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = 'HTTP/1.1'

    def do_GET(self) -> None:
        hub, path = self.hub, self.path.split('?')[0]
        asked = re.fullmatch(rf'/api/models/{hub.name}(?:/revision/(.+))?', path)
        if asked:
            listing = hub.listing(asked[1] or 'main')
            if listing is None:
                return self._fail('RevisionNotFound')
            return self._send(json.dumps(listing).encode(), 'application/json')
        asked = re.fullmatch(rf'/{hub.name}/resolve/(\w+)/(.+)', path)
        if not asked:
            return self._fail('RepoNotFound')
        return self._file(asked[2], hub.commits[asked[1]][asked[2]])

    def _file(self, name: str, data: bytes) -> None:
        hub = self.hub
        hub.gets.append(name)
        if hub.spoil == name:
            data = bytes([data[0] ^ 1]) + data[1:]
        begin = int((self.headers.get('Range') or 'bytes=0-').split('=')[1].split('-')[0])
        if begin:
            hub.ranges.append((name, begin))
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header('Content-Range', f'bytes {begin}-{len(data) - 1}/{len(data)}')
        self.send_header('Content-Length', str(len(data) - begin))
        self.end_headers()
        if hub.stall_after is not None and len(data) > hub.stall_after:
            self.wfile.write(data[begin:hub.stall_after])
            self.wfile.flush()
            if hub.breaks:
                hub.breaks -= 1
                hub.stall_after = hub.stall_after if hub.breaks else None
            else:
                hub.released.wait(WATCHDOG_S)
            self.close_connection = True
            return
        self.wfile.write(data[begin:])

    def _fail(self, code: str) -> None:
        self._send(b'{"error": "not found"}', 'application/json', 404, {'X-Error-Code': code})

    def _send(self, body: bytes, kind: str, status: int = 200,
              headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {'Content-Type': kind, 'Content-Length': str(len(body)),
                           **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silence: the tests look at `gets` and `ranges`."""
