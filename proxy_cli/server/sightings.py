"""What a server is, and how it is, read from its replies to questions that cost it nothing.

The rule to keep: no question here may make a server generate a token. So the first one is for its list of models, which
is free everywhere, and what it is decides what it is asked from then on: SGLang's `/health` generates a token unless it
is told not to, and LiteLLM's asks every model it has, so neither is ever asked for it.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from proxy_cli.routing.fleet import Probed
from proxy_cli.shapes import Headers, Json, first_header


class Software(StrEnum):
    """What answers."""

    LLAMA_CPP = "llama.cpp"
    VLLM = "vLLM"
    SGLANG = "SGLang"
    OLLAMA = "Ollama"
    PROXY = "a proxy"
    OTHER = "something else"


class Reply(NamedTuple):
    """A reply to a question."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    @property
    def json(self) -> Json:
        """The body decoded; None where it is not JSON, or nested without an end."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None


class Sighting(NamedTuple):
    """How a server is, and why that is thought."""

    state: Probed
    why: str = ""


# Below the server's root; the list of models stands below the base that deployments name.
HEALTH: Final = "/health"
SLOTS: Final = "/slots"
PROPERTIES: Final = "/props"
# Where the list of models is not found, these are tried in turn.
OTHERS: Final = (HEALTH, "/api/version", PROPERTIES)
# What says more of a server than its list of models, which some show while they cannot answer.
OWN: Final[Mapping[Software, str]] = {
    Software.LLAMA_CPP: HEALTH,
    Software.VLLM: HEALTH,
    Software.OLLAMA: "/api/version",
    Software.PROXY: "/health/liveliness",
}

_OWNERS: Final[Mapping[str, Software]] = {
    "llamacpp": Software.LLAMA_CPP,
    "vllm": Software.VLLM,
    "sglang": Software.SGLANG,
    "library": Software.OLLAMA,
}
_SERVERS: Final[Mapping[str, Software]] = {"llama.cpp": Software.LLAMA_CPP, "llmproxy": Software.PROXY}
# No such path, not by GET, or not without a body: the next question may fit better.
_NOT_HERE: Final = frozenset({400, 404, 405, 406, 410, 415, 422, 501})
_TOO_MANY: Final = 429
_UNAVAILABLE: Final = 503
# llama.cpp says `Loading model`, others that they are starting, warming up or not ready yet.
_LOADING: Final = (b"loading", b"starting", b"initializ", b"warming", b"not ready")
_BUSY: Final = (b"no slot", b"no idle slot", b"busy", b"overloaded")
_DRAINING: Final = (b"draining", b"shutting down", b"shutting_down")


def software_of(reply: Reply) -> Software:
    """What has answered the question for its models."""
    named = _SERVERS.get((first_header(reply.headers, "server") or "").lower())
    if named is not None:
        return named
    if first_header(reply.headers, "x-litellm-version") is not None:
        return Software.PROXY
    found = reply.json
    listed = found.get("data") if isinstance(found, dict) else None
    first = listed[0] if isinstance(listed, list) and listed else None
    owner = first.get("owned_by") if isinstance(first, dict) else None
    return _OWNERS.get(owner, Software.OTHER) if isinstance(owner, str) else Software.OTHER


def read(reply: Reply, path: str) -> Sighting | None:
    """How the server is by its reply to a question; None where it does not know the question."""
    if reply.status in _NOT_HERE:
        return None
    if reply.status == _TOO_MANY:
        return Sighting(Probed.BUSY, f"{path} answers with {reply.status}")
    if reply.status < 500:
        # 401 and 403 as well: whoever refuses us is there.
        return Sighting(Probed.READY)
    words = reply.body[:4096].lower()
    if reply.status == _UNAVAILABLE:
        for state, marks in _WORDS.items():
            if any(mark in words for mark in marks):
                return Sighting(state, _TOLD[state])
    return Sighting(Probed.DOWN, f"{path} answers with {reply.status}")


_WORDS: Final[Mapping[Probed, tuple[bytes, ...]]] = {
    Probed.LOADING: _LOADING,
    Probed.BUSY: _BUSY,
    Probed.DRAINING: _DRAINING,
}
_TOLD: Final[Mapping[Probed, str]] = {
    Probed.LOADING: "it is loading its model",
    Probed.BUSY: "it has no place for one more request",
    Probed.DRAINING: "it is about to end",
}


def read_slots(reply: Reply) -> tuple[int, int] | None:
    """Idle and all slots of a llama.cpp; None where it does not show them."""
    found = reply.json if reply.status == 200 else None
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found) or not found:
        return None
    return sum(not each.get("is_processing") for each in found), len(found)


def read_properties(reply: Reply) -> int | None:
    """How many slots a llama.cpp has in all, by its `/props`; None where it does not say."""
    found = reply.json if reply.status == 200 else None
    count = found.get("total_slots") if isinstance(found, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else None


def of_slots(idle: int, total: int) -> Sighting:
    """How a server is that has slots."""
    if idle > 0:
        return Sighting(Probed.READY)
    return Sighting(Probed.BUSY, "its one slot is taken" if total == 1 else f"all its {total} slots are taken")
