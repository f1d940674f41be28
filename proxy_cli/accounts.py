"""What one call may cost and has cost: reserved before it is sent, journalled with its first attempt, settled once.

Owns the account of each call: what was reserved for it (`access/limits.py`), and its row in the ledger. Refuses a call
that is over a limit before a backend hears of it. Rule: whatever becomes of a call, its account is closed exactly once,
and what never reached a backend leaves nothing behind.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final, Protocol

import msgspec

from proxy_cli.access.limits import Left
from proxy_cli.access.models import further
from proxy_cli.callers import Bounds, Caller, Charge, Extra, Role, Scope
from proxy_cli.clock import Clock
from proxy_cli.errors import UnknownModel
from proxy_cli.ledger.row import Row, State
from proxy_cli.money import usd_of
from proxy_cli.prices.cost import prices_of
from proxy_cli.prices.estimate import estimated
from proxy_cli.prices.ladder import answers, asked_units
from proxy_cli.routing.checks import is_inside
from proxy_cli.routing.estimates import answer_tokens, prompt
from proxy_cli.routing.table import Table
from proxy_cli.shapes import Call, Deployment, Record, Target, Usage
from proxy_cli.wire.notes import Notes, notes_of, prompt_of

# What an answer is taken to have where its caller sets no limit; what it has in truth is settled at its end.
_USUAL_ANSWER_TOKENS: Final = 1024
_LONGEST_WORDS: Final = 500
_MOST_KEPT_BYTES: Final = 64 * 1024  # of a prompt, and of an answer
# What LiteLLM calls scopes in headers.
_HEADER_NAMES: Final = {
    "key": "api_key",
    "key_model": "model_per_key",
    "team_model": "model_per_team",
    "user_model": "model_per_user",
}
_MICRO: Final = 1_000_000


class Ticket(Protocol):
    """What was taken from limits for one call."""

    @property
    def reserved_nano(self) -> int:
        """The money that is set aside."""

    @property
    def charges(self) -> tuple[Charge, ...]:
        """What its cost is added to."""

    def settle(self, cost_nano: int, tokens: int) -> None:
        """It came to this much."""

    def left(self) -> Sequence[Left]:
        """What is left of the limits that it was taken into."""

    def void(self) -> None:
        """It never reached a backend."""


class Limits(Protocol):
    """What callers may use."""

    def missing(self, scopes: Sequence[Scope]) -> Sequence[Scope]:
        """Those of which it is not known yet how much they have spent."""

    def take(self, scopes: Sequence[Scope], *, nano: int, is_bound: bool, tokens: int) -> Ticket:
        """Set aside what a call may come to. Raises RateLimited or BudgetExceeded."""


class Journal(Protocol):
    """Where rows stand until they are in the ledger."""

    def intent(self, row: Row) -> None:
        """A backend is about to be asked."""

    def settle(self, row: Row) -> None:
        """What became of it."""


class Extras(Protocol):
    """What is counted beside the caller's own scopes: by what stands in the request."""

    def known(self, caller: Caller, call: Call) -> Extra | None:
        """The end user's name and the scopes of what the call names; None where they have to be loaded first."""

    async def load(self, caller: Caller, call: Call) -> Extra:
        """The same from the store. Raises Forbidden for a blocked end user."""


Load = Callable[[Sequence[Scope]], Awaitable[None]]


class Accounts:
    """Opens an account for each call. Owns nothing but the way there."""

    def __init__(
        self,
        *,
        limits: Limits,
        journal: Callable[[], Journal],
        extras: Extras,
        load: Load,
        table: Table,
        clock: Clock,
        wall: Callable[[], float] = time.time,
        keeps_prompts: bool = False,
    ) -> None:
        self.limits = limits
        self._journal = journal
        self._extras = extras
        self._load = load
        self._table = table
        self.clock = clock
        self._wall = wall
        self.keeps_prompts = keeps_prompts

    @property
    def journal(self) -> Journal:
        """This process's."""
        return self._journal()

    def open_now(self, call: Call) -> Call | None:
        """The call with its account; None where something has to be loaded first. Raises what `Limits.take` raises."""
        caller = call.caller
        extras = self._extras.known(caller, call)
        if extras is None:
            return None
        end_user, more, bounds = extras
        if bounds is not None:
            call = self._bounded(call, bounds)
        scopes = self._scopes(caller, call, more)
        if self.limits.missing(scopes):
            return None
        return self._opened(call, end_user, scopes)

    async def open(self, call: Call) -> Call:
        """The same, whatever it takes. Raises StoreUnavailable, too."""
        end_user, more, bounds = await self._extras.load(call.caller, call)
        if bounds is not None:
            call = self._bounded(call, bounds)
        scopes = self._scopes(call.caller, call, more)
        missing = self.limits.missing(scopes)
        if missing:
            await self._load(missing)
        return self._opened(call, end_user, scopes)

    def mirrored(self, call: Call, original: str) -> Call:
        """A copy of a call with an account of its own, which nobody pays for: it is only put down."""
        unnamed = msgspec.structs.replace(call, caller=_NOBODY)
        return msgspec.structs.replace(unnamed, account=CallAccount(self, unnamed, _FREE, "", (), original))

    def wall_begin_s(self) -> float:
        """When the monotonic clock stood at 0, in unix seconds: what makes a date of its moments."""
        return self._wall() - self.clock()

    def _bounded(self, call: Call, bounds: Bounds) -> Call:
        """The call as its end user must have it: in a region, by another model where the one asked for is not there."""
        bounded = msgspec.structs.replace(call, controls=replace(call.controls, region=bounds.region))
        found = self._known(call.model)
        if not bounds.default_model or not found or any(is_inside(each, bounds.region) for each in found):
            return bounded
        return msgspec.structs.replace(bounded, model=bounds.default_model, named=call.shown_model)

    def _scopes(self, caller: Caller, call: Call, more: tuple[Scope, ...]) -> tuple[Scope, ...]:
        limited = caller.model_scopes
        of_model = limited.get(call.model, ())
        if limited:
            # By another name, or by a deployment's id, it is the same model.
            others = self._table.words(call.model) - {call.model}
            of_model += tuple(scope for name in sorted(others) for scope in limited.get(name, ()))
        return caller.scopes + of_model + more if of_model or more else caller.scopes

    def _opened(self, call: Call, end_user: str, scopes: tuple[Scope, ...]) -> Call:
        nano = tokens = 0
        is_bound = False
        if _has_a_price(scopes):
            nano, tokens, is_bound = self._estimate(call)
            for target in further(call.controls):
                # He may have it answered by a dearer model, and at a greater length.
                other = self._estimate(_instead(call, target))
                nano, tokens = max(nano, other[0]), max(tokens, other[1])
                is_bound = is_bound and other[2]
        ticket = self.limits.take(scopes, nano=nano, is_bound=is_bound, tokens=tokens)
        return msgspec.structs.replace(call, account=CallAccount(self, call, ticket, end_user, scopes))

    def _known(self, name: str) -> Sequence[Deployment]:
        try:
            return self._table.known(name)
        except UnknownModel:  # whoever asks for it is told so
            return ()

    def _estimate(self, call: Call) -> tuple[int, int, bool]:
        """What it may cost, how many tokens it may have, and whether that is certain."""
        bound = answer_tokens(call)
        found = self._known(call.model)
        if not found:
            return 0, 0, False
        size = prompt(call)
        written = (bound or _USUAL_ANSWER_TOKENS) * answers(call)
        units = asked_units(call)
        nano = asked = 0
        for each in found:
            tokens = size.at(each)
            asked = max(asked, tokens)
            nano = max(nano, prices_of(each).reserve_nano(tokens, written, call.operation, asked=units))
        return nano, asked + written, bound > 0


def _instead(call: Call, target: Target) -> Call:
    return msgspec.structs.replace(call, model=target.model, fields={**call.fields, **target.fields})


def _told_of(left: Left) -> str:
    """What is left of one scope's limits, as the lines of headers."""
    scope, requests, tokens, parallel, spent_nano = left
    name = _HEADER_NAMES.get(scope.kind, scope.kind)
    text = _limits_of(scope)
    if requests is not None:
        text += f"x-ratelimit-{name}-remaining-requests: {requests}\r\n"
    if tokens is not None:
        text += f"x-ratelimit-{name}-remaining-tokens: {tokens}\r\n"
    if parallel is not None:
        text += f"x-ratelimit-{name}-remaining-max_parallel_requests: {parallel}\r\n"
    if scope.kind == "key" and scope.max_nano is not None:
        text += f"x-litellm-key-spend: {usd_of(spent_nano)}\r\n"
    return text


@lru_cache(maxsize=4096)
def _limits_of(scope: Scope) -> str:
    """What is told of a scope with every answer and does not change."""
    found = []
    if scope.kind == "key":
        of_key = (("max-budget", None if scope.max_nano is None else usd_of(scope.max_nano)),)
        found = [("x-litellm-key-" + name, limit) for name, limit in (*of_key, ("rpm-limit", scope.rpm))]
        found.append(("x-litellm-key-tpm-limit", scope.tpm))
    name = _HEADER_NAMES.get(scope.kind, scope.kind)
    for what, limit in (("requests", scope.rpm), ("tokens", scope.tpm), ("max_parallel_requests", scope.max_parallel)):
        found.append((f"x-ratelimit-{name}-limit-{what}", limit))
    return "".join([f"{name}: {limit}\r\n" for name, limit in found if limit is not None])


def _has_a_price(scopes: Sequence[Scope]) -> bool:
    """Whether what a call may come to has to be known beforehand."""
    return any(scope.max_nano is not None or scope.tpm is not None for scope in scopes)


class _Free:
    """The ticket of what nobody is charged for."""

    reserved_nano = 0
    charges: tuple[Charge, ...] = ()

    def left(self) -> Sequence[Left]:
        """No limit has had anything taken from it."""
        return ()

    def settle(self, cost_nano: int, tokens: int) -> None:
        """It came to this much, for nobody."""

    def void(self) -> None:
        """It never reached a backend."""


_FREE: Final = _Free()
_NOBODY: Final = Caller(role=Role.CUSTOMER)


class CallAccount:
    """One call's. Owns its row from the first attempt on, and what was reserved until it is settled."""

    __slots__ = (
        "_accounts",
        "_begin_s",
        "_call",
        "_deployment",
        "_is_closed",
        "_original",
        "_row",
        "_said",
        "_ticket",
        "end_user",
        "scopes",
    )

    def __init__(
        self,
        accounts: Accounts,
        call: Call,
        ticket: Ticket,
        end_user: str,
        scopes: tuple[Scope, ...],
        original: str = "",
    ) -> None:
        self._accounts = accounts
        self._call = call
        self._ticket = ticket
        self._row: Row | None = None
        self._is_closed = False
        self._deployment: Deployment | None = None  # asked last
        self._begin_s = 0.0  # of the monotonic clock, in unix seconds
        self._said: bytearray | None = None  # the beginning of the answer, where that is kept
        self._original = original  # the request that it is a copy of
        self.end_user = end_user
        self.scopes = scopes

    @property
    def reserved_nano(self) -> int:
        """The money that is set aside for it."""
        return self._ticket.reserved_nano

    @property
    def keeps_words(self) -> bool:
        """Whether its prompt and its answer are kept with its row."""
        return self._accounts.keeps_prompts

    def keep(self, data: bytes) -> None:
        """The answer, or the next piece of it."""
        if self._accounts.keeps_prompts:
            said = self._said = bytearray() if self._said is None else self._said
            said += data[: _MOST_KEPT_BYTES - len(said)]

    def told(self) -> str:
        """What is left of the limits that hold for it, as the lines of headers."""
        return "".join([_told_of(left) for left in self._ticket.left()])

    def begin(self, deployment: Deployment) -> None:
        """A backend is about to be asked: from now on this call has a row in the ledger. Raises Overloaded."""
        self._deployment = deployment
        if self._row is not None or self._is_closed:
            return
        row = self._new_row(deployment)
        self._accounts.journal.intent(row)
        self._row = row

    def settle(self, deployment: Deployment, usage: Usage | None, source: str, cost_nano: int, record: Record) -> None:
        """It was answered; `usage` is what it used, `cost_nano` what that costs. The first word counts."""
        if self._is_closed:
            return
        self._is_closed = True
        row = self._row
        if row is None:  # answered without a backend
            self._ticket.settle(0, 0)
            return
        _fill(row, self._begin_s, self._accounts.clock(), record, deployment)
        left = row.stream and not record.delivered
        row.state = _state_of(record) if left or record.error is not None else State.SETTLED
        row.usage_source, row.cost_nano = source, cost_nano
        tokens = 0
        if usage is not None:
            row.prompt_tokens, row.completion_tokens = usage.prompt_tokens, usage.completion_tokens
            row.cached_tokens, row.cache_creation_tokens = usage.cached_tokens, usage.cache_creation_tokens
            row.reasoning_tokens = usage.reasoning_tokens
            tokens = usage.prompt_tokens + usage.completion_tokens
        self._ticket.settle(cost_nano, tokens)
        self._put_down(row)

    def close(self, record: Record) -> None:
        """It has ended without an answer, or was settled."""
        if self._is_closed:
            return
        self._is_closed = True
        row = self._row
        if row is None:
            self._ticket.void()
            return
        _fill(row, self._begin_s, self._accounts.clock(), record, record.deployment)
        row.state = _state_of(record)
        tokens = self._count_asked(row) if row.state is State.ABORTED else 0
        self._ticket.settle(row.cost_nano, tokens)
        self._put_down(row)

    def _put_down(self, row: Row) -> None:
        if self._accounts.keeps_prompts:
            row.messages = _kept(prompt_of(self._call))
            row.response = None if self._said is None else _kept(self._said)
        self._accounts.journal.settle(row)

    def _count_asked(self, row: Row) -> int:
        """A backend has read what it was sent, also where nobody waited for its answer."""
        usage = estimated(self._call, 0)
        deployment = self._deployment
        if usage is None or deployment is None:
            return 0
        row.prompt_tokens, row.usage_source = usage.prompt_tokens, "estimate"
        if deployment.rates:
            row.cost_nano = prices_of(deployment).cost_nano(usage, self._call.operation) or 0
        return usage.prompt_tokens

    def _new_row(self, deployment: Deployment) -> Row:
        call, caller = self._call, self._call.caller
        self._begin_s = self._accounts.wall_begin_s()
        notes = notes_of(call) if not self._original else Notes(metadata={"mirrored_from": self._original})
        return Row(
            request_id=call.request_id,
            call_type=call.operation.value,
            key=caller.key,
            key_alias=caller.key_alias,
            user_id=caller.user_id,
            team_id=caller.team_id,
            organization_id=caller.organization_id,
            end_user=self.end_user,
            model=call.shown_model,
            model_group=deployment.group,
            model_id=deployment.id,
            backend_model=deployment.model,
            provider=deployment.provider,
            api_base=deployment.api_base,
            started_at=int((self._begin_s + call.received_s) * _MICRO),
            stream=call.stream,
            reserved_nano=self._ticket.reserved_nano,
            tags=_tags(caller, call),
            session_id=notes.session_id,
            metadata=notes.metadata,
            charges=self._ticket.charges,
        )


def _kept(words: bytes | bytearray) -> str | None:
    return words[:_MOST_KEPT_BYTES].decode("utf-8", "replace") or None


def _tags(caller: Caller, call: Call) -> tuple[str, ...]:
    asked = call.controls.tags
    if not caller.tags:
        return asked
    return tuple(dict.fromkeys((*caller.tags, *asked)))


def _state_of(record: Record) -> State:
    # Neither an answer nor an error of ours: the caller has left.
    return State.FAILED if record.error_code is not None or record.status >= 500 else State.ABORTED


def _fill(row: Row, begin_s: float, now_s: float, record: Record, deployment: Deployment | None) -> None:
    """What a row says of how it went."""
    if deployment is not None and deployment.id != row.model_id:
        row.model_group, row.model_id, row.backend_model = deployment.group, deployment.id, deployment.model
        row.provider, row.api_base = deployment.provider, deployment.api_base
    row.ended_at = int((begin_s + now_s) * _MICRO)
    row.first_byte_at = 0 if record.first_byte_s is None else int((begin_s + record.first_byte_s) * _MICRO)
    row.waited_us = int((record.waited_s or 0.0) * _MICRO)
    row.queued_us = int(record.queued_s * _MICRO)
    row.attempts, row.status = record.attempts or 1, record.status
    row.error = (record.error or "")[:_LONGEST_WORDS]
    row.error_code = record.error_code or ""
    row.client, row.answer_id, row.call_id = record.client, record.answer_id, record.call_id
