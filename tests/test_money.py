from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy_cli.money import NANO, nano_of, usd_of


@pytest.mark.parametrize(
    ("usd", "nano"),
    [(0, 0), (0.1, 100_000_000), ("0.000000001", 1), (Decimal("12.5"), 12_500_000_000), (1e-7, 100), (3, 3 * NANO)],
)
def test_an_amount_is_what_is_written(usd, nano):
    """Not what a binary fraction makes of it."""
    assert nano_of(usd) == nano


@pytest.mark.parametrize(("usd", "nano"), [("0.0000000005", 0), ("0.0000000015", 2), ("0.0000000025", 2)])
def test_a_half_is_rounded_to_the_even_one(usd, nano):
    """Many roundings do not add up to one side."""
    assert nano_of(usd) == nano


@pytest.mark.parametrize("usd", [-0.01, float("inf"), float("nan"), "-1", 1e10])
def test_what_is_no_amount_is_refused(usd):
    """Negative, endless, or more than a database's whole number holds."""
    with pytest.raises(ValueError, match="no amount of money"):
        nano_of(usd)


@given(st.integers(0, 10**15))
def test_an_amount_comes_back_from_usd_as_it_was(nano):
    """What an endpoint shows and is given back is the same sum, up to a million dollars."""
    assert nano_of(usd_of(nano)) == nano
