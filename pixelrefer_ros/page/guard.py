# SPDX-License-Identifier: Apache-2.0
"""Who may talk to the page: its own script in a browser that asked for it by an honest name."""

import ipaddress
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

#: Sent with everything: nothing of elsewhere is loaded, nobody puts the page into a frame.
HEADERS = {
    'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; "
                               "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; "
                               "form-action 'none'; frame-ancestors 'none'",
    'Cross-Origin-Opener-Policy': 'same-origin',
    'Cross-Origin-Resource-Policy': 'same-origin',
    'Referrer-Policy': 'no-referrer',
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-store',
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server that listens there."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == 'localhost'


def names_of(host: str) -> frozenset[str]:
    """The names by which a browser may ask for a server that listens at `host`."""
    own = () if is_loopback(host) else (socket.gethostname(), f'{socket.gethostname()}.local')
    return frozenset(name.lower() for name in ('localhost', host, *own))


def guard(host: str) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
    """A middleware that refuses with 403 what a page of elsewhere could have sent.

    Host: a name that is not of this machine is one that somebody made to point here (DNS
    rebinding); an address cannot be made to. Origin: browsers say which page a request comes from,
    always so with a WebSocket, to which the same-origin rule does not apply.
    """
    names = names_of(host)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        asked = request.headers.get('Host', '')
        if not _is_honest(asked, names):
            raise web.HTTPForbidden(text='this name is not one of the page\n')
        origin = request.headers.get('Origin')
        wanted = request.headers.get('Upgrade', '').lower() == 'websocket'
        if (origin is None and wanted) or (origin is not None and not _is_own(origin, asked)):
            raise web.HTTPForbidden(text='asked for by a page of elsewhere\n')
        return await handler(request)

    return check


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """A signal handler of aiohttp: HEADERS go with every response."""
    response.headers.update(HEADERS)


def _is_honest(asked: str, names: frozenset[str]) -> bool:
    try:
        name = urlsplit(f'//{asked}').hostname or ''
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


def _is_own(origin: str, asked: str) -> bool:
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    return parts.scheme in ('http', 'https') and parts.netloc.lower() == asked.lower()
