"""What a usage costs in USD. Pure arithmetic over a price table's field names; it knows no model and no file.

The rule to keep: a cost is never negative, does not fall when a prompt or an answer grows at the same rates, and is
None, not zero, where nothing is known. A part of the tokens that has no price of its own (cached, reasoning, audio) is
charged like the text around it.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from proxy_cli.shapes import NOTHING, Json, Operation, Usage

_THRESHOLD = re.compile(r"_above_(\d+)k_tokens$")
_PRICE = re.compile(r"(^|_)cost(_per_|_above_|_|$)|^tiered_pricing$")

_INPUT = "input_cost_per_token"
_OUTPUT = "output_cost_per_token"
_TOKEN_PRICES = (_INPUT, _OUTPUT, "input_cost_per_audio_token", "output_cost_per_audio_token")
_IMAGES = frozenset({Operation.IMAGE_GENERATIONS, Operation.IMAGE_EDITS, Operation.IMAGE_VARIATIONS})


def cost_usd(usage: Usage, rates: Mapping[str, Json], *, operation: Operation) -> float | None:
    """The price of one answer in USD, or None where the rates do not price what was used."""
    book = _Rates.of(rates, usage.prompt_tokens)
    cost = _COSTS.get(operation, _tokens)(usage, book)
    flat = book.get("input_cost_per_request")
    if cost is None:
        return flat
    return cost + (flat or 0.0)


def own_prices(settings: Mapping[str, Json]) -> dict[str, Json]:
    """Those of a deployment's settings that are prices, by the price table's names."""
    return {name: value for name, value in settings.items() if value is not None and _PRICE.search(name)}


def rates_of(
    params: Mapping[str, Json], info: Mapping[str, Json], entry: Mapping[str, Json] | None
) -> Mapping[str, Json]:
    """The prices that hold: those of `litellm_params`, else of `model_info`, else of the table's entry.

    They are not mixed: who sets a price of his own does not mean the table's discount for cached tokens.
    """
    return own_prices(params) or own_prices(info) or own_prices(entry or NOTHING)


@dataclass(frozen=True, slots=True)
class _Rates:
    """Prices as they hold for a prompt of a certain length."""

    rates: Mapping[str, Json]
    thresholds: tuple[int, ...]  # those the prompt exceeds, in thousands of tokens, highest first

    @classmethod
    def of(cls, rates: Mapping[str, Json], prompt_tokens: int) -> "_Rates":
        tier = _tier(rates.get("tiered_pricing"), prompt_tokens)
        known = {int(match[1]) for name in rates if "_above_" in name and (match := _THRESHOLD.search(name))}
        exceeded = sorted((size for size in known if prompt_tokens > size * 1000), reverse=True)
        return cls({**rates, **tier} if tier else rates, tuple(exceeded))

    def get(self, *names: str) -> float | None:
        """The first of these prices that is known; past a threshold the price that holds for the whole request."""
        for name in names:
            for size in self.thresholds:
                price = _price(self.rates.get(f"{name}_above_{size}k_tokens"))
                if price is not None:
                    return price
            price = _price(self.rates.get(name))
            if price is not None:
                return price
        return None


def _tier(tiers: Json, prompt_tokens: int) -> Mapping[str, Json]:
    """The bracket of `tiered_pricing` that a prompt falls into; past the last one, the last."""
    chosen: Mapping[str, Json] = NOTHING
    for tier in tiers if isinstance(tiers, list) else ():
        match tier:
            case {"range": [_, int() | float() as end]}:
                chosen = tier
                if prompt_tokens <= end:
                    break
    return chosen


def _price(value: Json) -> float | None:
    """A price as a number; None for what is none, is negative or is not finite."""
    if isinstance(value, str):
        # YAML 1.1 reads 1e-6, which has no point, as text.
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _tokens(usage: Usage, book: _Rates) -> float | None:
    if book.get(*_TOKEN_PRICES) is None:
        return None
    return _input(usage, book) + _output(usage, book)


def _input(usage: Usage, book: _Rates) -> float:
    text = book.get(_INPUT) or 0.0
    # Each part is held to what is left of the prompt: a backend that counts its parts twice must not lower the sum.
    left = max(usage.prompt_tokens, 0)
    cost = 0.0
    for tokens, name in (
        (usage.cached_tokens, "cache_read_input_token_cost"),
        (usage.cache_creation_tokens, "cache_creation_input_token_cost"),
        (usage.audio_prompt_tokens, "input_cost_per_audio_token"),
    ):
        if tokens > 0:
            part = min(tokens, left)
            left -= part
            cost += part * (book.get(name, _INPUT) or 0.0)
    return cost + left * text


def _output(usage: Usage, book: _Rates, *names: str) -> float:
    text = book.get(*names, _OUTPUT) or 0.0
    left = max(usage.completion_tokens, 0)
    cost = 0.0
    for tokens, name in (
        (usage.reasoning_tokens, "output_cost_per_reasoning_token"),
        (usage.audio_completion_tokens, "output_cost_per_audio_token"),
    ):
        if tokens > 0:
            part = min(tokens, left)
            left -= part
            cost += part * (book.get(name, *names, _OUTPUT) or 0.0)
    return cost + left * text


def _embeddings(usage: Usage, book: _Rates) -> float | None:
    return None if book.get(_INPUT) is None else _input(usage, book)


def _heard(usage: Usage, book: _Rates) -> float | None:
    """Speech to text: tokens where the backend counts them, else seconds."""
    if usage.total_tokens and book.get(*_TOKEN_PRICES) is not None:
        return _tokens(usage, book)
    # The table gives some models both prices, meaning one: the input's.
    second = book.get("input_cost_per_second", "output_cost_per_second")
    # A transcript that came as plain text does not say how long the recording was.
    return None if second is None or (second and usage.seconds <= 0) else usage.seconds * second


def _spoken(usage: Usage, book: _Rates) -> float | None:
    """Text to speech: characters where they have a price, else tokens."""
    character = book.get("input_cost_per_character", "output_cost_per_character")
    if character is not None:
        return max(usage.characters, 0) * character
    return _tokens(usage, book) if usage.total_tokens else None


def _reranked(usage: Usage, book: _Rates) -> float | None:
    query = book.get("input_cost_per_query")
    tokens = _tokens(usage, book)
    return tokens if query is None else max(usage.queries, 0) * query + (tokens or 0.0)


def _images(usage: Usage, book: _Rates) -> float | None:
    """Made pictures: tokens where the backend counts them, else by the piece."""
    if usage.total_tokens and book.get(_INPUT) is not None:
        return _input(usage, book) + _output(usage, book, "output_cost_per_image_token")
    image = book.get("output_cost_per_image", "input_cost_per_image")
    return None if image is None else max(usage.images, 0) * image


_COSTS = {
    Operation.EMBEDDINGS: _embeddings,
    Operation.TRANSCRIPTIONS: _heard,
    Operation.TRANSLATIONS: _heard,
    Operation.SPEECH: _spoken,
    Operation.RERANK: _reranked,
} | dict.fromkeys(_IMAGES, _images)
