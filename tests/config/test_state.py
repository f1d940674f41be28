"""Sections sort their keys, and each key has a state."""

from collections.abc import Mapping
from typing import Annotated

import pytest

from proxy_cli.config.fields import Anything, Count, Price, Text
from proxy_cli.config.reading import Unreadable
from proxy_cli.config.scalar import Scalar
from proxy_cli.config.state import (
    OTHERS,
    PRICES,
    KeysOf,
    Section,
    State,
    extra,
    group,
    ignored,
    later,
    settings,
    takes_prices,
    used,
)
from proxy_cli.shapes import Json


class Inner(Section):
    """Keys that are gathered."""

    depth: Count | None = used("How deep.")


class Sample(Section):
    """All kinds of fields."""

    name: Text = used("A name.", default=...)
    size: Count | None = later("A size.", "none yet")
    old: Text | None = ignored("Once.", "no more")
    tags: Mapping[str, Text] = used("Tags.", default={})
    inner: Annotated[Mapping[str, Json], KeysOf(Inner)] = group("(inner)", "Gathered.")
    rates: Mapping[str, Price] = group(PRICES, "Prices.")
    others: Mapping[str, Anything] = group(OTHERS, "Others.")


NULL = Scalar("", False, "null")


def test_keys_go_to_their_fields_and_groups():
    """What is declared, what another section declares, prices, and the rest."""
    sample = Sample.model_validate({"name": "a", "depth": 3, "input_cost_per_token": 0.1, "inner": 5, "x": [1]})

    assert sample.name == "a"
    assert sample.inner == {"depth": 3}
    assert sample.rates == {"input_cost_per_token": 0.1}
    assert sample.others == {"inner": 5, "x": [1]}


def test_a_key_without_a_value_is_absent():
    """`size:` alone asks for nothing, and what is required stays required."""
    assert "size" not in Sample.model_validate({"name": "a", "size": NULL, "x": None}).model_fields_set
    with pytest.raises(Unreadable, match="name"):
        Sample.model_validate({"name": NULL})


def test_a_section_without_a_value_is_empty():
    """`litellm_settings:` with all below it commented out."""
    assert Inner.model_validate(NULL) == Inner()


def test_settings_know_the_keys_of_groups_and_not_the_groups():
    """The names are those of the file."""
    assert set(settings(Sample)) == {"name", "size", "old", "tags", "depth"}
    assert takes_prices(Sample)
    assert not takes_prices(Inner)


def test_a_declaration_says_what_becomes_of_a_setting():
    """State and reason stand with the field."""
    told = {key: extra(field) for key, field in settings(Sample).items()}

    assert told["name"] == {"x-state": State.USED}
    assert told["size"] == {"x-state": State.LATER, "x-why": "none yet"}
    assert told["old"] == {"x-state": State.IGNORED, "x-why": "no more"}


def test_what_is_open_is_filled_from_another_section():
    """Own values win, mappings are joined key by key."""
    mine = Sample.model_validate({"name": "a", "tags": {"x": "1"}, "depth": 3, "p": 1})
    below = Sample.model_validate({"name": "b", "size": 5, "tags": {"x": "2", "y": "3"}, "depth": 9, "q": 2})

    filled = mine.filled(below)

    assert (filled.name, filled.size, filled.tags) == ("a", 5, {"x": "1", "y": "3"})
    assert (filled.inner, filled.others) == ({"depth": 3}, {"p": 1, "q": 2})


def test_a_section_is_never_changed():
    """All that serve share it."""
    with pytest.raises(AttributeError, match="frozen"):
        Inner().depth = 3  # type: ignore[misc]
