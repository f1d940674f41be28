"""llmproxy with a look inside: `python -m bench.traced OUTPUT BACKEND_PORT ARGUMENT ...` is `llmproxy ARGUMENT ...`.

SIGUSR1 starts the count of calls in the thread of the event loop, and OUTPUT.PID says that it has; the next one ends it
and writes what was counted there. The event loop is asyncio's own here: what uvloop calls cannot be seen from Python.
"""

import asyncio
import json
import os
import signal
import socket
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final

import uvloop

import proxy_cli
from proxy_cli.__main__ import main

PACKAGE: Final = f"{Path(proxy_cli.__file__).parent}{os.sep}"
_TURN: Final = "_run_once"  # asyncio's; below it stands the start of the program
_SENDS: Final = {"send", "sendall", "sendmsg"}
# What is put into the outbox leaves at the end of the turn, when nothing on the stack tells any more who sent it.
_PUTS, _EMPTIES = "outbox.py:Outbox.write", "outbox.py:Outbox.flush"


def own_frames(frame: FrameType | None) -> Iterator[str]:
    """The functions of the package on a stack, innermost first, up to the turn of the event loop."""
    while frame is not None and frame.f_code.co_name != _TURN:
        if frame.f_code.co_filename.startswith(PACKAGE):
            yield name_of(frame.f_code)
        frame = frame.f_back


def name_of(code: CodeType) -> str:
    """Such as `server/lane.py:Lane.data_received`."""
    return f"{code.co_filename.removeprefix(PACKAGE)}:{code.co_qualname}"


class Count:
    """Owns what was seen while the profile hook was on."""

    def __init__(self, backend: int) -> None:
        self._backend = backend
        self.calls: Counter[str] = Counter()
        self.resumed: Counter[str] = Counter()  # coroutines and generators that went on
        self.stacks: list[list[str]] = []  # own frames at each send to the backend

    def hook(self, frame: FrameType, event: str, arg: Any) -> None:
        """What sys.setprofile calls."""
        code = frame.f_code
        if event == "call":
            if code.co_filename.startswith(PACKAGE):
                self._called(frame, name_of(code))
        elif event == "c_call" and arg.__name__ in _SENDS and isinstance(arg.__self__, socket.socket):
            self._sent(frame, arg.__self__)

    def _called(self, frame: FrameType, name: str) -> None:
        (self.calls if is_fresh(frame) else self.resumed)[name] += 1
        if name == _PUTS and self._is_backend(frame.f_locals["transport"].get_extra_info("peername")):
            self.stacks.append(list(own_frames(frame)))

    def _sent(self, frame: FrameType, owner: socket.socket) -> None:
        stack = list(own_frames(frame))
        if stack[:1] == [_EMPTIES]:
            return
        try:
            peer = owner.getpeername()
        except OSError:
            return
        if self._is_backend(peer):
            self.stacks.append(stack)

    def _is_backend(self, peer: object) -> bool:
        return isinstance(peer, tuple) and len(peer) > 1 and peer[1] == self._backend

    def told(self) -> dict[str, Any]:
        """As JSON."""
        return {"calls": self.calls, "resumed": self.resumed, "stacks": self.stacks}


def is_fresh(frame: FrameType) -> bool:
    """Whether a frame begins, and is not a coroutine or generator that goes on after a wait."""
    # The argument of RESUME, the instruction at which a call is told, is 0 at the start of a function alone.
    return frame.f_code.co_code[frame.f_lasti + 1] & 3 == 0


class Switch:
    """The signal's two turns."""

    def __init__(self, output: Path, backend: int) -> None:
        self._output = output
        self._backend = backend
        self._count: Count | None = None

    def turn(self, _number: int, _frame: FrameType | None) -> None:
        """On, or off; the file is put in place whole, as another process waits for it."""
        count, self._count = self._count, None
        if count is None:
            self._count = Count(self._backend)
            self._write({})
            sys.setprofile(self._count.hook)
            return
        sys.setprofile(None)
        self._write(count.told())

    def _write(self, told: dict[str, Any]) -> None:
        part = self._output.with_suffix(f".part{os.getpid()}")
        part.write_text(json.dumps(told), "utf-8")
        part.rename(f"{self._output}.{os.getpid()}")


def run() -> None:
    """Become llmproxy."""
    output, backend, *arguments = sys.argv[1:]
    uvloop.run = asyncio.run  # type: ignore[assignment]
    signal.signal(signal.SIGUSR1, Switch(Path(output), int(backend)).turn)
    sys.argv = ["llmproxy", *arguments]
    main()


if __name__ == "__main__":
    run()
