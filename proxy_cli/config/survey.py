"""What becomes of every key of a file: one walk along the declaration.

Every key is used, ignored for a reason, not yet supported, sent on, kept, or an error; none is passed over. What
many entries have in common is said once, at the first of them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Final, NamedTuple, get_args, get_origin

from proxy_cli.config.flags import Flags
from proxy_cli.config.models import ModelEntry
from proxy_cli.config.price_names import NAMES, is_known_price, is_modifier, is_price
from proxy_cli.config.privacy import looks_secret, shown
from proxy_cli.config.problem import Path, Severity, did_you_mean
from proxy_cli.config.reading import Field
from proxy_cli.config.scalar import Scalar, plain
from proxy_cli.config.schema import Config
from proxy_cli.config.state import Section, State, Unknown, extra, is_nothing, settings, takes_prices
from proxy_cli.config.variables import Finding
from proxy_cli.shapes import Json

NO_SUCH_SETTING: Final = "no such setting"
IS_MISSING: Final = "is missing"
FURTHER_LEFT: Final = "it belongs further left: take some of its indentation away"
_NOT_YET: Final = "known, not yet supported"


@dataclass(frozen=True, slots=True)
class Standing:
    """What becomes of one key, and why where that is not plain."""

    path: Path
    state: State
    why: str = ""


@dataclass(frozen=True, slots=True)
class Inside:
    """A section below a key: as it is, or as the entries of a list or a mapping."""

    section: type[Section]
    shape: str  # one, list or map


@dataclass(frozen=True, slots=True)
class Declared:
    """What the declaration says of a key."""

    told: Mapping[str, Json]
    inside: Inside | None
    silent: bool  # there is never anything to say about it


class Visit(NamedTuple):
    """One key of the file, and its declaration, if there is one."""

    section: type[Section]
    path: Path
    key: str
    value: Json
    declared: Declared | None


def visits(values: Json, section: type[Section] = Config, path: Path = ()) -> Iterator[Visit]:
    """Every key of a tree that stands where a section is declared."""
    known = _declarations(section)
    for key, value in values.items() if isinstance(values, Mapping) else ():
        declared = known.get(key)
        yield Visit(section, (*path, key), key, value, declared)
        if declared is not None and declared.inside is not None:
            for inner_path, inner in _entries(value, (*path, key), declared.inside):
                yield from visits(inner, declared.inside.section, inner_path)


def standings(values: Mapping[str, Json]) -> Iterator[Standing]:
    """What becomes of each key; of one that is an error, nothing."""
    for visit in visits(values):
        if visit.declared is not None:
            yield _standing(visit, visit.declared.told)
        elif (why := _undeclared(visit)) is not None:
            yield Standing(visit.path, _STATES.get(why, State.USED), why)


def findings(values: Mapping[str, Json]) -> list[Finding]:
    """What is to be said of the keys; what several entries have in common once, at the first."""
    said: dict[tuple[Path, str], tuple[Finding, int]] = {}
    for visit in visits(values):
        if visit.declared is not None and visit.declared.silent:
            continue
        if (finding := _finding(visit)) is not None:
            path = visit.path
            if finding.severity is not Severity.ERROR:
                path = tuple("*" if isinstance(step, int) else step for step in path)
            first, count = said.get((path, finding.message), (finding, 0))
            said[(path, finding.message)] = (first, count + 1)
    return [_counted(finding, count) for finding, count in said.values()]


def _standing(visit: Visit, told: Mapping[str, Json]) -> Standing:
    if _is_later_value(visit.value, told):
        return Standing(visit.path, State.LATER, _SHUFFLED)
    return Standing(visit.path, State(told["x-state"]), told.get("x-why") or told.get("x-note", ""))


def _is_later_value(value: Json, told: Mapping[str, Json]) -> bool:
    return isinstance(value, Scalar) and value.text in told.get("x-not-yet-supported-values", ())


def _finding(visit: Visit) -> Finding | None:
    if visit.declared is not None:
        return None if is_nothing(visit.value) else _declared(visit, visit.declared.told)
    why = _undeclared(visit)
    if why is None:
        return Finding(visit.path, NO_SUCH_SETTING, _cure(visit.section, visit.key), at_key=True)
    if why is _PLAIN_PRICES:
        return Finding(visit.path, _NOT_YET, why, Severity.WARNING)
    if why is _USELESS:
        cure = _cure(visit.section, visit.key)
        return Finding(visit.path, f"{NO_SUCH_SETTING}, so it does nothing", cure, Severity.WARNING, at_key=True)
    return Finding(visit.path, f"unknown here; {why}", severity=Severity.WARNING) if why is _SENT else None


def _declared(visit: Visit, told: Mapping[str, Json]) -> Finding | None:
    why = told.get("x-why", "")
    match told["x-state"]:
        case State.LATER if told.get("x-always") or _asks_for_something(visit.value):
            return Finding(visit.path, _NOT_YET, why, Severity.WARNING)
        case State.IGNORED if _asks_for_something(visit.value):
            return Finding(visit.path, f"does nothing here: {why}", "take it out", Severity.WARNING)
        case State.USED if _is_later_value(visit.value, told):
            return Finding(visit.path, f"{visit.value.text} is {_NOT_YET}", _SHUFFLED, Severity.WARNING)
        case State.USED if note := told.get("x-note"):
            return Finding(visit.path, note, severity=Severity.NOTE)
    return None


def _undeclared(visit: Visit) -> str | None:
    """What becomes of a key that no field declares; None: it is an error."""
    section, key = visit.section, visit.key
    if is_price(key) and takes_prices(section):
        if is_modifier(key):
            return _PLAIN_PRICES
        return "a price" if is_known_price(key) else _USELESS
    if _is_outside(section, key):
        return None
    if section.unknown is Unknown.KEEP:
        return "kept, and shown by /model/info"
    if _meant(section, key) is not None or looks_secret(key):
        return None
    if section.unknown is Unknown.SEND:
        return _SENT
    # LiteLLM never looks at such a key, and many files have some; one that belongs elsewhere was meant to do a job.
    return None if key in _homes() else _USELESS


_SENT: Final = "sent to the backend as a default field of the request's body"
_USELESS: Final = "neither used nor sent"
_PLAIN_PRICES: Final = "answers are counted at the plain prices"
_STATES: Final = {_USELESS: State.IGNORED, _PLAIN_PRICES: State.LATER}
_SECTIONS: Final = frozenset({"model_list", "litellm_settings", "router_settings", "general_settings"})
# What people write for a setting whose name is another word altogether; the first that the section has.
_ALSO_CALLED: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("url", "base", "endpoint", "host", "server", "address", "api_url", "uri"), ("api_base",)),
    **dict.fromkeys(("key", "apikey", "api_token"), ("api_key",)),
    "name": ("model_name", "credential_name"),
    "params": ("litellm_params",),
    "info": ("model_info",),
    "models": ("model_list",),
    "values": ("credential_values",),
}
_SHAPES: Final[Mapping[object, str]] = {tuple: "list", dict: "map"}
_SHUFFLED: Final = "requests are shared at random, by weight"


def _counted(finding: Finding, count: int) -> Finding:
    if count == 1:
        return finding
    message = f"{finding.message} (here and in {count - 1} more)"
    return replace(finding, message=message)


def _asks_for_something(value: Json) -> bool:
    """Whether a value asks for more than the default: false, nothing and empty ones do not."""
    return bool(plain(value)) if isinstance(value, Scalar) else bool(value)


@cache
def _declarations(section: type[Section]) -> Mapping[str, Declared]:
    return {key: _declaration(field) for key, field in settings(section).items()}


def _declaration(field: Field) -> Declared:
    told = extra(field)
    silent = told["x-state"] is State.USED and told.keys() <= {"x-state"}
    return Declared(told, _inside(field.annotation), silent)


def _inside(annotation: object) -> Inside | None:
    if get_origin(annotation) is UnionType:
        annotation = next(each for each in get_args(annotation) if each is not NoneType)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return Inside(annotation, "one")
    shape = _SHAPES.get(get_origin(annotation))
    if shape is None:
        return None
    arguments = get_args(annotation)
    inner = arguments[0] if shape == "list" else arguments[1]
    inner = get_args(inner)[0] if get_origin(inner) is Annotated else inner
    return Inside(inner, shape) if isinstance(inner, type) and issubclass(inner, Section) else None


def _entries(value: Json, path: Path, inside: Inside) -> Iterator[tuple[Path, Json]]:
    match value:
        case dict() if inside.shape == "one":
            yield path, value
        case list() if inside.shape == "list":
            for index, entry in enumerate(value):
                yield (*path, index), entry
        case dict() if inside.shape == "map":
            for key, entry in value.items():
                yield (*path, key), entry


def resembles(key: str, name: str) -> bool:
    """Whether a key is likely a setting's name: itself, misspelt, or another word for it."""
    return name in _ALSO_CALLED.get(key.lower(), ()) or did_you_mean(key, (name,)) is not None


@cache
def _is_outside(section: type[Section], key: str) -> bool:
    """Whether a key is a section of the file, or stands beside this one: it is indented too far."""
    if section is Config:
        return False
    beside = {"litellm_params", "model_info", "model_name"} if section.unknown is Unknown.SEND else {"litellm_params"}
    return key in _SECTIONS or (section is not ModelEntry and key in beside)


@cache
def _meant(section: type[Section], key: str) -> str | None:
    known = {*settings(section), *(NAMES if takes_prices(section) else ())}
    also = next((name for name in _ALSO_CALLED.get(key.lower(), ()) if name in known), None)
    near = also or did_you_mean(key, known)
    return None if near is not None and _OPPOSITE.sub("", key) == _OPPOSITE.sub("", near) else near


@cache
def _cure(section: type[Section], key: str) -> str:
    if _is_outside(section, key):
        return FURTHER_LEFT
    home = _homes().get(key)
    if (near := _meant(section, key)) and home is None:
        return f'did you mean "{near}"?'
    if home is not None:
        return f"it belongs below {home}"
    if key in _OPTIONS:
        return f"start with --{key}"
    known = sorted(settings(section))
    listed = f"known: {', '.join(known)}" if len(known) <= 12 else "llmproxy check --schema lists what there is"
    return f"take {shown(key)} out; {listed}"


_OPPOSITE: Final = re.compile("^(en|dis)able_")  # nobody who enables something means to disable it
# What the command line decides, by the names of its options.
_OPTIONS: Final = frozenset(each.name for each in fields(Flags)) - {"config"}


@cache
def _homes() -> dict[str, str]:
    """Where a key belongs that stands in the wrong section."""
    homes: dict[str, str] = {}
    deeper: dict[str, str] = {}
    for name, declared in _declarations(Config).items():
        for key, inner in _declarations(declared.inside.section).items() if declared.inside else ():
            homes.setdefault(key, name)
            if inner.inside is not None and inner.inside.shape == "one":
                deeper |= {each: f"{name}[].{key}" for each in settings(inner.inside.section) if each not in deeper}
    return {**deeper, **homes}
