"""What the mock backend answers to a request understood: whole, or as the lines of an event stream.

Two tables say which operation is answered how; the faults that lie in an answer's content are put in here.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from proxy_cli.mock import chat, media, responses, vectors
from proxy_cli.mock.faults import Faults
from proxy_cli.shapes import Json, Operation

_PLAIN_TEXT: Final = frozenset({"text", "srt", "vtt"})


@dataclass(frozen=True, slots=True)
class Asked:
    """A request understood: what for, with what, and what it is to suffer."""

    operation: Operation
    body: Json
    text: str  # what is echoed, without directives
    faults: Faults
    address: str  # of this server, as the caller wrote it

    @property
    def stream(self) -> bool:
        """Whether events are wanted and there are any."""
        return self.body.get("stream") is True and self.operation in _EVENTS

    @property
    def wants_usage(self) -> bool:
        """Whether a stream is to end with its count of tokens."""
        return bool((self.body.get("stream_options") or {}).get("include_usage"))

    def reply(self) -> chat.Reply:
        """The answer in no format yet."""
        return chat.reply(self.body, self.text, self.faults)


def whole(asked: Asked) -> tuple[str, bytes]:
    """The content type and the bytes of a plain answer."""
    if asked.faults.invalid_json:
        return "application/json", b'{"this is not JSON'
    return _WHOLE[asked.operation](asked)


def lines(asked: Asked) -> Iterator[bytes]:
    """The events of a stream as bytes, the end mark included."""
    for number, event in enumerate(_EVENTS[asked.operation](asked)):
        if number == asked.faults.error_event:
            yield _line(error_body("mock error inside the stream", "server_error", 500))
            break
        if number == 1 and asked.faults.invalid_json:
            yield b'data: {"this is not JSON\n\n'
        else:
            yield _line(event)
    if asked.operation is not Operation.RESPONSES and not asked.faults.no_done:
        yield b"data: [DONE]\n\n"


def error_body(message: str, kind: str, code: int | str) -> Json:
    """An error in OpenAI's envelope."""
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def dumps(value: Json) -> str:
    """JSON in which Japanese stays readable."""
    return json.dumps(value, ensure_ascii=False)


def _line(event: Json) -> bytes:
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {dumps(event)}\n\n".encode()


def _json(answer: Callable[[Asked], Json]) -> Callable[[Asked], tuple[str, bytes]]:
    return lambda asked: ("application/json", dumps(answer(asked)).encode())


def _speech(asked: Asked) -> tuple[str, bytes]:
    return "audio/wav", media.speech(asked.text)


def _transcript(asked: Asked) -> tuple[str, bytes]:
    heard = media.transcript(asked.body)
    if asked.body.get("response_format") in _PLAIN_TEXT:
        return "text/plain; charset=utf-8", heard.encode()
    return "application/json", dumps({"text": heard}).encode()


_EVENTS: Final[Mapping[Operation, Callable[[Asked], Iterator[Json]]]] = {
    Operation.CHAT: lambda asked: chat.chat_chunks(asked.reply(), with_usage=asked.wants_usage),
    Operation.COMPLETIONS: lambda asked: chat.completion_chunks(asked.reply(), with_usage=asked.wants_usage),
    Operation.RESPONSES: lambda asked: responses.response_events(asked.reply()),
}

_images = _json(lambda asked: media.images(asked.body, asked.address))
_WHOLE: Final[Mapping[Operation, Callable[[Asked], tuple[str, bytes]]]] = {
    Operation.CHAT: _json(lambda asked: chat.chat_completion(asked.reply())),
    Operation.COMPLETIONS: _json(lambda asked: chat.completion(asked.reply())),
    Operation.RESPONSES: _json(lambda asked: responses.response(asked.reply())),
    Operation.EMBEDDINGS: _json(lambda asked: vectors.embeddings(asked.body, asked.text)),
    Operation.RERANK: _json(lambda asked: vectors.rerank(asked.body)),
    Operation.MODERATIONS: _json(lambda asked: vectors.moderations(asked.body)),
    Operation.IMAGE_GENERATIONS: _images,
    Operation.IMAGE_EDITS: _images,
    Operation.IMAGE_VARIATIONS: _images,
    Operation.SPEECH: _speech,
    Operation.TRANSCRIPTIONS: _transcript,
    Operation.TRANSLATIONS: _transcript,
}
