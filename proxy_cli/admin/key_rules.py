"""What a key may be given: the operator's defaults and upper bounds, and never more than whoever makes it has.

Owns: `default_key_generate_params`, `upperbound_key_generate_params`, `key_generation_settings`, and the comparison of
a key with the key and the user that ask for it. Refuses: to know HTTP or to change rows. Rule: a limit that is left out
means "no limit", so what would be more than the maker has is made the maker's own, and what is asked for beyond it is
refused; a proxy_admin may give anything.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, select

from proxy_cli.access.grants import allows, limits_of
from proxy_cli.access.routes import allowed_routes_of
from proxy_cli.admin.base import Office, Row, row_of
from proxy_cli.admin.key_body import after, seconds_of
from proxy_cli.admin.key_bounds import bequeathed, refuse_looser, refuse_raising
from proxy_cli.callers import Caller
from proxy_cli.errors import Forbidden, InvalidRequest
from proxy_cli.shapes import Json
from proxy_cli.store.tables import BUDGETS, KEYS, USERS

_NUMBERS: Final = ("max_budget", "soft_budget", "tpm_limit", "rpm_limit", "max_parallel_requests")
_DURATIONS: Final = ("duration", "budget_duration")
_OWN_LIMITS: Final = ("max_budget", "tpm_limit", "rpm_limit", "max_parallel_requests")
_FIXED: Final = frozenset({"key", "key_alias", "user_id", "spend", "blocked"})  # no default makes sense for these


def with_defaults(office: Office, fields: Mapping[str, Json]) -> dict[str, Json]:
    """A new key's fields, with the operator's defaults where the request says nothing."""
    defaults = office.config.litellm_settings.default_key_generate_params
    missing = {
        name: value
        for name, value in defaults.items()
        if name not in _FIXED and fields.get(name) in (None, [], {})  # LiteLLM's clients send empty lists for nothing
    }
    return {**fields, **missing}


def bounded(office: Office, fields: Mapping[str, Json], *, is_new: bool) -> dict[str, Json]:
    """A key's fields within the operator's bounds: what a new key leaves out is set to the bound.

    Raises InvalidRequest for what is over it.
    """
    found = dict(fields)
    _check_alias(office.config.litellm_settings.key_alias_pattern, found.get("key_alias"))
    for name, bound in office.config.litellm_settings.upperbound_key_generate_params.items():
        if bound is None or (name not in _NUMBERS and name not in _DURATIONS):
            continue
        value = found.get(name)
        if value is None:
            if is_new or name in found:
                found[name] = bound
        elif _size(name, value) > _size(name, bound):
            raise InvalidRequest(
                f"{name} is {value}, and upperbound_key_generate_params allows at most {bound}; ask for less",
                param=name,
            )
    return found


def _check_alias(pattern: str | None, alias: Json) -> None:
    """Raises InvalidRequest for an alias that is not of the operator's form."""
    if pattern and alias and re.fullmatch(pattern, alias) is None:
        raise InvalidRequest(
            f"key_alias is {alias[:100]!r}, and key_alias_pattern wants {pattern!r}; give another one",
            param="key_alias",
        )


def _size(name: str, value: Json) -> float:
    try:
        return seconds_of(name, str(value)) if name in _DURATIONS else float(value)
    except (TypeError, ValueError):
        raise InvalidRequest(f"{name}: upperbound_key_generate_params does not hold a number; mend the file") from None


def check_generation(office: Office, caller: Caller, team_role: str | None, fields: Mapping[str, Json]) -> None:
    """Go by `key_generation_settings`: who may make keys, and what they must say. Raises Forbidden, InvalidRequest."""
    settings = office.config.litellm_settings.key_generation_settings
    is_personal = not fields.get("team_id")
    rules: Any = settings.get("personal_key_generation" if is_personal else "team_key_generation")
    if not isinstance(rules, Mapping):
        return
    kind = "keys of their own" if is_personal else "keys of a team"
    roles = rules.get("allowed_user_roles") if is_personal else rules.get("allowed_team_member_roles")
    own = caller.role.value if is_personal else team_role
    if roles and not caller.is_admin and own not in roles:
        raise Forbidden(f"key_generation_settings lets only {', '.join(map(str, roles))} make {kind}; ask one of them")
    for name in rules.get("required_params") or ():
        if fields.get(name) in (None, [], {}, ""):
            raise InvalidRequest(f"key_generation_settings asks for {name} with {kind}; give it", param=str(name))


def within_maker(
    connection: Connection, caller: Caller, fields: Mapping[str, Json], *, now_us: int, is_new: bool
) -> dict[str, Json]:
    """A key's fields within what the key and the user that ask for it have. Raises Forbidden for what is more."""
    if caller.is_admin:
        return dict(fields)
    found = dict(fields)
    parent = row_of(connection, select(KEYS).where(KEYS.c.digest == caller.key)) if caller.key else None
    if parent is None and is_new:
        refuse_raising(found, {})
    if parent is not None:
        limits = effective(connection, parent)
        _within_limits(found, limits, "the key that asks for it", is_new=is_new)
        if is_new:
            found = bequeathed(found, limits)
            if parent["organization_id"] and not (
                parent["team_id"] or found.get("team_id") or found.get("organization_id")
            ):
                found["organization_id"] = parent["organization_id"]  # which pays for the maker, too
        else:
            refuse_looser(found, limits, "the key that asks for it")
        _within_models(found, parent["fields"].get("models") or (), is_new=is_new)
        _within_routes(found, parent["fields"], is_new=is_new)
        _within_life(found, parent, now_us, is_new=is_new)
    user = row_of(connection, select(USERS).where(USERS.c.user_id == caller.user_id)) if caller.user_id else None
    if user is not None and not found.get("team_id"):
        # What is left out needs no bound of its own here: the user's limits hold for all his keys together.
        _within_limits(found, user["fields"], "its user", is_new=False)
        _within_models(found, user["fields"].get("models") or (), is_new=False)
    return found


def effective(connection: Connection, key: Row) -> dict[str, Json]:
    """A key's fields, with the limits of its budget where it sets none itself."""
    budget = row_of(connection, select(BUDGETS).where(BUDGETS.c.budget_id == key["budget_id"]))
    return {**key["fields"], **limits_of(key["fields"], budget)}


def _within_limits(found: dict[str, Json], most: Mapping[str, Json], whose: str, *, is_new: bool) -> None:
    for name in _OWN_LIMITS:
        bound = most.get(name)
        if bound is None:
            continue
        value = found.get(name)
        if value is None:
            if is_new or name in found:
                found[name] = bound
        elif value > bound:
            raise Forbidden(f"{name} is {value}, and {whose} has {bound}; a key gets no more than its maker has")


def _within_models(found: dict[str, Json], most: Sequence[str], *, is_new: bool) -> None:
    if not most or "all-proxy-models" in most:
        return
    if not found.get("models"):
        if is_new or "models" in found:
            found["models"] = list(most)
        wanted = []
    else:
        wanted = list(found["models"])
    wanted += list((found.get("aliases") or {}).values())
    known = frozenset(most)
    if beyond := [each for each in wanted if not allows(known, each)]:
        raise Forbidden(
            f"models: {', '.join(beyond[:5])} is not among those of its maker; a key gets no more than that"
        )


def _within_routes(found: dict[str, Json], most: Mapping[str, Json], *, is_new: bool) -> None:
    routes, kind = most.get("allowed_routes"), most.get("key_type")
    if routes:
        if not found.get("allowed_routes"):
            if is_new or "allowed_routes" in found:
                found["allowed_routes"] = list(routes)
        elif beyond := set(found["allowed_routes"]) - set(routes):
            raise Forbidden(f"allowed_routes: {', '.join(sorted(beyond)[:5])} is not among those of its maker")
    elif kind and kind != "default" and (is_new or "key_type" in found) and found.get("key_type", kind) != kind:
        raise Forbidden(f"key_type is {found['key_type']}, and the key that asks for it is for {kind}")
    elif (
        kind and not set(found.get("allowed_routes") or ()) <= set(allowed_routes_of(None, kind)) and kind != "default"
    ):
        raise Forbidden(f"allowed_routes: the key that asks for it is for {kind}, and gives no other routes")
    if kind and is_new:
        found.setdefault("key_type", kind)


def _within_life(found: dict[str, Json], parent: Row, now_us: int, *, is_new: bool) -> None:
    ends_at = parent["expires_at"]
    if ends_at is None:
        return
    duration = found.get("duration")
    if duration is None or duration == "-1":
        if is_new or "duration" in found:
            found["duration"] = f"{max(1, (ends_at - now_us) // 1_000_000)}s"
    elif after("duration", duration, now_us) > ends_at:
        raise Forbidden("duration: the key would outlive the key that asks for it; ask for a shorter time")
