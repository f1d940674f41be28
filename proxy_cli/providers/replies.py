"""A backend's whole reply as the caller's answer: its bytes, but for the name of the model, and what it used."""

from collections.abc import Callable
from typing import Final

import msgspec

from proxy_cli.providers.headers import json_headers, reply_headers
from proxy_cli.providers.refusals import failure, not_json
from proxy_cli.shapes import Call, Deployment, Fields, Headers, Json, Operation, PlainAnswer, Usage, first_header
from proxy_cli.wire.splice import decoded, edit, encode, is_text, object_fields, with_model
from proxy_cli.wire.usage import PlainUsage, answer_usage, at_tier

_MAYBE_TEXT: Final = frozenset({Operation.SPEECH, Operation.TRANSCRIPTIONS, Operation.TRANSLATIONS})
_LONGEST_WORD: Final = 16
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])


def read_reply(call: Call, deployment: Deployment, status: int, headers: Headers, body: bytes) -> PlainAnswer:
    """The answer in a whole reply. Raises BackendError, StreamOptionsRefused or BackendBroken."""
    if status >= 300:
        raise failure(call, deployment, status, headers, body)
    if call.operation in _MAYBE_TEXT and "json" not in (first_header(headers, "content-type") or ""):
        return PlainAnswer(status, reply_headers(headers), body, spoken(call))
    kept = json_headers(headers)
    if call.operation not in _COUNTS and (plain := _plain_reply(body)) is not None:
        body = with_model(body, plain.model, encode(call.shown_model))
        usage = plain.usage.counted() if plain.usage else None
        if plain.service_tier is not None and usage is not None:
            usage = at_tier(usage, plain.service_tier)
        return PlainAnswer(status, kept, body, usage)
    fields = object_fields(body)
    if fields is None:
        if _length(body) is None:
            raise not_json(deployment, status, headers, body)
        return PlainAnswer(status, kept, body, _units(call, {}, None))
    if is_text(fields.get("model")):
        body = edit(body, {"model": encode(call.shown_model)}, fields)
    return PlainAnswer(status, kept, body, _units(call, fields, answer_usage(fields)))


_NULL: Final = msgspec.Raw(b"null")


class _PlainReply(msgspec.Struct, gc=False):
    """What nearly every reply is, as far as we read it: the rest is stepped over."""

    model: msgspec.Raw = _NULL
    usage: PlainUsage | None = None
    service_tier: str | None = None


_PLAIN_REPLY: Final = msgspec.json.Decoder(_PlainReply)


def _plain_reply(body: bytes) -> _PlainReply | None:
    try:
        return _PLAIN_REPLY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def spoken(call: Call) -> Usage | None:
    """What a call for speech uses, counted in what it asks for: a reply of sound does not say."""
    text = _value(call.fields.get("input")) if call.operation is Operation.SPEECH else None
    return Usage(characters=len(text)) if isinstance(text, str) else None


def _length(array: bytes | msgspec.Raw) -> int | None:
    """The number of values in a JSON array, none of which is decoded: pictures are large. None for anything else."""
    try:
        return len(_LIST.decode(array))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _units(call: Call, fields: Fields, usage: Usage | None) -> Usage | None:
    count = _COUNTS.get(call.operation)
    return count(call, fields, usage) if count else usage


def _queries(_call: Call, fields: Fields, usage: Usage | None) -> Usage:
    """Reranking is billed by the query; a long one counts as several, in `meta.billed_units.search_units`."""
    meta = _value(fields.get("meta"))
    billed = meta.get("billed_units") if isinstance(meta, dict) else None
    units = billed.get("search_units") if isinstance(billed, dict) else None
    queries = units if isinstance(units, int) and units > 0 else 1
    return msgspec.structs.replace(usage or Usage(), queries=queries)


def _pictures(call: Call, fields: Fields, usage: Usage | None) -> Usage:
    """Pictures are priced by quality and size: as the answer says, else as was asked."""
    data = fields.get("data")
    made = "/".join(_word(fields, name) or _word(call.fields, name) for name in ("quality", "size"))
    images = 0 if data is None else _length(data) or 0
    return msgspec.structs.replace(usage or Usage(), images=images, picture="" if made == "/" else made)


def _word(fields: Fields, name: str) -> str:
    value = _value(fields.get(name))
    return value if isinstance(value, str) and len(value) <= _LONGEST_WORD else ""


def _seconds(_call: Call, fields: Fields, usage: Usage | None) -> Usage | None:
    """A transcript with `duration`, as `verbose_json` has it, where no usage says it."""
    length = _value(fields.get("duration"))
    if usage is not None or isinstance(length, bool) or not isinstance(length, int | float) or length < 0:
        return usage
    return Usage(seconds=float(length))


def _value(raw: msgspec.Raw | None) -> Json:
    if raw is None:
        return None
    try:
        return decoded(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


_COUNTS: Final[dict[Operation, Callable[[Call, Fields, Usage | None], Usage | None]]] = {
    Operation.RERANK: _queries,
    Operation.IMAGE_GENERATIONS: _pictures,
    Operation.IMAGE_EDITS: _pictures,
    Operation.IMAGE_VARIATIONS: _pictures,
    Operation.TRANSCRIPTIONS: _seconds,
    Operation.TRANSLATIONS: _seconds,
}
