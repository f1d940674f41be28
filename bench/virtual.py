"""An event loop in virtual time: nobody waits, the clock is turned on to the next timer. For models without sockets."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

_THREADS_S: Final = 5.0  # of real time, for threads of others
Result = TypeVar("Result")


class _Turned(selectors.SelectSelector):
    """Takes every wait for a timer for done. Owns the time."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        """What threads have said meanwhile; no timer is waited for."""
        ready = super().select(_THREADS_S if timeout is None else 0)
        if ready:
            return ready
        if timeout is None:
            raise RuntimeError("everybody waits and no timer is set: the simulation stands still")
        self.now_s += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """As the standard event loop, in a time of its own that begins at 0."""

    def __init__(self) -> None:
        self._turned = _Turned()
        super().__init__(self._turned)

    def time(self) -> float:
        """The virtual time, in seconds."""
        return self._turned.now_s

    def run_in_executor(  # type: ignore[override]
        self, _executor: Any, func: Callable[..., Result], *args: Any
    ) -> asyncio.Future[Result]:
        """Done at once: a thread has no virtual time."""
        done: asyncio.Future[Result] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to who awaits it
            done.set_exception(error)
        return done


def run(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)
