"""The timers of one exchange, on a real event loop with short times."""

import asyncio

from proxy_cli.errors import BackendTimeout, CallerTimeout, GatewayError
from proxy_cli.shapes import Backend, Timeouts
from proxy_cli.upstream.watch import Watch

BACKEND = Backend("http", "llm", 8000)


class Bell:
    """A watch, and what it rang with."""

    def __init__(self, timeouts: Timeouts) -> None:
        self.loop = asyncio.get_running_loop()
        self.rang: asyncio.Future[GatewayError] = self.loop.create_future()
        self.watch = Watch(BACKEND, self.loop)
        self.begin(timeouts)

    def begin(self, timeouts: Timeouts) -> None:
        """The next exchange, which rings once."""
        self.rang = self.loop.create_future()
        self.watch.begin(timeouts, self.loop.time(), self.rang.set_result)


async def test_first_byte_timer_is_named():
    """The message says which timer, for whom, and how long."""
    bell = Bell(Timeouts(first_byte_s=0.05))

    bell.watch.await_reply()

    failure = await bell.rang
    assert isinstance(failure, BackendTimeout)
    assert failure.message == "no first byte from http://llm:8000 within 0.05 s (first byte timeout)"


async def test_gap_timer_counts_from_the_last_data():
    """While data comes more often than the gap, nothing rings; then it does."""
    bell = Bell(Timeouts(gap_s=0.15))
    bell.watch.await_data()

    for _ in range(5):
        await asyncio.sleep(0.05)
        bell.watch.touch()
    still_quiet = not bell.rang.done()

    assert still_quiet
    assert (await bell.rang).message == "no more data from http://llm:8000 within 0.15 s (gap timeout)"


async def test_total_timer_rings_however_much_data_comes():
    """Data does not put the total time off, and neither does holding."""
    bell = Bell(Timeouts(total_s=0.1, gap_s=0.06))
    bell.watch.await_data()

    for _ in range(3):
        await asyncio.sleep(0.03)
        bell.watch.touch()
    bell.watch.hold()

    assert "(total timeout)" in (await bell.rang).message


async def test_nothing_rings_while_it_holds_or_has_stopped():
    """A slow caller is not the backend's fault, and what is over is over."""
    held, stopped, uploading = (
        Bell(Timeouts(gap_s=0.03, total_s=None)),
        Bell(Timeouts(gap_s=0.03)),
        Bell(Timeouts(0.03, 0.03, None)),
    )
    held.watch.await_data()
    held.watch.hold()
    stopped.watch.await_data()
    stopped.watch.stop()
    uploading.watch.await_reply()
    uploading.watch.await_caller()

    await asyncio.sleep(0.1)

    assert not held.rang.done()
    assert not stopped.rang.done()
    assert not uploading.rang.done()


async def test_a_shorter_limit_that_comes_later_is_kept():
    """Between head and data the limit becomes shorter, and rings in time."""
    bell = Bell(Timeouts(first_byte_s=30, gap_s=0.05))
    bell.watch.await_reply()

    bell.watch.await_data()

    async with asyncio.timeout(5):
        assert "(gap timeout)" in (await bell.rang).message


async def test_once_the_head_is_here_an_upload_that_goes_on_does_not_change_the_limit():
    """The reply came early; from then on its data is what is waited for."""
    bell = Bell(Timeouts(first_byte_s=30, gap_s=0.05))
    bell.watch.await_data()

    bell.watch.await_caller()
    bell.watch.await_reply()

    async with asyncio.timeout(5):
        assert "(gap timeout)" in (await bell.rang).message


async def test_a_limit_of_the_caller_is_the_callers_timeout():
    """Then the status is 408."""
    bell = Bell(Timeouts(first_byte_s=0.02, set_by_caller=True))

    bell.watch.await_reply()

    assert isinstance(await bell.rang, CallerTimeout)


async def test_the_gap_timer_is_ours_whoever_has_set_the_others():
    """The caller limits the wait for the first byte and the whole; a gap is not blamed on that limit."""
    bell = Bell(Timeouts(first_byte_s=30, gap_s=0.02, total_s=None, set_by_caller=True))

    bell.watch.await_data()

    assert type(await bell.rang) is BackendTimeout


async def test_the_next_exchange_has_limits_of_its_own():
    """Longer or shorter ones than those before it, over the one handle."""
    bell = Bell(Timeouts(first_byte_s=0.05))
    bell.watch.await_reply()
    bell.watch.stop()
    first = bell.rang

    bell.begin(Timeouts(first_byte_s=0.15))
    bell.watch.await_reply()
    await asyncio.sleep(0.1)
    still_quiet = not bell.rang.done()
    second = await bell.rang
    bell.begin(Timeouts(first_byte_s=30, total_s=0.05))
    bell.watch.await_reply()

    assert still_quiet
    assert "first byte" in second.message
    assert "(total timeout)" in (await bell.rang).message
    assert not first.done()


async def test_what_is_not_awaited_yet_does_not_inherit_a_limit():
    """A new exchange waits for its caller: what the last one waited for does not count."""
    bell = Bell(Timeouts(first_byte_s=0.03))
    bell.watch.await_reply()
    bell.watch.stop()

    bell.begin(Timeouts(first_byte_s=0.03, total_s=None))
    await asyncio.sleep(0.1)

    assert not bell.rang.done()


async def test_a_closed_watch_leaves_nothing_behind():
    """Neither a ring nor a handle that keeps the connection for as long as its longest limit."""
    bell = Bell(Timeouts(first_byte_s=0.03))
    bell.watch.await_reply()

    bell.watch.close()
    await asyncio.sleep(0.06)

    assert not bell.rang.done()
    assert bell.watch._handle is None
