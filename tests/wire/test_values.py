"""Single fields of a request: each has one type."""

import json
import math

import pytest

from proxy_cli.errors import InvalidRequest
from proxy_cli.wire.request import cut
from proxy_cli.wire.values import LONGEST_S, count, flag, names, seconds, text, texts


def fields_of(**values):
    return cut(json.dumps(values).encode())


@pytest.mark.parametrize("fields", [{}, fields_of(x=None)])
def test_what_is_missing_or_null_has_no_value(fields):
    """Clients send null for what they leave out."""
    assert (text(fields, "x"), flag(fields, "x"), seconds(fields, "x"), count(fields, "x", 5), names(fields, "x")) == (
        None,
        False,
        None,
        None,
        (),
    )


def test_values_of_their_type_are_read():
    """As they were sent."""
    fields = fields_of(text="日本", flag=True, seconds=2, count=5, names=["a", "b"])

    assert text(fields, "text") == "日本"
    assert flag(fields, "flag") is True
    assert math.isclose(seconds(fields, "seconds") or 0, 2.0)
    assert count(fields, "count", 5) == 5
    assert names(fields, "names") == ("a", "b")


@pytest.mark.parametrize(
    ("reader", "value", "words"),
    [
        (text, 5, "must be a string, got a number"),
        (flag, "yes", "must be true or false, got a string"),
        (flag, 1, "must be true or false, got a number"),
        (seconds, True, "must be a number of seconds, got a boolean"),
        (seconds, 0, "must be more than 0 seconds, got 0"),
        (names, "a", "must be a list of strings, got a string"),
        (names, ["a", 5], "must be a list of strings, got a number"),
        (lambda fields, name: count(fields, name, 5), 6, "must be from 0 to 5, got 6"),
        (lambda fields, name: count(fields, name, 5), -1, "must be from 0 to 5, got -1"),
        (lambda fields, name: count(fields, name, 5), 1.5, "must be a whole number, got a number"),
        (lambda fields, name: count(fields, name, 5), True, "must be a whole number, got a boolean"),
        (lambda fields, name: count(fields, name, 5), {}, "must be a whole number, got an object"),
    ],
)
def test_another_type_or_value_names_the_field(reader, value, words):
    """With what it should have been, and what it is."""
    with pytest.raises(InvalidRequest) as caught:
        reader(fields_of(x=value), "x")

    assert f"'x' {words}" in caught.value.message
    assert caught.value.param == "x"


def test_a_value_inside_another_is_named_by_its_path():
    """So that its sender finds it."""
    with pytest.raises(InvalidRequest, match=r"'metadata\.tags' must be a list of strings, got an object"):
        texts({}, "metadata.tags")


def test_a_number_that_fits_nowhere_cannot_be_read():
    """It is valid as bytes only."""
    with pytest.raises(InvalidRequest, match="'x' cannot be read"):
        text(cut(b'{"x": [1e999]}'), "x")


@pytest.mark.parametrize("value", [10**300, 1e308, 1e9])
def test_a_time_beyond_all_measure_is_the_longest_there_is(value):
    """As a limit it is as good as none, and a timer takes no more."""
    assert math.isclose(seconds(fields_of(seconds=value), "seconds") or 0, LONGEST_S)
