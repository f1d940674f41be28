"""Signs of life in a stream that has nothing to say, so that no hop on the way cuts it off as idle.

Owns the calls for streams that are under way, and the one timer that looks at them all. A call that has waited for long
is begun without its answer: the head of its response leaves, and what goes wrong from then on is told as an event.
Refuses: to speak within an event, behind the end mark, to a client that has not taken what was sent before.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from proxy_cli.routing.table import Table
from proxy_cli.server.reply import Lines, Outgoing, Outlet, holds_events
from proxy_cli.shapes import Call, Deployment, Operation

# Silence is told in seconds, so a look a second is enough: it costs a stream less than one of its events.
_LOOK_S: Final = 1.0
_NEVER_S: Final = float("inf")
# What is asked to be a stream is one here, whatever the backend makes of it. Elsewhere the answer tells which it is.
_ALWAYS_EVENTS: Final = frozenset({Operation.CHAT, Operation.COMPLETIONS, Operation.RESPONSES})
_BLANK_LINE: Final = (b"\n\n", b"\r\n\r\n")
_END_MARK: Final = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Beats:
    """How long a stream may be silent, and how long a call for one may wait for its head; 0: for ever."""

    every_s: float = 15.0
    commit_s: float = 30.0

    def pace_s(self, call: Call, deployments: Iterable[Deployment]) -> float:
        """The silence after which a sign of life is due: the request's word, else the deployments', else ours."""
        pace_s = call.controls.heartbeat_s
        if pace_s is None:
            chosen = [each.heartbeat_s for each in deployments if each.heartbeat_s is not None]
            pace_s = min(chosen, default=self.every_s)
        return pace_s if pace_s > 0 else _NEVER_S


class Beat(msgspec.Struct, eq=False):
    """One call for a stream, from its start to its last byte. Mutable; looked at by the heart alone."""

    call: Call
    head: Lines  # what is known of the response before there is an answer
    outlet: Outlet[Any]
    beats: Beats
    table: Table
    due_s: float  # when something is to be said, if nothing is until then
    outgoing: Outgoing | None = None  # once there is an answer
    pace_s: float = _NEVER_S
    bytes_seen: int = -1

    def flows(self, outgoing: Outgoing) -> None:
        """The answer has come: from now on it is a stream that may fall silent."""
        self.outgoing = outgoing

    def look(self, now_s: float) -> None:
        """Say something if nothing was said for long."""
        outgoing = self.outgoing
        if outgoing is None:
            if now_s >= self.due_s:
                self._wait_on(now_s)
        elif outgoing.record.bytes_out != self.bytes_seen:
            if self.bytes_seen < 0:
                # Most streams are over before anybody looks at them.
                self.pace_s = self.beats.pace_s(self.call, (outgoing.answer.deployment,))
            self.bytes_seen = outgoing.record.bytes_out
            self.due_s = now_s + self.pace_s
        elif now_s >= self.due_s:
            self.due_s = now_s + self.pace_s
            if _is_between_events(outgoing):
                self.outlet.ping()

    def _wait_on(self, now_s: float) -> None:
        """There is no answer yet. Who is to hear nothing while it waits is not begun either."""
        name = self.call.model
        # What raises here would keep the others from being looked at.
        self.pace_s = self.beats.pace_s(self.call, self.table.find(name) if self.table.knows(name) else ())
        self.due_s = now_s + self.pace_s
        if self.outlet.begun is not None:
            self.outlet.ping()
        elif self.pace_s < _NEVER_S:
            self.outlet.begin(self.head, self.call.operation)


class Heart:
    """The signs of life of one process. Owns the calls for streams, and the timer that runs while there are any."""

    __slots__ = ("_handle", "_loop", "_under_way")

    def __init__(self) -> None:
        self._under_way: set[Beat] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._handle: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many calls for streams are under way."""
        return len(self._under_way)

    def begin(self, call: Call, head: Lines, outlet: Outlet[Any], beats: Beats, table: Table) -> Beat:
        """A call for a stream begins."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if self._handle is None:
            self._handle = self._loop.call_later(_LOOK_S, self._look)
        begins = beats.commit_s and call.operation in _ALWAYS_EVENTS
        due_s = self._loop.time() + beats.commit_s if begins else _NEVER_S
        beat = Beat(call, head, outlet, beats, table, due_s)
        self._under_way.add(beat)
        return beat

    def end(self, beat: Beat) -> None:
        """It is over, however."""
        self._under_way.discard(beat)

    def stop(self) -> None:
        """Say nothing any more."""
        self._under_way.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look(self) -> None:
        assert self._loop is not None
        self._handle = None
        now_s = self._loop.time()
        try:
            for beat in list(self._under_way):
                beat.look(now_s)
        finally:
            if self._under_way:
                self._handle = self._loop.call_later(_LOOK_S, self._look)


def _is_between_events(outgoing: Outgoing) -> bool:
    relay, tail = outgoing.relay, outgoing.tail
    if relay.finished or relay.failed or not holds_events(outgoing.answer.headers):
        return False
    # Events that pass unread tell their end mark by these bytes alone.
    return tail.endswith(_BLANK_LINE) and not tail.rstrip().endswith(_END_MARK)
