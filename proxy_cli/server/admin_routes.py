"""The endpoints for operators over HTTP: a body and a query in, JSON out; nothing is decided here.

Owns: the routes that come of the table of endpoints, and the envelope of a refused field, which has FastAPI's `detail`
beside ours because LiteLLM's clients read it. Refuses: bodies that are no JSON, so that no form of a foreign web page
changes anything.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, NoReturn

import msgspec
from aiohttp import web
from sqlalchemy import Connection

from proxy_cli.admin.base import Ask, Endpoint, Office, decoded
from proxy_cli.admin.table import ENDPOINTS
from proxy_cli.errors import NotSupportedYet, Unprocessable, UnsupportedMedia
from proxy_cli.server import body as request_body
from proxy_cli.server import reply
from proxy_cli.server.problems import Problems
from proxy_cli.server.routes import Answer, Route, Visit
from proxy_cli.shapes import NOTHING, Headers, Json, header_text

_JSON: Final[Headers] = (("content-type", "application/json"),)
_LARGEST_BODY: Final = 1024 * 1024
_MOST_NAMED: Final = 20  # fields without effect, in a header


class NoStore:
    """Stands in for the database where there is none: endpoints that need none answer, others say what is missing."""

    async def read(self, work: Callable[[Connection], object]) -> NoReturn:  # noqa: ARG002 - the name is the protocol's
        """Nothing can be found."""
        raise _no_store()

    async def write(self, work: Callable[[Connection], object]) -> NoReturn:  # noqa: ARG002 - the name is the protocol's
        """Nothing can be kept."""
        raise _no_store()


def _no_store() -> NotSupportedYet:
    return NotSupportedYet(
        "keys, teams, budgets and spend are kept in a database, and there is none here; set "
        "general_settings.master_key (a file is enough then), or general_settings.database_url",
        code="no_database",
    )


def name_of(endpoint: Endpoint) -> str:
    """What the counter calls the route of an endpoint."""
    return f"admin.{endpoint.name}"


def routes_of(endpoints: Sequence[Endpoint] = ENDPOINTS) -> tuple[Route, ...]:
    """The routes of endpoints."""
    return tuple(
        Route(each.method, each.path, name_of(each), each.summary, each.tag, each.access) for each in endpoints
    )


def joined(routes: Sequence[Route], endpoints: Sequence[Endpoint] = ENDPOINTS) -> tuple[Route, ...]:
    """A table of routes with those of endpoints in it, which come in the place of others of the same path."""
    added = routes_of(endpoints)
    taken = {(each.method, each.path_template) for each in added}
    return (*(each for each in routes if (each.method, each.path_template) not in taken), *added)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminRoutes:
    """Answers the routes."""

    office: Office
    problems: Problems

    def answers(self, endpoints: Sequence[Endpoint] = ENDPOINTS) -> Mapping[str, Answer]:
        """The functions of the counter, by the routes' names."""
        return {name_of(each): partial(self._answer, each) for each in endpoints}

    async def _answer(self, endpoint: Endpoint, visit: Visit) -> web.StreamResponse:
        try:
            ask = await _ask(endpoint, visit)
            answer = await endpoint.answer(self.office, ask)
        except Unprocessable as error:
            return self._refused(error, visit)
        return reply.plain(200, (*_JSON, *_without_effect(endpoint, ask.raw)), msgspec.json.encode(answer))

    def _refused(self, error: Unprocessable, visit: Visit) -> web.StreamResponse:
        told = self.problems.envelope(error)
        visit.record.error, visit.record.error_code = error.message, error.code
        place = [part for part in (error.param or "body").split(".") if part != "body"]
        where = "query" if error.param in visit.request.query else "body"
        told["detail"] = [{"type": "value_error", "loc": [where, *place], "msg": told["error"]["message"]}]
        return reply.plain(self.problems.status(error), _JSON, msgspec.json.encode(told))


async def _ask(endpoint: Endpoint, visit: Visit) -> Ask:
    body: msgspec.Struct | None = None
    raw: Mapping[str, Json] = NOTHING
    if endpoint.body is not None:
        data = await request_body.read_json(visit.request, _LARGEST_BODY)
        if data:
            _refuse_form(visit)
        body, raw = decoded(data, endpoint.body)
    query = _query(visit)
    return Ask(caller=visit.record.caller, query=query, slot=visit.match.model, body=body, raw=raw)


def _refuse_form(visit: Visit) -> None:
    kind = visit.request.headers.get("content-type", "")
    if kind and "json" not in kind.lower():
        raise UnsupportedMedia(f"a body of the type {kind[:60]!r} is not read here; send application/json")


def _query(visit: Visit) -> Mapping[str, str]:
    """The fields of a query; several of one name are a list, as texts are that are parted by commas."""
    found: dict[str, str] = {}
    for name, value in visit.request.query.items():
        if "\0" in value:
            raise Unprocessable(f"{name[:40]} holds a NUL character; leave it out", param=name[:40])
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _without_effect(endpoint: Endpoint, raw: Mapping[str, Json]) -> Headers:
    """The header that names fields which were sent and do nothing: kept ones, and those that are not known."""
    if endpoint.body is None or not raw:
        return ()
    known = set(endpoint.body.__struct_fields__) - endpoint.inert
    unused = [name for name, value in raw.items() if name not in known and value not in (None, "", [], {}, False)]
    if not unused:
        return ()
    return (("x-llmproxy-not-yet-supported", header_text(", ".join(unused[:_MOST_NAMED]))),)
