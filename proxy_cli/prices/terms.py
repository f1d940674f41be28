"""What is agreed beside the price list: a discount and a margin by provider, in LiteLLM's words.

`cost_discount_config: {openai: 0.05}` takes a part off; `cost_margin_config: {openai: 0.1}` adds one to what is left,
or `{percentage: 0.08, fixed_amount: 0.0005}` a part and an amount for each answer. `global` holds for every provider
that has no margin of its own. Both change a deployment's rates once, when its entry is read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from proxy_cli.prices import exact
from proxy_cli.shapes import Json

_FACTOR: Final = "llmproxy_cost_factor"
_FIXED: Final = "llmproxy_cost_fixed"
_ALL: Final = "global"


@dataclass(frozen=True, slots=True)
class Terms:
    """By what the prices of the list are multiplied, and what is added to each answer, in USD."""

    factor: Decimal = Decimal(1)
    fixed_usd: Decimal = Decimal(0)

    def rates(self) -> Mapping[str, str]:
        """As they lie beside a deployment's prices."""
        return {} if self == NO_TERMS else {_FACTOR: str(self.factor), _FIXED: str(self.fixed_usd)}


NO_TERMS: Final = Terms()


def terms_in(rates: Mapping[str, Json]) -> Terms:
    """The terms that lie beside a deployment's prices."""
    factor, fixed = exact.price(rates.get(_FACTOR)), exact.price(rates.get(_FIXED))
    return NO_TERMS if factor is None or fixed is None else Terms(factor, fixed)


def terms_for(provider: str, discounts: Mapping[str, Json], margins: Mapping[str, Json]) -> Terms:
    """What holds for a provider's models. Raises ValueError with a sentence for what is no discount or margin."""
    discount = _part(discounts.get(provider, 0), f"cost_discount_config.{provider}")
    if discount > 1:
        raise ValueError(f"cost_discount_config.{provider} is {discount}; write a part of the price: 0.05 is 5 %")
    name = provider if provider in margins else _ALL
    where = f"cost_margin_config.{name}"
    given = margins.get(name, 0)
    if isinstance(given, Mapping):
        part = _part(given.get("percentage", 0), f"{where}.percentage")
        fixed = _part(given.get("fixed_amount", 0), f"{where}.fixed_amount")
    else:
        part, fixed = _part(given, where), Decimal(0)
    return Terms((1 - discount) * (1 + part), fixed)


def _part(value: Json, where: str) -> Decimal:
    found = exact.price(value)
    if found is None:
        raise ValueError(f"{where} is {value!r}; write a number that is 0 or more")
    return found
