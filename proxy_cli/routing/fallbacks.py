"""Which names are asked instead of one that has failed, and the call as they get it.

Owns: the row of names that are left, by the configuration or by the request; a name is asked once, so that a ring of
fallbacks ends. Refuses: to look whether a name exists, or who behind it is asked.
Rule: a fallback changes fields of the body and nothing of how the answer goes back.
"""

from typing import Final, NamedTuple

import msgspec

from proxy_cli.errors import BackendError, GatewayError, InvalidRequest
from proxy_cli.routing.kinds import Kind
from proxy_cli.routing.rules import Rules
from proxy_cli.shapes import Call, Target, Targets
from proxy_cli.wire.overlay import overlaid

ANY: Final = "*"

# The failures that a request can ask for, to see what its fallbacks do.
_ASKED_FOR: Final = {
    "mock_testing_context_fallbacks": (400, "invalid_request_error", "context_length_exceeded"),
    "mock_testing_content_policy_fallbacks": (400, "invalid_request_error", "content_policy_violation"),
    "mock_testing_rate_limit_error": (429, "rate_limit_error", "rate_limit_exceeded"),
    "mock_testing_fallbacks": (500, "internal_server_error", "internal_server_error"),
}


class Way(NamedTuple):
    """A name to ask, and how many fallbacks lead to it."""

    target: Target
    depth: int


class Ways:
    """The names that are left for one call."""

    __slots__ = ("_call", "_left", "_rules", "_seen")

    def __init__(self, call: Call, rules: Rules) -> None:
        self._call = call
        self._rules = rules
        self._seen = {_identity(Target(call.model))}
        self._left: list[Way] = []

    def open(self, kind: Kind, name: str, group: str, depth: int) -> None:
        """Have the fallbacks of a name that has failed asked next, before those that were left already."""
        asked = self._call.controls
        most = self._rules.max_fallbacks if asked.max_fallbacks is None else asked.max_fallbacks
        if asked.no_fallbacks or depth >= most:
            return
        new = [Way(target, depth + 1) for target in targets(kind, (name, group), self._call, self._rules)]
        self._left[:0] = new

    def next(self) -> Way | None:
        """The next name that was not asked yet."""
        while self._left:
            way = self._left.pop(0)
            identity = _identity(way.target)
            if identity not in self._seen:
                self._seen.add(identity)
                return way
        return None


def targets(kind: Kind, names: tuple[str, ...], call: Call, rules: Rules) -> tuple[Target, ...]:
    """What is asked instead of a name, by the first of `names` that anything is said of."""
    if special := special_targets(kind, names, call, rules):
        return special
    asked = call.controls.fallbacks
    return asked if asked is not None else _of(rules.fallbacks, names)


def special_targets(kind: Kind, names: tuple[str, ...], call: Call, rules: Rules) -> tuple[Target, ...]:
    """What is asked at once after a failure of a kind that has fallbacks of its own."""
    asked = call.controls
    if kind is Kind.CONTEXT_WINDOW:
        table = asked.context_window_fallbacks
        return _of(rules.context_window_fallbacks if table is None else table, names)
    if kind is Kind.CONTENT_POLICY:
        table = asked.content_policy_fallbacks
        return _of(rules.content_policy_fallbacks if table is None else table, names)
    return ()


def redirected(call: Call, target: Target) -> Call:
    """The call for another name. Raises InvalidRequest for fields that cannot be set in it."""
    values = target.fields
    call = msgspec.structs.replace(call, model=target.model, named=call.shown_model)
    if not values:
        return call
    if not isinstance(call.body, bytes):
        raise InvalidRequest(
            f"the fallback {target.model!r} sets {', '.join(map(repr, values))}, which cannot be done in a form"
        )
    body, fields = overlaid(call.body, call.fields, values)
    return msgspec.structs.replace(call, body=body, fields=fields)


def asked_failure(names: frozenset[str]) -> GatewayError:
    """The failure that a request has asked for."""
    name = next((each for each in _ASKED_FOR if each in names), "mock_testing_fallbacks")
    status, kind, code = _ASKED_FOR[name]
    return BackendError(status, f"this request asks for a failure: {name} is true", kind=kind, code=code)


def _of(table: Targets, names: tuple[str, ...]) -> tuple[Target, ...]:
    return next((found for name in (*names, ANY) if (found := table.get(name))), ())


def _identity(target: Target) -> tuple[str, tuple[tuple[str, bytes], ...]]:
    """Two of the same name differ if they are asked different things."""
    return target.model, tuple(sorted((name, bytes(raw)) for name, raw in target.fields.items()))
