"""The request boundary: every request comes in here and every response leaves from here.

It gives the request its id, finds the route, admits the caller on that route, hands over, turns errors into
responses, and adds one Record. Nobody else catches all exceptions of a request.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from proxy_cli.access.callers import Callers
from proxy_cli.access.routes import authorize
from proxy_cli.callers import Caller
from proxy_cli.clock import Clock
from proxy_cli.errors import GatewayError, InvalidRequest, NotFound, forget_frames
from proxy_cli.server import reply, strict
from proxy_cli.server.admission import Admission
from proxy_cli.server.body import refuse_expectation
from proxy_cli.server.problems import INTERNAL, Problems
from proxy_cli.server.reply import AiohttpOutlet, Lines, Outlet, Sent, lines
from proxy_cli.server.routes import Answer, Match, Route, Routes, Visit, Word
from proxy_cli.shapes import Headers, Record, header_text
from proxy_cli.telemetry.recorder import Recorder

logger = logging.getLogger(__name__)

_SAFE: Final[Lines] = (
    "server: llmproxy\r\nx-content-type-options: nosniff\r\nx-frame-options: DENY\r\n"
    "content-security-policy: frame-ancestors 'none'\r\n"
)
_JSON: Final[Lines] = "content-type: application/json\r\n"
_CALL_ID: Final = re.compile(r"[\x21-\x7e]{1,128}")
_HEADER_NAMES: Final = re.compile(r"[A-Za-z0-9, _-]{0,2000}")
_UNREADABLE: Final = InvalidRequest(
    "the request's body cannot be decoded as its Content-Encoding or Transfer-Encoding says; send it plain",
    code="invalid_body",
    param="request_body",
)
_ELSEWHERE: Final = NotFound("this path is not answered at this address; operators have one of their own")
_CHANCE: Final = 20  # hex digits of an id
_CLIENT_LEFT: Final = 499  # nginx's number for it; nobody receives it, only the log shows it


@dataclass(frozen=True, slots=True)
class Cors:
    """Which web pages may call us: origins, or `*` for all."""

    origins: tuple[str, ...] = ("*",)

    def headers(self, origin: str | None) -> Headers:
        """What a response to a page of this origin carries."""
        if not origin or not self.origins:
            return ()
        if "*" in self.origins:
            return (("access-control-allow-origin", "*"), ("access-control-expose-headers", "*"))
        if origin in self.origins:
            return (
                ("access-control-allow-origin", origin),
                ("access-control-expose-headers", "*"),
                ("vary", "origin"),
            )
        return (("vary", "origin"),)


class Counter:
    """The boundary of one server. Owns the number of requests under way and served."""

    def __init__(
        self,
        answers: Mapping[str, Answer],
        words: Mapping[str, Word],
        *,
        routes: Routes,
        callers: Callers,
        problems: Problems,
        cors: Cors,
        recorder: Recorder,
        clock: Clock,
        admission: Admission,
    ) -> None:
        self._answers = answers
        self._words = words
        self._routes = routes
        self._callers = callers
        self._problems = problems
        self._cors = cors
        self._recorder = recorder
        self._clock = clock
        self._admission = admission
        self.under_way = 0
        self.served = 0

    async def serve(self, request: web.BaseRequest, *, is_outside: bool = False) -> web.StreamResponse:
        """One request that aiohttp has read, whatever comes of it; `is_outside`: operators are answered elsewhere."""
        record = self.begun(request.method, path_of(request.raw_path), request.remote or "")
        headers = request.headers
        own = self.own_headers(record, headers.get("x-litellm-call-id"), headers.get("origin"))
        fault = strict.fault(request.method, request.raw_path, request.version, request.raw_headers)
        if fault is None and is_outside:
            fault = self._elsewhere(request.method, record.route)
        outlet = AiohttpOutlet(request, closes=fault is not None)
        return await self.guard(record, own, self._answer(request, record, own, outlet, fault), outlet)

    def hot(self, method: str, target: str) -> Match | None:
        """The route of a path that is asked for all the time: one that a POST of JSON goes to, and that is fixed."""
        return self._routes.hot(target) if method == "POST" else None

    def probe(self, method: str, target: str) -> Match | None:
        """The route of a path that probes ask for."""
        return self._routes.probe(target) if method == "GET" else None

    def begun(self, method: str, route: str, client: str) -> Record:
        """The record of a request that begins."""
        return Record(request_id=new_request_id(), route=route, method=method, started_s=self._clock(), client=client)

    def own_headers(self, record: Record, call_id: str | None, origin: str | None) -> Lines:
        """What every response carries."""
        if call_id is None or _CALL_ID.fullmatch(call_id) is None:
            call_id = record.request_id
        record.call_id = call_id
        allowed = lines(self._cors.headers(origin)) if origin else ""
        return f"x-request-id: {record.request_id}\r\nx-litellm-call-id: {call_id}\r\n{allowed}{_SAFE}"

    async def guard(
        self, record: Record, own: Lines, work: Coroutine[object, object, Sent], outlet: Outlet[Sent]
    ) -> Sent:
        """A request's work; what goes wrong with it is made a response, and the end of it is put down."""
        self.under_way += 1
        try:
            return await work
        except GatewayError as error:
            forget_frames(error)
            return self._refusal(record, own, error, outlet)
        except web.RequestPayloadError:
            return self._refusal(record, own, _UNREADABLE, outlet)
        except (asyncio.CancelledError, ConnectionError):
            if not record.delivered:
                record.status, record.error = _CLIENT_LEFT, "the client left"
            raise
        except Exception:  # the request boundary
            logger.exception("request %s failed", record.request_id)
            return self._refusal(record, own, INTERNAL, outlet)
        finally:
            self.under_way -= 1
            if record.has_place:
                self._admission.leave()
            self._put_down(record)

    def tell(self, match: Match, record: Record, own: Lines, outlet: Outlet[Sent]) -> Sent:
        """Answer a probe, whoever asks and however full it is. Raises what `Word` raises."""
        data = self._words[match.route.name]()
        record.status = 200
        return outlet.whole(200, _JSON + own, data)

    async def admit(self, record: Record, headers: Headers, route: Route) -> None:
        """Let a request in. Raises Overloaded, Unauthenticated, Forbidden or InvalidRequest."""
        if not self.admits(record, headers, route):
            await self.admit_later(record, headers, route)

    def admits(self, record: Record, headers: Headers, route: Route) -> bool:
        """The same where nothing has to be waited for; else False. Raises what refuses the caller."""
        if not self._admission.try_enter(route.reserved):
            return False
        record.has_place = True
        if route.access == "public":
            record.caller = self._callers.pass_by(headers, record.client)
            return True
        caller = self._callers.admit(headers, record.client)
        if caller is None:
            return False
        self._let_in(record, caller, route)
        return True

    async def admit_later(self, record: Record, headers: Headers, route: Route) -> None:
        """Wait for a place, or for word of the caller's key. Raises as `admit` does."""
        if not record.has_place:
            await self._wait_for_place(record, route)
        if route.access == "public":
            record.caller = self._callers.pass_by(headers, record.client)
            return
        caller = self._callers.admit(headers, record.client)
        if caller is None:
            # Whoever sends keys that nobody knows takes no place from those who are known.
            record.has_place = False
            self._admission.leave()
            caller = await self._callers.find(headers, record.client)
            await self._wait_for_place(record, route)
        self._let_in(record, caller, route)

    async def _wait_for_place(self, record: Record, route: Route) -> None:
        if not self._admission.try_enter(route.reserved):
            await self._admission.wait()
        record.has_place = True

    def _let_in(self, record: Record, caller: Caller, route: Route) -> None:
        record.caller = caller
        record.key = caller.hint
        authorize(caller, route)

    def refuse(self, record: Record, own: Lines, failure: GatewayError, outlet: Outlet[Sent]) -> Sent:
        """Answer what never became a whole request, and put it down."""
        try:
            return self._refusal(record, own, failure, outlet)
        finally:
            self._put_down(record)

    def _put_down(self, record: Record) -> None:
        self.served += 1
        record.ended_s = self._clock()
        self._recorder.add(record)

    def _refusal(self, record: Record, own: Lines, failure: GatewayError, outlet: Outlet[Sent]) -> Sent:
        record.status, record.error = self._problems.status(failure), failure.message
        record.error_code = failure.code
        if outlet.begun is not None:
            record.status = 200
            return outlet.end(self._problems.event(failure, outlet.begun))
        headers = (
            ("content-type", "application/json"),
            *self._problems.headers(failure),
            *((("x-litellm-model-id", header_text(failure.model_id)),) if failure.model_id else ()),
        )
        return outlet.whole(record.status, lines(headers) + own, self._problems.body(failure))

    async def _answer(
        self,
        request: web.BaseRequest,
        record: Record,
        own: Lines,
        outlet: AiohttpOutlet,
        fault: GatewayError | None,
    ) -> web.StreamResponse:
        if fault is not None:
            raise fault
        if request.method == "OPTIONS":
            response = self._preflight(request, record)
        else:
            match = self._routes.match(request.method, record.route)
            record.route = match.route.path_template
            response = await self._on_route(match, request, record, own, outlet)
        record.status = response.status
        if not response.prepared:
            for name, value in reply.pairs(own):
                response.headers.setdefault(name, value)
        return response

    async def _on_route(
        self, match: Match, request: web.BaseRequest, record: Record, own: Lines, outlet: AiohttpOutlet
    ) -> web.StreamResponse:
        route = match.route
        if route.is_probe:
            refuse_expectation(request)
            return self.tell(match, record, own, outlet)
        headers = lower_case(request.headers)
        await self.admit(record, headers, route)
        refuse_expectation(request)
        return await self._answers[route.name](Visit(request, headers, match, record, own, outlet))

    def _elsewhere(self, method: str, path: str) -> GatewayError | None:
        """The refusal of what is answered at another address; what is answered nowhere is refused later."""
        try:
            route = self._routes.match(method, path).route
        except GatewayError:
            return None
        return None if route.is_for_everybody else _ELSEWHERE

    def _preflight(self, request: web.BaseRequest, record: Record) -> web.StreamResponse:
        methods = self._routes.methods_of(record.route)
        if not methods:
            self._routes.match("GET", record.route)  # says that there is no such path
        wanted = request.headers.get("access-control-request-headers", "")
        headers = [("allow", ", ".join(methods))]
        if self._cors.origins and "origin" in request.headers:
            headers.append(("access-control-allow-methods", ", ".join(methods)))
            headers.append(("access-control-max-age", "600"))
            if _HEADER_NAMES.fullmatch(wanted):
                headers.append(("access-control-allow-headers", wanted or "*"))
        return reply.plain(200, headers, b"")


def lower_case(headers: Mapping[str, str]) -> Headers:
    """A request's headers as rooms exchange them."""
    return tuple((name.lower(), value) for name, value in headers.items())


def path_of(target: str) -> str:
    """The path of a request's target, as it was sent: no query, and no origin, which clients of proxies put first."""
    path = target.partition("?")[0]
    if path.startswith("/") or "://" not in path:
        return path
    # RFC 9112, section 3.2.2: every server takes the absolute form; which host it names is nothing to us.
    return "/" + path.partition("://")[2].partition("/")[2]


class _Ids:
    """Ids nobody can guess, in the order of time, so that what is kept by them is kept side by side.

    As UUIDs of version 7, without their dashes and marks: 48 bits of milliseconds, then 80 of chance. Owns some random
    bytes in advance, of this process alone: asking for few costs the most.
    """

    __slots__ = ("_at", "_text")

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Use none of what is here: another process has it, too."""
        self._text = ""
        self._at = 0

    def next(self) -> str:
        """Another one."""
        at = self._at
        if at == len(self._text):
            self._text = os.urandom(_CHANCE // 2 * 256).hex()
            at = 0
        self._at = at + _CHANCE
        return f"{time.time_ns() // 1_000_000:012x}{self._text[at : at + _CHANCE]}"


_IDS: Final = _Ids()
os.register_at_fork(after_in_child=_IDS.forget)


def new_request_id() -> str:
    """A new id, unguessable."""
    return _IDS.next()
