"""JSON Schema is made of the same declarations that files are read by."""

from collections.abc import Mapping
from typing import Annotated

from proxy_cli.config.fields import Anything, Count, Flag, NameOrNames, Text
from proxy_cli.config.json_schema import schema_of
from proxy_cli.config.reading import BeforeValidator
from proxy_cli.config.state import KeysOf, Section, group, used
from proxy_cli.shapes import Json

COUNT = {"type": "integer", "exclusiveMinimum": 0}
TEXT = {"type": ["string", "number"]}


class Inner(Section):
    """What is inside."""

    deep: Flag = used("Deep.", default=False)


class Outer(Section):
    """All kinds."""

    name: Text = used("A name.", default=...)
    size: Count | None = used("A size.", note="whole")
    inner: Inner = used("One.", default=Inner())
    short: Annotated[Inner, BeforeValidator(str, json_schema_input_type=str | Inner)] = used("Short.", default=...)
    many: tuple[Inner, ...] = used("Many.", default=())
    names: NameOrNames = used("Names.", default=("*",))
    anything: Anything = used("Anything.")
    mapping: dict[str, Anything] = used("By name.", default={})
    grouped: Annotated[Mapping[str, Json], KeysOf(Inner)] = group("(grouped)", "Gathered.")


def test_each_field_is_described_by_its_kind_default_and_state():
    """A field's own schema, what it is for, its default, and what becomes of it."""
    properties = schema_of(Outer)["properties"]

    assert properties["name"] == {**TEXT, "description": "A name.", "x-state": "used"}
    assert properties["size"] == {
        "anyOf": [COUNT, {"type": "string"}, {"type": "null"}],
        "default": None, "description": "A size.", "x-state": "used", "x-note": "whole",
    }  # fmt: skip
    assert properties["names"]["default"] == ["*"]
    assert properties["anything"] == {"default": None, "description": "Anything.", "x-state": "used"}
    assert properties["mapping"]["additionalProperties"] is True


def test_sections_are_defined_once_and_referred_to():
    """Alone, in lists, in the short form, and as the keys of a group."""
    schema = schema_of(Outer)
    inner = {"$ref": "#/$defs/Inner"}
    properties = schema["properties"]

    assert list(schema["$defs"]) == ["Inner"]
    assert properties["inner"] == {**inner, "description": "One.", "x-state": "used"}
    assert properties["many"]["items"] == inner
    assert properties["short"]["anyOf"] == [{"type": "string"}, inner]
    assert properties["(grouped)"]["$ref"] == inner["$ref"]


def test_fields_that_must_be_there_are_listed():
    """An object with a title, a description and what is required."""
    schema = schema_of(Outer)

    assert schema["required"] == ["name", "short"]
    assert (schema["title"], schema["description"], schema["type"]) == ("Outer", "All kinds.", "object")
    assert "required" not in schema["$defs"]["Inner"]
