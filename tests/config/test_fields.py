"""Values as the text in the file says, each kind on its own."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.config.fields import (
    Anything,
    Base,
    Count,
    DatabaseUrl,
    Duration,
    Flag,
    Float,
    Fraction,
    HeaderMap,
    HttpProxy,
    Key,
    Name,
    NameOrNames,
    Networks,
    Price,
    Remarks,
    Seconds,
    Status,
    Tally,
    Text,
    TimeZone,
    Verify,
    described,
    trim,
)
from proxy_cli.config.reading import Unreadable, read_as
from proxy_cli.config.scalar import Scalar, kind_of


def written(text, *, quoted=False, replaced=False):
    """A scalar as it stands in a file."""
    return Scalar(text, quoted, "text" if quoted else kind_of(text), replaced)


def read(kind, value, context=None):
    """A value by its kind."""
    return read_as(kind, value, context)


def refusal(kind, value):
    """What is said of a value that is refused: the message and the cure."""
    with pytest.raises(Unreadable) as caught:
        read(kind, value)
    (mistake,) = caught.value.mistakes
    return f"{mistake.message} - {mistake.cure}"


@pytest.mark.parametrize("text", ["fast", "4.1", "2024-10-21", "0x10", "日本語"])
def test_a_text_is_what_is_written(text):
    """Whatever YAML sees in it."""
    assert read(Text, written(text)) == text


def test_a_number_as_a_text_is_remarked_on():
    """The remark is found by the scalar it was made on, and a quoted one makes none."""
    remarks = Remarks()
    plain = written("4.1")

    read(Text, plain, remarks)
    read(Text, written("4.1", quoted=True), remarks)

    assert [scalar for scalar, _, _ in remarks.found.values()] == [plain]


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        (Text, written("no"), 'got a boolean (no) - quote it: "no"'),
        (Text, written("null"), "got nothing (null)"),
        (Text, ["a"], "expected a text, got a list"),
        (Name, written("  ", quoted=True), "is empty - write a name"),
        (Key, written("yes"), "expected a key, got a boolean"),
        (Key, written("~"), "expected a key, got nothing"),
        (Key, {"a": "b"}, "expected a key, got a mapping"),
        (Flag, written("maybe"), "expected true or false, got 'maybe'"),
        (Flag, written("1"), "expected true or false, got '1'"),
        (Seconds, written("yes"), "got a boolean (yes)"),
        (Seconds, written("3s"), "got '3s'"),
        (Count, written("1.5"), "not a whole number"),
        (Tally, written("-1"), "must be at least 0, got -1"),
        (Status, written("200"), "must be at least 400, got 200"),
        (Status, written("600"), "must be at most 599, got 600"),
        (Fraction, written("1.1"), "must be at most 1, got 1.1"),
        (Price, written("-1"), "must be at least 0"),
        (Price, {"low": written("x")}, "got 'x'"),
        (Base, written("yes"), "expected an address, got a boolean"),
        (DatabaseUrl, written("postgresql:///name"), "has no host"),
        (DatabaseUrl, written("host:5432"), "must be postgresql://"),
        (Verify, written("", quoted=True), "is empty"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_a_cure(kind, value, said):
    """One sentence says what was wanted and what was found."""
    assert said in refusal(kind, value)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), ("on", True), ("no", False)])
def test_flags_are_words(text, value):
    """Bare or quoted."""
    assert read(Flag, written(text)) is value
    assert read(Flag, written(text, quoted=True)) is value


def test_a_variable_may_say_one_or_zero():
    """Shells have no booleans."""
    assert read(Flag, written("1", quoted=True, replaced=True)) is True
    assert read(Flag, written("0", quoted=True, replaced=True)) is False


def test_anything_becomes_plain_json():
    """Lists and mappings hold plain values in the end."""
    tree = {"a": [written("1"), written("1", quoted=True), {"b": written("null")}]}

    assert read(Anything, tree) == {"a": [1, "1", {"b": None}]}


def test_prices_may_come_as_tables():
    """As the price list has them for tiers."""
    tiers = [{"range": [written("0"), written("32000")], "input_cost_per_token": written("1e-6")}]

    assert read(Price, tiers) == [{"range": [0, 32000], "input_cost_per_token": 1e-06}]


def test_header_values_are_secrets():
    """A header may be a key, so none is shown."""
    headers = read(HeaderMap, {"authorization": written("Bearer abc")})

    assert "abc" not in repr(headers)
    assert headers["authorization"].reveal() == "Bearer abc"
    assert read(HeaderMap, {"x-team": written("営業")})["x-team"].reveal() == "営業"


def test_a_database_address_is_a_secret():
    """It holds a password."""
    assert "pass" not in repr(read(DatabaseUrl, written("postgresql://user:pass@host:5432/name")))


@pytest.mark.parametrize(("text", "value"), [("false", False), ("/etc/ca.pem", "/etc/ca.pem")])
def test_certificates_are_checked_or_not_or_by_a_bundle(text, value):
    """A word that is no boolean is a path."""
    assert read(Verify, written(text)) == value


def test_one_name_may_stand_for_a_list_of_one():
    """`callbacks: otel` and `callbacks: [otel]` are the same."""
    assert read(NameOrNames, written("otel")) == read(NameOrNames, [written("otel")]) == ("otel",)


@pytest.mark.parametrize("value", [True, 3, 0.5, "x", None])
def test_plain_python_values_are_read_too(value):
    """A configuration can be made without a file."""
    assert read(Anything, value) == value
    assert described([value]) == "a list"


def test_plain_numbers_and_flags_are_read_by_their_kinds():
    """Python's own values pass the same rules."""
    assert (read(Seconds, 3), read(Float, 1e-05), read(Flag, True), read(Text, 4.1)) == (3.0, 1e-05, True, "4.1")


@given(st.floats(min_value=1e-12, max_value=1e12))
def test_every_positive_number_that_python_prints_is_read_back(value):
    """The grammar takes what programs write."""
    assert math.isclose(read(Seconds, written(repr(value))), value)


@given(st.text())
def test_what_is_trimmed_has_no_blanks_around_it(text):
    """Blanks go, and what is left has none around it."""
    bare, changed = trim(text)

    assert changed == (bare != text)
    assert bare == bare.strip(" \t\r\n\u00a0\u3000")


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("10s", "write 10"),
        ("5m", "write 300"),
        ("1.5 hours", "write 5400"),
        ("500ms", "write 0.5"),
        ("5 apples", "write plain digits"),
    ],
)
def test_a_duration_with_a_unit_is_told_in_seconds(text, cure):
    """The cure can be typed as it stands."""
    with pytest.raises(Unreadable) as caught:
        read_as(Seconds, text)

    assert caught.value.mistakes[0].cure == cure


@pytest.mark.parametrize(
    ("key", "said"), [("Bearer sk-abcdef", 'begins with "Bearer"'), ("sk-abc def", "has a blank inside")]
)
def test_a_blank_in_a_key_is_remarked_on(key, said):
    """A key has none; what it is is never repeated."""
    remarks = Remarks()
    read_as(Key, Scalar(key, True, "text"), remarks)

    ((_, message, _),) = remarks.found.values()
    assert message.startswith(said)


def test_an_http_proxy_is_an_address_or_none():
    """`none`, or an address; what is wrong with one is told without its password."""
    assert read_as(HttpProxy, Scalar("none", False, "text")) == "none"
    assert (
        str(read_as(HttpProxy, Scalar(" http://u:hunter2@proxy.test:3128 ", True, "text"))) == "http://proxy.test:3128"
    )
    wrong = (
        Scalar("true", False, "bool"),
        Scalar("socks5://u:hunter2@proxy.test:1", False, "text"),
        Scalar("3128", False, "int"),
    )
    for scalar in wrong:
        with pytest.raises(Unreadable) as caught:
            read_as(HttpProxy, scalar)
        assert caught.value.mistakes[0].cure
        assert "hunter2" not in str(caught.value)


def test_networks_are_addresses_or_networks_and_nothing_else():
    """What could never match anybody is refused where it stands."""
    assert read(Networks, [written("10.0.0.0/8"), written("2001:db8::1")]) == ("10.0.0.0/8", "2001:db8::1")
    assert "'localhost' is no address and no network" in refusal(Networks, [written("localhost")])


@pytest.mark.parametrize("text", ["30d", "1mo", "12h", "1W"])
def test_a_duration_is_a_number_and_a_unit(text):
    """It stays as it is written."""
    assert read_as(Duration, written(text)) == text


@pytest.mark.parametrize("text", ["30", "d", "0d", "1.5h", "-1d", "for ever"])
def test_what_is_no_duration_is_refused_with_its_cure(text):
    """The message has the value and an example."""
    with pytest.raises(Unreadable, match="is no duration"):
        read_as(Duration, written(text))


def test_a_time_zone_is_one_that_there_is():
    """Else budgets would begin anew at another hour than was meant."""
    assert read(TimeZone, written("Europe/Berlin")) == "Europe/Berlin"
    for name in ("Europe/Berln", "../etc/passwd", "CEST+1"):
        assert "no time zone is called" in refusal(TimeZone, written(name))
