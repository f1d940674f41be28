"""What the mock backend has seen: each request with its headers and body, and whether its caller left early.

Kept in memory, the newest thousand only; of a body at most one mebibyte.
"""

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from proxy_cli.shapes import Json

_KEPT: Final = 1000
_MAX_BODY_BYTES: Final = 1024 * 1024


@dataclass(slots=True, kw_only=True)
class Seen:
    """One request. It changes until it is `finished`."""

    method: str
    path: str  # decoded
    target: str  # path and query as they came
    headers: dict[str, str]  # names in lower case; repeated ones joined
    peer: int = 0  # the caller's port: the same for two requests on one connection
    raw: bytes = b""
    body: Json = None  # decoded JSON, or what a form held
    status: int | None = None
    events_sent: int = 0
    aborted: bool = False  # the caller left before the answer was complete
    aborted_after_s: float | None = None
    finished: bool = False
    started_s: float = field(default_factory=time.monotonic)

    def keep(self, data: bytes) -> None:
        """Remember the body's bytes, up to the limit."""
        self.raw = data[:_MAX_BODY_BYTES]

    def abort(self) -> None:
        """The caller has left."""
        if not self.aborted:
            self.aborted = True
            self.aborted_after_s = time.monotonic() - self.started_s

    def as_json(self) -> Json:
        """What `GET /mock/requests` shows."""
        return {
            "method": self.method,
            "path": self.path,
            "target": self.target,
            "headers": self.headers,
            "body": self.body,
            "status": self.status,
            "events_sent": self.events_sent,
            "aborted": self.aborted,
            "aborted_after_s": self.aborted_after_s,
            "finished": self.finished,
        }


class Journal:
    """The requests seen, oldest first."""

    def __init__(self) -> None:
        self._seen: deque[Seen] = deque(maxlen=_KEPT)

    def begin(self, request: web.Request) -> Seen:
        """Note a request as soon as its head is here."""
        headers: dict[str, str] = {}
        for name, value in request.headers.items():
            known = headers.get(name.lower())
            headers[name.lower()] = value if known is None else f"{known}, {value}"
        peer = request.transport.get_extra_info("peername") if request.transport else None
        seen = Seen(
            method=request.method,
            path=request.path,
            target=request.raw_path,
            headers=headers,
            peer=peer[1] if isinstance(peer, tuple) else 0,
        )
        self._seen.append(seen)
        return seen

    def all(self) -> list[Seen]:
        """A copy of the list, each entry still the living one."""
        return list(self._seen)

    def clear(self) -> None:
        """Forget all."""
        self._seen.clear()
