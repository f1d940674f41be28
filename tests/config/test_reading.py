"""Reading: fields by their annotations, every mistake with its path, and only what was given is held."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import pytest

from proxy_cli.config.reading import (
    REQUIRED,
    BeforeValidator,
    Field,
    PlainValidator,
    Readable,
    Unreadable,
    ValidationInfo,
    Wrong,
    read_as,
    reader,
)


def even(value: object) -> int:
    """Reads an even number."""
    if not isinstance(value, int) or value % 2:
        raise Wrong(f"{value} is not even", "add one")
    return value


def told(value: object, info: ValidationInfo) -> tuple[object, object]:
    """What it is given."""
    return value, info.context


def declared(*what: Any) -> Any:
    """A field, of whatever type its annotation says."""
    return Field(*what)


Even = Annotated[int, PlainValidator(even)]


class Leaf(Readable):
    """A field of each simple kind."""

    LIMIT: ClassVar[int] = 3

    number: Even | None = declared("A number.")
    name: object = declared("A name.", REQUIRED)


class Tree(Readable):
    """Fields that hold others."""

    leaf: Leaf | None = declared("One.")
    leaves: tuple[Leaf, ...] = declared("Several.", ())
    named: Mapping[str, Even] = declared("By name.", {})
    other: object = declared("By another name.", "here", "(other)")


def mistakes(kind: object, value: object) -> list[tuple[str, tuple[str | int, ...]]]:
    """What is wrong, and where."""
    with pytest.raises(Unreadable) as caught:
        read_as(kind, value)
    return [(each.kind, each.path) for each in caught.value.mistakes]


def test_fields_are_read_by_their_annotations():
    """Sections, lists and mappings of them, and fields with a name of their own."""
    tree = Tree.model_validate(
        {"leaf": {"name": "a", "number": 2}, "leaves": [{"name": "b"}], "named": {"x": 4}, "(other)": 5, "unknown": 6}
    )

    assert tree.leaf == Leaf(name="a", number=2)
    assert tree.leaves == (Leaf(name="b"),)
    assert (tree.named, tree.other) == ({"x": 4}, 5)


def test_every_mistake_is_told_with_its_path():
    """One reading finds all of them; what a function says is kept."""
    given = {"leaf": {"number": 3}, "leaves": [{"name": "b"}, 7], "named": [1]}

    assert mistakes(Tree, given) == [
        ("setting", ("leaf", "number")),
        ("missing", ("leaf", "name")),
        ("mapping", ("leaves", 1)),
        ("mapping", ("named",)),
    ]
    with pytest.raises(Unreadable, match=r"leaf\.number: 3 is not even - add one"):
        Tree.model_validate(given)


@pytest.mark.parametrize("value", ["text", {"a": 2}, 5, None])
def test_a_list_is_a_list(value):
    """Neither a text nor a mapping is taken for one."""
    assert mistakes(tuple[Even, ...], value) == [("list", ())]


def test_what_was_not_given_has_its_default_and_takes_no_room():
    """A section of a hundred fields holds the two that its file has."""
    leaf = Leaf(name="a")

    assert leaf.number is None
    assert leaf.model_fields_set == {"name"}
    assert vars(leaf) == {"name": "a"}


def test_a_subclass_has_the_fields_of_both():
    """Those of the class it is made from come first, and constants are no fields."""

    class More(Leaf):
        """One more."""

        also: Even = declared("One more.", 2)

    assert list(More.model_fields) == ["number", "name", "also"]
    assert list(Leaf.model_fields) == ["number", "name"]
    assert (More(name="a").also, More(name="a", also=4).also) == (2, 4)


def test_a_copy_is_changed_and_the_original_is_not():
    """Values of a copy are taken as they are, and count as given."""
    leaf = Leaf(name="a")

    copy = leaf.model_copy({"number": 3})

    assert (copy.number, leaf.number) == (3, None)
    assert copy.model_fields_set == {"name", "number"}
    with pytest.raises(AttributeError, match="frozen"):
        leaf.number = 2  # type: ignore[misc]


def test_sections_are_equal_when_their_values_are():
    """Whether a value was given or is the default makes no difference."""
    assert Leaf(name="a", number=2) == Leaf(name="a", number=2)
    assert hash(Leaf(name="a")) == hash(Leaf(name="a"))
    assert Leaf(name="a") != Leaf(name="b")
    assert Leaf(name="a") == Leaf(name="a").model_copy({"number": None})
    assert Leaf(name="a") != "a"


def test_a_section_that_is_one_already_is_taken_as_it_is():
    """A configuration can be put together without a file."""
    leaf = Leaf(name="a")

    assert Tree(leaf=leaf).leaf is leaf


def test_functions_are_told_the_context_where_they_ask():
    """A second parameter without a default is given what the reader of the file wants to be known."""
    assert read_as(Annotated[object, PlainValidator(told)], 1, "context") == (1, "context")


def test_a_value_may_be_prepared_before_it_is_read():
    """As where a lone value stands for a list of one."""
    kind = Annotated[tuple[Even, ...], BeforeValidator(lambda value: value if isinstance(value, list) else [value])]

    assert read_as(kind, 2) == (2,)
    assert mistakes(kind, [2, 3]) == [("setting", (1,))]


def test_an_annotation_is_looked_at_once():
    """Thousands of entries share what was found out for the first."""
    assert reader(Even) is reader(Even)
