"""The bodies of requests about keys, and what their fields become.

Owns: the fields that a key may have, the values that are none, and the moments that durations mean. Refuses: to know
keys that are there. Rule: a field that LiteLLM has and that does nothing here is kept and given back, and stands in
`INERT`, so that answers can say so.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from proxy_cli.access.periods import parse_period
from proxy_cli.admin.base import LONGEST_ID, MOST_USD, Count, Counts, Flag, Id, Map, Names, Text, Usd
from proxy_cli.errors import InvalidRequest
from proxy_cli.shapes import Json
from proxy_cli.store.moments import from_iso

_DURATION: Final = re.compile(r"([0-9]{1,9})(mo|[smhdw])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LONGEST_S: Final = 100 * 366 * 86_400
_SHORTEST_KEY: Final = 16
MOST_WINDOWS: Final = 20  # each is counted with every request
_LONGEST_KEY: Final = 512
_KEY: Final = re.compile(r"sk-[\x21-\x7e]+")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_ROUTE: Final = re.compile(r"[/A-Za-z][\x21-\x7e]*")

KeyText = Annotated[str, Meta(max_length=_LONGEST_KEY)]


class BudgetLimit(msgspec.Struct, kw_only=True):
    """One of several budgets that hold at the same time."""

    budget_duration: str
    max_budget: Annotated[float, Meta(ge=0, le=MOST_USD)]


class KeyFields(msgspec.Struct, kw_only=True):
    """What a key is, and what it may; null takes a limit away."""

    key_alias: Id = UNSET
    duration: Text = UNSET
    models: Names = UNSET
    aliases: dict[str, str] | UnsetType | None = UNSET
    user_id: Id = UNSET
    team_id: Id = UNSET
    organization_id: Id = UNSET
    budget_id: Id = UNSET
    max_budget: Usd = UNSET
    soft_budget: Usd = UNSET
    budget_duration: Text = UNSET
    budget_limits: Annotated[list[BudgetLimit], Meta(max_length=MOST_WINDOWS)] | UnsetType | None = UNSET
    model_max_budget: Map = UNSET
    spend: Usd = UNSET
    tpm_limit: Count = UNSET
    rpm_limit: Count = UNSET
    max_parallel_requests: Count = UNSET
    model_tpm_limit: Counts = UNSET
    model_rpm_limit: Counts = UNSET
    metadata: Map = UNSET
    tags: Names = UNSET
    allowed_routes: Names = UNSET
    allowed_ips: Names = UNSET
    key_type: Literal["llm_api", "management", "read_only", "default"] | UnsetType | None = UNSET
    blocked: Flag = UNSET
    # Kept and given back; see INERT.
    permissions: Map = UNSET
    config: Map = UNSET
    guardrails: Names = UNSET
    allowed_cache_controls: list[Any] | UnsetType | None = UNSET
    project_id: Id = UNSET
    agent_id: Id = UNSET
    end_user_budget_id: Id = UNSET
    tpd_limit: Count = UNSET
    mcp_rpm_limit: Map = UNSET
    tag_rpm_limit: Map = UNSET
    rpm_limit_type: Text = UNSET
    tpm_limit_type: Text = UNSET
    policies: Names = UNSET
    prompts: Names = UNSET
    object_permission: Map = UNSET
    enforced_params: Names = UNSET
    router_settings: Map = UNSET
    access_group_ids: Names = UNSET
    allowed_vector_store_indexes: list[Any] | UnsetType | None = UNSET
    allowed_passthrough_routes: list[Any] | UnsetType | None = UNSET
    denied_passthrough_routes: list[Any] | UnsetType | None = UNSET
    auto_rotate: Flag = UNSET
    rotation_interval: Text = UNSET
    throttle_on_budget_exceeded: Flag = UNSET
    enable_prompt_caching: Flag = UNSET
    disable_global_guardrails: Flag = UNSET
    budget_fallbacks: Map = UNSET
    send_invite_email: Flag = UNSET


INERT: Final = frozenset(KeyFields.__struct_fields__[KeyFields.__struct_fields__.index("permissions") :])
# What has a column of its own, or is no field of the key that comes of it.
ASIDE: Final = frozenset(
    {"key_alias", "duration", "user_id", "team_id", "organization_id", "budget_id", "spend", "blocked"}
    | {"send_invite_email", "key", "new_key", "new_master_key", "grace_period"}
)


class NewKey(KeyFields, kw_only=True):
    """A key to be made; `key` is the key itself, where it is not to be drawn at random."""

    key: KeyText | UnsetType | None = UNSET


class KeyChange(KeyFields, kw_only=True):
    """What is to be different about a key, which is named by itself or by its `token`."""

    key: KeyText
    temp_budget_increase: Usd = UNSET
    temp_budget_expiry: Text = UNSET


class KeyChanges(msgspec.Struct, kw_only=True):
    """Changes to many keys."""

    keys: Annotated[list[KeyChange], Meta(max_length=500)]


class KeyRenewal(KeyFields, kw_only=True):
    """A key to be replaced by another, which is otherwise the same but for the fields that are given."""

    key: KeyText | UnsetType | None = UNSET
    new_key: KeyText | UnsetType | None = UNSET
    new_master_key: KeyText | UnsetType | None = UNSET
    grace_period: Text = UNSET


class KeyNames(msgspec.Struct, kw_only=True):
    """Which keys are meant: by themselves or their tokens, or by alias."""

    keys: Annotated[list[KeyText], Meta(max_length=1000)] | UnsetType | None = UNSET
    key_aliases: Annotated[list[str], Meta(max_length=1000)] | UnsetType | None = UNSET


class KeyName(msgspec.Struct, kw_only=True):
    """Which key is meant."""

    key: KeyText


class SpendReset(msgspec.Struct, kw_only=True):
    """What a key is to have spent."""

    reset_to: Annotated[float, Meta(ge=0, le=MOST_USD)]


class Nothing(msgspec.Struct, kw_only=True):
    """A body without fields."""


def check_fields(fields: Mapping[str, Json]) -> None:
    """Refuse values of a key's fields that are none, though of the right kind. Raises InvalidRequest."""
    for name in ("budget_duration", "rotation_interval"):
        if (words := fields.get(name)) is not None:
            _check_period(name, words)
    for entry in fields.get("budget_limits") or ():
        _check_period("budget_limits", entry["budget_duration"])
    for model, budget in (fields.get("model_max_budget") or {}).items():
        _check_model_budget(model, budget)
    for route in fields.get("allowed_routes") or ():
        if not _ROUTE.fullmatch(route):
            raise InvalidRequest(
                f"allowed_routes has {route[:80]!r}; give paths as /chat/completions or /key/*, or names of groups",
                param="allowed_routes",
            )
    if (until := fields.get("temp_budget_expiry")) is not None:
        check_moment("temp_budget_expiry", until)


def _check_period(name: str, words: str) -> None:
    try:
        parse_period(words)
    except ValueError as error:
        raise InvalidRequest(f"{name}: {error}", param=name) from None


def _check_model_budget(model: str, budget: Json) -> None:
    amount: Json = budget
    if isinstance(budget, dict):
        amount = budget.get("budget_limit", budget.get("max_budget"))
        if (words := budget.get("time_period", budget.get("budget_duration"))) is not None:
            _check_period("model_max_budget", str(words))
    try:
        usd = float(amount)
    except (TypeError, ValueError):
        usd = -1.0
    if isinstance(amount, bool) or not 0 <= usd <= MOST_USD:
        raise InvalidRequest(
            f"model_max_budget of {model[:LONGEST_ID]!r} is no budget; write "
            '{"budget_limit": 10, "time_period": "30d"}, in USD',
            param="model_max_budget",
        )


def check_moment(name: str, text: str) -> int:
    """A moment of ISO 8601 in microseconds. Raises InvalidRequest."""
    try:
        return from_iso(text.replace("Z", "+00:00"))
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"{name} is {text[:60]!r}; write a moment such as 2026-12-31T00:00:00Z", param=name
        ) from None


def after(name: str, duration: str, now_us: int) -> int:
    """The moment that lies a duration after another, in microseconds. Raises InvalidRequest."""
    found = _DURATION.fullmatch(duration.strip())
    if found is None:
        raise InvalidRequest(
            f"{name} is {duration[:40]!r}; write a number and s, m, h, d, w or mo, such as 30d", param=name
        )
    count, unit = int(found[1]), found[2]
    if unit == "mo":
        return _months_after(name, count, now_us)
    return now_us + _bounded(name, count * _SECONDS[unit]) * 1_000_000


def seconds_of(name: str, duration: str) -> int:
    """How long a duration is; a month counts as 30 days. Raises InvalidRequest."""
    found = _DURATION.fullmatch(duration.strip())
    if found is None:
        return after(name, duration, 0)  # says what is wrong
    return int(found[1]) * (2_592_000 if found[2] == "mo" else _SECONDS[found[2]])


def _months_after(name: str, count: int, now_us: int) -> int:
    _bounded(name, count * 2_592_000)
    now = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    number = now.year * 12 + now.month - 1 + count
    year, month = number // 12, number % 12 + 1
    for day in (now.day, 30, 29, 28):  # the last of a month that is shorter
        try:
            return int(now.replace(year=year, month=month, day=day).timestamp()) * 1_000_000 + now_us % 1_000_000
        except ValueError:
            continue
    raise AssertionError("every month has 28 days")


def _bounded(name: str, seconds: int) -> int:
    if seconds > _LONGEST_S:
        raise InvalidRequest(f"{name} is longer than a century; leave it out for a key that never expires", param=name)
    return seconds


def check_key(key: str) -> str:
    """A key that an operator has chosen. Raises InvalidRequest, which does not show it."""
    if not _KEY.fullmatch(key) or not _SHORTEST_KEY <= len(key) <= _LONGEST_KEY:
        raise InvalidRequest(
            f"a key begins with sk- and has {_SHORTEST_KEY} to {_LONGEST_KEY} printable characters without blanks; "
            "give another, or leave it out to have one drawn",
            param="key",
        )
    return key


def is_digest(text: str) -> bool:
    """Whether a text is a key's token rather than a key."""
    return _DIGEST.fullmatch(text) is not None
