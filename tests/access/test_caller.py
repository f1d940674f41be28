"""Whose call it is: the same credential gives the same digest, whatever carries it, and nothing of it shows."""

import pytest

from proxy_cli.access.caller import caller_of
from proxy_cli.access.keys import CARRIERS

KEY = "sk-a-key-of-somebody"


@pytest.mark.parametrize("carrier", CARRIERS)
def test_a_credential_is_found_in_every_header_that_may_carry_one(carrier: str):
    """Every header that a client puts a key into leads to the same caller."""
    plain = caller_of(((carrier, KEY),))

    assert plain == caller_of((("authorization", f"Bearer {KEY}"),))
    assert len(plain) == 32


def test_different_credentials_are_different_callers():
    """Two keys give two digests, and no digest shows its key."""
    first, second = (caller_of((("x-api-key", key),)) for key in (KEY, KEY + "2"))

    assert first != second
    assert KEY[3:] not in first


def test_a_scheme_and_spaces_change_nothing():
    """`Bearer`, however it is written, and spaces around the key are not part of it."""
    written = ("Bearer " + KEY, "bearer  " + KEY, f" BEARER {KEY} ", KEY, f" {KEY} ")

    assert len({caller_of((("authorization", value),)) for value in written}) == 1


@pytest.mark.parametrize("headers", [(), (("user-agent", KEY),), (("authorization", "Bearer "),), (("api-key", " "),)])
def test_a_call_without_a_credential_has_no_name(headers: tuple[tuple[str, str], ...]):
    """No credential, or an empty one: all such calls are one caller, whose name is empty."""
    assert caller_of(headers) == ""


def test_the_first_carrier_wins_in_a_fixed_order():
    """With several credentials the order of the headers does not change whose call it is."""
    headers = (("x-api-key", "other"), ("authorization", f"Bearer {KEY}"), ("authorization", "Bearer later"))

    assert caller_of(headers) == caller_of((("authorization", KEY),))


def test_bytes_that_are_no_text_are_a_credential_too():
    """A key with bytes that are not UTF-8 has a digest like any other."""
    assert caller_of((("x-api-key", "k\udce9y"),)) != caller_of((("x-api-key", "k\udceay"),))
