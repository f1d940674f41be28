"""Rounds: one at a time over processes, shared with whoever waits, and free again when their process dies."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from proxy_cli.server.rounds import SharedRound


def child(work) -> int:
    """A forked process that does some work in an event loop of its own."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            asyncio.new_event_loop().run_until_complete(work())
            code = 0
        finally:
            os._exit(code)
    return process


@pytest.mark.row("O-09")
@pytest.mark.parametrize("subject", [b"a", b"other"])
async def test_who_waits_for_another_process_gets_its_result(subject):
    """The work is not done twice where it is about the same; where it is not, it is done after the other."""
    shared, (reading, writing) = SharedRound(), os.pipe()

    async def slow() -> bytes:
        os.write(writing, b"begun")
        await asyncio.sleep(0.3)
        return b"of the other"

    async def own() -> bytes:
        return b"own"

    process = child(lambda: shared.result(b"a", slow))
    await asyncio.to_thread(os.read, reading, 5)
    found = await shared.result(subject, own)

    assert found == (b"of the other" if subject == b"a" else b"own")
    assert (await asyncio.to_thread(os.waitpid, process, 0))[1] == 0
    for descriptor in (reading, writing):
        os.close(descriptor)


async def test_who_comes_later_asks_anew():
    """A result is for those who waited for it; it is no cache."""
    shared = SharedRound()
    numbers = iter((b"1", b"2"))

    async def work() -> bytes:
        return next(numbers)

    assert [await shared.result(b"a", work) for _ in range(2)] == [b"1", b"2"]


async def test_two_of_one_process_take_turns():
    """Also where the kernel's lock does not keep them apart."""
    shared, at_work, most = SharedRound(), 0, 0

    async def work() -> bytes:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(0.02)
        at_work -= 1
        return b""

    await asyncio.gather(*(shared.result(bytes([number]), work) for number in range(3)))

    assert most == 1


async def test_a_process_that_dies_leaves_the_turn_to_others():
    """A worker that is killed in the middle of its round blocks nobody."""
    shared, (reading, writing) = SharedRound(), os.pipe()

    async def forever() -> bytes:
        os.write(writing, b"begun")
        await asyncio.sleep(60)
        return b""

    async def own() -> bytes:
        return b"own"

    process = child(lambda: shared.result(b"a", forever))
    await asyncio.to_thread(os.read, reading, 5)
    waiting = asyncio.create_task(shared.result(b"a", own))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    os.kill(process, signal.SIGKILL)
    await asyncio.to_thread(os.waitpid, process, 0)

    assert await asyncio.wait_for(waiting, 5) == b"own"
    for descriptor in (reading, writing):
        os.close(descriptor)


async def test_a_round_that_fails_is_nobodys_result():
    """The turn is given back, and the next one asks for itself."""
    shared = SharedRound()

    async def fails() -> bytes:
        raise ZeroDivisionError

    async def own() -> bytes:
        return b"own"

    with pytest.raises(ZeroDivisionError):
        await shared.result(b"a", fails)
    assert await shared.result(b"a", own) == b"own"


def test_the_file_is_closed_with_its_owner():
    """A configuration that is read and thrown away leaves no descriptor behind."""
    before = len(list(Path("/proc/self/fd").iterdir()))

    for _ in range(10):
        SharedRound()

    assert len(list(Path("/proc/self/fd").iterdir())) <= before
