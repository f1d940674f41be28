"""The tokens of an answer as backends write them down.

Owns: OpenAI's two spellings (chat and Responses), with what vLLM, Ollama, rerank servers, Anthropic and others make of
them. In a `Usage` the parts are always inside of the whole: cached tokens in the prompt, thinking in the answer.
Refuses: nothing. A count that cannot be is none (negative, no number, more than any model reads), and is told as the
usage's `problem`; usage without any count is None, for an answer is not lost over its bill.
"""

import math
from typing import Annotated, Final

import msgspec

from proxy_cli.shapes import Fields, Json, Usage

_LARGEST: Final = 10**9  # tokens of one answer: what is beyond is a slip that must not become a bill
_PROMPT = ("prompt_tokens", "input_tokens")
_COMPLETION = ("completion_tokens", "output_tokens")
_PROMPT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_COMPLETION_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")
_CACHED = ("cached_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens")
_CACHE_CREATION = ("cache_creation_input_tokens", "cache_creation_tokens", "cache_write_tokens")
_REASONING = ("reasoning_tokens",)
_SEARCHES = ("num_search_queries", "web_search_requests")
_USUAL_TIERS: Final = frozenset({"", "default", "auto", "standard", "on_demand"})
_LONGEST_WORD: Final = 16
NEGATIVE, TOO_LARGE, TEXT, PARTS, FALLING = "negative", "too_large", "text", "parts", "falling"


_Count = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]


class _PlainDetails(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The parts of a count as OpenAI writes them; those without a use here are named so that they are known."""

    cached_tokens: _Count | None = None
    audio_tokens: _Count | None = None
    reasoning_tokens: _Count | None = None
    text_tokens: object = None
    image_tokens: _Count | None = None
    accepted_prediction_tokens: object = None
    rejected_prediction_tokens: object = None


class PlainUsage(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A usage exactly as OpenAI writes it for a chat, which most servers do; all else is read by `usage_of`."""

    prompt_tokens: _Count
    completion_tokens: _Count = 0
    total_tokens: _Count | None = None
    prompt_tokens_details: _PlainDetails | None = None
    completion_tokens_details: _PlainDetails | None = None

    def counted(self) -> Usage:
        """The same as rooms exchange it."""
        if self.prompt_tokens_details is None and self.completion_tokens_details is None:
            return Usage(self.prompt_tokens, self.completion_tokens)
        inputs, outputs = self.prompt_tokens_details or _NO_DETAILS, self.completion_tokens_details or _NO_DETAILS
        cached, reasoning = inputs.cached_tokens or 0, outputs.reasoning_tokens or 0
        completion = _with_thinking(self.prompt_tokens, self.completion_tokens, reasoning, self.total_tokens)
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=completion,
            cached_tokens=cached,
            reasoning_tokens=reasoning,
            audio_prompt_tokens=inputs.audio_tokens or 0,
            audio_completion_tokens=outputs.audio_tokens or 0,
            image_prompt_tokens=inputs.image_tokens or 0,
            image_completion_tokens=outputs.image_tokens or 0,
            problem=PARTS if cached > self.prompt_tokens or reasoning > completion else "",
        )


_NO_DETAILS: Final = _PlainDetails()
_PLAIN: Final = msgspec.json.Decoder(PlainUsage)


def usage_of(raw: bytes | msgspec.Raw | None) -> Usage | None:
    """The usage in the value of a `usage` field; None for null and for what counts nothing."""
    if raw is None:
        return None
    try:
        return _PLAIN.decode(raw).counted()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _otherwise(raw)


def answer_usage(fields: Fields) -> Usage | None:
    """The usage in an answer's fields, with the tier of service that the backend says it was given at."""
    usage = usage_of(fields.get("usage"))
    if usage is None or "service_tier" not in fields:
        return usage
    try:
        return at_tier(usage, msgspec.json.decode(fields["service_tier"]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return usage


def at_tier(usage: Usage, tier: Json) -> Usage:
    """The usage at a tier of service, where that is not the usual one."""
    if not isinstance(tier, str) or tier in _USUAL_TIERS or len(tier) > _LONGEST_WORD:
        return usage
    return msgspec.structs.replace(usage, tier=tier)


def later(before: Usage | None, now: Usage) -> Usage:
    """Of two usages of one stream the later, unless it counts less: then the stream has contradicted itself."""
    if before is None or before.total_tokens <= now.total_tokens:
        return now
    return msgspec.structs.replace(before, problem=FALLING)


def _with_thinking(prompt: int, completion: int, reasoning: int, total: int | None) -> int:
    """The tokens of an answer with those it was thought over with: xAI, Gemini and others count them beside it."""
    if not reasoning:
        return completion
    beside = completion < reasoning if total is None else total == prompt + completion + reasoning
    return min(completion + reasoning, _LARGEST) if beside else completion


def _otherwise(raw: bytes | msgspec.Raw) -> Usage | None:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _Reading(found).usage() if isinstance(found, dict) else None


class _Reading:
    """One usage that is not written as OpenAI does; keeps the first thing that is wrong with it."""

    __slots__ = ("_found", "_inputs", "_outputs", "_problem")

    def __init__(self, found: dict[str, Json]) -> None:
        self._found = found
        self._inputs = _details(found, _PROMPT_DETAILS)
        self._outputs = _details(found, _COMPLETION_DETAILS)
        self._problem = ""

    def usage(self) -> Usage | None:
        """What it comes to; None where nothing is counted."""
        found = self._found
        prompt, completion = self._count(found, _PROMPT), self._count(found, _COMPLETION)
        total, seconds = self._count(found, ("total_tokens",)), _seconds(found)
        if prompt is None and completion is None and total is None and seconds is None:
            return None
        cached, created = self._part(_CACHED), self._part(_CACHE_CREATION)
        if prompt is None:
            # Rerank and embedding servers of some makers give the total alone.
            prompt = max(0, (total or 0) - (completion or 0))
        elif self._counts_cache_beside():
            prompt = min(prompt + cached + created, _LARGEST)
        reasoning = self._count(self._outputs, _REASONING) or self._count(found, _REASONING) or 0
        completion = _with_thinking(prompt, completion or 0, reasoning, total)
        if cached + created > prompt or reasoning > completion:
            self._problem = self._problem or PARTS
        return Usage(
            prompt_tokens=prompt,
            completion_tokens=completion,
            cached_tokens=cached,
            cache_creation_tokens=created,
            cache_creation_hour_tokens=self._kept_for_an_hour(),
            reasoning_tokens=reasoning,
            audio_prompt_tokens=self._count(self._inputs, ("audio_tokens",)) or 0,
            audio_completion_tokens=self._count(self._outputs, ("audio_tokens",)) or 0,
            image_prompt_tokens=self._count(self._inputs, ("image_tokens",)) or 0,
            image_completion_tokens=self._count(self._outputs, ("image_tokens",)) or 0,
            seconds=seconds or 0.0,
            searches=self._searches(),
            search_size=_word(found.get("search_context_size")),
            problem=self._problem,
        )

    def _counts_cache_beside(self) -> bool:
        """Anthropic's way: `input_tokens` are those that were neither read from the cache nor put there."""
        found = self._found
        return "prompt_tokens" not in found and not self._inputs and not isinstance(found.get("total_tokens"), int)

    def _part(self, names: tuple[str, ...]) -> int:
        inside = self._count(self._inputs, names)
        return (self._count(self._found, names) or 0) if inside is None else inside

    def _kept_for_an_hour(self) -> int:
        return self._count(_details(self._found, ("cache_creation",)), ("ephemeral_1h_input_tokens",)) or 0

    def _searches(self) -> int:
        places = (self._found, self._inputs, _details(self._found, ("server_tool_use",)))
        return next((count for place in places if (count := self._count(place, _SEARCHES))), 0)

    def _count(self, found: dict[str, Json], names: tuple[str, ...]) -> int | None:
        """The first of the names that holds a count: a zero is one; null, words and what cannot be are not."""
        for name in names:
            value = found.get(name)
            if value is None:
                continue
            number, problem = _number(value)
            self._problem = self._problem or problem
            if number is not None:
                return int(number)
        return None


def _number(value: Json) -> tuple[float | None, str]:
    """A count and what is wrong with how it is written."""
    problem = ""
    if isinstance(value, str):
        problem = TEXT
        try:
            value = int(value) if len(value) < 20 else None
        except ValueError:
            return None, problem
    if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
        return None, problem or TEXT
    if value < 0:
        return None, NEGATIVE
    return (None, TOO_LARGE) if value > _LARGEST else (value, problem)


def _details(found: dict[str, Json], names: tuple[str, ...]) -> dict[str, Json]:
    return next((found[name] for name in names if isinstance(found.get(name), dict)), {})


def _seconds(found: dict[str, Json]) -> float | None:
    value = found.get("seconds")
    number = None if value is None else _number(value)[0]
    return None if number is None else float(number)


def _word(value: Json) -> str:
    return value if isinstance(value, str) and len(value) <= _LONGEST_WORD else ""
