import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.wire import request
from proxy_cli.wire.overlay import overlaid
from proxy_cli.wire.skeleton import cut_large, finished
from proxy_cli.wire.splice import edit

BODY = b'{ "model" : "a", "messages": [{"role": "user", "content": "hi"}] , "temperature": 0.50 }'


def raws(values):
    return {name: msgspec.Raw(json.dumps(value).encode()) for name, value in values.items()}


def cut_either_way(body):
    return [request.cut(body), finished(cut_large(body))]


@pytest.mark.parametrize("way", [0, 1], ids=["small", "large"])
def test_a_value_is_replaced_and_another_added_while_all_other_bytes_stay(way):
    """Blanks and the spelling of numbers are the caller's own."""
    body, _ = overlaid(BODY, cut_either_way(BODY)[way], raws({"model": "b", "seed": 7}))

    assert body == (
        b'{ "model" : "b", "messages": [{"role": "user", "content": "hi"}] , "temperature": 0.50,"seed":7 }'
    )


VALUES = st.dictionaries(
    st.sampled_from(["model", "messages", "temperature", "seed", 'ünï"', "a"]),
    st.one_of(st.integers(-9, 9), st.text(max_size=8), st.lists(st.text(max_size=3), max_size=3)),
    max_size=6,
)


@pytest.mark.parametrize("way", [0, 1], ids=["small", "large"])
@given(before=VALUES, first=VALUES, second=VALUES)
def test_a_changed_body_can_be_changed_again_and_says_what_its_fields_say(way, before, first, second):
    """However often fields are laid over a body, it decodes to what they are, by its bytes and by its fields."""
    before = {**before, "messages": []}
    body = json.dumps(before).encode()

    changed, fields = overlaid(body, cut_either_way(body)[way], raws(first))
    again, last = overlaid(changed, fields, raws(second))

    wanted = {**before, **first, **second}
    assert json.loads(again) == wanted
    assert {name: json.loads(bytes(raw)) for name, raw in last.items()} == wanted
    assert json.loads(edit(again, {"model": b'"end"'}, last)) == {**wanted, "model": "end"}


def test_an_empty_object_takes_fields():
    """The first member needs no comma."""
    for fields in cut_either_way(b"{}"):
        assert overlaid(b"{}", fields, raws({"a": 1, "b": 2}))[0] == b'{"a":1,"b":2}'
