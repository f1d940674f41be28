"""What a caller is told when a limit is reached: which one, how far, and when it is free again.

Owns the words and headers, which carry the facts that LiteLLM's do. Refuses nothing itself. Rule: a key is never shown,
not even as its digest.
"""

import math
from datetime import UTC, datetime
from typing import Final

from proxy_cli.callers import Scope
from proxy_cli.errors import BudgetExceeded, RateLimited
from proxy_cli.money import usd_of

_WORDS: Final = {
    "key": "api_key",
    "key_window": "api_key",
    "key_model": "model_per_key",
    "team_model": "model_per_team",
    "team_window": "team",
}
_OF_KEYS: Final = frozenset({"key", "key_window"})


def too_fast(scope: Scope, kind: str, limit: int, wait_s: float, wall_s: float) -> RateLimited:
    """A limit per minute is used up; `kind` is requests or tokens."""
    reset_at = _moment(wall_s + wait_s)
    return _limited(scope, kind, limit, f" Limit resets at: {reset_at}", wait_s, reset_at)


def too_large(scope: Scope, limit: int, tokens: int) -> RateLimited:
    """A request may use more tokens than a whole minute has, so that waiting is of no use."""
    end = f" This request alone may use {tokens} tokens; lower its max_tokens"
    return _limited(scope, "tokens", limit, end)


def too_many(scope: Scope, limit: int) -> RateLimited:
    """As many requests as may be are under way."""
    return _limited(scope, "max_parallel_requests", limit, " Try again when one has ended", 1.0)


def too_dear(
    scope: Scope, spent_nano: int, reserved_nano: int, asked_nano: int | None, ends_s: float, status: int
) -> BudgetExceeded:
    """A budget is spent, or what a request may cost (None: not known) does not fit into it any more."""
    limit = scope.max_nano or 0
    whose = f"Team={scope.id} " if scope.kind == "team" else ""
    figures = f"Current cost: {_usd(spent_nano)}, Max budget: {_usd(limit)}"
    message = f"Budget has been exceeded! {whose}{figures}, of {shown(scope)}"
    if reserved_nano:
        message += f"; {_usd(reserved_nano)} is set aside for requests under way"
    if asked_nano and spent_nano + reserved_nano < limit:
        message += f"; this request may cost {_usd(asked_nano)}: lower its max_tokens"
    if math.isfinite(ends_s):
        message += f"; the budget begins anew at {_moment(ends_s)}"
    return BudgetExceeded(message, status=status)


def shown(scope: Scope) -> str:
    """A scope as people call it: what it is, and its name."""
    word, name = _WORDS.get(scope.kind, scope.kind), scope.name
    if not name and scope.kind == "key_model":
        name = scope.id.partition("/")[2]
    if not name and scope.kind not in _OF_KEYS:
        name = scope.id
    return f"{word}: {name}" if name else word


def _limited(
    scope: Scope, kind: str, limit: int, end: str, wait_s: float | None = None, reset_at: str = ""
) -> RateLimited:
    headers = [("rate_limit_type", kind)]
    if wait_s is not None:
        wait_s = max(1.0, wait_s)
        headers.append(("retry-after", str(math.ceil(wait_s))))
    if reset_at:
        headers.append(("reset_at", reset_at))
    return RateLimited(
        f"Rate limit exceeded for {shown(scope)}. Limit type: {kind}, Current limit: {limit}, Remaining: 0.{end}",
        retry_after_s=wait_s,
        headers=tuple(headers),
    )


def _moment(wall_s: float) -> str:
    return datetime.fromtimestamp(math.ceil(wall_s), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _usd(nano: int) -> str:
    return f"{usd_of(nano):.9f}".rstrip("0").rstrip(".")
