"""Which connection is used, how long one is kept, how many there are."""

import asyncio
import socket
from random import Random

import pytest

from proxy_cli.errors import BackendBroken, BackendFull, BackendTimeout, BackendUnreachable, Overloaded
from proxy_cli.shapes import Backend, Timeouts
from proxy_cli.upstream.client import Upstream
from proxy_cli.upstream.names import Addresses
from proxy_cli.upstream.pool import Figures
from tests.fakes.raw_backend import FIN, REQUEST, RST, RawBackend, Script
from tests.upstream.dialogue import OK, Pieces, reply, request_to

TIMES: Script = [REQUEST, OK] * 20


async def ask(upstream: Upstream, raw: RawBackend, body: bytes | Pieces = b"{}") -> bytes:
    """The body of one request."""
    return await (await upstream.send(request_to(raw.backend, body))).read()


def idle(upstream: Upstream) -> int:
    """How many connections wait to be used."""
    return sum(pool.figures.idle for pool in upstream._pools.values())


async def test_most_recent_connection_is_used_first(upstream):
    """So that what is not needed grows old and goes."""
    slow, fast = [REQUEST, 0.1, OK, *TIMES], [REQUEST, 0.03, OK, *TIMES]
    async with RawBackend(slow, fast) as raw:
        await asyncio.gather(ask(upstream, raw), ask(upstream, raw))

        for _ in range(3):
            await ask(upstream, raw)

        assert [len(seen.requests) for seen in raw.connections] == [4, 1]


async def test_connection_that_the_backend_closed_while_idle_is_not_used(upstream):
    """What is known to be dead is not tried."""
    async with RawBackend([REQUEST, OK, FIN], TIMES) as raw:
        await ask(upstream, raw)
        await asyncio.sleep(0.05)
        left = idle(upstream)

        await ask(upstream, raw)

        assert left == 0
        assert [len(seen.requests) for seen in raw.connections] == [1, 1]


async def test_connection_that_was_idle_for_too_long_is_closed(upstream):
    """After 4 s over plain HTTP: before the server, which would do so as we write."""
    async with RawBackend(TIMES) as raw:
        await ask(upstream, raw)
        connection = next(iter(upstream._pools[raw.backend]._open))
        connection.idle_since -= 3.9
        await ask(upstream, raw)
        kept = len(raw.connections) == 1

        connection.idle_since -= 4.1
        await ask(upstream, raw)

        assert kept
        assert len(raw.connections) == 2
        async with asyncio.timeout(1):
            await raw.connections[0].closed.wait()


async def test_idle_connections_are_swept_without_another_request(upstream):
    """Those that are old enough; the others are looked at again."""
    async with RawBackend([REQUEST, 0.05, OK]) as raw:
        await asyncio.gather(ask(upstream, raw), ask(upstream, raw))
        pool = upstream._pools[raw.backend]
        first, second = pool._idle
        first.idle_since -= 10

        pool._sweep()
        after_one = idle(upstream)
        second.idle_since -= 10
        pool._sweep()

        assert (after_one, idle(upstream)) == (1, 0)
        assert pool._sweep_handle is None


async def test_limit_makes_requests_wait_their_turn():
    """Never more connections than the limit, and all requests are answered, in their order."""
    upstream = Upstream(pool_limit=2)
    answered: list[int] = []

    async def one(number: int) -> None:
        await ask(upstream, raw)
        answered.append(number)

    async with RawBackend([REQUEST, 0.01, OK] * 20) as raw:
        await asyncio.gather(*(one(number) for number in range(12)))
        await upstream.close()

        assert len(raw.connections) == 2
    assert sorted(answered) == list(range(12))
    assert [number // 2 for number in answered] == sorted(number // 2 for number in answered)


async def test_wait_for_a_place_is_bounded():
    """Then the answer is 503, with a hint when to try again."""
    upstream = Upstream(pool_limit=1, pool_wait_s=0.1)

    async with RawBackend([REQUEST]) as raw:
        busy = asyncio.ensure_future(ask(upstream, raw))
        await asyncio.sleep(0.05)
        sentence = f"all 1 connections to {raw.backend} stayed busy; try again, or raise max_connections_per_backend"
        with pytest.raises(Overloaded, match=sentence) as failure:
            await ask(upstream, raw)
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        await upstream.close()

    assert (failure.value.status, failure.value.retry_after_s) == (503, 1.0)


@pytest.mark.parametrize("how", ["cancelled", "timer", "broken"])
async def test_place_of_a_failed_exchange_is_given_on(how):
    """However it ended, the next in line gets its turn."""
    upstream = Upstream(pool_limit=1)
    timeouts = Timeouts(first_byte_s=0.1 if how == "timer" else 5)
    first_script: Script = [REQUEST, 0.1, FIN] if how == "broken" else [REQUEST]

    async with RawBackend(first_script, TIMES) as raw:
        first = asyncio.ensure_future(upstream.send(request_to(raw.backend, timeouts=timeouts)))
        await asyncio.sleep(0.03)
        waiting = [asyncio.ensure_future(ask(upstream, raw)) for _ in range(3)]
        await asyncio.sleep(0.03)
        waiting[0].cancel()
        if how == "cancelled":
            first.cancel()

        with pytest.raises((asyncio.CancelledError, BackendTimeout, BackendBroken)):
            await first
        assert await asyncio.gather(*waiting[1:]) == [b"hi", b"hi"]
        await upstream.close()


@pytest.mark.parametrize("first", ["its turn", "the cancelling"])
async def test_a_waiter_that_is_cancelled_on_its_turn_gives_the_turn_on(first):
    """Whichever comes first, a place that was promised to one who left is not lost."""
    upstream = Upstream(pool_limit=1)

    async with RawBackend([REQUEST, 0.1, OK, *TIMES]) as raw:
        busy = asyncio.ensure_future(ask(upstream, raw))
        await asyncio.sleep(0.03)
        waiting = [asyncio.ensure_future(ask(upstream, raw)) for _ in range(2)]
        await asyncio.sleep(0.03)
        if first == "the cancelling":
            waiting[0].cancel()
        pool = upstream._pools[raw.backend]
        (held,) = pool._open
        await busy
        assert held not in pool._idle
        waiting[0].cancel()

        assert await waiting[1] == b"hi"
        assert await busy == b"hi"
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        await upstream.close()


async def test_body_that_is_read_once_goes_over_a_fresh_connection(upstream):
    """Because it could not be sent again if a kept one turned out to be dead; afterwards it is kept as any other."""
    async with RawBackend(TIMES) as raw:
        await ask(upstream, raw)
        await ask(upstream, raw, Pieces(b"abc"))
        await ask(upstream, raw)

        assert [len(seen.requests) for seen in raw.connections] == [1, 2]


async def test_fresh_connection_takes_the_place_of_an_idle_one_at_the_limit():
    """An idle connection is no reason to refuse."""
    upstream = Upstream(pool_limit=1, pool_wait_s=1)

    async with RawBackend(TIMES) as raw:
        await ask(upstream, raw)
        assert await ask(upstream, raw, Pieces(b"abc")) == b"hi"
        await upstream.close()

    assert len(raw.connections) == 2


async def test_close_ends_idle_and_busy_connections():
    """Who still waits gets an error, and the backend sees every connection go."""
    upstream = Upstream(pool_limit=1)

    async with RawBackend([REQUEST, OK, REQUEST, reply(b"x" * 10)[:-5]]) as raw:
        await ask(upstream, raw)
        answer = await upstream.send(request_to(raw.backend))
        waiting = asyncio.ensure_future(upstream.send(request_to(raw.backend)))
        await asyncio.sleep(0.02)

        await upstream.close()

        with pytest.raises(BackendBroken, match="shutting down"):
            await answer.read()
        with pytest.raises(Overloaded, match="shutting down"):
            await waiting
        async with asyncio.timeout(1):
            await raw.connections[0].closed.wait()


@pytest.mark.row("L-05")
async def test_who_waits_for_a_place_is_served_before_who_comes_by():
    """A connection that becomes free is handed over, so that nobody waits in vain beside luckier ones."""
    upstream = Upstream(pool_limit=1)
    order: list[str] = []

    async def one(name: str) -> None:
        await ask(upstream, raw)
        order.append(name)

    async with RawBackend([REQUEST, 0.03, OK] * 20) as raw:
        first = asyncio.ensure_future(one("first"))
        await asyncio.sleep(0.01)
        waiting = [asyncio.ensure_future(one(f"waiting {number}")) for number in range(3)]
        await first
        late = asyncio.ensure_future(one("late"))
        await asyncio.gather(*waiting, late)
        await upstream.close()

    assert order == ["first", "waiting 0", "waiting 1", "waiting 2", "late"]


@pytest.mark.row("L-05")
async def test_figures_tell_who_waits_and_who_waited_in_vain():
    """So that a limit that is too low is seen."""
    upstream = Upstream(pool_limit=1, pool_wait_s=0.05)

    async with RawBackend([REQUEST]) as raw:
        name = str(raw.backend)
        busy = asyncio.ensure_future(ask(upstream, raw))
        await asyncio.sleep(0.02)
        waiting = asyncio.ensure_future(ask(upstream, raw))
        await asyncio.sleep(0.01)
        meanwhile = upstream.figures()[name]
        with pytest.raises(BackendFull):
            await waiting
        afterwards = upstream.figures()[name]
        busy.cancel()
        await asyncio.gather(busy, return_exceptions=True)
        await upstream.close()

    assert (meanwhile.open, meanwhile.waiting, meanwhile.refused_total) == (1, 1, 0)
    assert (afterwards.open, afterwards.waiting, afterwards.refused_total) == (1, 0, 1)


async def test_places_of_connections_that_cannot_be_opened_are_given_on():
    """Each who waits learns it for itself, and nothing is counted twice."""
    upstream = Upstream(pool_limit=1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        backend = Backend("http", "127.0.0.1", probe.getsockname()[1])

        failures = await asyncio.gather(*(upstream.send(request_to(backend)) for _ in range(5)), return_exceptions=True)

    assert [type(each) for each in failures] == [BackendUnreachable] * 5
    assert upstream.figures()[str(backend)] == Figures(failed_total=5)


async def test_caller_that_leaves_while_a_connection_is_opened_is_no_failure_of_the_backend():
    """The place is free again, and nothing is counted against anybody."""

    async def resolve(_host: str, _port: int) -> Addresses:
        await asyncio.sleep(60)
        return ()

    upstream, backend = Upstream(pool_limit=1, resolve=resolve), Backend("http", "llm.test", 80)
    calling = asyncio.ensure_future(upstream.send(request_to(backend)))
    await asyncio.sleep(0.01)
    opening = upstream.figures()[str(backend)]
    calling.cancel()
    await asyncio.gather(calling, return_exceptions=True)

    assert opening == Figures(opening=1)
    assert upstream.figures()[str(backend)] == Figures()
    await upstream.close()


@pytest.mark.row("U-11")
async def test_request_that_is_sent_once_more_is_counted():
    """It may have reached the backend twice."""
    upstream = Upstream()
    async with RawBackend([REQUEST, OK, REQUEST, FIN], TIMES) as raw:
        await ask(upstream, raw)
        await ask(upstream, raw)

        assert upstream.figures()[str(raw.backend)].repeated_total == 1
        await upstream.close()


async def test_nothing_is_opened_after_the_end():
    """Who asks a room that is closed gets an answer, not a connection."""
    upstream = Upstream()
    async with RawBackend(TIMES) as raw:
        await ask(upstream, raw)
        await upstream.close()

        with pytest.raises(Overloaded, match="shutting down"):
            await ask(upstream, raw)
        assert len(raw.connections) == 1


@pytest.mark.row("L-05", "U-11")
@pytest.mark.parametrize("seed", range(4))
async def test_whatever_callers_and_backends_do_every_place_is_given_back(seed, deep):
    """Callers that leave at any moment, connections that die in every way, more callers than places."""
    chance = Random(seed)
    upstream = Upstream(pool_limit=3, pool_wait_s=0.05)
    slow: Script = [REQUEST, 0.002, OK] * 200
    fates: list[Script] = [
        [REQUEST, OK, REQUEST, OK, REQUEST, FIN],
        [REQUEST, 0.01, OK, REQUEST, RST],
        [REQUEST, OK, FIN],
        [REQUEST, reply(b"cut")[:-1], FIN],
        [RST],
        [REQUEST, OK, b"unasked"],
        slow,
    ]
    scripts = [chance.choice(fates) for _ in range(400)]

    async def call() -> None:
        body: bytes | Pieces = Pieces(b"abc") if chance.random() < 0.2 else b"{}"
        timeouts = Timeouts(first_byte_s=0.05)
        async with asyncio.timeout(chance.choice((0, 0.001, 0.01, 0.03, 1))):
            await (await upstream.send(request_to(raw.backend, body, timeouts=timeouts))).read()

    async with RawBackend(*scripts, TIMES) as raw:
        for _ in range(20 if deep else 4):
            await asyncio.gather(*(call() for _ in range(40)), return_exceptions=True)
        await asyncio.sleep(0.02)
        figures = upstream.figures()[str(raw.backend)]
        raw._scripts = (TIMES,)
        answered = await asyncio.gather(*(ask(upstream, raw) for _ in range(3)))
        await upstream.close()

    assert (figures.opening, figures.waiting) == (0, 0)
    assert figures.open == figures.idle <= 3
    assert answered == [b"hi"] * 3
