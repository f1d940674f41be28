"""What endpoints for operators are made of."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from proxy_cli.admin.base import (
    Ask,
    Count,
    Flag,
    Id,
    Map,
    Names,
    Section,
    Usd,
    choice,
    decoded,
    flag,
    like,
    merged,
    number,
    page,
    texts,
)
from proxy_cli.admin.base import (
    given as sent,
)
from proxy_cli.callers import ANYONE
from proxy_cli.errors import Unprocessable


class Body(msgspec.Struct):
    name: Id = UNSET
    usd: Usd = UNSET
    count: Count = UNSET
    names: Names = UNSET
    flag: Flag = UNSET
    map: Map = UNSET


def asked(**query: str) -> Ask:
    return Ask(caller=ANYONE, query=query)


def test_a_body_says_which_fields_were_sent_and_which_are_taken_away():
    """A field that is null is not one that is missing."""
    body, raw = decoded(b'{"name": null, "usd": 3, "other": 1}', Body)

    assert sent(body) == {"name": None, "usd": 3.0}
    assert raw["other"] == 1


@pytest.mark.parametrize("data", [b"", b"  ", b"{}"])
def test_no_body_is_an_empty_one(data):
    """Endpoints whose fields are all optional are called with nothing, too."""
    assert sent(decoded(data, Body)[0]) == {}


def test_numbers_and_words_written_as_texts_are_read_as_what_they_mean():
    """LiteLLM's clients send what stood in a form."""
    assert sent(decoded(b'{"usd": "1.5", "count": "10", "flag": "true"}', Body)[0]) == {
        "usd": 1.5,
        "count": 10,
        "flag": True,
    }


@pytest.mark.row("A-02")
@pytest.mark.parametrize(
    ("data", "field"),
    [
        (b"[1]", "body"),
        (b"{", "body"),
        (b'{"name": "\\ud800"}', "body"),
        (b'{"name": "\xff"}', "body"),
        (b'{"map": ' + b"[" * 5000 + b"]" * 5000 + b"}", "body"),
        (b'{"name": "a\\u0000b"}', "body.name"),
        (b'{"map": {"a": {"b": ["\\u0000"]}}}', "body.map"),
        (b'{"map": {"\\u0000": 1}}', "body.map"),
        (b'{"map": ' + b'{"a":' * 80 + b"1" + b"}" * 80 + b"}", "map"),
        (b'{"name": 5}', "name"),
        (b'{"name": "' + b"x" * 257 + b'"}', "name"),
        (b'{"usd": -1}', "usd"),
        (b'{"usd": "nan"}', "usd"),
        (b'{"usd": "inf"}', "usd"),
        (b'{"usd": 1e300}', "usd"),
        (b'{"count": 1.5}', "count"),
        (b'{"count": 99999999999999999999999999}', "count"),
        (b'{"names": "a"}', "names"),
        (b'{"names": [["a"]]}', "names[0]"),
        (b'{"map": []}', "map"),
        (b'{"flag": "perhaps"}', "flag"),
    ],
)
def test_a_field_of_another_kind_is_refused_with_its_name(data, field):
    """Whatever is wrong with a body, the answer names the field and is never an internal error."""
    with pytest.raises(Unprocessable) as refused:
        decoded(data, Body)

    assert refused.value.status == 422
    assert refused.value.param == field


@given(st.binary(max_size=200))
def test_any_bytes_are_a_body_or_are_refused(data):
    """There is no third way."""
    try:
        body, raw = decoded(data, Body)
    except Unprocessable:
        return

    assert set(sent(body)) <= set(raw)


def test_a_change_to_none_takes_a_field_away():
    """What is not said stays."""
    assert merged({"a": 1, "b": 2}, {"b": None, "c": 3}) == {"a": 1, "c": 3}


@pytest.mark.row("A-02")
@pytest.mark.parametrize("value", ["0", "-1", "x", "1;drop", "１", "9" * 30, "1.5", " 1"])
def test_a_page_that_is_no_number_is_refused(value):
    """Sizes and pages are whole numbers within bounds."""
    with pytest.raises(Unprocessable):
        page(asked(page=value))


def test_a_page_knows_what_comes_before_it_and_how_many_there_are():
    """Pages are counted from 1."""
    third = page(asked(page="3", size="20"))

    assert (third.skipped, third.pages(41), third.pages(0)) == (40, 3, 0)


def test_a_size_beyond_the_most_is_refused():
    """Nobody is given a million rows at once."""
    with pytest.raises(Unprocessable, match="from 1 to 100"):
        page(asked(size="101"))


def test_flags_lists_and_words_of_the_query_are_read():
    """Each in the ways that clients write it."""
    ask = asked(a="True", b="", c="x, y,,z", d="asc")

    assert flag(ask, "a")
    assert not flag(ask, "b")
    assert texts(ask, "c") == ["x", "y", "z"]
    assert choice(ask, "d", ("asc", "desc"), "desc") == "asc"
    assert number(ask, "b", 7) == 7


@pytest.mark.row("A-02")
def test_words_that_are_not_known_are_refused():
    """An order that nobody offers, and a flag that is no yes or no."""
    with pytest.raises(Unprocessable):
        choice(asked(sort_by="token); drop table x"), "sort_by", ("spend",), "spend")
    with pytest.raises(Unprocessable):
        flag(asked(blocked="maybe"), "blocked")


@pytest.mark.row("A-04")
def test_a_search_finds_percent_signs_and_underscores_as_they_are_written():
    """They are wildcards only where we put them."""
    assert like("100%_a\\b") == "%100\\%\\_a\\\\b%"


class _Body(msgspec.Struct, kw_only=True):
    shown: Flag = UNSET
    kept: Flag = UNSET


async def _silent(_office, _ask):
    """An endpoint's answer that nobody asks for."""


def test_the_endpoints_of_a_section_share_its_tag_access_and_inert_fields():
    """What a section says holds for all its endpoints, but for fields that a body does not have, and another access."""
    section = Section("teams", "viewer", inert=frozenset({"kept", "foreign"}))

    shown = section.get("/a", "a", "Show", _silent, query=("page",))
    made = section.post("/b", "b", "Make", _silent, _Body, access="admin", method="PATCH")
    bare = section.post("/c", "c", "Do", _silent)

    assert (shown.method, shown.tag, shown.access, shown.query) == ("GET", "teams", "viewer", ("page",))
    assert shown.inert == set()
    assert (made.method, made.tag, made.access, made.inert) == ("PATCH", "teams", "admin", frozenset({"kept"}))
    assert (bare.method, bare.access, bare.body, bare.inert) == ("POST", "viewer", None, frozenset())
