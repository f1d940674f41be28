"""Splicing: the edited object means what it should, and nothing else of it moves."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.wire.request import cut
from proxy_cli.wire.skeleton import cut_large, finished
from proxy_cli.wire.splice import (
    Spliced,
    decoded,
    edit,
    encode,
    is_null,
    is_text,
    object_fields,
    rename_model,
    strip_bom,
    with_model,
)

NAMES = st.sampled_from(["model", "stream", "a", "b", "名", '"', "\\", "mod"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=6,
)
OBJECTS = st.dictionaries(NAMES, VALUES)
LAYOUTS = st.sampled_from([{"indent": None}, {"indent": 2}, {"separators": (" , ", " : ")}, {"ensure_ascii": False}])


@given(OBJECTS, st.dictionaries(NAMES, VALUES | st.just(...)), LAYOUTS)
def test_edit_means_decode_change_encode(value, changes, layout):
    """Setting and removing in the bytes gives what setting and removing in the decoded object gives."""
    body = json.dumps(value, **layout).encode()
    raw = {name: None if new is ... else encode(new) for name, new in changes.items()}
    expected = {name: new for name, new in (value | changes).items() if new is not ...}

    edited = edit(body, raw)

    assert json.loads(edited) == expected
    assert list(json.loads(edited)) == list(expected)
    assert edit(body, raw, cut(body)) == edited


@given(OBJECTS.filter(len), st.data(), LAYOUTS)
def test_edit_of_a_value_leaves_every_other_byte(value, data, layout):
    """Replacing a member and putting its old bytes back gives the old body."""
    body = json.dumps(value, **layout).encode()
    name = data.draw(st.sampled_from(sorted(value)))
    old = bytes(cut(body)[name])

    edited = edit(body, {name: b'"a new value"'})

    assert edit(edited, {name: old}) == body
    assert edited.count(b'"a new value"') >= 1


@pytest.mark.parametrize(
    ("body", "changes", "expected"),
    [
        (b'{"a" : 1 , "b": 2 }\n', {"b": None}, b'{"a" : 1 }\n'),
        (b'{ "a" : 1 , "b": 2 }', {"a": None}, b'{"b": 2 }'),
        (b'{"a":1,"b":2,"c":3}', {"b": None, "c": None}, b'{"a":1}'),
        (b'{"a":1}', {"a": None}, b"{}"),
        (b"{}", {"a": b"1", "b": b"2"}, b'{"a":1,"b":2}'),
        (b'{"a":1}', {"b": b"[]"}, b'{"a":1,"b":[]}'),
        (b'{"a":1}', {"b": None}, b'{"a":1}'),
    ],
)
def test_edit_takes_commas_along(body, changes, expected):
    """Whichever members go and come, what is left is an object with its commas right."""
    assert edit(body, changes) == expected


@pytest.mark.parametrize("body", [b"", b"[1]", b"null", b'"model"', b'{"model":', b"<html>", b"{\xff}"])
def test_edit_leaves_what_is_no_object(body):
    """There is nothing to set in it, and it is not ours to refuse."""
    assert edit(body, {"model": b'"x"'}) == body
    assert rename_model(body, "x") == body


def test_edit_of_an_object_that_names_a_field_twice_keeps_the_last_value():
    """As every decoder would read it; so the backend cannot see a value that was not looked at."""
    assert json.loads(edit(b'{"a":1,"b":2,"a":3}', {"b": b"4"})) == {"a": 3, "b": 4}


@pytest.mark.row("H-06")
def test_model_is_replaced_where_it_counts():
    """A name spelled with an escape, or `"model"` as a value, does not lead the splice to another place."""
    assert json.loads(edit(b'{"\\u006dodel":"a","x":{"model":"b"}}', {"model": b'"c"'})) == {
        "model": "c",
        "x": {"model": "b"},
    }
    assert edit(b'{"x":"model","model":"a"}', {"model": b'"c"'}) == b'{"x":"model","model":"c"}'
    assert edit(b'{"x":{"model":"a"}}', {"model": b'"c"'}) == b'{"x":{"model":"a"},"model":"c"}'
    assert edit(b'{"model" :\n"a:a" }', {"model": b'"c"'}) == b'{"model" :\n"c" }'


@pytest.mark.row("S-27")
def test_rename_touches_the_top_level_string_only():
    """A `"model":` in content or arguments is text; one that is null or missing stays so."""
    arguments = '"arguments": "{\\"model\\": \\"vicuna\\"}", "x": {"model": "vicuna"}'
    body = f'{{{arguments}, "model": "vicuna", "note": "日本語"}}'.encode()

    assert rename_model(body, "gpt-4o") == f'{{{arguments}, "model": "gpt-4o", "note": "日本語"}}'.encode()
    for left in (b'{"model":null}', b'{"model":5}', b'{"x":{"model":"a"}}', b'{"object":"list"}'):
        assert rename_model(left, "gpt-4o") == left


def test_a_name_is_encoded_as_json():
    """Quotes, backslashes and Japanese in a model's name give a valid body."""
    name = 'a"b\\c 日本語 🚅'

    assert json.loads(rename_model(b'{"model":"x"}', name)) == {"model": name}


def test_a_byte_order_mark_goes():
    """It is no part of JSON, and backends refuse it."""
    assert strip_bom(b"\xef\xbb\xbf{}") == b"{}"
    assert edit(b'\xef\xbb\xbf{"a":1}', {"a": b"2"}) == b'{"a":2}'


def test_raw_values_are_told_apart():
    """Null and missing count as one; a string is known by its quote."""
    fields = object_fields(b'{"a": null, "b": "x", "c": [1]}')

    assert fields is not None
    assert [is_null(fields.get(name)) for name in "abcd"] == [True, False, False, True]
    assert [is_text(fields.get(name)) for name in "abcd"] == [False, True, False, False]
    assert decoded(fields["c"]) == [1]


@pytest.mark.parametrize("space", ["", " ", "\n\t"])
@pytest.mark.parametrize("large", [False, True])
def test_a_member_is_added_behind_the_last_one_as_it_stands(space, large):
    """Every other byte stays, the blanks before the closing brace and after it among them."""
    text = "x" * (10_000 if large else 3)
    body = f'{{ "model" :"a","text":"{text}}}"{space}}}{space}'.encode()

    edited = edit(body, {"model": b'"bb"', "more": b"[1]"})

    assert edited == f'{{ "model" :"bb","text":"{text}}}","more":[1]{space}}}{space}'.encode()


def test_a_member_that_is_there_is_changed_where_it_stands():
    """Never written a second time: two readers of such an object may see different values."""
    body = b'{"model":"a","n":1,"m":2}'

    assert edit(body, {"model": b'"b"', "n": b"3"}) == b'{"model":"b","n":3,"m":2}'
    assert edit(body, {"model": b'"b"', "n": None, "o": b"4"}) == b'{"model":"b","m":2,"o":4}'


def test_a_body_that_names_the_model_already_is_handed_on():
    """Nothing is copied where nothing changes."""
    body = b'{"model":"a"}'

    assert with_model(body, msgspec.Raw(b'"a"'), b'"a"') is body
    assert with_model(body, msgspec.Raw(b'"a"'), b'"b"') == b'{"model":"b"}'
    assert with_model(b'{"model":null}', msgspec.Raw(b"null"), b'"b"') == b'{"model":null}'
    assert with_model(b'{"x":{"model":"a"},"model":"a"}', msgspec.Raw(b'"a"'), b'"b"') == (
        b'{"x":{"model":"a"},"model":"b"}'
    )


@pytest.mark.row("H-20")
@pytest.mark.parametrize("changes", [{"model": b'"new"'}, {"model": b'"new"', "more": b"1"}, {"input": None}, {}])
async def test_a_large_body_is_sent_in_pieces_without_being_put_together(changes):
    """The same bytes as of a small one, and as many as were announced."""
    body = json.dumps({"model": "old", "input": ["x" * 700_000, "y" * 700_000], "n": 1}).encode()
    fields = finished(cut_large(body))
    source = Spliced(body, changes, fields)
    length, pieces = source.length, []
    while piece := await source.read():
        pieces.append(piece)

    assert Spliced(body, changes, fields).whole() == b"".join(pieces) == edit(body, changes)
    assert length == len(b"".join(pieces))
    assert max(map(len, pieces)) <= 256 * 1024
