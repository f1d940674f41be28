"""Limits beside plain numbers: what goes from a key to those that are made with it, and what its user leaves as it is.

Pure. Owns: the comparison of budgets for periods and for models, of addresses, and of what stands in the metadata and
counts. Rule: what was set by somebody who may more is neither taken off nor loosened by whoever it binds.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from proxy_cli.admin.key_body import seconds_of
from proxy_cli.errors import Forbidden, InvalidRequest
from proxy_cli.shapes import Json

_OF_MODELS: Final = ("model_rpm_limit", "model_tpm_limit")
# Where the metadata says how much a key may, or how soon its turn is: an operator's word.
_RAISING: Final = ("temp_budget_increase", "temp_budget_expiry", "weight")


def bequeathed(found: dict[str, Json], most: Mapping[str, Json]) -> dict[str, Json]:
    """A new key's fields with the limits of the key that asks for it. Raises Forbidden for looser ones."""
    refuse_raising(found, {})
    limits = {**most, **_of_models(most)}
    for name in _COMPARED:
        if (
            limits.get(name)
            and not found.get(name)
            and (name != "budget_duration" or most.get("max_budget") is not None)
        ):
            found[name] = limits[name]
    refuse_looser(found, most, "the key that asks for it")
    tags = list(dict.fromkeys([*(most.get("tags") or ()), *(found.get("tags") or ())]))
    return {**found, "tags": tags} if most.get("tags") else found


def refuse_looser(wanted: Mapping[str, Json], most: Mapping[str, Json], whose: str) -> None:
    """Raise Forbidden where something binds less than it does in `most`."""
    limits = {**most, **_of_models(most)}
    if "metadata" in wanted:
        # Older clients put these two there, and what stands there goes with the rest of it.
        wanted = {**_of_models({**most, "metadata": wanted["metadata"]}), **wanted}
    for name, is_looser in _COMPARED.items():
        if name in wanted and limits.get(name) and is_looser(wanted[name], limits[name]):
            raise Forbidden(f"{name} is more than {whose} has, which may be narrowed here and not widened")
    period = wanted.get("budget_duration")
    if period and most.get("max_budget") is not None and not most.get("budget_duration"):
        raise Forbidden(f"budget_duration: the budget that {whose} has is for all time; leave it out")


def refuse_raising(wanted: Mapping[str, Json], former: Mapping[str, Json]) -> None:
    """Raise Forbidden where the metadata says more than an operator has put there."""
    given, before = wanted.get("metadata") or {}, former.get("metadata") or {}
    if found := [name for name in _RAISING if given.get(name) is not None and given.get(name) != before.get(name)]:
        raise Forbidden(f"only a proxy_admin sets {', '.join(found)} in the metadata of a key; leave it out")


def _of_models(fields: Mapping[str, Json]) -> dict[str, Json]:
    metadata = fields.get("metadata") or {}
    return {name: fields.get(name) or metadata.get(name) for name in _OF_MODELS}


def _counts(wanted: Any, most: Any) -> bool:
    return any((wanted or {}).get(name, limit + 1) > limit for name, limit in most.items())


def _budgets(wanted: Any, most: Any) -> bool:
    return any(name not in (wanted or {}) or _is_dearer(wanted[name], budget) for name, budget in most.items())


def _is_dearer(wanted: Json, most: Json) -> bool:
    (usd, period), (limit, usual) = _budget(wanted), _budget(most)
    return usd > limit or (period is not None and _shorter(period, usual))


def _budget(value: Json) -> tuple[float, Json]:
    if not isinstance(value, Mapping):
        return float(value), None
    amount = value.get("budget_limit", value.get("max_budget"))
    return float(amount), value.get("time_period") or value.get("budget_duration")


def _windows(wanted: Any, most: Any) -> bool:
    return any(each not in (wanted or ()) for each in most)


def _addresses(wanted: Any, most: Any) -> bool:
    return not wanted or not set(wanted) <= set(most)


def _shorter(wanted: Any, most: Any) -> bool:
    """Whether a budget comes anew sooner; one for all time never does."""
    if not wanted or wanted == most:
        return False
    try:
        return not most or seconds_of("budget_duration", wanted) < seconds_of("budget_duration", most)
    except InvalidRequest:  # a word, of which only the same one is surely no shorter
        return True


_COMPARED: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "budget_duration": _shorter,
    "budget_limits": _windows,
    "model_max_budget": _budgets,
    "model_rpm_limit": _counts,
    "model_tpm_limit": _counts,
    "allowed_ips": _addresses,
}
