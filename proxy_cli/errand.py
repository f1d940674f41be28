"""A coroutine that is carried on in the turns of whoever it waits for, without a task of its own.

A task begins in a later turn of the event loop than it is made in, and goes on in a later one than what it waited for.
An errand begins at once, and what ends its `Pause` carries it on in the same turn. As soon as it waits for anything
else it is given to a task, for good, and all is as usual. It stands in for that task before: `asyncio.timeout` and task
groups find it as the current one. Keeps: it is carried on by one at a time, never inside another task's turn.
"""

import asyncio
from asyncio.tasks import _enter_task, _leave_task  # the documented way for a task of one's own ("Extending")
from collections.abc import Callable, Coroutine
from inspect import CORO_CLOSED, getcoroutinestate
from typing import Any, Final

_NOTHING: Final = object()


class Pause(asyncio.Future[None]):
    """What is awaited once, by an errand or by a task, until somebody ends it."""

    __slots__ = ("errand",)

    errand: "Errand"  # which waits here; a task has none

    def end(self) -> None:
        """Carry the errand on now: for who is called by the event loop and has brought its own state in order."""
        if self.done():
            return
        self.set_result(None)
        try:
            errand = self.errand
        except AttributeError:
            return
        errand.go_on()

    def end_soon(self) -> None:
        """Carry it on in a turn of its own."""
        if not self.done():
            self.set_result(None)
            errand: Errand | None = getattr(self, "errand", None)
            if errand is not None:
                self.get_loop().call_soon(errand.go_on)


class Errand:
    """One coroutine, from its first step to its last.

    `ended` is called behind that, with what it raised: who has no use for an error must tell it.

    Owns the coroutine; the pause it waits in; the task it was given to; how often it was asked to end, and whether it
    has yet to be told.
    """

    __slots__ = ("_cancels", "_ended", "_loop", "_must_cancel", "_pause", "_task", "_work")

    def __init__(
        self,
        work: Coroutine[Any, None, None],
        loop: asyncio.AbstractEventLoop,
        ended: Callable[[BaseException | None], None],
    ) -> None:
        self._work = work
        self._loop = loop
        self._ended = ended
        self._pause: Pause | None = None
        self._task: asyncio.Task[None] | None = None
        self._cancels = 0
        self._must_cancel = False

    def go_on(self) -> None:
        """Carry it on until it waits again; called once to begin, and then by its pause."""
        loop = self._loop
        try:
            _enter_task(loop, self)  # type: ignore[arg-type]
        except RuntimeError:
            # Another task's turn: ours comes next.
            loop.call_soon(self.go_on)
            return
        self._pause = None
        try:
            waits_for = self._work.send(None) if not self._must_cancel else self._told()
        except StopIteration:
            self._ended(None)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - nobody awaits an errand: `ended` is told
            self._ended(error)
        else:
            if type(waits_for) is Pause:
                self._pause = waits_for
                waits_for.errand = self
            else:
                self._become_task(waits_for)
            if self._must_cancel:
                self._end_wait()
        finally:
            _leave_task(loop, self)  # type: ignore[arg-type]

    # What a task has, too.

    def cancel(self) -> bool:
        """Have it end where it waits, in a turn of its own."""
        self._cancels += 1
        self._must_cancel = True
        self._end_wait()
        return True

    def cancelling(self) -> int:
        """How often it was asked to end, less what was taken back."""
        return self._cancels

    def uncancel(self) -> int:
        """Take one such word back."""
        self._cancels = max(0, self._cancels - 1)
        if self._task is not None:
            self._task.uncancel()
        return self._cancels

    def done(self) -> bool:
        """Whether it has ended."""
        return self._task.done() if self._task is not None else getcoroutinestate(self._work) == CORO_CLOSED

    def _become_task(self, waits_for: object) -> None:
        self._task = self._loop.create_task(_Rest(self._work, waits_for))
        self._task.add_done_callback(self._task_ended)

    def _end_wait(self) -> None:
        """Where it waits it is told; else when it waits next, or goes on."""
        if self._task is not None:
            self._must_cancel = False
            self._task.cancel()
        elif self._pause is not None and self._pause.cancel():
            self._must_cancel = False
            # As a task does: who cancels has its own state to bring in order first (so `asyncio.timeout`).
            self._loop.call_soon(self.go_on)

    def _told(self) -> object:
        self._must_cancel = False
        return self._work.throw(asyncio.CancelledError())

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._ended(asyncio.CancelledError() if task.cancelled() else task.exception())


class _Rest(Coroutine[object, None, None]):
    """What is left of a coroutine, beginning with what it waits for."""

    __slots__ = ("__name__", "_waits_for", "_work")

    def __init__(self, work: Coroutine[object, None, None], waits_for: object) -> None:
        self.__name__ = getattr(work, "__qualname__", type(work).__name__)  # for asyncio's own messages
        self._work = work
        self._waits_for = waits_for

    def send(self, value: None) -> object:
        """The next thing it waits for."""
        waits_for = self._waits_for
        if waits_for is _NOTHING:
            return self._work.send(value)
        self._waits_for = _NOTHING
        return waits_for

    def throw(self, *error: Any) -> object:
        """The next thing it waits for, after an error."""
        waits_for, self._waits_for = self._waits_for, _NOTHING
        if isinstance(waits_for, asyncio.Future) and isinstance(error[0], asyncio.CancelledError):
            waits_for.cancel()  # as its task would have, if that had begun to wait already
        try:
            return self._work.throw(*error)
        finally:
            del error  # which knows this frame: a circle that only the collector would find

    def close(self) -> None:
        """Give it up."""
        self._work.close()

    def __await__(self) -> Any:
        """Not awaited by anybody but its task."""
        return self
