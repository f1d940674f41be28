"""What is kept with a request and nowhere used: what belongs together, words of the caller's own, and the prompt.

Read only where requests are kept at all. Refuses nothing: what is no object, or too long, is not kept.
"""

from typing import Final

import msgspec

from proxy_cli.shapes import Call, Fields, Json

_SESSION: Final = ("x-litellm-session-id", "x-litellm-trace-id")
_SPEND: Final = "x-litellm-spend-logs-metadata"
_PROMPTS: Final = ("messages", "input", "prompt", "query")
_LONGEST_BYTES: Final = 8 * 1024
_LONGEST_SESSION: Final = 200


class Notes(msgspec.Struct, frozen=True, gc=False):
    """What is kept."""

    session_id: str = ""
    metadata: dict[str, Json] = {}


_NONE: Final = Notes()


def notes_of(call: Call) -> Notes:
    """What a call wants kept with it; most want nothing."""
    fields = call.fields
    metadata: dict[str, Json] = {}
    for name in ("metadata", "litellm_metadata"):
        if name in fields:
            metadata.update(_object(bytes(fields[name])))
    session = _text(fields, "litellm_session_id")
    for name, value in call.headers:
        if name == _SPEND:
            metadata["spend_logs_metadata"] = _object(value.encode("utf-8", "replace"))
        elif name in _SESSION and not session:
            session = value
    for name in ("session_id", "trace_id"):
        if not session and isinstance(found := metadata.get(name), str):
            session = found
    if not metadata and not session:
        return _NONE
    metadata.pop("tags", None)  # those have a place of their own
    return Notes(session[:_LONGEST_SESSION], metadata)


def prompt_of(call: Call) -> bytes:
    """What a call asks of its model, as it came; empty for a form, whose files are not kept."""
    return next((bytes(call.fields[name]) for name in _PROMPTS if name in call.fields), b"")


def _object(raw: bytes) -> dict[str, Json]:
    if len(raw) > _LONGEST_BYTES:
        return {}
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _text(fields: Fields, name: str) -> str:
    raw = fields.get(name)
    if raw is None:
        return ""
    try:
        return msgspec.json.decode(raw, type=str | None) or ""
    except msgspec.DecodeError:
        return ""
