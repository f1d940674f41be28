"""Values keep the text they were written with."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.config.scalar import Scalar, has_leading_zero, is_sexagesimal, kind_of, number, plain, whole


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("gpt-4o", "text"), ("2024-10-21", "text"), ("0123", "text"), ("007", "text"), ("22:22", "text"),
        ("None", "text"), ("y", "text"), ("n", "text"), ("1.2.3", "text"), ("1_", "text"), ("nan", "text"),
        ("５", "text"), ("-", "text"), (".", "text"), ("0x", "text"), ("0o17", "text"), ("9" * 100, "text"),
        ("5", "int"), ("-5", "int"), ("+5", "int"), ("1_000", "int"), ("0", "int"), ("0x1F", "int"), ("0b10", "int"),
        ("1.5", "float"), ("1e3", "float"), (".5", "float"), ("5.", "float"), (".inf", "float"), ("-.INF", "float"),
        (".nan", "float"), ("1e999", "float"), ("4.1", "float"), ("0.5", "float"),
        ("true", "bool"), ("No", "bool"), ("on", "bool"), ("OFF", "bool"), ("yes", "bool"),
        ("", "null"), ("~", "null"), ("null", "null"), ("NULL", "null"),
    ],
)  # fmt: skip
def test_what_an_unquoted_text_looks_like(text, kind):
    """YAML 1.1's kinds, but dates, base 60 and leading zeros stay text, and `1e3` is the number people mean."""
    assert kind_of(text) == kind


@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5), ("1_000", 1000), ("0x1F", 31), ("-0b10", -2), ("1.5", 1.5), ("1e3", 1000.0), ("yes", True),
     ("Off", False), ("~", None), ("", None), ("0123", "0123"), ("2024-10-21", "2024-10-21"), (".nan", ".nan"),
     ("1e999", "1e999"), ("-.inf", "-.inf")],
)  # fmt: skip
def test_plain_values(text, value):
    """What a value is to Python; never an infinity, which JSON has no word for."""
    found = Scalar(text, False, kind_of(text)).plain()

    assert found == value
    assert type(found) is type(value)


def test_a_quoted_value_is_text():
    """Quotes say that a number is none."""
    assert Scalar("5", True, "text").plain() == "5"


def test_a_tree_becomes_plain_values_at_every_depth():
    """Mappings and lists keep their shape."""
    tree = {"a": [Scalar("5", False, "int"), {"b": Scalar("x", False, "text")}], "c": []}

    assert plain(tree) == {"a": [5, {"b": "x"}], "c": []}


@pytest.mark.row("C-21")
@pytest.mark.parametrize(
    ("text", "value"),
    [("5", 5.0), ("-5", -5.0), ("+5", 5.0), ("1e3", 1000.0), ("1.5", 1.5), ("1_000", 1000.0), (".5", 0.5), ("5.", 5.0),
     ("1E-2", 0.01), ("0.001", 0.001), ("0", 0.0)],
)  # fmt: skip
def test_numbers_are_read_by_one_strict_grammar(text, value):
    """Also those that YAML 1.1 takes for text."""
    assert number(text) == value


@pytest.mark.row("C-20")
@pytest.mark.parametrize("text", [".nan", ".inf", "-.inf", "1e999", "nan", "inf", "-Infinity", "9" * 400])
def test_what_is_not_finite_is_no_number(text):
    """A price or a budget without end is refused, with words that say why."""
    with pytest.raises(ValueError, match="not a finite number"):
        number(text)


@pytest.mark.parametrize(
    "text", ["", " ", "5 ", "five", "1,5", "1__0", "_1", "1_", "0x10", "1e", "e3", "--1", "５", "1:30", "²"]
)
def test_other_texts_are_no_numbers(text):
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="not a number"):
        number(text)


@pytest.mark.row("C-25")
def test_a_number_with_a_leading_zero_is_refused():
    """`0123` may be 83 or 123: neither is taken."""
    with pytest.raises(ValueError, match="starts with zero"):
        number("0123")
    assert has_leading_zero("0123")
    assert has_leading_zero("-007")
    assert not has_leading_zero("0")
    assert not has_leading_zero("0.5")


@pytest.mark.parametrize(("text", "value"), [("5", 5), ("1e3", 1000), ("5.0", 5), ("-1_000", -1000), ("0", 0)])
def test_whole_numbers(text, value):
    """A whole number may be written as a broken one."""
    assert whole(text) == value


@pytest.mark.parametrize(
    ("text", "words"), [("1.5", "not a whole"), ("1e300", "too large"), ("x", "not a number"), (".inf", "not a finite")]
)
def test_other_numbers_are_not_whole(text, words):
    """Each refusal says why."""
    with pytest.raises(ValueError, match=words):
        whole(text)


@pytest.mark.row("C-22")
@pytest.mark.parametrize("text", ["22:22", "1:30", "190:20:30", "-1:00", "1:30.5"])
def test_base_60_is_recognised(text):
    """What YAML 1.1 turns into another number without a word."""
    assert is_sexagesimal(text)


@pytest.mark.parametrize("text", ["a:22", "127.0.0.1:4000", "1:60", "22:", ":22", "1:2:x", "http://a:1", "12:345", ""])
def test_a_colon_alone_makes_no_base_60(text):
    """Hosts, ports and ordinary text pass."""
    assert not is_sexagesimal(text)


@given(st.text(max_size=30))
def test_every_text_has_a_kind_and_a_plain_value(text):
    """Classifying and converting never fail, and never give what JSON cannot hold."""
    value = Scalar(text, False, kind_of(text)).plain()

    assert value is None or isinstance(value, bool | int | float | str)
    assert not isinstance(value, float) or math.isfinite(value)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_is_read_back(value):
    """What Python writes, we read."""
    assert number(repr(value)) == value
