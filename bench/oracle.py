"""A backend that is never killed and puts down what it was really asked: `python -m bench.oracle FILE PORT`.

It appends a line when a request starts and one when its answer is complete. Each request says its number in its only
message, and how it should fare: `17 fault` is answered 500, `17 cut` ends in the middle, `17 slow` begins late.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Final

from aiohttp import web

PROMPT_TOKENS: Final = 11
_GAP_S: Final = 0.004
_LATE_S: Final = 0.3


def completion_tokens(number: int) -> int:
    """How many tokens an answer has: the oracle and the checks know it by the number alone."""
    return 3 + number % 5


class Oracle:
    """The backend. Owns its own ledger."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def put_down(self, word: str, number: int) -> None:
        """One line, in one write."""
        os.write(self._file, f"{word} {number}\n".encode())

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """A completion, whole or as a stream."""
        body = await request.json()
        number, _, fate = body["messages"][-1]["content"].partition(" ")
        self.put_down("started", int(number))
        if fate == "fault":
            return web.json_response({"error": {"message": "as asked", "type": "server_error"}}, status=500)
        if fate == "slow":
            await asyncio.sleep(_LATE_S)
        if body.get("stream"):
            return await self._stream(request, int(number), is_cut=fate == "cut")
        await asyncio.sleep(_GAP_S)
        if fate == "cut":
            return await _cut(request)
        self.put_down("ended", int(number))
        message = {"role": "assistant", "content": "x " * completion_tokens(int(number))}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return web.json_response({**_head(number, "chat.completion"), "choices": [choice], "usage": _usage(number)})

    async def _stream(self, request: web.Request, number: int, *, is_cut: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(completion_tokens(number)):
            delta = {"index": 0, "delta": {"content": "x "}, "finish_reason": None}
            await response.write(_event({**_head(str(number), "chat.completion.chunk"), "choices": [delta]}))
            await asyncio.sleep(_GAP_S)
            if is_cut:
                _break(request)
                return response
        stop = {"index": 0, "delta": {}, "finish_reason": "stop"}
        await response.write(_event({**_head(str(number), "chat.completion.chunk"), "choices": [stop]}))
        usage = {**_head(str(number), "chat.completion.chunk"), "choices": [], "usage": _usage(str(number))}
        self.put_down("ended", number)
        await response.write(_event(usage) + b"data: [DONE]\n\n")
        return response


async def _cut(request: web.Request) -> web.StreamResponse:
    """The beginning of an answer that was said to be longer."""
    response = web.StreamResponse(headers={"content-type": "application/json", "content-length": "500"})
    await response.prepare(request)
    await response.write(b'{"id": "chatcmpl-')
    _break(request)
    return response


def _break(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


def _head(number: str, kind: str) -> dict[str, object]:
    return {"id": f"chatcmpl-{number}", "object": kind, "created": 1, "model": "oracle"}


def _usage(number: str) -> dict[str, int]:
    written = completion_tokens(int(number))
    return {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": written, "total_tokens": PROMPT_TOKENS + written}


def _event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def application(path: Path) -> web.Application:
    """The server."""
    app = web.Application()
    app.router.add_post("/v1/chat/completions", Oracle(path).answer)
    return app


if __name__ == "__main__":
    web.run_app(application(Path(sys.argv[1])), host="127.0.0.1", port=int(sys.argv[2]), print=lambda *_: None)
