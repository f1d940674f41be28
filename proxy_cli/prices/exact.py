"""Prices as whole numbers, so that a cost is exact: tokens are multiplied and added, and rounded once.

A price is read by the digits that were written, never by the binary number they come nearest to, and kept in units of
10**-36 USD: finer than any float of a price is written. A sum of such units is rounded half-even to nano-dollars.
"""

import math
from decimal import Context, Decimal, InvalidOperation
from fractions import Fraction
from typing import Final

from proxy_cli.shapes import Json

DECIMALS: Final = 36
_UNITS_PER_NANO: Final = 10 ** (DECIMALS - 9)
_MOST_NANO: Final = 10**16  # ten million USD for one answer: sums of many must fit into 63 bits
_WIDE: Final = Context(prec=400)  # enough for each digit of each float
_MOST_USD: Final = Decimal(10) ** 9
_NONE: Final = Decimal(0)

Units = int | Fraction  # a fraction where seconds were multiplied


def price(value: Json) -> Decimal | None:
    """A price in USD as it was written; None for what is none, is negative or is not finite."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        # YAML 1.1 reads 1e-6, which has no point, as text.
        exact = _WIDE.create_decimal(value if isinstance(value, Decimal) else str(value).strip())
    except InvalidOperation:
        return None
    return exact if exact.is_finite() and exact >= 0 else None


def units(usd: Decimal) -> int:
    """A price in whole units."""
    if usd > _MOST_USD:
        usd = _MOST_USD
    elif usd.adjusted() < -DECIMALS - 1:
        usd = _NONE
    return int(_WIDE.to_integral_value(_WIDE.scaleb(usd, DECIMALS)))


def times(usd: Decimal, factor: Decimal) -> Decimal:
    """A price changed by a factor, without loss."""
    return _WIDE.multiply(usd, factor)


def nano(total: Units) -> int:
    """A sum of units as nano-dollars, rounded half-even, and at most what an answer may cost."""
    if not isinstance(total, int):
        return min(round(total / _UNITS_PER_NANO), _MOST_NANO)
    whole, rest = divmod(total, _UNITS_PER_NANO)
    if rest:
        doubled = rest + rest
        if doubled > _UNITS_PER_NANO or (doubled == _UNITS_PER_NANO and whole & 1):
            whole += 1
    return min(_MOST_NANO, whole)


def seconds(length_s: float) -> Fraction:
    """A length in seconds by the digits that were written; none for what is negative or endless."""
    return Fraction(str(length_s)) if length_s > 0 and math.isfinite(length_s) else Fraction(0)
