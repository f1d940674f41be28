"""JSON Schema of the classes that `reading.py` reads: what editors complete by, and CI checks files with."""

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from proxy_cli.config.reading import REQUIRED, BeforeValidator, Field, Readable, WithJsonSchema
from proxy_cli.config.state import KeysOf
from proxy_cli.shapes import Json


def schema_of(section: type[Readable]) -> dict[str, Json]:
    """The schema of a section, and below `$defs` those of all that it refers to."""
    definitions: dict[str, Json] = {}
    schema = _object(section, definitions)
    return {"$defs": dict(sorted(definitions.items())), **schema}


def _object(section: type[Readable], definitions: dict[str, Json]) -> dict[str, Json]:
    properties = {each.alias or name: _property(each, definitions) for name, each in section.model_fields.items()}
    required = [each.alias or name for name, each in section.model_fields.items() if each.default is REQUIRED]
    schema = {"description": section.__doc__, "properties": properties, "title": section.__name__, "type": "object"}
    return {**schema, "required": required} if required else schema


def _property(field: Field, definitions: dict[str, Json]) -> dict[str, Json]:
    kind = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    told: dict[str, Json] = {"description": field.description}
    if field.shows_default and field.default is not REQUIRED:
        told["default"] = list(field.default) if isinstance(field.default, tuple) else field.default
    return {**_kind(kind, definitions), **told, **field.json_schema_extra}


def _kind(annotation: Any, definitions: dict[str, Json]) -> dict[str, Json]:
    """The schema of a value, by its annotation."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _annotated(arguments[0], arguments[1:], definitions)
    if origin in (Union, UnionType):
        return {"anyOf": [each for kind in arguments for each in _choices(_kind(kind, definitions))]}
    if origin is tuple:
        return {"type": "array", "items": _kind(arguments[0], definitions)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _kind(arguments[1], definitions) or True}
    if isinstance(annotation, type) and issubclass(annotation, Readable):
        return _reference(annotation, definitions)
    return dict(_PLAIN.get(annotation, {}))


def _choices(schema: dict[str, Json]) -> list[Json]:
    """A schema that is nothing but a choice is one with the choice around it."""
    return list(schema["anyOf"]) if schema.keys() == {"anyOf"} else [schema]


_PLAIN: Mapping[Any, Mapping[str, Json]] = {str: {"type": "string"}, NoneType: {"type": "null"}}


def _annotated(kind: Any, metadata: tuple[Any, ...], definitions: dict[str, Json]) -> dict[str, Json]:
    for each in metadata:
        match each:
            case WithJsonSchema(schema):
                return dict(schema)
            case BeforeValidator(json_schema_input_type=taken) if taken is not None:
                return _kind(taken, definitions)
            case KeysOf(section):
                return _reference(section, definitions)
    return _kind(kind, definitions)


def _reference(section: type[Readable], definitions: dict[str, Json]) -> dict[str, Json]:
    if section.__name__ not in definitions:
        definitions[section.__name__] = {}  # known by now, should it refer to itself
        definitions[section.__name__] = _object(section, definitions)
    return {"$ref": f"#/$defs/{section.__name__}"}
