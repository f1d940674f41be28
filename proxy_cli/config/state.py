"""What becomes of a setting: used, ignored (and why), or known and not yet supported.

A setting is one field of a `Section`, declared through `used`, `ignored` or `later`: its description, its state and
the reason stand in the declaration, and the check, the JSON Schema and the documentation are made of them. Keys
that no field declares are refused, or sorted into one of the groups that some sections have: prices, and others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

from proxy_cli.config.price_names import is_price
from proxy_cli.config.problem import Path
from proxy_cli.config.reading import Field, Readable, Reader, Reading
from proxy_cli.config.scalar import Scalar
from proxy_cli.shapes import Json

PRICES: Final = "(prices)"  # aliases of groups: no key of a file looks like that
OTHERS: Final = "(others)"


class State(StrEnum):
    """What becomes of a setting that the file has."""

    USED = "used"
    IGNORED = "ignored"
    LATER = "not yet supported"


class Unknown(StrEnum):
    """What becomes of a key that no field declares."""

    REFUSE = "refuse"
    SEND = "send"  # a default field of the request's body, after one warning
    KEEP = "keep"  # kept as it is, and shown again


class Section(Readable):
    """A mapping of the file whose keys are declared. A key without a value counts as absent."""

    unknown: ClassVar[Unknown] = Unknown.REFUSE

    @classmethod
    def sort_keys(cls, value: object) -> object:
        """Take out what has no value, and put prices and other undeclared keys into their groups."""
        if is_nothing(value):
            return {}
        if not isinstance(value, Mapping):
            return value
        homes = _homes(cls)
        result: dict[str, object] = {}
        groups: dict[str, dict[str, object]] = {}
        for key, inner in value.items():
            home = homes.get(key) or _home_of_undeclared(homes, key) or key
            if is_nothing(inner):
                continue
            if home == key:
                result[key] = inner
            else:
                groups.setdefault(home, {})[key] = inner
        return {**result, **groups}

    def filled(self, below: "Section") -> Self:
        """This section, with what it leaves open taken from another; mappings are joined, and its own keys win."""
        update: dict[str, object] = {}
        for name in below.model_fields_set & type(self).model_fields.keys():
            value = getattr(below, name)
            if name in self.model_fields_set:
                value = _joined(getattr(self, name), value)
            update[name] = value
        return self.model_copy(update=update)


def _joined(own: object, below: object) -> object:
    if isinstance(own, Mapping) and isinstance(below, Mapping):
        return {**below, **own}
    return own


def is_nothing(value: object) -> bool:
    """Whether a key stands there without a value."""
    return value is None or (isinstance(value, Scalar) and value.kind == "null")


@cache
def settings(section: type[Section]) -> Mapping[str, Field]:
    """The declared settings of a section by the key they have in the file, those of its groups among them."""
    found: dict[str, Field] = {}
    for name, field in section.model_fields.items():
        if not is_group(field):
            found[name] = field
        elif (inner := group_section(field)) is not None:
            found |= settings(inner)
    return found


def is_group(field: Field) -> bool:
    """Whether a field gathers keys of the mapping it belongs to, and is none itself."""
    return field.alias is not None and field.alias.startswith("(")


def group_section(field: Field) -> type[Section] | None:
    """The section that declares a group's keys; None for prices and others."""
    return next((each.section for each in field.metadata if isinstance(each, KeysOf)), None)


@dataclass(frozen=True, slots=True)
class KeysOf:
    """Marks a group: its keys are declared by a section, and only those that are set are kept, as a plain mapping."""

    # A section holds a value for each of its fields; a hundred of them, for ten thousand entries, would be 50 MB.
    section: type[Section]

    def reader(self) -> Reader:
        """What reads the group."""

        def read(value: object, path: Path, reading: Reading) -> Mapping[str, Json] | None:
            section = self.section.read_into(value, path, reading)
            return None if section is None else _given(section)

        return read


def _given(section: Section) -> Mapping[str, Json]:
    return {name: getattr(section, name) for name in sorted(section.model_fields_set)}


def takes_prices(section: type[Section]) -> bool:
    """Whether a section gathers prices."""
    return PRICES in _homes(section)


def used(description: str, default: Any = None, *, note: str = "", later: tuple[str, ...] = ()) -> Any:
    """A setting that does its job; `note` is said where it is set, `later` names values not yet supported."""
    extra: dict[str, Json] = {"x-state": State.USED}
    if note:
        extra["x-note"] = note
    if later:
        extra["x-not-yet-supported-values"] = list(later)
    return _field(default, description, extra)


def ignored(description: str, why: str, default: Any = None) -> Any:
    """A setting that does nothing here, for a reason."""
    extra: dict[str, Json] = {"x-state": State.IGNORED, "x-why": why}
    return _field(default, description, extra)


def later(description: str, meanwhile: str = "", default: Any = None, *, always: bool = False) -> Any:
    """A setting that is known and not yet supported; `always`: a false or empty value asks for something too."""
    extra: dict[str, Json] = {"x-state": State.LATER}
    if meanwhile:
        extra["x-why"] = meanwhile
    if always:
        extra["x-always"] = True
    return _field(default, description, extra)


def _field(default: Any, description: str, extra: dict[str, Json]) -> Any:
    if default == {}:
        default = _EMPTY
    shared = isinstance(default, Section | MappingProxyType)
    return Field(description, default, json_schema_extra=extra, shows_default=not shared)


def group(alias: str, description: str) -> Any:
    """A field that gathers keys of its section: `PRICES`, `OTHERS`, or those that another section declares."""
    return Field(description, _EMPTY, alias, shows_default=False)


_EMPTY: Final[Mapping[str, Json]] = MappingProxyType({})


def extra(field: Field) -> dict[str, Json]:
    """What a declaration says beside type and description."""
    return field.json_schema_extra


@cache
def _homes(section: type[Section]) -> Mapping[str, str]:
    """Where each declared key goes: to itself, or to the group that gathers it; the groups stand for themselves."""
    homes: dict[str, str] = {}
    for name, field in section.model_fields.items():
        if field.alias is None or not is_group(field):
            homes[name] = name
            continue
        homes[field.alias] = field.alias
        if (inner := group_section(field)) is not None:
            homes |= dict.fromkeys(settings(inner), field.alias)
    return homes


def _home_of_undeclared(homes: Mapping[str, str], key: str) -> str | None:
    if PRICES in homes and is_price(key):
        return PRICES
    return OTHERS if OTHERS in homes else None
