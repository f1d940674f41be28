"""What a usage costs, in whole nano-dollars. Pure arithmetic over a price table's field names; it knows no model.

The rule to keep: a cost is exact and rounded once, never negative, does not fall when a prompt or an answer grows at
the same rates, and is None, not zero, where nothing is known. A part of the tokens that has no price of its own
(cached, reasoning, audio, pictures) is charged like the text around it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from proxy_cli.config.price_names import is_modifier, is_price
from proxy_cli.money import usd_of
from proxy_cli.prices import exact
from proxy_cli.prices.book import Book
from proxy_cli.prices.exact import Units
from proxy_cli.prices.terms import NO_TERMS, Terms, terms_in
from proxy_cli.shapes import NOTHING, Deployment, Json, Operation, Usage

GPU_HOUR: Final = "gpu_hour_cost"
_THRESHOLD = re.compile(r"_above_(\d+)k_tokens")
_TIERS: Final = frozenset({"priority", "flex", "ultrafast", "batches"})
_CHAT: Final = Operation.CHAT
_EMBEDDINGS: Final = Operation.EMBEDDINGS
_IMAGES = frozenset({Operation.IMAGE_GENERATIONS, Operation.IMAGE_EDITS, Operation.IMAGE_VARIATIONS})


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
    params: Mapping[str, Json],
    info: Mapping[str, Json],
    entry: Mapping[str, Json] | None,
    terms: Terms = NO_TERMS,
) -> Mapping[str, Json]:
    """The prices that hold: those of `litellm_params`, else of `model_info`, else of the table's entry.

    They are not mixed: who sets a price of his own does not mean the table's discount for cached tokens.
    """
    rates = own_prices(params) or own_prices(info) or own_prices(entry or NOTHING)
    return {**rates, **terms.rates()} if rates else rates


class Prices:
    """The rates of one model, read once. Owns the books it has made: one for each length of prompt that has its own."""

    __slots__ = ("_books", "_brackets", "_fixed", "_only", "_rates", "_sizes", "_terms", "gpu_hour_usd")

    def __init__(self, rates: Mapping[str, Json]) -> None:
        self._rates = rates
        self._terms = terms_in(rates)
        self._fixed = exact.units(self._terms.fixed_usd)
        hour = exact.price(rates.get(GPU_HOUR))
        # USD for an hour of a server of one's own in which it is busy; None where that has no price (`meter.py`).
        self.gpu_hour_usd = None if hour is None else exact.times(hour, self._terms.factor)
        self._brackets = _brackets(rates.get("tiered_pricing"))
        found = {int(match[1]) for name in rates if "_above_" in name and (match := _THRESHOLD.search(name))}
        self._sizes = sorted(found, reverse=True)  # in thousands of tokens
        self._books: dict[tuple[int, int, str], Book] = {}
        self._only = None if self._brackets or self._sizes else self._book(0, "")

    def cost_nano(self, usage: Usage, operation: Operation) -> int | None:
        """The price of one answer in nano-dollars, or None where the rates do not price what was used."""
        book = self._only
        if book is None or usage.tier:
            book = self._book(usage.prompt_tokens, usage.tier)
        # To look an operation up takes longer than to count its tokens; most are chats.
        total = _tokens(usage, book) if operation is _CHAT else _COSTS.get(operation, _tokens)(usage, book)
        if book.request is not None:
            total = book.request + (total or 0)
        if total is None:
            return None
        return exact.nano(total + self._fixed)

    def cost_usd(self, usage: Usage, operation: Operation) -> float | None:
        """The same in USD, for people and headers."""
        nano = self.cost_nano(usage, operation)
        return None if nano is None else usd_of(nano)

    def reserve_nano(
        self, prompt_tokens: int, completion_tokens: int, operation: Operation, *, asked: Usage | None = None
    ) -> int:
        """The most that a call may cost which sends so much text and may be answered with so much.

        `asked`: what else is known of it (`prices.ladder.asked_units`): the tier, pictures, characters, searches.
        """
        tier = asked.tier if asked is not None else ""
        book = self._only
        if book is None or tier:
            book = self._book(prompt_tokens, tier)
        total: Units = self._fixed + (book.request or 0)
        if asked is not None and operation is not _CHAT and operation in _BY_PIECE:
            total += _COSTS[operation](asked, book) or 0
        elif operation is _EMBEDDINGS:
            total += max(prompt_tokens, 0) * (book.input or 0)
        else:
            total += max(prompt_tokens, 0) * book.most_input + max(completion_tokens, 0) * book.most_output
            if asked is not None and asked.searches:
                total += _searches(asked, book)
        return exact.nano(total)

    def _book(self, prompt_tokens: int, tier: str) -> Book:
        if tier not in _TIERS:
            tier = ""
        bracket = _bracket(self._brackets, prompt_tokens) if self._brackets else -1
        exceeded = [size for size in self._sizes if prompt_tokens > size * 1000]
        book = self._books.get((bracket, len(exceeded), tier))
        if book is None:
            rates = {**self._rates, **self._brackets[bracket]} if self._brackets else self._rates
            factor = None if self._terms.factor == 1 else self._terms.factor
            book = self._books[bracket, len(exceeded), tier] = Book(rates, exceeded, tier, factor)
        return book


def _brackets(listed: Json) -> list[Mapping[str, Json]]:
    """The brackets of `tiered_pricing` that say how far they go."""
    brackets = listed if isinstance(listed, list | tuple) else []
    return [bracket for bracket in brackets if _end_of(bracket) is not None]


def _end_of(bracket: Json) -> float | None:
    match bracket:
        case {"range": [_, int() | float() as end]}:
            return end
    return None


def _bracket(brackets: Sequence[Mapping[str, Json]], prompt_tokens: int) -> int:
    """The bracket that a prompt falls into; past the last one, the last."""
    ends = (_end_of(bracket) for bracket in brackets)
    return next((at for at, end in enumerate(ends) if end is not None and prompt_tokens <= end), len(brackets) - 1)


def _tokens(usage: Usage, book: Book) -> Units | None:
    if not book.by_tokens:
        return _searches(usage, book) if usage.searches else None
    total = _input(usage, book) + _output(usage, book)
    return total + _searches(usage, book) if usage.searches else total


def _searches(usage: Usage, book: Book) -> int:
    return max(usage.searches, 0) * (book.search(usage.search_size) or 0)


def _input(usage: Usage, book: Book) -> int:
    left = max(0, usage.prompt_tokens)
    created, hour = usage.cache_creation_tokens, usage.cache_creation_hour_tokens
    if not (usage.cached_tokens or created or usage.audio_prompt_tokens or usage.image_prompt_tokens):
        return left * (book.input or 0)
    if hour:
        hour = max(0, min(hour, created))
        created -= hour
    parts = (
        (usage.cached_tokens, book.cached),
        (created, book.created),
        (hour, book.created_hour),
        (usage.audio_prompt_tokens, book.heard),
        (usage.image_prompt_tokens, book.seen),
    )
    return _in_parts(left, book.input or 0, parts)


def _output(usage: Usage, book: Book) -> int:
    left = max(0, usage.completion_tokens)
    if not (usage.reasoning_tokens or usage.audio_completion_tokens or usage.image_completion_tokens):
        return left * (book.output or 0)
    parts = (
        (usage.reasoning_tokens, book.reasoning),
        (usage.audio_completion_tokens, book.spoken),
        (usage.image_completion_tokens, book.made),
    )
    return _in_parts(left, book.output or 0, parts)


def _in_parts(left: int, text: int, parts: tuple[tuple[int, int], ...]) -> int:
    """Each part is held to what is left: a backend that counts its parts twice must not change the sum of tokens."""
    cost = 0
    for tokens, price in parts:
        if tokens > 0:
            part = min(tokens, left)
            left -= part
            cost += part * price
    return cost + left * text


def _embeddings(usage: Usage, book: Book) -> Units | None:
    return None if book.input is None else _input(usage, book)


def _heard(usage: Usage, book: Book) -> Units | None:
    """Speech to text: tokens where the backend counts them, else seconds."""
    if usage.total_tokens and book.by_tokens:
        return _tokens(usage, book)
    # The table gives some models both prices, meaning one: the input's.
    second = book.get("input_cost_per_second", "output_cost_per_second")
    # A transcript that came as plain text does not say how long the recording was.
    if second is None or (second and usage.seconds <= 0):
        return None
    return exact.seconds(usage.seconds) * second


def _spoken(usage: Usage, book: Book) -> Units | None:
    """Text to speech: characters where they have a price, else tokens."""
    character = book.get("input_cost_per_character", "output_cost_per_character")
    if character is not None:
        return max(usage.characters, 0) * character
    return _tokens(usage, book) if usage.total_tokens else None


def _reranked(usage: Usage, book: Book) -> Units | None:
    query = book.get("input_cost_per_query")
    tokens = _tokens(usage, book)
    return tokens if query is None else max(usage.queries, 0) * query + (tokens or 0)


def _images(usage: Usage, book: Book) -> Units | None:
    """Made pictures: tokens where the backend counts them, else by the piece."""
    if usage.total_tokens and book.input is not None:
        return _input(usage, book) + max(usage.completion_tokens, 0) * book.made
    image = book.picture(usage.picture)
    return None if image is None else max(usage.images, 0) * image


_BY_PIECE: Final = _IMAGES | {Operation.SPEECH, Operation.RERANK}
_COSTS: Final = {
    Operation.EMBEDDINGS: _embeddings,
    Operation.TRANSCRIPTIONS: _heard,
    Operation.TRANSLATIONS: _heard,
    Operation.SPEECH: _spoken,
    Operation.RERANK: _reranked,
} | dict.fromkeys(_IMAGES, _images)
