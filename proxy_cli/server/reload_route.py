"""`POST /config/reload`: have every process take the changed configuration, and say what came of it.

Without a master key everybody may call everything else; this one then answers callers on this machine only.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final, Protocol

import msgspec
from aiohttp import web

from proxy_cli.errors import Forbidden, InvalidRequest
from proxy_cli.server import reply
from proxy_cli.server.problems import Problems
from proxy_cli.server.reload import Renewal
from proxy_cli.server.routes import Visit
from proxy_cli.shapes import Headers

_JSON: Final[Headers] = (("content-type", "application/json"),)


class Ask(Protocol):
    """Has every process of this server take a changed configuration."""

    async def __call__(self, *, patient: bool = False) -> Renewal:
        """What came of it; `patient`: tried once more a moment later where the file has errors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadRoute:
    """Answers the route."""

    ask: Ask
    problems: Problems
    needs_key: bool

    async def answer(self, visit: Visit) -> web.StreamResponse:
        """Reload; 400 with every problem when the new configuration has errors."""
        if not self.needs_key and not is_here(visit.request.remote):
            raise Forbidden("a reload is asked for with the master key, and none is set; send SIGHUP instead")
        renewal = await self.ask()
        if renewal.taken:
            return reply.plain(200, _JSON, msgspec.json.encode({"status": "reloaded", "notes": renewal.lines}))
        message = "\n".join((f"{renewal.sentence()}:", *renewal.lines))
        error = InvalidRequest(message, code="invalid_configuration")
        told = self.problems.envelope(error)
        told["error"]["problems"] = [self.problems.scrubber.scrub(line) for line in renewal.lines]
        return reply.plain(self.problems.status(error), _JSON, msgspec.json.encode(told))


def is_here(remote: str | None) -> bool:
    """Whether a caller is on this machine."""
    if not remote:
        return True  # a Unix socket
    try:
        return ip_address(remote.partition("%")[0]).is_loopback
    except ValueError:
        return False
