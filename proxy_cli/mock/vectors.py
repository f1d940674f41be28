"""Embeddings, rerankings and moderations that look right and are the same each time."""

import base64
import hashlib
import math
import struct
from typing import Final

from proxy_cli.mock.chat import pieces_of, text_of
from proxy_cli.shapes import Json

_DIMENSIONS: Final = 16
_MAX_DIMENSIONS: Final = 65_536
_FLAGGED: Final = "flag-me"


def vector(text: str, dimensions: int) -> list[float]:
    """A unit vector that depends on the text alone."""
    numbers: list[float] = []
    block = 0
    while len(numbers) < dimensions:
        digest = hashlib.sha256(f"{block}:{text}".encode()).digest()
        numbers.extend(value / 32_768.0 - 1.0 for value in struct.unpack("<16H", digest))
        block += 1
    numbers = numbers[:dimensions]
    length = math.sqrt(sum(value * value for value in numbers)) or 1.0
    # Rounded to what a float32 holds, so that the float and the base64 form are the same numbers.
    return [struct.unpack("<f", struct.pack("<f", value / length))[0] for value in numbers]


def embeddings(body: Json, prompt: str) -> Json:
    """The answer of /embeddings, as floats or as base64."""
    wanted = body.get("dimensions")
    dimensions = min(wanted, _MAX_DIMENSIONS) if isinstance(wanted, int) and wanted > 0 else _DIMENSIONS
    encode = _base64 if body.get("encoding_format") == "base64" else list
    data = [
        {"object": "embedding", "index": index, "embedding": encode(vector(text, dimensions))}
        for index, text in enumerate(inputs(body.get("input"), prompt))
    ]
    tokens = len(pieces_of(prompt))
    return {
        "object": "list",
        "data": data,
        "model": body.get("model", ""),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def inputs(value: Json, prompt: str) -> list[str]:
    """The texts of an `input`: one, many, or tokens in place of either."""
    if isinstance(value, str):
        return [prompt]
    if isinstance(value, list) and value and isinstance(value[0], int):
        return [repr(value)]
    if isinstance(value, list):
        return [item if isinstance(item, str) else repr(item) for item in value]
    return []


def rerank(body: Json) -> Json:
    """The answer of /rerank: documents that share more characters with the query come first."""
    query = set(str(body.get("query", "")))
    documents = [item if isinstance(item, str) else text_of([item]) for item in body.get("documents") or []]
    scored = [(_overlap(query, set(text)), index, text) for index, text in enumerate(documents)]
    scored.sort(key=lambda entry: (-entry[0], entry[1]))
    limit = body.get("top_n")
    results: list[Json] = []
    for score, index, text in scored[:limit] if isinstance(limit, int) else scored:
        result: Json = {"index": index, "relevance_score": score}
        results.append({**result, "document": {"text": text}} if body.get("return_documents") else result)
    tokens = sum(len(pieces_of(text)) for text in documents)
    return {
        "id": "rerank-mock",
        "model": body.get("model", ""),
        "results": results,
        "meta": {"billed_units": {"search_units": 1}, "tokens": {"input_tokens": tokens}},
    }


def moderations(body: Json) -> Json:
    """The answer of /moderations: flagged is what contains `flag-me`."""
    value = body.get("input")
    texts = [value] if isinstance(value, str) else [text_of([item]) for item in value or []]
    results = [
        {"flagged": bad, "categories": {"violence": bad}, "category_scores": {"violence": 1.0 if bad else 0.0}}
        for bad in (_FLAGGED in text for text in texts)
    ]
    return {"id": "modr-mock", "model": body.get("model", "mock-moderation"), "results": results}


def _overlap(one: set[str], other: set[str]) -> float:
    return round(len(one & other) / len(one | other), 6) if one | other else 0.0


def _base64(numbers: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
