"""Requests for a model: a Call to the gateway, its Answer to whoever sends it to the caller.

Nothing is decided here. It puts the headers on an answer, and sees that what an answer used is settled however it ends.
"""

import asyncio
from typing import Final

import msgspec
from aiohttp import web

from proxy_cli import __version__
from proxy_cli.access.models import admitted
from proxy_cli.accounts import Accounts
from proxy_cli.answer import Answer
from proxy_cli.clock import Clock
from proxy_cli.errors import BackendBroken, GatewayError
from proxy_cli.gateway import Gateway
from proxy_cli.relay import Relay
from proxy_cli.routing.queue import queue_headers
from proxy_cli.server.admission import Admission
from proxy_cli.server.calls import Calls
from proxy_cli.server.explain import DryRun
from proxy_cli.server.heartbeat import Beat, Beats, Heart
from proxy_cli.server.keeping import keeping_of
from proxy_cli.server.leftovers import Leftovers
from proxy_cli.server.mirroring import Mirrors
from proxy_cli.server.problems import Problems
from proxy_cli.server.reply import Lines, Outgoing, Outlet, Sent, lines, pairs
from proxy_cli.server.routes import Visit
from proxy_cli.shapes import Call, Deployment, Headers, Json, Record, header_text
from proxy_cli.telemetry.tap import Tap
from proxy_cli.wire.identity import answer_id
from proxy_cli.wire.steering import asks_to_explain

_FIRST_TRY: Final[Lines] = "x-litellm-attempted-retries: 0\r\nx-litellm-attempted-fallbacks: 0\r\n"
_JSON: Final[Lines] = "content-type: application/json\r\n"
_MOST_ERRORS: Final = 5
_MOST_WORDS: Final = 200  # of an error, in a header
_LONGEST_NAME: Final = 100  # likewise: a fallback that a request names may be called anything


class Inference:
    """Answers every route that asks a model. Owns the set of streams under way."""

    def __init__(
        self,
        gateway: Gateway,
        calls: Calls,
        *,
        problems: Problems,
        clock: Clock,
        admission: Admission,
        heart: Heart,
        beats: Beats,
        mirrors: Mirrors,
        dry_run: DryRun,
        leftovers: Leftovers,
        accounts: Accounts | None = None,
        denied_status: int = 403,
        is_strict: bool = False,
        tap: Tap | None = None,
    ) -> None:
        self._gateway = gateway
        self._accounts = accounts
        self._leftovers = leftovers
        self._denied_status = denied_status
        self._is_strict = is_strict  # settled before the last bytes of an answer leave
        self.calls = calls
        self._problems = problems
        self._clock = clock
        self._admission = admission
        self._heart = heart
        self._beats = beats
        self._mirrors = mirrors
        self._dry_run = dry_run
        self._tap = tap
        self._streams: set[Relay] = set()

    async def answer(self, visit: Visit) -> web.StreamResponse:
        """One request that aiohttp has read, to the last byte of its answer."""
        try:
            call = await self.calls.read(visit)
        except GatewayError as failure:
            return self.refused(failure, visit.headers, visit.record, visit.own_headers, visit.outlet)
        return await self.respond(call, visit.record, visit.own_headers, visit.outlet)

    @property
    def streams(self) -> int:
        """How many streams are under way."""
        return len(self._streams)

    def end_streams(self, reason: GatewayError) -> None:
        """End every stream with an event that says why."""
        for relay in list(self._streams):
            relay.stop(reason)

    async def respond(self, call: Call, record: Record, own: Lines, outlet: Outlet[Sent]) -> Sent:
        """One call, to the last byte of its answer. Raises the GatewayError that the caller should see."""
        if call.controls.explain:
            return self._explained(call, record, own, outlet)
        record.model, record.stream = call.model, call.stream
        try:
            call = admitted(call, self._gateway.router.table.words, status=self._denied_status)
            if self._accounts is None:
                return await self._answered(call, record, own, outlet)
            call = self._accounts.open_now(call) or await self._accounts.open(call)
            try:
                return await self._answered(call, record, own, outlet)
            finally:
                if call.account is not None and not record.is_read_on:
                    call.account.close(record)
        except GatewayError as failure:
            self._note(record, failure)
            raise
        finally:
            if not isinstance(call.body, bytes):
                call.body.close()

    async def _answered(self, call: Call, record: Record, own: Lines, outlet: Outlet[Sent]) -> Sent:
        answer: Answer | None = None
        beat = self._heart.begin(call, own, outlet, self._beats, self._gateway.router.table) if call.stream else None
        try:
            answer = await self._gateway.answer(call)
            record.deployment, record.status, record.waited_s = answer.deployment, answer.status, answer.waited_s
            record.attempts = 1 if answer.history is None else answer.history.made
            record.queued_s = 0.0 if answer.queued is None else answer.queued[1]
            self._mirrors.copy(call, answer.deployment)
            head = f"{own}{lines(answer.headers)}{self._words(call, answer)}"
            if answer.relay is not None:
                keeping = keeping_of(self._gateway, call, answer, record, is_strict=self._is_strict)
                outgoing = Outgoing(call, answer, answer.relay, head, record, self._problems, self._clock, keeping)
                return await self._stream(outgoing, outlet, beat)
            if call.account is not None:
                record.answer_id = answer_id(answer.body)
                call.account.keep(answer.body)
            self._gateway.settle(call, answer, record)
            if outlet.begun is not None:
                raise _not_events()
            record.bytes_out = len(answer.body)
            if record.cost_usd:
                head = f"{head}x-litellm-response-cost: {record.cost_usd!r}\r\n"
            if self._tap:
                self._tap.client_reply(call.request_id, answer.status, pairs(head), answer.body)
            return outlet.whole(answer.status, head, answer.body)
        finally:
            if beat is not None:
                self._heart.end(beat)
            if answer is not None:
                answer.close()

    def refused(
        self, failure: GatewayError, headers: Headers, record: Record, own: Lines, outlet: Outlet[Sent]
    ) -> Sent:
        """Tell why a request has become no call, to one that asks for a dry run. Raises the failure to any other."""
        if not asks_to_explain(headers):
            raise failure
        self._dry_run.admit(record.caller)
        return _account(self._dry_run.of_refusal(failure), record, own, outlet)

    def _explained(self, call: Call, record: Record, own: Lines, outlet: Outlet[Sent]) -> Sent:
        """Tell what would become of a call. Raises Forbidden."""
        record.model = call.model
        try:
            self._dry_run.admit(record.caller)
            return _account(self._dry_run.of_call(call), record, own, outlet)
        finally:
            if not isinstance(call.body, bytes):
                call.body.close()

    async def _stream(self, outgoing: Outgoing, outlet: Outlet[Sent], beat: Beat | None) -> Sent:
        call, record, answer, relay = outgoing.call, outgoing.record, outgoing.answer, outgoing.relay
        if self._tap:
            # Of a stream that was begun early the head has left, with what was known then.
            head = beat.head if beat is not None and outlet.begun else outgoing.head
            self._tap.client_reply(call.request_id, answer.status, pairs(head), None)
        self._streams.add(relay)
        moved = record.has_place and self._admission.begin_stream()
        record.has_place = record.has_place and not moved
        try:
            if beat is not None:
                beat.flows(outgoing)
            return await outlet.stream(outgoing)
        except (asyncio.CancelledError, ConnectionError):
            record.is_read_on = self._leftovers.take(call, answer, record)
            raise
        finally:
            self._streams.discard(relay)
            if moved:
                self._admission.end_stream()
            # Also when the caller has left: what was used until then is spent.
            is_settled = outgoing.keeping is not None and outgoing.keeping.is_settled
            if not (record.is_read_on or is_settled):
                self._gateway.settle(call, answer, record)

    def _note(self, record: Record, failure: GatewayError) -> None:
        if failure.model_id:
            record.deployment = self._gateway.router.table.by_id(failure.model_id)

    def _words(self, call: Call, answer: Answer) -> Lines:
        """What we say of an answer ourselves."""
        total_ms = (self._clock() - call.received_s) * 1000
        overhead_ms = total_ms - answer.waited_s * 1000
        told = _FIRST_TRY if answer.history is None and answer.queued is None else _told(answer)
        unused = call.controls.unused
        more = f"x-llmproxy-not-yet-supported: {header_text(', '.join(unused))}\r\n" if unused else ""
        if call.account is not None:
            more += call.account.told()
        return (
            f"{_named(answer.deployment)}{told}"
            f"x-litellm-response-duration-ms: {total_ms:.1f}\r\n"
            f"x-litellm-overhead-duration-ms: {overhead_ms if overhead_ms > 0 else 0.0:.3f}\r\n{more}"
        )


def _account(told: Json, record: Record, own: Lines, outlet: Outlet[Sent]) -> Sent:
    body = msgspec.json.encode(told)
    record.status, record.bytes_out = 200, len(body)
    return outlet.whole(200, own + _JSON, body)


def _not_events() -> GatewayError:
    """The error for an answer that comes as a whole to a caller who has been told that events follow."""
    return BackendBroken(
        "the backend answered a call for a stream with a whole body, after the stream had begun here; "
        "general_settings.early_commit_seconds: 0 waits for every answer",
        code="upstream_not_a_stream",
    )


def _told(answer: Answer) -> Lines:
    """What it took to get an answer that was not there at once: attempts, other names, and a wait."""
    headers: list[tuple[str, str]] = []
    if (history := answer.history) is not None:
        headers += [
            ("x-litellm-attempted-retries", str(history.retries)),
            ("x-litellm-attempted-fallbacks", str(history.fallbacks)),
        ]
        if history.errors:
            errors = [
                {"model": name[:_LONGEST_NAME], "error": words[:_MOST_WORDS]}
                for name, words in history.errors[:_MOST_ERRORS]
            ]
            headers.append(("x-litellm-fallback-errors", msgspec.json.encode(errors).decode()))
        if history.maybe_duplicate:
            headers.append(("x-llmproxy-maybe-duplicate", "true"))
    if answer.queued is not None:
        headers += queue_headers(*answer.queued)
    told = lines(tuple((name, header_text(value)) for name, value in headers))
    return told if answer.history is not None else _FIRST_TRY + told


class _Named(msgspec.Struct, frozen=True):
    """What we say of every answer of one deployment."""

    lines: Lines


def _named(deployment: Deployment) -> Lines:
    known = deployment.worked_out.get(_Named)
    if known is None:
        headers = [
            ("x-litellm-model-id", deployment.id),
            ("x-litellm-model-group", deployment.group),
            ("x-litellm-model-name", str(deployment.params.get("model", deployment.model))),
            ("x-litellm-version", __version__),
            *((("x-litellm-model-region", deployment.region),) if deployment.region else ()),
        ]
        if deployment.api_base:
            headers.append(("x-litellm-model-api-base", deployment.api_base))
        known = _Named(lines(tuple((name, header_text(value)) for name, value in headers)))
        deployment.worked_out[_Named] = known
    text: Lines = known.lines
    return text
