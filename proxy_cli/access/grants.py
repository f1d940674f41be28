"""What the store says of a key, made the Caller that goes with its calls.

Pure: rows and the time in, values out. A key is never more than those it belongs to: the models and limits of its user,
team and organization are part of the Caller, and are read anew when one of them changes. A limit that an object does
not set itself comes from its budget.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Final, Self

import msgspec

from proxy_cli.access.routes import allowed_routes_of
from proxy_cli.callers import Caller, Period, Role, Scope
from proxy_cli.money import nano_of
from proxy_cli.shapes import NOTHING, Json

Row = Mapping[str, Json]
Parts = frozenset[tuple[str, str]]  # kinds and ids of the objects that something was made of

_MICRO: Final = 1_000_000
_NEVER_S: Final = float("inf")
_LIMITS: Final = ("max_budget", "soft_budget", "budget_duration", "tpm_limit", "rpm_limit", "max_parallel_requests")
_ROLES: Final = {role.value: role for role in Role}
UNKNOWN: Final = ("is not known here; check the key your client sends", "invalid_api_key")
_NO_SET: Final = frozenset({"all-team-models", "all-proxy-models"})  # no limit beyond that of the team


class Names(frozenset[str]):
    """Names of models that somebody allows; `whose` says who: key, user, team or org."""

    whose: str

    def __new__(cls, names: Iterable[str], whose: str) -> Self:
        made = super().__new__(cls, names)
        made.whose = whose
        return made


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says of all keys."""

    proxy: Scope | None = None  # counted for every call, where the proxy has a budget
    user_budget_holds_for_teams: bool = False  # apply_user_budget_to_team_keys
    zone: str = "UTC"
    customer_budget_usd: float | None = None  # max_end_user_budget
    customer_budget_id: str = ""  # max_end_user_budget_id
    customer_headers: tuple[str, ...] = ()  # in which an end user's id may stand, in lower case
    ttl_s: float = 60.0  # after which a key that is known is looked up again
    most_known: int = 10_000
    denied_status: int = 403


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All rows that one key depends on; a row that is not there is None."""

    key: Row | None = None
    presented: Row | None = None  # the key's former row, where the caller sent what it has replaced
    user: Row | None = None
    team: Row | None = None
    member: Row | None = None
    organization: Row | None = None
    budgets: Mapping[str, Row] = NOTHING


class Known(msgspec.Struct, kw_only=True):
    """What is known of one credential. Mutable in when it is to be looked up again, which its keeper alone changes."""

    caller: Caller | None = None
    refused: tuple[str, str] | None = None  # why it is no caller: the words, and the code
    turn_s: float = _NEVER_S  # unix time at which it is to be judged anew
    addresses: tuple[str, ...] = ()  # from which it may call; none: from all
    parts: Parts = frozenset()
    fresh_until_s: float = 0.0  # monotonic
    kept_until_s: float = 0.0  # likewise: to go on with while the store does not answer


def known_of(digest: str, facts: Facts | None, terms: Terms, now_s: float) -> Known:
    """What is known of a key by its digest, from what the store says at the moment `now_s` (unix)."""
    if facts is None or facts.key is None:
        return Known(refused=UNKNOWN, parts=frozenset({("key", digest)}))
    parts = _parts(digest, facts)
    key, shown = facts.key, facts.presented or facts.key
    ends_s = min((each["expires_at"] / _MICRO for each in (key, shown) if each["expires_at"]), default=_NEVER_S)
    refused = _refusal(facts, ends_s, now_s)
    if refused is not None:
        return Known(refused=refused, parts=parts)
    temporary_s = _temporary_until_s(key, now_s)
    caller = caller_of(facts, terms, now_s, expires_s=None if ends_s == _NEVER_S else ends_s)
    return Known(
        caller=caller,
        turn_s=min(ends_s, temporary_s),
        addresses=tuple(_texts(_fields(key).get("allowed_ips"))),
        parts=parts,
    )


def caller_of(facts: Facts, terms: Terms, now_s: float, *, expires_s: float | None) -> Caller:
    """The caller of a key that is good."""
    key = facts.key
    assert key is not None
    fields = _fields(key)
    metadata = _mapping(fields.get("metadata"))
    return _caller(
        facts,
        terms,
        digest=key["digest"],
        hint=key["hint"],
        alias=key["alias"] or "",
        fields=_with_increase(fields, metadata, now_s),
        user_id=key["user_id"],
        expires_s=expires_s,
    )


def caller_without_key(facts: Facts, terms: Terms, *, user_id: str, role: Role | None, expires_s: float) -> Caller:
    """The caller of a token that names a user and a team; `role` where the token itself says it."""
    caller = _caller(facts, terms, digest="", hint="", alias="", fields={}, user_id=user_id, expires_s=expires_s)
    return caller if role is None else msgspec.structs.replace(caller, role=role)


def _caller(
    facts: Facts,
    terms: Terms,
    *,
    digest: str,
    hint: str,
    alias: str,
    fields: Mapping[str, Json],
    user_id: str,
    expires_s: float | None,
) -> Caller:
    team, metadata = facts.team, _mapping(fields.get("metadata"))
    team_id = team["team_id"] if team else ""
    return Caller(
        role=role_of(facts.user),
        hint=hint,
        key=digest,
        key_alias=alias,
        user_id=user_id,
        team_id=team_id,
        team_alias=team["alias"] if team else "",
        organization_id=facts.organization["organization_id"] if facts.organization else _organization_of(facts),
        models=_models(facts, fields),
        aliases=_aliases(facts, fields),
        allowed_routes=allowed_routes_of(fields.get("allowed_routes"), fields.get("key_type")),
        scopes=tuple(_scopes(facts, terms, digest, alias or hint, fields, user_id)),
        model_scopes=_model_scopes(facts, terms, digest, alias or hint, fields),
        tags=_tags(fields, _fields(team)),
        metadata=metadata,
        expires_s=expires_s,
        priority=_whole(metadata.get("priority")),
        weight=_weight(metadata.get("weight")),
    )


def _tags(*owners: Mapping[str, Json]) -> tuple[str, ...]:
    """The tags of a key and of its team; each of them has two places for them."""
    listed = (each.get("tags") for own in owners for each in (_mapping(own.get("metadata")), own))
    return tuple(dict.fromkeys(tag for each in listed for tag in _texts(each)))


def role_of(user: Row | None) -> Role:
    """What a key may do beside asking models: what its user may; a key of nobody's is a plain user's."""
    return _ROLES.get(user["role"], Role.USER) if user else Role.USER


def scope_of(
    kind: str,
    id: str,  # noqa: A002 - the store's name for it
    name: str,
    limits: Mapping[str, Json],
    zone: str,
) -> Scope:
    """Something counted, with the limits that fields of LiteLLM's names set."""
    duration = limits.get("budget_duration")
    return Scope(
        kind=kind,
        id=id,
        name=name or id,
        rpm=_whole(limits.get("rpm_limit")),
        tpm=_whole(limits.get("tpm_limit")),
        max_parallel=_whole(limits.get("max_parallel_requests")),
        max_nano=_nano(limits.get("max_budget")),
        soft_nano=_nano(limits.get("soft_budget")),
        period=Period(text=str(duration), zone=zone) if duration else None,
    )


def limits_of(fields: Mapping[str, Json], budget: Row | None) -> dict[str, Json]:
    """An object's limits: its own, and those of its budget where it sets none."""
    below = _fields(budget) if budget else NOTHING
    return {name: own if (own := fields.get(name)) is not None else below.get(name) for name in _LIMITS}


def _refusal(facts: Facts, ends_s: float, now_s: float) -> tuple[str, str] | None:
    key, team = facts.key, facts.team
    assert key is not None
    if key["blocked"] or (facts.presented and facts.presented["blocked"]):
        return ("is blocked; ask for another one, or have this one unblocked", "blocked_key")
    if ends_s <= now_s:
        return (f"has expired on {_moment(ends_s)}; ask for another one", "expired_key")
    if key["team_id"] and team is None:
        return ("belongs to a team that is gone; ask for another one", "team_not_found")
    if team is not None and team["blocked"]:
        return ("belongs to a team that is blocked; have the team unblocked", "blocked_team")
    return None


def _parts(digest: str, facts: Facts) -> Parts:
    found = {("key", digest)}
    key = facts.key
    assert key is not None
    found.add(("key", key["digest"]))
    for kind in ("user", "team", "organization"):
        if key[f"{kind}_id"]:
            found.add((kind, key[f"{kind}_id"]))
    if key["user_id"] and key["team_id"]:
        found.add(("team_member", f"{key['team_id']}/{key['user_id']}"))
    if organization := _organization_of(facts):
        found.add(("organization", organization))
    rows = (key, facts.user, facts.team, facts.member, facts.organization)
    found.update(("budget", row["budget_id"]) for row in rows if row and row["budget_id"])
    return frozenset(found)


def _scopes(
    facts: Facts, terms: Terms, digest: str, name: str, fields: Mapping[str, Json], user_id: str
) -> Iterator[Scope]:
    """The narrowest first. Each is counted, and limited where it has a limit."""
    zone, team = terms.zone, facts.team
    if digest:
        assert facts.key is not None
        yield scope_of("key", digest, name, limits_of(fields, _budget(facts, facts.key)), zone)
        yield from _windows("key_window", digest, name, fields, zone)
    if team is not None and user_id:
        yield _member_scope(facts, team, user_id, zone)
    if user_id:
        limits = limits_of(_fields(facts.user), _budget(facts, facts.user))
        if team is not None and not terms.user_budget_holds_for_teams:
            # Who works for a team spends the team's money; how fast he may is his own affair still.
            limits["max_budget"] = limits["soft_budget"] = None
        yield scope_of("user", user_id, facts.user["alias"] if facts.user else "", limits, zone)
    if team is not None:
        limits = limits_of(_fields(team), _budget(facts, team))
        yield scope_of("team", team["team_id"], team["alias"], limits, zone)
        yield from _windows("team_window", team["team_id"], team["alias"] or team["team_id"], _fields(team), zone)
    if facts.organization is not None:
        row = facts.organization
        limits = limits_of(_fields(row), _budget(facts, row))
        yield scope_of("organization", row["organization_id"], row["alias"], limits, zone)
    if terms.proxy is not None:
        yield terms.proxy


def _windows(kind: str, owner: str, name: str, fields: Mapping[str, Json], zone: str) -> Iterator[Scope]:
    """Further budgets that hold at the same time, each for a period of its own."""
    for each in _list(fields.get("budget_limits")):
        window = _mapping(each)
        if duration := window.get("budget_duration"):
            limits = {"max_budget": window.get("max_budget"), "budget_duration": duration}
            yield scope_of(kind, f"{owner}/{duration}", f"{name} in {duration}", limits, zone)


def _member_scope(facts: Facts, team: Row, user_id: str, zone: str) -> Scope:
    own = _fields(facts.member)
    limits = limits_of({**own, "max_budget": own.get("max_budget_in_team")}, _budget(facts, facts.member))
    usual = _fields(team)
    for name, below in (
        ("max_budget", "team_member_budget"),
        ("budget_duration", "team_member_budget_duration"),
        ("rpm_limit", "team_member_rpm_limit"),
        ("tpm_limit", "team_member_tpm_limit"),
    ):
        if limits[name] is None:
            limits[name] = usual.get(below)
    name = f"{user_id} in {team['alias'] or team['team_id']}"
    return scope_of("team_member", f"{team['team_id']}/{user_id}", name, limits, zone)


def _model_scopes(
    facts: Facts, terms: Terms, digest: str, name: str, fields: Mapping[str, Json]
) -> Mapping[str, tuple[Scope, ...]]:
    """By the name asked for: what the key, its user and its team may use of one model."""
    found: dict[str, tuple[Scope, ...]] = {}
    owners: list[tuple[str, str, str, Mapping[str, Json]]] = []
    if digest:
        owners.append(("key_model", digest, name, fields))
    if facts.user is not None and facts.team is None:
        user = facts.user
        owners.append(("user_model", user["user_id"], user["alias"] or user["user_id"], _fields(user)))
    if facts.team is not None:
        team = facts.team
        owners.append(("team_model", team["team_id"], team["alias"] or team["team_id"], _fields(team)))
    for kind, id_, shown, own in owners:
        for model, limits in _by_model(own).items():
            scope = scope_of(kind, f"{id_}/{model}", f"{shown} for {model}", limits, terms.zone)
            found[model] = (*found.get(model, ()), scope)
    return found or NOTHING


def _by_model(fields: Mapping[str, Json]) -> Mapping[str, dict[str, Json]]:
    found: dict[str, dict[str, Json]] = {}
    metadata = _mapping(fields.get("metadata"))
    for name in ("rpm_limit", "tpm_limit"):
        # Older clients put these two into the metadata.
        for model, limit in _mapping(fields.get(f"model_{name}") or metadata.get(f"model_{name}")).items():
            found.setdefault(model, {})[name] = limit
    for model, budget in _mapping(fields.get("model_max_budget")).items():
        limits = found.setdefault(model, {})
        if isinstance(budget, Mapping):
            amount, other = budget.get("budget_limit"), budget.get("max_budget")
            limits["max_budget"] = other if amount is None else amount
            limits["budget_duration"] = budget.get("time_period") or budget.get("budget_duration")
        else:
            limits["max_budget"] = budget
    return found


def _models(facts: Facts, fields: Mapping[str, Json]) -> tuple[frozenset[str], ...]:
    """What each of those who have a say allows: a model must be in all of these sets."""
    own = _with_targets(_set(fields.get("models")), _mapping(fields.get("aliases")))
    sets = [("key", own)]
    team_fields = _fields(facts.team)
    if facts.team is not None:
        sets.append(("team", _set(team_fields.get("models"))))
        sets.append(("team", _set(_fields(facts.member).get("allowed_models"))))
    else:
        sets.append(("user", _set(_fields(facts.user).get("models"))))
    sets.append(("org", _set(_fields(facts.organization).get("models"))))
    renamed = _mapping(team_fields.get("model_aliases"))
    # A team's alias is the operator's word: who may ask for the name may have what it stands for.
    return tuple(Names(_with_targets(names, renamed), whose) for whose, names in sets if names)


def _with_targets(names: frozenset[str], renamed: Mapping[str, Json]) -> frozenset[str]:
    return names | {str(target) for name, target in renamed.items() if allows(names, str(name))}


def allows(names: frozenset[str], name: str) -> bool:
    """Whether a set of names allows one: by itself, by `*`, or by a beginning such as `openai/*`."""
    if name in names or "*" in names:
        return True
    return any(each[-1:] == "*" and name.startswith(each[:-1]) for each in names)


def _aliases(facts: Facts, fields: Mapping[str, Json]) -> Mapping[str, str]:
    both = {**_mapping(_fields(facts.team).get("model_aliases")), **_mapping(fields.get("aliases"))}
    return {str(name): str(target) for name, target in both.items()} or NOTHING


def _with_increase(fields: Mapping[str, Json], metadata: Mapping[str, Json], now_s: float) -> Mapping[str, Json]:
    increase = fields.get("temp_budget_increase") or metadata.get("temp_budget_increase")
    if not increase or fields.get("max_budget") is None or _until_s(fields, metadata) <= now_s:
        return fields
    return {**fields, "max_budget": fields["max_budget"] + increase}


def _temporary_until_s(key: Row, now_s: float) -> float:
    fields = _fields(key)
    until_s = _until_s(fields, _mapping(fields.get("metadata")))
    return until_s if until_s > now_s else _NEVER_S


def _until_s(fields: Mapping[str, Json], metadata: Mapping[str, Json]) -> float:
    text = fields.get("temp_budget_expiry") or metadata.get("temp_budget_expiry")
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return 0.0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _organization_of(facts: Facts) -> str:
    for row in (facts.key, facts.team):
        if row and row["organization_id"]:
            return str(row["organization_id"])
    return ""


def _budget(facts: Facts, row: Row | None) -> Row | None:
    return facts.budgets.get(row["budget_id"]) if row and row["budget_id"] else None


def _fields(row: Row | None) -> Mapping[str, Json]:
    return _mapping(row["fields"]) if row else NOTHING


def _mapping(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else NOTHING


def _list(value: Json) -> Iterable[Json]:
    return value if isinstance(value, list | tuple) else ()


def _texts(value: Json) -> list[str]:
    return [each for each in _list(value) if isinstance(each, str)]


def _set(value: Json) -> frozenset[str]:
    names = frozenset(_texts(value))
    return frozenset() if names & _NO_SET else names


def _whole(value: Json) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _weight(value: Json) -> float:
    return float(value) if isinstance(value, int | float) and value > 0 else 1.0


def _nano(value: Json) -> int | None:
    if value is None:
        return None
    # A budget below nothing is used up from the start; one too small to be counted is no more than the smallest.
    usd = max(0.0, float(value))
    return nano_of(usd) or (1 if usd else 0)


def _moment(unix_s: float) -> str:
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
