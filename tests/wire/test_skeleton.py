"""Large bodies: cut into the same fields as small ones, and refused for the same reasons."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.errors import InvalidRequest
from proxy_cli.wire.members import FIELDS_DECODER
from proxy_cli.wire.request import cut
from proxy_cli.wire.skeleton import MOST_LEVELS, Spanned, check_shape, cut_large, finished
from proxy_cli.wire.splice import edit

LONG = "x" * 10_000
TEXTS = st.one_of(
    st.text(max_size=20),
    st.builds(lambda part, times: part * times, st.text(min_size=1, max_size=5), st.integers(1, 3000)),
    st.builds(lambda n, end: "\\" * n + end, st.integers(4000, 4200), st.sampled_from(["", '"', "é", "n"])),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(10**12), 10**12), st.floats(-1e9, 1e9), TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


def large(body: bytes) -> Spanned:
    return finished(cut_large(body))


def refusal(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        large(body)
    return caught.value


@given(st.dictionaries(st.text(max_size=10), VALUES, max_size=5), st.booleans(), st.sampled_from([None, 1]))
def test_a_large_body_is_cut_as_a_small_one(fields, ascii_only, indent):
    """The same names, and for each the same bytes, at the places that are told."""
    body = json.dumps(fields, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "replace")

    found = large(body)

    assert {name: bytes(raw) for name, raw in found.items()} == {
        name: bytes(raw) for name, raw in FIELDS_DECODER.decode(body).items()
    }
    for member in found.members:
        assert body[member.value_start : member.value_end] == bytes(found[member.name])
        assert body[member.start : member.value_start].rstrip(b" :\n").endswith(b'"')


@given(st.binary(max_size=60), st.integers(0, 10_000))
def test_what_is_no_json_is_refused_as_such(data, at):
    """Never with anything else than a refusal or the decoder's own words."""
    body = json.dumps({"model": "m", "messages": [{"content": LONG}]}).encode()
    broken = body[:at] + data + body[at:]
    try:
        expected = FIELDS_DECODER.decode(broken)
        broken.decode()
    except (ValueError, RecursionError):
        expected = None

    try:
        found = large(broken)
    except (InvalidRequest, ValueError, RecursionError):
        found = None

    if expected is None:
        assert found is None
    elif found is not None:
        assert {name: bytes(raw) for name, raw in found.items()} == {name: bytes(raw) for name, raw in expected.items()}


@pytest.mark.row("H-20")
def test_a_new_model_in_a_large_body_is_a_splice():
    """By the places of its fields, with every other byte as it came."""
    body = json.dumps({"a": LONG, "model": "old", "messages": [LONG * 500]}).encode()

    changed = edit(body, {"model": b'"new"', "extra": b"1"}, large(body))

    assert changed == body.replace(b'"old"', b'"new"')[:-1] + b',"extra":1}'


@pytest.mark.row("H-04", "H-05")
@pytest.mark.parametrize("at", [1, 5000, 300_000])
@pytest.mark.parametrize("bad", [b"\xff", b"\x00", b"\n", b"\\x", b"\\u12", b"\xe6\x97"])
def test_a_bad_character_in_a_long_text_is_found(bad, at):
    """In whichever piece of it."""
    text = b"y" * at + bad + b"y" * 300_000

    assert refusal(b'{"model": "m", "input": "%s"}' % text).code == "invalid_json"


@pytest.mark.parametrize("unit", ["\\\\", '\\"', "\\u65e5", "日", "\\n", "é\\\\", "\\ud83d\\ude00"])
@pytest.mark.parametrize("shift", range(13))
def test_pieces_split_neither_characters_nor_escapes(unit, shift):
    """Wherever the end of a piece would fall."""
    text = "z" * shift + unit * 200_000
    body = f'{{"input": "{text}", "model": "m"}}'.encode()

    found = large(body)

    assert bytes(found["model"]) == b'"m"'
    assert len(bytes(found["input"])) == len(text.encode()) + 2


@pytest.mark.row("H-06")
def test_a_name_that_comes_twice_is_refused():
    """Also when it is spelled with an escape."""
    for second in (b'"model"', b'"\\u006dodel"'):
        error = refusal(b'{"model": "a", "input": "%s", %s: "b"}' % (LONG.encode(), second))

        assert error.code == "duplicate_field"


@pytest.mark.row("H-07")
@pytest.mark.parametrize("unit", [b"{}", b"[]", b'""', b"null", b'{"a":1}'])
def test_values_without_number_are_refused(unit):
    """Before anything is made of them."""
    error = refusal(b'{"model": "m", "input": [' + b",".join([unit] * 150_000) + b"]}")

    assert error.code == "invalid_json"
    assert "100,000 values" in error.message


def test_many_token_ids_pass():
    """A batch of texts as numbers is an everyday request."""
    body = b'{"model": "m", "input": [' + b",".join([b"[" + b",".join([b"12345"] * 500) + b"]"] * 600) + b"]}"

    assert set(large(body)) == {"model", "input"}


@pytest.mark.row("H-07")
def test_numbers_without_number_are_refused():
    """A million of them is more than any request has."""
    assert refusal(b'{"input": [' + b"0," * 2_000_000 + b"0]}").code == "invalid_json"


@pytest.mark.row("H-03")
def test_levels_are_counted_outside_of_texts():
    """Sixty-four are enough for everybody; brackets in a text are none."""
    deepest = MOST_LEVELS - 1
    fits = b'{"a": ' + b"[" * deepest + b'"]]]"' + b"]" * deepest + b"}"
    deep = b'{"a": ' + b"[" * (deepest + 1) + b'"]]]"' + b"]" * (deepest + 1) + b"}"

    finished(check_shape(fits))
    with pytest.raises(InvalidRequest, match="64 levels"):
        finished(check_shape(deep))


@pytest.mark.row("H-02")
@pytest.mark.parametrize("number", [b"1e999", b"-1E+4000", b"1" * 5000])
def test_numbers_that_nobody_can_use_are_refused_at_every_depth(number):
    """Some readers make infinity of them, others an error."""
    assert "number" in refusal(b'{"input": [[%s]], "model": "%s"}' % (number, LONG.encode())).message


@pytest.mark.parametrize("number", [b"1e300", b"1e-999", b"123456789012345678901234567890", b"1.5E+10"])
def test_numbers_that_fit_pass(number):
    """However they are written."""
    assert bytes(large(b'{"a": %s}' % number)["a"]) == number


@pytest.mark.row("H-01")
def test_the_place_of_a_fault_is_that_in_the_body():
    """However long the texts before it are."""
    body = b'{"input": "%s", "model": x}' % (b"A" * 2_000_000)

    with pytest.raises(InvalidRequest, match=rf"at byte {body.index(b'x')}$"):
        cut(body)


@pytest.mark.row("H-20")
def test_no_step_of_a_large_body_is_long():
    """The work gives way many times, so that others are served in between."""
    body = json.dumps({"model": "m", "messages": [{"content": "A" * 20_000_000}]}).encode()
    steps = sum(1 for _ in cut_large(body))

    assert steps > 50
