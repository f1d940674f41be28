"""A backend's whole reply as the caller's answer: its bytes, but for the name of the model, and what it used."""

from collections.abc import Callable
from typing import Final

import msgspec

from proxy_cli.providers.headers import json_headers, reply_headers
from proxy_cli.providers.refusals import failure, not_json
from proxy_cli.shapes import Call, Deployment, Fields, Headers, Json, Operation, PlainAnswer, Usage, first_header
from proxy_cli.wire.splice import decoded, edit, encode, is_text, object_fields, with_model
from proxy_cli.wire.usage import PlainUsage, usage_of

_MAYBE_TEXT: Final = frozenset({Operation.SPEECH, Operation.TRANSCRIPTIONS, Operation.TRANSLATIONS})
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
        return PlainAnswer(status, kept, body, plain.usage.counted() if plain.usage else None)
    fields = object_fields(body)
    if fields is None:
        if _length(body) is None:
            raise not_json(deployment, status, headers, body)
        return PlainAnswer(status, kept, body, _units(call, {}, None))
    if is_text(fields.get("model")):
        body = edit(body, {"model": encode(call.shown_model)}, fields)
    return PlainAnswer(status, kept, body, _units(call, fields, usage_of(fields.get("usage"))))


_NULL: Final = msgspec.Raw(b"null")


class _PlainReply(msgspec.Struct, gc=False):
    """What nearly every reply is, as far as we read it: the rest is stepped over."""

    model: msgspec.Raw = _NULL
    usage: PlainUsage | None = None


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
    return count(fields, usage) if count else usage


def _queries(fields: Fields, usage: Usage | None) -> Usage:
    """Reranking is billed by the query; a long one counts as several, in `meta.billed_units.search_units`."""
    meta = _value(fields.get("meta"))
    billed = meta.get("billed_units") if isinstance(meta, dict) else None
    units = billed.get("search_units") if isinstance(billed, dict) else None
    queries = units if isinstance(units, int) and units > 0 else 1
    return msgspec.structs.replace(usage or Usage(), queries=queries)


def _pictures(fields: Fields, usage: Usage | None) -> Usage:
    data = fields.get("data")
    return msgspec.structs.replace(usage or Usage(), images=_length(data) or 0 if data is not None else 0)


def _seconds(fields: Fields, usage: Usage | None) -> Usage | None:
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


_COUNTS: Final[dict[Operation, Callable[[Fields, Usage | None], Usage | None]]] = {
    Operation.RERANK: _queries,
    Operation.IMAGE_GENERATIONS: _pictures,
    Operation.IMAGE_EDITS: _pictures,
    Operation.IMAGE_VARIATIONS: _pictures,
    Operation.TRANSCRIPTIONS: _seconds,
    Operation.TRANSLATIONS: _seconds,
}
