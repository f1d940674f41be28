"""The tokens of an answer as backends write them down.

Owns: OpenAI's two spellings (chat and Responses), with what vLLM, Ollama, rerank servers and others make of them.
Refuses: nothing. Usage that cannot be read is None or zero, for an answer is not lost over its bill.
"""

import math
from typing import Annotated, Final

import msgspec

from proxy_cli.shapes import Json, Usage

_LARGEST: Final = 2**63 - 1
_PROMPT = ("prompt_tokens", "input_tokens")
_COMPLETION = ("completion_tokens", "output_tokens")
_PROMPT_DETAILS = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
_COMPLETION_DETAILS = ("completion_tokens_details", "output_tokens_details", "output_token_details")
_CACHED = ("cached_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens")
_CACHE_CREATION = ("cache_creation_input_tokens", "cache_creation_tokens")


_Count = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]


class _PlainDetails(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The parts of a count as OpenAI writes them; those without a use here are named so that they are known."""

    cached_tokens: _Count | None = None
    audio_tokens: _Count | None = None
    reasoning_tokens: _Count | None = None
    text_tokens: object = None
    image_tokens: object = None
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
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            cached_tokens=inputs.cached_tokens or 0,
            reasoning_tokens=outputs.reasoning_tokens or 0,
            audio_prompt_tokens=inputs.audio_tokens or 0,
            audio_completion_tokens=outputs.audio_tokens or 0,
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


def _otherwise(raw: bytes | msgspec.Raw) -> Usage | None:
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return _read(found) if isinstance(found, dict) else None


def _read(found: dict[str, Json]) -> Usage | None:
    prompt, completion, total = _count(found, _PROMPT), _count(found, _COMPLETION), _count(found, ("total_tokens",))
    seconds = _seconds(found)
    if prompt is None and completion is None and total is None and seconds is None:
        return None
    if prompt is None:
        # Rerank and embedding servers of some makers give the total alone.
        prompt = max(0, (total or 0) - (completion or 0))
    inputs, outputs = _details(found, _PROMPT_DETAILS), _details(found, _COMPLETION_DETAILS)
    cached = _count(inputs, _CACHED)
    created = _count(inputs, _CACHE_CREATION)
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion or 0,
        cached_tokens=(_count(found, _CACHED) or 0) if cached is None else cached,
        cache_creation_tokens=(_count(found, _CACHE_CREATION) or 0) if created is None else created,
        reasoning_tokens=_count(outputs, ("reasoning_tokens",)) or 0,
        audio_prompt_tokens=_count(inputs, ("audio_tokens",)) or 0,
        audio_completion_tokens=_count(outputs, ("audio_tokens",)) or 0,
        seconds=seconds or 0.0,
    )


def _count(found: dict[str, Json], names: tuple[str, ...]) -> int | None:
    """The first of the names that holds a number: a zero is one, null and words are not."""
    for name in names:
        number = _number(found.get(name))
        if number is not None:
            return int(min(max(number, 0), _LARGEST))
    return None


def _number(value: Json) -> float | None:
    if isinstance(value, str):
        try:
            value = int(value) if len(value) < 20 else None
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _details(found: dict[str, Json], names: tuple[str, ...]) -> dict[str, Json]:
    return next((found[name] for name in names if isinstance(found.get(name), dict)), {})


def _seconds(found: dict[str, Json]) -> float | None:
    number = _number(found.get("seconds"))
    return None if number is None else max(float(number), 0.0)
