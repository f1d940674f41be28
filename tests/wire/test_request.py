"""Requests: broken JSON is a 400 with a place, and what is checked is what is sent."""

import json
import math
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.errors import InvalidRequest
from proxy_cli.shapes import Fields
from proxy_cli.wire.request import cut, flag, text, wants_usage


def fields_of(**values: object) -> Fields:
    return cut(json.dumps(values).encode())


def outcome(body: bytes) -> Fields | str | None:
    """The fields, or the code of the refusal."""
    try:
        return cut(body)
    except InvalidRequest as error:
        return error.code


def refusal(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        cut(body)
    assert caught.value.status == 400
    return caught.value


def test_fields_are_cut_as_they_came():
    """Each top-level field is there with its own bytes, however odd its layout."""
    fields = cut(b'\xef\xbb\xbf{"model": "m", "messages": [ {"a" : 1.50} ], "x_vendor": {"\xe6\x97\xa5":null}}')

    assert {name: bytes(raw) for name, raw in fields.items()} == {
        "model": b'"m"',
        "messages": b'[ {"a" : 1.50} ]',
        "x_vendor": b'{"\xe6\x97\xa5":null}',
    }


@pytest.mark.row("H-01")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty"),
        (b" \n", "empty"),
        (b"{'model': 'x'}", "byte 1"),
        (b'{"model": "x"} and', "trailing characters at byte 1"),
        (b'{"model": x}', "byte 10"),
        (b'{"model": "x",}', "byte 1"),
        (b'{"model": "x"', "too early, after 13 bytes"),
        (b"[]", "must be a JSON object"),
        (b'"model"', "must be a JSON object"),
        (b"model=x", "byte 0"),
    ],
)
def test_a_body_that_is_no_json_object_is_refused_with_its_place(body, words):
    """400 `invalid_json`, naming the byte or what is missing."""
    error = refusal(body)

    assert (error.code, error.param) == ("invalid_json", "request_body")
    assert words in error.message


@pytest.mark.row("H-02")
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" * 5000, "01", "+1", "1."])
def test_numbers_that_json_or_nobody_has_are_refused(number):
    """Python would take some of them; a backend would not, or would take another value."""
    assert refusal(b'{"model": "m", "temperature": %s}' % number.encode()).code == "invalid_json"


@pytest.mark.parametrize("number", ["0", "-1", "1e308", "0.5", "9" * 40, "-0.0"])
def test_numbers_that_fit_pass(number):
    """The check for size does not get in the way of real ones."""
    assert bytes(cut(b'{"x": %s}' % number.encode())["x"]) == number.encode()


@pytest.mark.row("H-03")
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"model": "m", "messages": ' + b'[{"a":' * 50_000,
    ],
)
def test_a_nesting_bomb_is_a_refusal(body):
    """No crash and no RecursionError, whether the brackets are closed or not."""
    assert refusal(body).code == "invalid_json"


@pytest.mark.row("H-04")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a": "\xff"}', "byte 7"),
        (b'{"\xff": 1}', "byte 2"),
        (b'{"a": {"b": ["\xe6\x97"]}}', "byte 14"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16"),
        ('{"a": 1}'.encode("utf-16-be"), "UTF-16"),
        ('{"a": "日本"}'.encode("shift_jis"), "not UTF-8 at byte 7"),
    ],
)
def test_text_that_is_not_utf8_is_refused(body, words):
    """At any depth, with the byte or the encoding that it seems to be."""
    assert words in refusal(body).message


def test_a_fault_far_inside_a_long_body_is_placed():
    """Long bodies are checked in pieces, and characters that lie across two of them are whole."""
    long = '{"a": "' + "日" * 60_000 + '"}'
    whole = long.encode()
    broken = whole[:131_080] + b"\xff" + whole[131_080:]

    assert len(bytes(cut(whole)["a"])) == 180_002
    assert "not UTF-8 at byte" in refusal(broken).message
    assert abs(int(refusal(broken).message.split("byte ")[1].split(";")[0]) - 131_080) <= 3


@pytest.mark.row("H-05")
@pytest.mark.parametrize("body", [rb'{"a": "\ud800"}', rb'{"a": "\ud800 more"}', rb'{"a": "\u0000"}', b'{"a": "\x00"}'])
def test_odd_characters_are_refused_or_left_alone(body):
    """Half a surrogate pair or a NUL is a 400, or passes as the bytes it came as."""
    found = outcome(body)

    assert found == "invalid_json" or (isinstance(found, dict) and bytes(found["a"]) in body)


@pytest.mark.row("H-06")
@pytest.mark.parametrize("name", ["model", "stream", "stream_options"])
@pytest.mark.parametrize("spelled", [lambda name: name, lambda name: f"\\u00{ord(name[0]):02x}{name[1:]}"])
@pytest.mark.parametrize("values", [('"a"', '"b"'), ('"a"', '"a"'), ("1", "12"), ("[]", '{"a":[]}')])
def test_a_routing_field_that_comes_twice_is_refused(name, spelled, values):
    """Whatever the values are and however the second one is spelled."""
    body = f'{{"{name}": {values[0]}, "messages": [], "{spelled(name)}": {values[1]}}}'.encode()

    error = refusal(body)

    assert error.param == name
    assert "twice" in error.message


@pytest.mark.row("H-06")
@pytest.mark.parametrize("name", ["stream_options"])
def test_an_escape_inside_a_routing_name_is_seen(name):
    """`stream\\u005foptions` is the same name."""
    assert refusal(b'{"stream_options": null, "stream\\u005foptions": {}}').param == name


def test_the_same_word_elsewhere_is_no_second_field():
    """Tools and messages may speak of models and streams."""
    body = (
        b'{"tools": [{"properties": {"model": {}, "stream": {}}}, {"model": 1}], "metadata": {"stream": "\\u0061"}, '
        b'"model": "m", "stream": true}'
    )

    assert set(cut(body)) == {"tools", "metadata", "model", "stream"}


@pytest.mark.row("H-08")
def test_wrong_types_name_the_field():
    """`model: 5` and `stream: "yes"` say what they should have been."""
    fields = fields_of(model=5, stream="yes", stream_options=[1])

    with pytest.raises(InvalidRequest, match="'model' must be a string, got a number") as model:
        text(fields, "model")
    with pytest.raises(InvalidRequest, match="'stream' must be true or false, got a string") as stream:
        flag(fields, "stream")
    with pytest.raises(InvalidRequest, match="'stream_options' must be an object, got a list") as options:
        wants_usage(fields)
    assert [caught.value.param for caught in (model, stream, options)] == ["model", "stream", "stream_options"]


@pytest.mark.row("H-08")
@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("messages", "x", "invalid_type"),
        ("messages", None, "invalid_type"),
        ("messages", {}, "invalid_type"),
        ("max_tokens", -1, "invalid_value"),
        ("max_completion_tokens", -0.5, "invalid_value"),
        ("max_output_tokens", 10**12, "invalid_value"),
        ("n", 1e9, "invalid_value"),
        ("n", 129, "invalid_value"),
        ("n", -1, "invalid_value"),
    ],
)
@pytest.mark.parametrize("more", ["", "x" * 2_000_000])
def test_values_that_no_model_takes_name_the_field(name, value, code, more):
    """In a small body as in a large one."""
    body = json.dumps({"model": "m", name: value, "user": more}).encode()

    error = refusal(body)

    assert (error.code, error.param) == (code, name)


@pytest.mark.parametrize(("name", "value"), [("n", 128), ("n", None), ("max_tokens", 0), ("max_tokens", 4096.0)])
def test_counts_that_somebody_may_take_pass(name, value):
    """What we do not know for certain is left to the backend."""
    assert name in fields_of(**{name: value})


@pytest.mark.row("H-03", "H-07")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}", "64 levels"),
        (b'{"a": ' + b'{"b":' * 64 + b"1" + b"}" * 65, "64 levels"),
        (b'{"a": [' + b"{}," * 120_000 + b"{}]}", "100,000 values"),
        (b'{"a": [' + b"null," * 120_000 + b"1]}", "100,000 values"),
        (b"[" + b"{}," * 3_000_000 + b"{}]", "100,000 values"),
    ],
)
def test_too_many_levels_or_values_are_refused(body, words):
    """Before any of them is decoded."""
    error = refusal(body)

    assert error.code == "invalid_json"
    assert words in error.message


@pytest.mark.row("H-07")
def test_a_body_of_empty_objects_costs_little_memory():
    """Nine megabytes of them would be half a gigabyte once decoded."""
    body = b'{"a": [' + b"{}," * 3_000_000 + b"{}]}"
    tracemalloc.start()
    try:
        refusal(body)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak_bytes < 16 * 1024 * 1024


def test_missing_and_null_count_as_one():
    """Clients send null for what they leave out."""
    fields = fields_of(model=None, stream=None, stream_options=None)

    for some in (fields, {}):
        assert text(some, "model") is None
        assert flag(some, "stream") is False
        assert wants_usage(some) is False
    assert text(fields_of(model="日本語"), "model") == "日本語"
    assert flag(fields_of(stream=True), "stream") is True
    assert wants_usage(fields_of(stream_options={"include_usage": True})) is True
    assert wants_usage(fields_of(stream_options={"include_usage": False})) is False


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda some: json.dumps({"a": some})[:-3].encode()))
def test_any_bytes_are_fields_or_a_refusal(body):
    """Nothing but InvalidRequest ever comes out of a body."""
    assert isinstance(outcome(body), dict | str)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_passes(number):
    """The size check follows the double's range exactly."""
    assert math.isclose(float(bytes(fields_of(temperature=number)["temperature"])), number)


@pytest.mark.row("H-03")
@pytest.mark.parametrize("said", ["plain", 'a"b\\', "]}]}", "{[{[", "\\\\"])
@pytest.mark.parametrize(("levels", "fits"), [(3, True), (64, True), (65, False), (200, False)])
def test_the_depth_of_a_body_with_much_in_it_is_not_misread(said, levels, fits):
    """However many messages there are beside it, and whatever brackets and quotes stand in texts."""
    nested: object = said
    for level in range(levels - 1):
        nested = [nested, said] if level % 2 else {said: nested}
    body = json.dumps({"model": "m", "messages": [said] * 100 + [[]] * 100, "nested": nested}).encode()

    if fits:
        assert cut(body).keys() == {"model", "messages", "nested"}
    else:
        with pytest.raises(InvalidRequest, match="64 levels"):
            cut(body)
