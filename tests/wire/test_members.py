"""Where members stand: every one is found, and a name that comes twice is never passed over."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.wire.members import FIELDS_DECODER, NamedTwice, members

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), VALUES), st.booleans(), st.sampled_from([None, 2, "\t"]))
def test_members_are_found_where_they_stand(value, ascii_only, indent):
    """Name and value of each member, cut out by its offsets, decode to what was encoded."""
    body = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")

    found = list(members(body, FIELDS_DECODER.decode(body)))

    assert [member.name for member in found] == list(value)
    assert {member.name: json.loads(body[member.value_start : member.value_end]) for member in found} == value
    assert all(body[member.start : member.start + 1] == b'"' for member in found)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 1}',
        b'{"a": 1, "a": 12}',
        b'{"a": 12, "a": 1}',
        b'{"a": "x", "b": 0, "a": [1, 2]}',
        b'{"a": {"a": 1}, "\\u0061": {"a": 2}}',
    ],
)
def test_a_name_that_comes_twice_is_told(body):
    """However alike or unlike the two values are, and however the second name is spelled."""
    with pytest.raises(NamedTwice, match="'a'") as caught:
        list(members(body, FIELDS_DECODER.decode(body)))

    assert caught.value.name == "a"
