"""What a usage costs in USD. Pure arithmetic over a price table's field names; it knows no model and no file.

The rule to keep: a cost is never negative, does not fall when a prompt or an answer grows at the same rates, and is
None, not zero, where nothing is known. A part of the tokens that has no price of its own (cached, reasoning, audio) is
charged like the text around it.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from proxy_cli.config.price_names import is_modifier, is_price
from proxy_cli.shapes import NOTHING, Deployment, Json, Operation, Usage

_THRESHOLD = re.compile(r"_above_(\d+)k_tokens$")

_INPUT = "input_cost_per_token"
_OUTPUT = "output_cost_per_token"
_TOKEN_PRICES = (_INPUT, _OUTPUT, "input_cost_per_audio_token", "output_cost_per_audio_token")
_IMAGES = frozenset({Operation.IMAGE_GENERATIONS, Operation.IMAGE_EDITS, Operation.IMAGE_VARIATIONS})


def cost_usd(usage: Usage, rates: Mapping[str, Json], *, operation: Operation) -> float | None:
    """The price of one answer in USD, or None where the rates do not price what was used."""
    return Prices(rates).cost_usd(usage, operation)


def prices_of(deployment: Deployment) -> "Prices":
    """The prices of a deployment's `rates`, read once."""
    prices: Prices | None = deployment.worked_out.get(Prices)
    if prices is None:
        prices = deployment.worked_out[Prices] = Prices(deployment.rates)
    return prices


def own_prices(settings: Mapping[str, Json]) -> dict[str, Json]:
    """Those of a deployment's settings that are prices, by the price table's names."""
    return {
        name: value
        for name, value in settings.items()
        if value is not None and is_price(name) and not is_modifier(name)
    }


def rates_of(
    params: Mapping[str, Json], info: Mapping[str, Json], entry: Mapping[str, Json] | None
) -> Mapping[str, Json]:
    """The prices that hold: those of `litellm_params`, else of `model_info`, else of the table's entry.

    They are not mixed: who sets a price of his own does not mean the table's discount for cached tokens.
    """
    return own_prices(params) or own_prices(info) or own_prices(entry or NOTHING)


class Prices:
    """The rates of one model, read once. Owns the books it has made: one for each length of prompt that has its own."""

    __slots__ = ("_books", "_only", "_rates", "_sizes", "_tiers")

    def __init__(self, rates: Mapping[str, Json]) -> None:
        self._rates = rates
        self._tiers = _tiers(rates.get("tiered_pricing"))
        found = {int(match[1]) for name in rates if "_above_" in name and (match := _THRESHOLD.search(name))}
        self._sizes = sorted(found, reverse=True)  # in thousands of tokens
        self._books: dict[tuple[int, int], _Book] = {}
        self._only = None if self._tiers or self._sizes else _Book(rates, ())

    def cost_usd(self, usage: Usage, operation: Operation) -> float | None:
        """The price of one answer in USD, or None where the rates do not price what was used."""
        book = self._only or self._book(usage.prompt_tokens)
        cost = _COSTS.get(operation, _tokens)(usage, book)
        if book.request is None:
            return cost
        return book.request + (cost or 0.0)

    def _book(self, prompt_tokens: int) -> "_Book":
        tier = _tier(self._tiers, prompt_tokens) if self._tiers else -1
        exceeded = [size for size in self._sizes if prompt_tokens > size * 1000]
        book = self._books.get((tier, len(exceeded)))
        if book is None:
            rates = {**self._rates, **self._tiers[tier]} if self._tiers else self._rates
            book = self._books[tier, len(exceeded)] = _Book(rates, exceeded)
        return book


class _Book:
    """Prices as they hold for prompts of a certain length, each looked for once."""

    __slots__ = ("_found", "_rates", "_thresholds", "by_tokens", "input", "output", "request")

    def __init__(self, rates: Mapping[str, Json], thresholds: Sequence[int]) -> None:
        self._rates = rates
        self._thresholds = thresholds  # those that the prompts exceed, in thousands of tokens, highest first
        self._found: dict[tuple[str, ...], float | None] = {}
        self.by_tokens = self.get(*_TOKEN_PRICES) is not None
        self.input = self.get(_INPUT)
        self.output = self.get(_OUTPUT)
        self.request = self.get("input_cost_per_request")

    def get(self, *names: str) -> float | None:
        """The first of these prices that is known; past a threshold the price that holds for the whole request."""
        try:
            return self._found[names]
        except KeyError:
            price = self._found[names] = next(self._known(names), None)
            return price

    def _known(self, names: tuple[str, ...]) -> Iterator[float]:
        for name in names:
            for each in (*(f"{name}_above_{size}k_tokens" for size in self._thresholds), name):
                price = _price(self._rates.get(each))
                if price is not None:
                    yield price


def _tiers(listed: Json) -> list[Mapping[str, Json]]:
    """The brackets of `tiered_pricing` that say how far they go."""
    tiers = listed if isinstance(listed, list) else []
    return [tier for tier in tiers if _end_of(tier) is not None]


def _end_of(tier: Json) -> float | None:
    match tier:
        case {"range": [_, int() | float() as end]}:
            return end
    return None


def _tier(tiers: Sequence[Mapping[str, Json]], prompt_tokens: int) -> int:
    """The bracket that a prompt falls into; past the last one, the last."""
    ends = (_end_of(tier) for tier in tiers)
    return next((at for at, end in enumerate(ends) if end is not None and prompt_tokens <= end), len(tiers) - 1)


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


def _tokens(usage: Usage, book: _Book) -> float | None:
    return _input(usage, book) + _output(usage, book) if book.by_tokens else None


def _input(usage: Usage, book: _Book) -> float:
    text = book.input or 0.0
    if not (usage.cached_tokens or usage.cache_creation_tokens or usage.audio_prompt_tokens):
        return max(usage.prompt_tokens, 0) * text
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


def _output(usage: Usage, book: _Book, *names: str) -> float:
    text = (book.get(*names, _OUTPUT) if names else book.output) or 0.0
    if not (usage.reasoning_tokens or usage.audio_completion_tokens):
        return max(usage.completion_tokens, 0) * text
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


def _embeddings(usage: Usage, book: _Book) -> float | None:
    return None if book.input is None else _input(usage, book)


def _heard(usage: Usage, book: _Book) -> float | None:
    """Speech to text: tokens where the backend counts them, else seconds."""
    if usage.total_tokens and book.by_tokens:
        return _tokens(usage, book)
    # The table gives some models both prices, meaning one: the input's.
    second = book.get("input_cost_per_second", "output_cost_per_second")
    # A transcript that came as plain text does not say how long the recording was.
    return None if second is None or (second and usage.seconds <= 0) else usage.seconds * second


def _spoken(usage: Usage, book: _Book) -> float | None:
    """Text to speech: characters where they have a price, else tokens."""
    character = book.get("input_cost_per_character", "output_cost_per_character")
    if character is not None:
        return max(usage.characters, 0) * character
    return _tokens(usage, book) if usage.total_tokens else None


def _reranked(usage: Usage, book: _Book) -> float | None:
    query = book.get("input_cost_per_query")
    tokens = _tokens(usage, book)
    return tokens if query is None else max(usage.queries, 0) * query + (tokens or 0.0)


def _images(usage: Usage, book: _Book) -> float | None:
    """Made pictures: tokens where the backend counts them, else by the piece."""
    if usage.total_tokens and book.input is not None:
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
