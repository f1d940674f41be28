"""Objects with half a character in them: read as they are, or left alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.wire.splice import decoded, edit, object_fields, rename_model
from proxy_cli.wire.surrogates import fields_around_halves

HALVES = [r"\ud83d", r"\uDE00", r"a\ud83dA", r"\ude00\ud83d", r"\ud83d\ud83d\ude00", r"\\\ud83d"]


@pytest.mark.row("U-26")
@pytest.mark.parametrize("half", HALVES)
def test_fields_are_the_bytes_that_came(half):
    """Whatever half a value holds, at whichever depth."""
    body = f'{{"model": "m", "choices":[{{"text":"{half}"}}], "n": 1}}'.encode()

    fields = object_fields(body)

    assert fields is not None
    assert {name: bytes(raw) for name, raw in fields.items()} == {
        "model": b'"m"',
        "choices": f'[{{"text":"{half}"}}]'.encode(),
        "n": b"1",
    }


@pytest.mark.row("U-26")
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("more", ["", ',"x":{"model":1}', r',"\u0061":1'])
def test_model_is_renamed_and_nothing_else(half, more):
    """Wherever the name stands, and whether it is beyond doubt or must be looked for."""
    body = f'{{"choices":[{{"text":"{half}"}}],"model":"m"{more}}}'.encode()

    assert rename_model(body, "asked") == body.replace(b'"m"', b'"asked"')
    assert edit(body, {"model": b'"b"', "n": None}) == body.replace(b'"m"', b'"b"')


def test_value_with_half_a_character_is_decoded_with_a_sign_in_its_place():
    """Who must look into a field that was passed on can."""
    fields = object_fields(rb'{"a": {"text": "\ud83d!"}}')

    assert fields is not None
    assert decoded(fields["a"]) == {"text": "\ufffd!"}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(rb'{"a":"\\ud83d"}', id="a backslash and five letters"),
        pytest.param(rb'{"a":"\ud83d\ude00"}', id="a whole pair"),
        pytest.param(rb'{"a":"\ud83d"', id="cut off"),
        pytest.param(rb'{"a":"\ud83d","b":}', id="something else is wrong"),
        pytest.param(rb'["\ud83d"]', id="no object"),
        pytest.param(rb'{"a\ud83d":1}', id="in a name"),
        pytest.param(rb'{"a":"\ud83d","a":2}', id="a name twice"),
        pytest.param(b"<html>", id="no JSON"),
    ],
)
def test_what_is_whole_or_otherwise_wrong_is_left_alone(body):
    """Halves in values are all that is overlooked."""
    assert fields_around_halves(body) is None


@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(categories=["Cs", "L"])))
)
def test_any_text_reads_as_python_wrote_it(values):
    """Python writes halves without a word, and reads them back."""
    body = json.dumps(values).encode()

    fields = object_fields(body)

    assert fields is not None
    assert {name: json.loads(bytes(raw)) for name, raw in fields.items()} == json.loads(body)
