"""What becomes of every key of a file: one walk along the declaration.

Every key is used, ignored for a reason, not yet supported, sent on, kept, or an error; none is passed over. What
many entries have in common is said once, at the first of them.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Final, NamedTuple, cast, get_args, get_origin

from pydantic.fields import FieldInfo

from proxy_cli.config.privacy import shown
from proxy_cli.config.problem import Path, Severity, did_you_mean
from proxy_cli.config.scalar import Scalar, plain
from proxy_cli.config.schema import Config
from proxy_cli.config.state import Section, State, Unknown, extra, is_nothing, is_price, settings, takes_prices
from proxy_cli.config.variables import Finding
from proxy_cli.shapes import Json

NO_SUCH_SETTING: Final = "no such setting"
_NOT_YET: Final = "known, not yet supported"


@dataclass(frozen=True, slots=True)
class Standing:
    """What becomes of one key, and why where that is not plain."""

    path: Path
    state: State
    why: str = ""


class Visit(NamedTuple):
    """One key of the file, and the field that declares it, if one does."""

    section: type[Section]
    path: Path
    key: str
    value: Json
    field: FieldInfo | None


def visits(values: Json, section: type[Section] = Config, path: Path = ()) -> Iterator[Visit]:
    """Every key of a tree that stands where a section is declared."""
    declared = settings(section)
    for key, value in values.items() if isinstance(values, Mapping) else ():
        field = declared.get(key)
        yield Visit(section, (*path, key), key, value, field)
        inside = _inside(field) if field is not None else None
        if inside is not None:
            for inner_path, inner in _entries(value, (*path, key), inside):
                yield from visits(inner, inside.section, inner_path)


def standings(values: Mapping[str, Json]) -> Iterator[Standing]:
    """What becomes of each key; of one that is an error, nothing."""
    for visit in visits(values):
        if visit.field is not None:
            yield _standing(visit, visit.field)
        elif (why := _undeclared(visit)) is not None:
            yield Standing(visit.path, State.USED, why)


def findings(values: Mapping[str, Json]) -> list[Finding]:
    """What is to be said of the keys; what several entries have in common once, at the first."""
    said: dict[tuple[Path, str], tuple[Finding, int]] = {}
    for visit in visits(values):
        finding = _finding(visit)
        if finding is not None:
            path = visit.path
            if finding.severity is not Severity.ERROR:
                path = tuple("*" if isinstance(step, int) else step for step in path)
            first, count = said.get((path, finding.message), (finding, 0))
            said[(path, finding.message)] = (first, count + 1)
    return [_counted(finding, count) for finding, count in said.values()]


def _standing(visit: Visit, field: FieldInfo) -> Standing:
    told = extra(field)
    if _is_later_value(visit.value, told):
        return Standing(visit.path, State.LATER, _SHUFFLED)
    return Standing(visit.path, State(told["x-state"]), told.get("x-why") or told.get("x-note", ""))


def _is_later_value(value: Json, told: Mapping[str, Json]) -> bool:
    return isinstance(value, Scalar) and value.text in told.get("x-not-yet-supported-values", ())


def _finding(visit: Visit) -> Finding | None:
    if visit.field is not None:
        return None if is_nothing(visit.value) else _declared(visit, extra(visit.field))
    why = _undeclared(visit)
    if why is None:
        return Finding(visit.path, NO_SUCH_SETTING, _cure(visit.section, visit.key))
    return Finding(visit.path, f"unknown here; {why}", severity=Severity.WARNING) if why is _SENT else None


def _declared(visit: Visit, told: Mapping[str, Json]) -> Finding | None:
    why = told.get("x-why", "")
    match told["x-state"]:
        case State.LATER if told.get("x-always") or _asks_for_something(visit.value):
            return Finding(visit.path, _NOT_YET, why, Severity.WARNING)
        case State.IGNORED:
            return Finding(visit.path, f"does nothing here: {why}", "take it out", Severity.WARNING)
        case State.USED if _is_later_value(visit.value, told):
            return Finding(visit.path, f"{visit.value.text} is {_NOT_YET}", _SHUFFLED, Severity.WARNING)
        case State.USED if note := told.get("x-note"):
            return Finding(visit.path, note, severity=Severity.NOTE)
    return None


def _undeclared(visit: Visit) -> str | None:
    """What becomes of a key that no field declares; None: it is an error."""
    if is_price(visit.key) and takes_prices(visit.section):
        return "a price"
    match visit.section.unknown:
        case Unknown.KEEP:
            return "kept, and shown by /model/info"
        case Unknown.SEND if _meant(visit.section, visit.key) is None:
            return _SENT
    return None


_SENT: Final = "sent to the backend as a default field of the request's body"
_SHAPES: Final[Mapping[object, str]] = {tuple: "list", dict: "map"}
_SHUFFLED: Final = "requests are shared at random, by weight"


def _counted(finding: Finding, count: int) -> Finding:
    if count == 1:
        return finding
    message = f"{finding.message} (here and in {count - 1} more)"
    return Finding(finding.path, message, finding.cure, finding.severity)


def _asks_for_something(value: Json) -> bool:
    """Whether a value asks for more than the default: false, nothing and empty ones do not."""
    return bool(plain(value)) if isinstance(value, Scalar) else bool(value)


@dataclass(frozen=True, slots=True)
class _Inside:
    section: type[Section]
    shape: str  # one, list or map


@cache
def _inside_of(annotation: Hashable) -> _Inside | None:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return _Inside(annotation, "one")
    shape = _SHAPES.get(get_origin(annotation))
    if shape is None:
        return None
    arguments = get_args(annotation)
    inner = arguments[0] if shape == "list" else arguments[1]
    inner = get_args(inner)[0] if get_origin(inner) is Annotated else inner
    return _Inside(inner, shape) if isinstance(inner, type) and issubclass(inner, Section) else None


def _inside(field: FieldInfo) -> _Inside | None:
    return _inside_of(cast("Hashable", field.annotation))


def _entries(value: Json, path: Path, inside: _Inside) -> Iterator[tuple[Path, Json]]:
    match value:
        case dict() if inside.shape == "one":
            yield path, value
        case list() if inside.shape == "list":
            for index, entry in enumerate(value):
                yield (*path, index), entry
        case dict() if inside.shape == "map":
            for key, entry in value.items():
                yield (*path, key), entry


@cache
def _meant(section: type[Section], key: str) -> str | None:
    return did_you_mean(key, settings(section))


@cache
def _cure(section: type[Section], key: str) -> str:
    if near := _meant(section, key):
        return f'did you mean "{near}"?'
    if home := _homes().get(key):
        return f"it belongs below {home}"
    known = sorted(settings(section))
    listed = f"known: {', '.join(known)}" if len(known) <= 12 else "llmproxy check --schema lists what there is"
    return f"take {shown(key)} out; {listed}"


@cache
def _homes() -> dict[str, str]:
    """Where a key belongs that stands in the wrong section."""
    homes: dict[str, str] = {}
    for name, field in settings(Config).items():
        if (inside := _inside(field)) is not None:
            for key, inner in settings(inside.section).items():
                homes.setdefault(key, name)
                if (deeper := _inside(inner)) is not None and deeper.shape == "one":
                    homes |= {k: f"{name}[].{key}" for k in settings(deeper.section) if k not in homes}
    return homes
