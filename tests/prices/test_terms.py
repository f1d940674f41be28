"""Discounts and margins."""

from decimal import Decimal

import pytest

from proxy_cli.prices.cost import Prices, rates_of
from proxy_cli.prices.terms import NO_TERMS, Terms, terms_for, terms_in
from proxy_cli.shapes import Operation, Usage


@pytest.mark.parametrize(
    ("provider", "discounts", "margins", "terms"),
    [
        ("openai", {}, {}, NO_TERMS),
        ("openai", {"vertex_ai": 0.05}, {}, NO_TERMS),
        ("vertex_ai", {"vertex_ai": 0.05}, {}, Terms(Decimal("0.95"))),
        ("openai", {}, {"openai": 0.1}, Terms(Decimal("1.1"))),
        ("openai", {"openai": 0.5}, {"openai": "0.1"}, Terms(Decimal("0.55"))),
        ("azure", {}, {"global": 0.2, "openai": 0.1}, Terms(Decimal("1.2"))),
        ("openai", {}, {"openai": {"percentage": 0.08, "fixed_amount": 0.0005}},
         Terms(Decimal("1.08"), Decimal("0.0005"))),
        ("openai", {"openai": 1}, {"openai": {"fixed_amount": 1}}, Terms(Decimal(0), Decimal(1))),
    ],
)  # fmt: skip
def test_terms_are_those_of_the_provider(provider, discounts, margins, terms):
    """A provider's own, else the margin for all."""
    assert terms_for(provider, discounts, margins) == terms


@pytest.mark.parametrize(
    ("discounts", "margins", "said"),
    [
        ({"openai": 1.5}, {}, "cost_discount_config.openai is 1.5; write a part of the price"),
        ({"openai": -0.1}, {}, "cost_discount_config.openai is -0.1; write a number"),
        ({}, {"openai": float("nan")}, "cost_margin_config.openai is nan; write a number"),
        ({}, {"global": {"percentage": "much"}}, "cost_margin_config.global.percentage is 'much'; write a number"),
    ],
)
def test_what_is_no_term_is_refused(discounts, margins, said):
    """One sentence says which."""
    with pytest.raises(ValueError, match=said.replace(".", r"\.")):
        terms_for("openai", discounts, margins)


def test_terms_change_the_price_of_what_has_one():
    """Five per cent off a thousand tokens, and half a thousandth on; nothing where there is no price."""
    terms = Terms(Decimal("0.95"), Decimal("0.0005"))

    rates = rates_of({"input_cost_per_token": 2.5e-06}, {}, None, terms)

    assert terms_in(rates) == terms
    assert Prices(rates).cost_nano(Usage(1000), Operation.CHAT) == 2_375_000 + 500_000
    assert rates_of({}, {}, None, terms) == {}
