"""Values from the command line and from variables: what is read, and the sentence for the rest."""

import pytest

from proxy_cli.cli.kinds import HeadersObject, KeyAssignment, Number, Switch, Text


@pytest.mark.parametrize(("text", "value"), [("1", 1), ("65535", 65535), (" 4000 ", 4000)])
def test_number_reads_whole_numbers_within_its_bounds(text, value):
    """Both bounds belong to the range."""
    assert Number(1, 65535).read(text) == value


@pytest.mark.row("C-49", "C-55")
@pytest.mark.parametrize("text", ["abc", "", "0", "-1", "65536", "70000", "1.5", "nan", "1e3", "0x10"])
def test_number_refuses_what_is_outside_with_value_and_range(text):
    """The sentence repeats the value and says what is wanted."""
    with pytest.raises(ValueError, match=f"^'{text}' is not a whole number from 1 to 65535$"):
        Number(1, 65535).read(text)


@pytest.mark.parametrize("text", ["0", "0.0", "-1", "nan"])
def test_a_budget_of_nothing_is_no_budget(text):
    """A bound that is itself too little is said so."""
    with pytest.raises(ValueError, match="is not a number above 0"):
        Number(0, whole=False, above=True).read(text)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-0.1", "warm", ""])
def test_number_refuses_amounts_that_are_no_amounts(text):
    """Not-a-number and infinity are words, not amounts."""
    with pytest.raises(ValueError, match="is not a number of 0 or more"):
        Number(0, whole=False).read(text)


def test_number_reads_amounts():
    """Money and seconds may have fractions."""
    assert Number(0, whole=False).read("0.25") == 0.25


@pytest.mark.parametrize(
    ("text", "value"), [("True", True), ("1", True), ("on", True), ("False", False), ("no", False)]
)
def test_switch_reads_yes_and_no_in_every_usual_spelling(text, value):
    """As Click's and the shells' users write it."""
    assert Switch().read(text) is value


@pytest.mark.parametrize("text", ["", "maybe", "express:*", "2"])
def test_switch_refuses_other_words(text):
    """A word that is neither is an error, not a no."""
    with pytest.raises(ValueError, match="is neither true nor false"):
        Switch().read(text)


def test_text_refuses_an_empty_value():
    """An empty value is a shell variable that nobody has set."""
    with pytest.raises(ValueError, match="the value is empty"):
        Text().read("  ")


def test_headers_are_read_from_json():
    """Names and values stay as they are written."""
    assert HeadersObject().read('{"X-Team": "検索"}') == {"X-Team": "検索"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"X-Team": }', "not JSON at line 1, column 12"),
        ('{"X-Team": "a",\n "b" "secret-value"}', "not JSON at line 2, column 6"),
        ("[1]", "must be an object"),
        ('{"X-Team": 1}', "the value of 'X-Team' must be a text on one line"),
        ('{"X Team": "a"}', "'X Team' cannot be the name of a header"),
        ('{"X-Team": "a\\nb"}', "the value of 'X-Team' must be a text on one line"),
    ],
)
def test_headers_tell_the_place_of_what_is_wrong(text, sentence):
    """A position, or the header's name; never a value."""
    with pytest.raises(ValueError, match=sentence) as caught:
        HeadersObject().read(text)

    assert "secret-value" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_key_assignment_keeps_all_after_the_first_equals_sign():
    """Base64 ends with equals signs."""
    assert KeyAssignment().read("MY_KEY=abc==") == ("MY_KEY", "abc==")


@pytest.mark.parametrize("text", ["sk-1234567890", "=sk-1234567890", "MY-KEY=sk-1234567890", "MY_KEY=", "K=sk-12\n34"])
def test_key_assignment_refuses_the_rest_without_repeating_it(text):
    """What was written may be the key itself."""
    with pytest.raises(ValueError, match=r"give a variable's name|must be a text on one line") as caught:
        KeyAssignment().read(text)

    assert "sk-" not in str(caught.value).replace("sk-...", "")
