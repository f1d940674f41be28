"""Settings of keys and users that hold fields of requests: whether they are such fields.

Owns: the problems of `default_key_generate_params`, `upperbound_key_generate_params`, `default_internal_user_params`,
`key_generation_settings` and the durations of budgets. Refuses: to know what the fields do. Rule: a bound that is
misspelt would bound nothing, and be missed by nobody until the money is gone; so it is an error at the start.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Final

import msgspec

from proxy_cli.access.periods import parse_period
from proxy_cli.admin.key_body import KeyFields, seconds_of
from proxy_cli.admin.refusals import bad_field
from proxy_cli.admin.user_body import NewUser
from proxy_cli.config.load import Loaded
from proxy_cli.config.problem import Path, Problem, Severity, did_you_mean
from proxy_cli.config.schema import Config
from proxy_cli.errors import InvalidRequest
from proxy_cli.shapes import Json

_KEY_FIELDS: Final = tuple(KeyFields.__struct_fields__)
_USER_FIELDS: Final = (*NewUser.__struct_fields__, "available_teams")
_BOUNDS: Final = (
    ("max_budget", "soft_budget", "tpm_limit", "rpm_limit", "max_parallel_requests", "duration", "budget_duration")
)  # fmt: skip
_RULES: Final[Mapping[str, tuple[str, ...]]] = {
    "personal_key_generation": ("allowed_user_roles", "required_params"),
    "team_key_generation": ("allowed_team_member_roles", "required_params"),
}
_LASTING: Final = ("budget_duration", "internal_user_budget_duration")
_KNOWN: Final = "known: "
Found = tuple[Path, str, str]
Check = Callable[[str, Json], str]  # what is wrong with a value, if anything


def misfits(config: Config, loaded: Loaded) -> list[Problem]:
    """A problem, with its place, for each of these settings that is no field, or whose value is none."""
    said = config.litellm_settings
    found = [
        *_of_fields("default_key_generate_params", said.default_key_generate_params, _KEY_FIELDS, _of_key),
        *_of_fields("upperbound_key_generate_params", said.upperbound_key_generate_params, _BOUNDS, _of_key),
        *_of_fields("default_internal_user_params", said.default_internal_user_params, _USER_FIELDS, _of_user),
        *_of_rules(said.key_generation_settings),
        *((_at(name), *_parted(_unlasting(getattr(said, name)))) for name in _LASTING if getattr(said, name)),
    ]
    return [loaded.problem(*each, severity=_severity(each)) for each in found if each[1]]


def _severity(found: Found) -> Severity:
    """A field that resembles none of ours may be one that LiteLLM has: it does nothing, and that is told."""
    return Severity.WARNING if found[2].startswith(_KNOWN) else Severity.ERROR


def _at(*steps: str) -> Path:
    return ("litellm_settings", *steps)


def _of_fields(setting: str, given: Mapping[str, Json], known: tuple[str, ...], wrong: Check) -> Iterator[Found]:
    for name, value in given.items():
        if name not in known:
            yield (_at(setting, name), *_strange(name, known))
        else:
            yield (_at(setting, name), *_parted(wrong(name, value)))


def _of_rules(given: Mapping[str, Json]) -> Iterator[Found]:
    for name, rule in given.items():
        at = _at("key_generation_settings", name)
        if name not in _RULES:
            yield (at, *_strange(name, tuple(_RULES)))
        elif not isinstance(rule, Mapping):
            yield at, "expected a mapping", f"write {' or '.join(_RULES[name])} below it"
        else:
            yield from (((*at, each), *_rule(each, value, _RULES[name])) for each, value in rule.items())


def _rule(name: str, value: Json, known: tuple[str, ...]) -> tuple[str, str]:
    if name not in known:
        return _strange(name, known)
    is_list = value is None or (isinstance(value, list | tuple) and all(isinstance(each, str) for each in value))
    return ("", "") if is_list else ("expected a list of names", "write it as [one, other]")


def _strange(name: str, known: tuple[str, ...]) -> tuple[str, str]:
    near = did_you_mean(name, known)
    return "no such setting", f'did you mean "{near}"?' if near else f"{_KNOWN}{', '.join(known)}"


def _of_struct(kind: type[msgspec.Struct], name: str, value: Json) -> str:
    try:
        msgspec.convert(msgspec.to_builtins({name: value}), kind, strict=False)
    except msgspec.ValidationError as error:
        return bad_field(str(error), kind).message.removeprefix(f"{name}: ")
    if name == "budget_duration" and value is not None:
        return _unlasting(str(value))
    return ""


def _of_key(name: str, value: Json) -> str:
    if name != "duration" or value is None:
        return _of_struct(KeyFields, name, value)
    try:
        seconds_of(name, str(value))
    except InvalidRequest as refused:
        return refused.message
    return ""


_of_user: Final = partial(_of_struct, NewUser)


def _unlasting(text: str) -> str:
    try:
        parse_period(text)
    except ValueError as error:
        return str(error)
    return ""


def _parted(message: str) -> tuple[str, str]:
    """What is wrong, and the cure, of a sentence that has both."""
    wrong, _, cure = message.partition("; ")
    return wrong, cure
