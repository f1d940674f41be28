"""Calls as the rules of routing see them, for tests."""

import json

import msgspec

from proxy_cli.shapes import NO_CONTROLS, Call, Operation


def call(fields=None, *, operation=Operation.CHAT, controls=NO_CONTROLS, headers=(), stream=False, model="a"):
    """A call with these fields in its body."""
    body = json.dumps({"model": model, **(fields or {})}, ensure_ascii=False).encode()
    return Call(
        request_id="r",
        operation=operation,
        model=model,
        body=body,
        fields=msgspec.json.decode(body, type=dict[str, msgspec.Raw]),
        stream=stream,
        headers=headers,
        controls=controls,
    )


def asking(text, **more):
    """The fields of a chat with one message."""
    return {"messages": [{"role": "user", "content": text}], **more}
