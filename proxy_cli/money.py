"""Money inside is a whole number of nano-dollars, so that sums can be compared for equality; USD only at the edges."""

from decimal import ROUND_HALF_EVEN, Decimal
from typing import Final

NANO: Final = 1_000_000_000
_MOST_NANO: Final = 2**63 - 1  # what a database's whole number holds


def nano_of(usd: float | str | Decimal) -> int:
    """An amount of USD in nano-dollars, rounded once. Raises ValueError for what is negative, endless or too much."""
    exact = usd if isinstance(usd, Decimal) else Decimal(str(usd))
    if not exact.is_finite() or exact < 0 or exact * NANO > _MOST_NANO:
        raise ValueError(f"{usd} is no amount of money; write USD as a number from 0 to 9 billion")
    return int((exact * NANO).to_integral_value(rounding=ROUND_HALF_EVEN))


def usd_of(nano: int) -> float:
    """Nano-dollars as USD, for people and JSON: nine digits behind the point, and no more."""
    return nano / NANO
