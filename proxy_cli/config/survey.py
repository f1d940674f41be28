"""What becomes of every key of a file: one walk along the declaration.

Every key is used, ignored for a reason, not yet supported, sent on, kept, or an error; none is passed over. What
many entries have in common is said once, at the first of them.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Final, cast, get_args, get_origin

from pydantic.fields import FieldInfo

from proxy_cli.config.privacy import shown
from proxy_cli.config.problem import Path, Severity, did_you_mean
from proxy_cli.config.scalar import Scalar, plain
from proxy_cli.config.schema import Config
from proxy_cli.config.state import PRICES, Section, State, Unknown, extra, is_nothing, is_price, settings
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


@dataclass(frozen=True, slots=True)
class Survey:
    """The states of all keys, and what is to be said about them."""

    standings: list[Standing]
    findings: list[Finding]


def survey(values: Mapping[str, Json]) -> Survey:
    """Walk a tree along the declaration."""
    return _Walk().run(values)


class _Walk:
    def __init__(self) -> None:
        self._standings: list[Standing] = []
        # By path without the numbers of entries, and what is said: the first place, and how many there are.
        self._said: dict[tuple[Path, str], tuple[Finding, int]] = {}

    def run(self, values: Mapping[str, Json]) -> Survey:
        self._section(Config, values, ())
        findings = [_counted(finding, count) for finding, count in self._said.values()]
        return Survey(self._standings, findings)

    def _section(self, section: type[Section], tree: Json, path: Path) -> None:
        if not isinstance(tree, Mapping):
            return
        declared = settings(section)
        for key, value in tree.items():
            field = declared.get(key)
            if field is None:
                self._undeclared(section, (*path, key), key)
                continue
            self._declared(field, (*path, key), value)
            inside = _inside(field)
            if inside is not None:
                for inner_path, inner in _entries(value, (*path, key), inside):
                    self._section(inside.section, inner, inner_path)

    def _declared(self, field: FieldInfo, path: Path, value: Json) -> None:
        told = extra(field)
        state, why = State(told.get("x-state", State.USED)), told.get("x-why", "")
        if state is State.USED and isinstance(value, Scalar) and value.text in told.get(_LATER_VALUES, ()):
            self._standings.append(Standing(path, State.LATER, _SHUFFLED))
            self._say(path, f"{value.text} is {_NOT_YET}", _SHUFFLED)
            return
        self._standings.append(Standing(path, state, why or told.get("x-note", "")))
        if is_nothing(value):
            return
        if state is State.LATER and (told.get("x-always") or _asks_for_something(value)):
            self._say(path, _NOT_YET, why)
        elif state is State.IGNORED:
            self._say(path, f"does nothing here: {why}", "take it out")
        elif note := told.get("x-note"):
            self._say(path, note, severity=Severity.NOTE)

    def _undeclared(self, section: type[Section], path: Path, key: str) -> None:
        if PRICES in {field.alias for field in section.__pydantic_fields__.values()} and is_price(key):
            self._standings.append(Standing(path, State.USED))
        elif section.unknown is Unknown.KEEP:
            self._standings.append(Standing(path, State.USED, "kept, and shown by /model/info"))
        elif section.unknown is Unknown.SEND and _meant(section, key) is None:
            self._standings.append(Standing(path, State.USED, "sent to the backend"))
            self._say(path, "unknown here; sent to the backend as a default field of the request's body")
        else:
            self._say(path, NO_SUCH_SETTING, _cure(section, key), severity=Severity.ERROR)

    def _say(self, path: Path, message: str, cure: str = "", *, severity: Severity = Severity.WARNING) -> None:
        finding = Finding(path, message, cure, severity)
        if severity is Severity.ERROR:
            self._said[(path, message)] = (finding, 1)
            return
        alike = tuple("*" if isinstance(step, int) else step for step in path)
        first, count = self._said.get((alike, message), (finding, 0))
        self._said[(alike, message)] = (first, count + 1)


_SHAPES: Final[Mapping[object, str]] = {tuple: "list", dict: "map"}
_LATER_VALUES: Final = "x-not-yet-supported-values"
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
