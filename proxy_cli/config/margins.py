"""How discounts and margins are written: parts of a price, by provider."""

from collections.abc import Mapping
from typing import Annotated, Final

from proxy_cli.config.fields import PRICE, Fraction, Number, wrong
from proxy_cli.config.problem import did_you_mean
from proxy_cli.config.reading import PlainValidator, WithJsonSchema
from proxy_cli.shapes import Json

_PART: Final = Number("a part of the price, 0 or more: 0.1 is 10 %", least=0)
_KEYS: Final = {"percentage": _PART, "fixed_amount": PRICE}


def read_margin(value: object) -> Json:
    """A part of the price; or `percentage`, a part too, and `fixed_amount`, USD for each answer."""
    if not isinstance(value, Mapping):
        return _PART(value)
    for key in value:
        if str(key) not in _KEYS:
            near = did_you_mean(str(key), _KEYS)
            raise wrong(f"a margin has no {str(key)!r}", f"did you mean {near}?" if near else "write percentage")
    return {str(key): _KEYS[str(key)](inner) for key, inner in value.items()}


_SCHEMA: Final[dict[str, Json]] = {"anyOf": [*PRICE.schema()["anyOf"], {"type": "object"}]}

Discounts = dict[str, Fraction]
Margins = dict[str, Annotated[Json, PlainValidator(read_margin), WithJsonSchema(_SCHEMA)]]
