"""Reads the body of a request to the mock backend: JSON or a form, and the text that either says."""

import hashlib
import json
from typing import Final

from aiohttp import BodyPartReader, web

from proxy_cli.mock import chat, responses
from proxy_cli.shapes import Json, Operation

_PIECE_BYTES: Final = 64 * 1024


class BadBody(ValueError):
    """A body that cannot be read."""


def is_form(request: web.Request) -> bool:
    """Whether the body is a multipart form."""
    return request.content_type == "multipart/form-data"


def decoded(data: bytes) -> Json:
    """The JSON object in a body. Raises BadBody."""
    try:
        body = json.loads(data)
    except ValueError as error:
        raise BadBody(f"the body is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadBody("the body is not a JSON object")
    return body


async def form(request: web.Request) -> Json:
    """The fields of a form, and for each file its name, its size and the SHA-256 of its bytes. Raises BadBody."""
    fields: Json = {"files": []}
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise BadBody("a multipart body inside a multipart body is not read")
        if part.filename is None:
            fields[part.name or ""] = await part.text()
        else:
            fields["files"].append(await _file(part))
    return fields


def text_of_body(operation: Operation, body: Json) -> str:
    """What a request says, wherever its operation keeps it."""
    match operation:
        case Operation.CHAT:
            return chat.last_user_text(body.get("messages"))
        case Operation.RESPONSES:
            return responses.input_text(body.get("input"))
        case Operation.RERANK:
            return str(body.get("query", ""))
        case Operation.EMBEDDINGS | Operation.MODERATIONS | Operation.SPEECH:
            return chat.text_of(body.get("input"))
    return chat.text_of(body.get("prompt"))


async def _file(part: BodyPartReader) -> Json:
    size, digest = 0, hashlib.sha256()
    while piece := await part.read_chunk(_PIECE_BYTES):
        size += len(piece)
        digest.update(piece)
    return {
        "name": part.name,
        "filename": part.filename,
        "content_type": part.headers.get("content-type", ""),
        "size": size,
        "sha256": digest.hexdigest(),
    }
