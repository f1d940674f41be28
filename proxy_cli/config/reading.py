"""How a declared class is read from a mapping: each field by its annotation, and every mistake at once with its path.

Owns the little that a configuration needs of a validation library, and nothing of what settings mean. A field's
annotation is looked at when a file first has that field: of some five hundred settings a start meets ten, and
preparing for all of them would take longer than the rest of it.

An annotation is a class that is read from a mapping, `tuple[X, ...]`, `dict[str, X]`, `Mapping[str, X]`, `X | None`
(which reads as X: a key without a value counts as absent), or `Annotated[X, ...]` with a function that reads
(`PlainValidator`) or prepares (`BeforeValidator`) the value; `WithJsonSchema` is what JSON Schema says of it. These
names and those of the methods are pydantic's: this is the part of it that is used here, at a tenth of its price in
memory and in the time of a start.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Final, NamedTuple, Self, Union, dataclass_transform, get_args, get_origin

from proxy_cli.config.problem import Path
from proxy_cli.shapes import Json

REQUIRED: Final = ...  # the default of a field that must be there


class ValidationInfo(NamedTuple):
    """What a reading function is told beside the value."""

    context: object


@dataclass(frozen=True, slots=True)
class PlainValidator:
    """Marks what reads a value; a second parameter is given the `ValidationInfo`."""

    function: Callable[..., object]


@dataclass(frozen=True, slots=True)
class BeforeValidator:
    """Marks what makes a value fit to be read; `json_schema_input_type` is all that it takes."""

    function: Callable[[object], object]
    json_schema_input_type: Any = None


@dataclass(frozen=True, slots=True, eq=False)  # compared as it is: annotations are hashed, and a dictionary cannot be
class WithJsonSchema:
    """Marks what JSON Schema says of a value."""

    schema: Mapping[str, Json]


class Wrong(ValueError):
    """What a reading function raises: one sentence, and what to do."""

    def __init__(self, message: str, cure: str = "") -> None:
        super().__init__(f"{message} - {cure}" if cure else message)
        self.message = message
        self.cure = cure


@dataclass(frozen=True, slots=True)
class Mistake:
    """One value that cannot be read. `kind`: setting (a function raised), missing, list or mapping (not that)."""

    kind: str
    path: Path
    message: str
    cure: str = ""

    def __str__(self) -> str:
        return f"{self.message} - {self.cure}" if self.cure else self.message


class Unreadable(ValueError):
    """Raised once all of a mapping has been read, with every mistake in it."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(f"{'.'.join(map(str, each.path))}: {each}" for each in mistakes))
        self.mistakes = mistakes


@dataclass(slots=True)
class Reading:
    """One file being read: what the functions are told, and the mistakes so far."""

    info: ValidationInfo = field(default_factory=lambda: ValidationInfo(None))
    mistakes: list[Mistake] = field(default_factory=list)

    def wrong(self, kind: str, path: Path, message: str, cure: str = "") -> None:
        """Note a mistake; whoever called gets None for a value, which nobody will see."""
        self.mistakes.append(Mistake(kind, path, message, cure))


Reader = Callable[[object, Path, Reading], Any]


@dataclass(slots=True)
class Field:
    """One field as it is declared. The default is shared by all that do not set it, so it is never changed."""

    description: str
    default: Any = None
    alias: str | None = None  # what it is called in the mapping, where that is not its name
    json_schema_extra: dict[str, Json] = field(default_factory=dict)  # told in JSON Schema too
    annotation: Any = None  # without what `Annotated` puts around it
    metadata: tuple[Any, ...] = ()  # that of `Annotated`
    shows_default: bool = True  # in JSON Schema
    reader: Reader | None = None  # made when the field is first read


class _Kind(type):
    """Caches are asked by the classes themselves, and mypy takes a class for hashable only where this is said."""

    def __hash__(cls) -> int:
        return super().__hash__()


@dataclass_transform(kw_only_default=True, frozen_default=True)
class Readable(metaclass=_Kind):
    """A class whose fields are read from a mapping. It holds only those that were given, and never changes."""

    model_fields: ClassVar[Mapping[str, Field]] = {}

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = {name: _declared(cls, name, kind) for name, kind in cls.__annotations__.items() if not _is_constant(kind)}
        cls.model_fields = {**cls.model_fields, **own}
        for name, each in own.items():
            if each.default is REQUIRED:
                delattr(cls, name)
            else:
                setattr(cls, name, each.default)

    def __init__(self, **values: object) -> None:
        self.__dict__.update(self.model_validate(values).__dict__)

    @classmethod
    def model_validate(cls, values: object, context: object = None) -> Self:
        """Read a mapping. Raises Unreadable with every mistake in it."""
        reading = Reading(ValidationInfo(context))
        result = cls.read_into(values, (), reading)
        if reading.mistakes:
            raise Unreadable(reading.mistakes)
        assert result is not None, "what cannot be read is a mistake"
        return result

    @classmethod
    def read_into(cls, values: object, path: Path, reading: Reading) -> Self | None:
        """Read a mapping that is part of another; mistakes are noted."""
        if isinstance(values, cls):
            return values
        values = cls.sort_keys(values)
        if not isinstance(values, Mapping):
            reading.wrong("mapping", path, "expected a mapping")
            return None
        given: dict[str, object] = {}
        for name, each in cls.model_fields.items():
            key = each.alias or name
            if key in values:
                given[name] = _reader(each)(values[key], (*path, key), reading)
            elif each.default is REQUIRED:
                reading.wrong("missing", (*path, key), "is missing")
        return cls._of(given)

    @classmethod
    def sort_keys(cls, values: object) -> object:
        """The mapping as its fields are to be read from it."""
        return values

    @classmethod
    def _of(cls, given: Mapping[str, object]) -> Self:
        made = cls.__new__(cls)
        made.__dict__.update(given)
        return made

    @property
    def model_fields_set(self) -> frozenset[str]:
        """The names of the fields that were given."""
        return frozenset(self.__dict__)

    def model_copy(self, update: Mapping[str, object]) -> Self:
        """A copy with some fields set; their values are taken as they are."""
        return self._of({**self.__dict__, **update})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in self.model_fields)

    def __hash__(self) -> int:
        return hash((type(self), *(getattr(self, name) for name in self.model_fields)))


def _is_constant(annotation: object) -> bool:
    return get_origin(annotation) is ClassVar


def _declared(cls: type, name: str, annotation: Any) -> Field:
    """The field, made whole by its annotation."""
    made: Field = cls.__dict__[name]
    made.annotation = annotation
    if get_origin(annotation) is Annotated:
        made.annotation, *metadata = get_args(annotation)
        made.metadata = tuple(metadata)
    return made


def _reader(declared: Field) -> Reader:
    if declared.reader is None:
        whole = declared.annotation
        declared.reader = _annotated(whole, declared.metadata) if declared.metadata else reader(whole)
    return declared.reader


def read_as(annotation: Any, value: object, context: object = None) -> Any:
    """One value by an annotation. Raises Unreadable."""
    reading = Reading(ValidationInfo(context))
    result = reader(annotation)(value, (), reading)
    if reading.mistakes:
        raise Unreadable(reading.mistakes)
    return result


@cache
def reader(annotation: Any) -> Reader:
    """What reads values of an annotation."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:])
    if origin in (Union, UnionType):
        [kind] = (each for each in arguments if each is not NoneType)
        return reader(kind)
    if origin is tuple:
        return _listed(reader(arguments[0]))
    if origin in (dict, Mapping):
        return _mapped(reader(arguments[1]))
    if isinstance(annotation, type) and issubclass(annotation, Readable):
        return annotation.read_into
    return _as_it_is


def _annotated(kind: Any, metadata: tuple[Any, ...]) -> Reader:
    for each in metadata:
        match each:
            case PlainValidator(function):
                return _called(function)
            case BeforeValidator(function):
                return _prepared(function, reader(kind))
    maker = next((each.reader for each in metadata if hasattr(each, "reader")), None)
    return reader(kind) if maker is None else maker()


def _called(function: Callable[..., object]) -> Reader:
    told = len(inspect.signature(function).parameters) > 1 and _takes_info(function)

    def read(value: object, path: Path, reading: Reading) -> object:
        try:
            return function(value, reading.info) if told else function(value)
        except Wrong as problem:
            reading.wrong("setting", path, problem.message, problem.cure)
            return None

    return read


def _takes_info(function: Callable[..., object]) -> bool:
    second = list(inspect.signature(function).parameters.values())[1]
    return second.default is inspect.Parameter.empty


def _prepared(function: Callable[[object], object], inner: Reader) -> Reader:
    def read(value: object, path: Path, reading: Reading) -> object:
        return inner(function(value), path, reading)

    return read


def _listed(inner: Reader) -> Reader:
    def read(value: object, path: Path, reading: Reading) -> object:
        if not isinstance(value, list | tuple):
            reading.wrong("list", path, "expected a list")
            return None
        return tuple(inner(each, (*path, index), reading) for index, each in enumerate(value))

    return read


def _mapped(inner: Reader) -> Reader:
    def read(value: object, path: Path, reading: Reading) -> object:
        if not isinstance(value, Mapping):
            reading.wrong("mapping", path, "expected a mapping")
            return None
        return {key: inner(each, (*path, key), reading) for key, each in value.items()}

    return read


def _as_it_is(value: object, _path: Path, _reading: Reading) -> object:
    return value
