"""One request at the counter, with what the boundary has found out about it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from proxy_cli.server.routes import Match
from proxy_cli.shapes import Headers, Record


@dataclass(frozen=True, slots=True)
class Visit:
    """What a route's function is given; `headers` go on every response, streamed ones too."""

    request: web.BaseRequest
    match: Match
    record: Record
    headers: Headers


Answer = Callable[[Visit], Awaitable[web.StreamResponse]]
