"""Sounds, pictures and transcripts of the mock backend: tiny, valid, and the same each time."""

import base64
import io
import math
import struct
import wave
import zlib
from typing import Final

from proxy_cli.mock.chat import CREATED
from proxy_cli.shapes import Json

_RATE: Final = 8000
_TONE_HZ: Final = 440.0


def speech(text: str) -> bytes:
    """A WAV of a tone: a tenth of a second, and a hundredth more for each character up to a hundred."""
    frames = int(_RATE * (0.1 + min(len(text), 100) / 100))
    samples = (int(12_000 * math.sin(2 * math.pi * _TONE_HZ * index / _RATE)) for index in range(frames))
    sound = io.BytesIO()
    with wave.open(sound, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(_RATE)
        file.writeframes(b"".join(struct.pack("<h", sample) for sample in samples))
    return sound.getvalue()


def picture() -> bytes:
    """A PNG of one grey point."""
    head = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    parts = (_png_part(b"IHDR", head), _png_part(b"IDAT", zlib.compress(b"\x00\x80", 9)), _png_part(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def images(fields: Json, address: str) -> Json:
    """The answer of the image endpoints: base64, or with `response_format: url` an address of ours."""
    try:
        count = max(1, min(int(fields.get("n") or 1), 10))
    except (TypeError, ValueError):
        count = 1
    if fields.get("response_format") == "url":
        one: Json = {"url": f"{address}/mock/picture.png"}
    else:
        one = {"b64_json": base64.b64encode(picture()).decode()}
    return {"created": CREATED, "data": [one] * count}


def transcript(form: Json) -> str:
    """What was heard: the name and the size of the file, for there is nothing else to say about it."""
    files = form.get("files") or []
    heard = ", ".join(f"{file['filename']} ({file['size']} bytes)" for file in files)
    return heard or "no file"


def _png_part(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
