"""What is known of the deployments, told and steered over HTTP: `/health`, `/backends` and the words of an operator.

Nobody is asked anything here: `/health` answers at once from what requests and looks have shown; the real requests are
`POST /health/test`. A word of an operator holds for all processes; work that is under way ends as it would have.
Without a master key everybody may call everything else; an operator's word is then taken on this machine only.
"""

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from aiohttp import web

from proxy_cli.clock import Clock
from proxy_cli.errors import Forbidden, InvalidRequest, NotFound
from proxy_cli.routing.fleet import Fleet, Operator
from proxy_cli.routing.table import Table
from proxy_cli.secret import Scrubber
from proxy_cli.server import body as request_body
from proxy_cli.server import reply, standings
from proxy_cli.server.reload_route import is_here
from proxy_cli.server.routes import Visit
from proxy_cli.shapes import Deployment, Headers, Json

_JSON: Final[Headers] = (("content-type", "application/json"),)
_LARGEST_BODY: Final = 64 * 1024
_LONGEST_S: Final = 366 * 86400.0
_LONGEST_SHOWN: Final = 100
_SHORTEST_PART: Final = 8  # of an id, where its beginning stands for it


class _Terms(msgspec.Struct, forbid_unknown_fields=True):
    """The body of an operator's word; all of it may be left out."""

    for_s: float | None = None  # after which the deployment comes back by itself


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetRoutes:
    """Answers the routes."""

    table: Table
    fleet: Fleet
    scrubber: Scrubber
    clock: Clock
    needs_key: bool

    async def health(self, visit: Visit) -> web.StreamResponse:
        """LiteLLM's shape; `?model=` or `?model_id=` tells of those alone, with 503 where none of them is well."""
        query = visit.request.query
        name = query.get("model_id", query.get("model"))
        found = self.table.deployments if name is None else self.table.find(name)
        now_s = self.clock()
        told = [(standings.standing(each, self.fleet, now_s), each) for each in found]
        healthy = [self._endpoint(each, how) for how, each in told if how.healthy]
        unhealthy = [self._endpoint(each, how) for how, each in told if not how.healthy]
        counted = {
            "healthy_endpoints": healthy,
            "unhealthy_endpoints": unhealthy,
            "healthy_count": len(healthy),
            "unhealthy_count": len(unhealthy),
        }
        return reply.plain(503 if name is not None and not healthy else 200, _JSON, msgspec.json.encode(counted))

    async def backends(self, _visit: Visit) -> web.StreamResponse:
        """Every deployment, how it stands and what it is at."""
        return self._listed(self.table.deployments)

    async def drain(self, visit: Visit) -> web.StreamResponse:
        """Give no more work to these; what they are at is finished."""
        return await self._say(visit, Operator.DRAINING)

    async def disable(self, visit: Visit) -> web.StreamResponse:
        """Take these out of use."""
        return await self._say(visit, Operator.DISABLED)

    async def resume(self, visit: Visit) -> web.StreamResponse:
        """Use these again."""
        return await self._say(visit, Operator.ACTIVE)

    async def _say(self, visit: Visit, word: Operator) -> web.StreamResponse:
        if not self.needs_key and not is_here(visit.request.remote):
            raise Forbidden(
                "backends are operated with the master key, and none is set; do it on the proxy's own machine"
            )
        terms = _read_terms(await request_body.read_json(visit.request, _LARGEST_BODY))
        found = named(self.table, visit.match.model or "")
        until_s = None if terms.for_s is None or word is Operator.ACTIVE else self.clock() + terms.for_s
        for each in found:
            self.fleet.set_operator(each.id, word, until_s)
        return self._listed(found)

    def _listed(self, deployments: Sequence[Deployment]) -> web.StreamResponse:
        now_s = self.clock()
        return reply.plain(
            200, _JSON, msgspec.json.encode({"backends": [self._backend(each, now_s) for each in deployments]})
        )

    def _endpoint(self, deployment: Deployment, how: standings.Standing) -> Json:
        told: dict[str, Json] = {**standings.described(deployment), "state": how.state}
        if not how.healthy:
            told["error"] = self.scrubber.scrub(how.why)
            told["exception_status"] = how.status
        return told

    def _backend(self, deployment: Deployment, now_s: float) -> Json:
        how = standings.standing(deployment, self.fleet, now_s)
        told = self.fleet.state(deployment).told()
        words = {"why": how.why, "last_failure": told["last_failure"], "probed_why": told["probed_why"]}
        which = standings.described(deployment)
        return {
            "name": deployment.group,
            "model": which["model"],
            "api_base": which["api_base"],
            "state": how.state,
            "healthy": how.healthy,
            **told,
            **{name: self.scrubber.scrub(text) for name, text in words.items()},
        }


def named(table: Table, name: str) -> Sequence[Deployment]:
    """The deployments that an operator means: by id, by model name, by the host and port of their server, or by how
    their ids begin.

    Raises NotFound with the near names.
    """
    if (one := table.by_id(name)) is not None:
        return (one,)
    if group := table.group_of(name):
        return group
    found = [each for each in table.deployments if name.lower() in _addresses(each)]
    if not found and len(name) >= _SHORTEST_PART:
        found = [each for each in table.deployments if each.id.startswith(name)]
    if not found:
        raise NotFound(_unknown(table, name), code="backend_not_found")
    return found


def _addresses(deployment: Deployment) -> set[str]:
    backend = deployment.backend
    if deployment.mock_response is not None:
        return set()
    host = f"[{backend.host}]" if ":" in backend.host else backend.host
    return {backend.authority.lower(), f"{host}:{backend.port}".lower()}


def _unknown(table: Table, name: str) -> str:
    ids = [each.id for each in table.deployments]
    known = list(dict.fromkeys([*table.names(), *ids, *(a for d in table.deployments for a in sorted(_addresses(d)))]))
    near = difflib.get_close_matches(name[:_LONGEST_SHOWN], known, n=3, cutoff=0.5)
    shown = name if len(name) <= _LONGEST_SHOWN else f"{name[:_LONGEST_SHOWN]}…"
    cure = f"did you mean {' or '.join(map(repr, near))}?" if near else "GET /backends lists them"
    return f"no backend is named {shown!r}: give a deployment's id, a model name, or a server's host:port; {cure}"


def _read_terms(body: bytes) -> _Terms:
    if not body.strip():
        return _Terms()
    try:
        terms = msgspec.json.decode(body, type=_Terms)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequest('the body is not understood; send nothing, or {"for_s": 3600}', param="for_s") from None
    if terms.for_s is not None and not (math.isfinite(terms.for_s) and 0 < terms.for_s <= _LONGEST_S):
        raise InvalidRequest(
            f"for_s is {terms.for_s:g}; give seconds above 0 and of at most a year, or leave it out", param="for_s"
        )
    return terms
