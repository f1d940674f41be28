"""Streams whose caller has left are read on where that is wanted: few, not for long, and settled once."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from proxy_cli.answer import Answer
from proxy_cli.errors import BackendBroken
from proxy_cli.server.leftovers import Leftovers
from proxy_cli.shapes import Call, Operation, Record
from tests.routing.test_table import deployment

CALL = Call(request_id="r", operation=Operation.CHAT, model="m", body=b"{}", stream=True)


class Relay:
    """A stream of some pieces, or one that never ends."""

    def __init__(self, *pieces: bytes, endless: bool = False, failure: Exception | None = None) -> None:
        self.pieces = list(pieces)
        self.endless = endless
        self.failure = failure
        self.finished = False
        self.closed = 0
        self.usage = None

    def resume(self) -> None:
        """Go on."""

    async def next(self) -> bytes:
        await asyncio.sleep(0)
        if self.pieces:
            return self.pieces.pop()
        if self.failure is not None:
            raise self.failure
        if self.endless:
            await asyncio.sleep(3600)
        self.finished = True
        return b""

    def close(self) -> None:
        self.closed += 1


class Settled:
    """Keeps what was settled."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def settle(self, _call: Call, answer: Answer, _record: Record) -> None:
        self.answers.append(answer)


def answer(relay: Any, **info: str) -> Answer:
    return Answer(status=200, headers=(), deployment=replace(deployment("m"), info=info), waited_s=0.0, relay=relay)


def record() -> Record:
    return Record(request_id="r", route="/")


async def wait_for(leftovers: Leftovers) -> None:
    async with asyncio.timeout(5):
        while leftovers.under_way:
            await asyncio.sleep(0.001)


@pytest.mark.row("S-06")
async def test_a_stream_is_read_to_its_end_and_settled():
    """What the caller's answer held is held by the one that is read on."""
    settled, relay = Settled(), Relay(b"a", b"b")
    leftovers = Leftovers(settled, "drain")
    left = answer(relay)

    assert leftovers.take(CALL, left, record())
    left.close()
    assert relay.closed == 0
    await wait_for(leftovers)

    assert [id(each.relay) for each in settled.answers] == [id(relay)]
    assert (relay.finished, relay.closed) == (True, 1)


@pytest.mark.row("S-06")
async def test_more_than_a_few_are_not_read_on():
    """They are cancelled like any other."""
    settled = Settled()
    leftovers = Leftovers(settled, "drain", most=2)

    taken = [leftovers.take(CALL, answer(Relay(endless=True)), record()) for _ in range(4)]
    await leftovers.close()

    assert taken == [True, True, False, False]


async def test_one_that_takes_too_long_is_settled_with_what_has_come():
    """And let go of."""
    settled, relay = Settled(), Relay(b"a", endless=True)
    leftovers = Leftovers(settled, "drain", longest_s=0.01)

    leftovers.take(CALL, answer(relay), record())
    await wait_for(leftovers)

    assert (len(settled.answers), relay.closed) == (1, 1)


@pytest.mark.parametrize("failure", [BackendBroken("cut"), RuntimeError("closed"), ConnectionResetError()])
async def test_one_that_breaks_off_is_settled_too(failure):
    """A backend's failure is told."""
    settled = Settled()
    leftovers = Leftovers(settled, "drain")

    leftovers.take(CALL, answer(Relay(failure=failure)), record())
    await wait_for(leftovers)

    assert settled.answers[0].failure is (failure if isinstance(failure, BackendBroken) else None)


@pytest.mark.row("S-05")
async def test_the_policy_is_the_deployments_or_that_of_all():
    """`cancel` is the usual one; what has ended already is not read on."""
    finished = Relay()
    finished.finished = True

    assert not Leftovers(Settled(), "cancel").take(CALL, answer(Relay()), record())
    assert not Leftovers(Settled(), "drain").take(CALL, answer(Relay(), abort_policy="cancel"), record())
    assert not Leftovers(Settled(), "drain").take(CALL, answer(finished), record())
    leftovers = Leftovers(Settled(), "cancel")
    assert leftovers.take(CALL, answer(Relay(), abort_policy="drain"), record())
    await wait_for(leftovers)
