"""Prices as whole numbers."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.prices.exact import DECIMALS, nano, price, seconds, times, units

NANO = 10 ** (DECIMALS - 9)


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (2.5e-06, "0.0000025"),
        ("1e-6", "0.000001"),
        (1, "1"),
        (" 0.5 ", "0.5"),
        (1.5000020000000002e-05, "0.000015000020000000002"),
    ],
)
def test_a_price_is_read_by_its_digits(written, read):
    """Not by the binary number that they come nearest to."""
    assert price(written) == Decimal(read)


@pytest.mark.row("B-19")
@pytest.mark.parametrize(
    "value", [-1.0, "-1e-9", float("nan"), "NaN", float("inf"), "Infinity", "dear", True, None, [1], ""]
)
def test_what_is_no_price_is_none(value):
    """Negative, endless and foreign values alike."""
    assert price(value) is None


@pytest.mark.parametrize(
    ("total", "rounded"),
    [
        (0, 0),
        (NANO // 2, 0),
        (NANO // 2 + 1, 1),
        (NANO + NANO // 2, 2),
        (2 * NANO + NANO // 2, 2),
        (Fraction(5 * NANO, 2), 2),
        (Fraction(7 * NANO, 2), 4),
        (10**100, 10**16),
        (Fraction(10**100, 3), 10**16),
    ],
)
def test_a_sum_is_rounded_half_even_and_bounded(total, rounded):
    """A half goes to the even nano-dollar, and no answer costs more than ten million USD, so that many can be added."""
    assert nano(total) == rounded


@given(st.integers(0, 10**45))
def test_a_sum_is_rounded_as_decimal_does_it(total):
    """The same, said otherwise."""
    assert nano(total) == min(round(Fraction(total, NANO)), 10**16)


@pytest.mark.parametrize(
    ("usd", "whole"),
    [("1e-36", 1), ("1e-999999", 0), ("1e999999", 10 ** (DECIMALS + 9)), ("2.5", 25 * 10 ** (DECIMALS - 1))],
)
def test_units_hold_any_price_in_bounds(usd, whole):
    """A text such as 1e999999 must not become a number of a million digits."""
    found = price(usd)

    assert found is not None
    assert units(found) == whole


def test_a_factor_loses_no_digits():
    """Five per cent off and a tenth on."""
    assert times(Decimal("0.0000025"), Decimal("0.95") * Decimal("1.1")) == Decimal("0.0000026125")


@pytest.mark.parametrize(
    ("length_s", "exact"),
    [(12.5, Fraction(25, 2)), (0.1, Fraction(1, 10)), (-1.0, 0), (float("nan"), 0), (float("inf"), 0)],
)
def test_seconds_are_read_by_their_digits(length_s, exact):
    """A tenth of a second is a tenth."""
    assert seconds(length_s) == exact
