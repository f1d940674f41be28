"""Prices as they hold for prompts of a certain length at a certain tier of service, each looked for once.

A price of its own for the length or the tier (`..._above_200k_tokens`, `..._priority`) hides the plain one. Where such
a price is not listed, the plain one holds.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Final

from proxy_cli.prices import exact
from proxy_cli.shapes import NOTHING, Json

INPUT: Final = "input_cost_per_token"
OUTPUT: Final = "output_cost_per_token"
BY_SIZE: Final = "output_cost_per_image_by_size"  # entries of the table by "hd/1024-x-1024", put together by `table.py`
_REASONING: Final = "output_cost_per_reasoning_token"
_AUDIO: Final = ("input_cost_per_audio_token", "output_cost_per_audio_token")
_CREATION: Final = "cache_creation_input_token_cost"
_SEARCH: Final = "search_context_cost_per_query"
_SIZE: Final = re.compile(r"(\d{1,5})-x-(\d{1,5})")
_USUAL_SIZE: Final = "1024-x-1024"
_USUAL_SEARCH: Final = "medium"
_USUAL_QUALITIES: Final = ("", "auto")


class Book:
    """The prices of one model for prompts of one length; all in units of `exact.py`."""

    __slots__ = (
        "_factor",
        "_found",
        "_rates",
        "_suffixes",
        "by_tokens",
        "cached",
        "created",
        "created_hour",
        "heard",
        "input",
        "made",
        "most_input",
        "most_output",
        "output",
        "reasoning",
        "request",
        "seen",
        "spoken",
    )

    def __init__(
        self, rates: Mapping[str, Json], thresholds: Sequence[int], tier: str = "", factor: Decimal | None = None
    ) -> None:
        self._rates = rates
        self._factor = factor  # of discount and margin
        # What the prompts exceed, in thousands of tokens, highest first; each in the tier's variant before the plain.
        above = [f"_above_{size}k_tokens" for size in thresholds]
        tiers = [f"_{tier}", ""] if tier else [""]
        self._suffixes = tuple(suffix for size in (*above, "") for each in tiers if (suffix := size + each))
        self._found: dict[tuple[str, ...], int | None] = {}
        self.by_tokens = self.get(INPUT, OUTPUT, *_AUDIO) is not None
        self.input = self.get(INPUT)
        self.output = self.get(OUTPUT)
        self.request = self.get("input_cost_per_request")
        # Thinking costs as the answer does unless it has a price for this very length and tier, or that has none.
        own = next(self._variants(_REASONING), None)
        own = next(self._variants(OUTPUT), None) if own is None else own
        self.reasoning = (self.get(_REASONING, OUTPUT) or 0) if own is None else own
        # Parts of a prompt and of an answer, each at the price of its text where it has none of its own.
        self.cached = self.get("cache_read_input_token_cost", "input_cost_per_token_cache_hit", INPUT) or 0
        self.created = self.get(_CREATION, INPUT) or 0
        self.created_hour = self.get(f"{_CREATION}_above_1hr", _CREATION, INPUT) or 0
        self.heard = self.get(_AUDIO[0], INPUT) or 0
        self.seen = self.get("input_cost_per_image_token", INPUT) or 0
        self.spoken = self.get(_AUDIO[1], OUTPUT) or 0
        self.made = self.get("output_cost_per_image_token", OUTPUT) or 0
        # The dearest that a token may be: text that the backend keeps, and any kind of answer.
        self.most_input = max(self.input or 0, self.created)
        self.most_output = max(self.output or 0, self.reasoning, self.spoken, self.made)

    def get(self, *names: str) -> int | None:
        """The first of these prices that is known; past a threshold the price that holds for the whole request."""
        try:
            return self._found[names]
        except KeyError:
            found = self._found[names] = next(self._known(names), None)
            return found

    def search(self, size: str) -> int | None:
        """One search of the web, by how much of it the model reads."""
        listed = self._rates.get(_SEARCH)
        if not isinstance(listed, Mapping):
            return self._price(listed)
        found = listed.get(f"search_context_size_{size or _USUAL_SEARCH}")
        return self._price(found if found is not None else listed.get(f"search_context_size_{_USUAL_SEARCH}"))

    def picture(self, made: str) -> int | None:
        """One image, by the quality and size it was made in: `hd/1024x1024`."""
        quality, _, size = made.partition("/")
        size = size.replace("x", "-x-")
        size = size if _SIZE.fullmatch(size) else _USUAL_SIZE
        usual = ("standard", "medium") if quality in _USUAL_QUALITIES else (quality,)
        by_size = self._rates.get(BY_SIZE, NOTHING)
        for name in (*(f"{each}/{size}" for each in usual), size):
            if name in by_size and (price := self._of_picture(by_size[name], size)) is not None:
                return price
        return self._of_picture(self._rates, size)

    def _of_picture(self, rates: Mapping[str, Json], size: str) -> int | None:
        whole = [self._price(rates.get(name)) for name in ("output_cost_per_image", "input_cost_per_image")]
        price = next((each for each in whole if each is not None), None)
        match = _SIZE.fullmatch(size)
        if price is not None or match is None:
            return price
        # The table writes some models' price of a pixel on the one side and zero on the other.
        pixels = [self._price(rates.get(name)) for name in ("input_cost_per_pixel", "output_cost_per_pixel")]
        known = [each for each in pixels if each is not None]
        return int(match[1]) * int(match[2]) * max(known) if known else None

    def _known(self, names: tuple[str, ...]) -> Iterator[int]:
        for name in names:
            yield from self._variants(name)
            price = self._price(self._rates.get(name))
            if price is not None:
                yield price

    def _variants(self, name: str) -> Iterator[int]:
        for suffix in self._suffixes:
            price = self._price(self._rates.get(name + suffix))
            if price is not None:
                yield price

    def _price(self, value: Json) -> int | None:
        usd = exact.price(value)
        if usd is None:
            return None
        return exact.units(usd if self._factor is None else exact.times(usd, self._factor))
