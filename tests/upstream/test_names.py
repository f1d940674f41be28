"""Where names lead: what is remembered, for how long, and what a slow or failing resolver does."""

import asyncio
import socket

import pytest

from proxy_cli.upstream.names import Address, Addresses, Names, literal, system_addresses

FIRST = Address(socket.AF_INET, ("192.0.2.1", 80))
SECOND = Address(socket.AF_INET, ("192.0.2.2", 80))


class Book:
    """A resolver whose answers are turned by hand. Owns what it says, and how often it was asked."""

    def __init__(self) -> None:
        self.says: Addresses | OSError = (FIRST,)
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def resolve(self, _host: str, _port: int) -> Addresses:
        """What it says now."""
        self.asked += 1
        await self.gate.wait()
        if isinstance(self.says, OSError):
            raise self.says
        return self.says


def grow_old(names: Names, age_s: float) -> None:
    """Make what was found older."""
    for key, (found_at, found) in names._found.items():
        names._found[key] = (found_at - age_s, found)


async def test_answer_is_remembered_for_a_few_seconds_and_then_asked_for_again():
    """A changed address is found within ten seconds."""
    book = Book()
    names = Names(book.resolve)
    await names.addresses("llm", 80)
    book.says = (SECOND,)

    remembered = await names.addresses("llm", 80)
    grow_old(names, 4.1)
    found = await names.addresses("llm", 80)

    assert (remembered, found, book.asked) == ((FIRST,), (SECOND,), 2)


async def test_name_whose_addresses_do_not_answer_is_asked_for_again_at_once():
    """What was found is not trusted any more."""
    book = Book()
    names = Names(book.resolve)
    await names.addresses("llm", 80)
    book.says = (SECOND,)

    names.forget("llm", 80)
    names.forget("unknown", 80)

    assert await names.addresses("llm", 80) == (SECOND,)


async def test_all_who_wait_for_a_name_share_one_look_up_and_one_who_leaves_ends_nothing():
    """However many connections are opened at a time."""
    book = Book()
    book.gate.clear()
    names = Names(book.resolve)
    waiting = [asyncio.ensure_future(names.addresses("llm", 80)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    book.gate.set()

    assert await asyncio.gather(*waiting[1:]) == [(FIRST,)] * 4
    assert book.asked == 1
    assert names._asking == {}


@pytest.mark.row("U-03")
async def test_slow_name_holds_up_no_other():
    """Each look-up waits for itself."""
    book = Book()
    names = Names(book.resolve)
    await names.addresses("quick", 80)
    book.gate.clear()
    slow = asyncio.ensure_future(names.addresses("slow", 80))
    await asyncio.sleep(0)

    assert await names.addresses("quick", 80) == (FIRST,)
    assert not slow.done()
    names.close()
    with pytest.raises(asyncio.CancelledError):
        await slow


@pytest.mark.row("U-03")
async def test_resolver_that_fails_for_a_while_leaves_the_last_addresses_in_use():
    """SERVFAIL says nothing about them; after ten minutes, or without any, it is an error."""
    book = Book()
    names = Names(book.resolve)
    await names.addresses("llm", 80)
    book.says = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    grow_old(names, 5)
    kept = await names.addresses("llm", 80)
    grow_old(names, 600)

    assert kept == (FIRST,)
    for host in ("llm", "other"):
        with pytest.raises(socket.gaierror):
            await names.addresses(host, 80)


@pytest.mark.row("U-03")
async def test_name_that_is_gone_is_an_error_at_once():
    """NXDOMAIN is an answer."""
    book = Book()
    names = Names(book.resolve)
    await names.addresses("llm", 80)
    book.says = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    grow_old(names, 5)

    with pytest.raises(socket.gaierror):
        await names.addresses("llm", 80)


async def test_failure_that_nobody_waits_for_is_not_reported_by_the_event_loop():
    """Its connection was given up meanwhile."""
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: told.append(context))
    book = Book()
    book.gate.clear()
    book.says = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    names = Names(book.resolve)
    waiting = asyncio.ensure_future(names.addresses("llm", 80))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.sleep(0)
    book.gate.set()
    while names._asking:
        await asyncio.sleep(0)

    del waiting
    await asyncio.sleep(0)

    assert told == []


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
async def test_address_is_never_looked_up(host, family):
    """It is what it says."""
    book = Book()

    (found,) = await Names(book.resolve).addresses(host, 80)

    assert (found.family, found.address[:2], book.asked) == (family, (host, 80), 0)
    assert literal("llm", 80) is None


async def test_system_knows_its_own_name():
    """By the resolver that every other program uses, in a thread of its own."""
    found = await system_addresses("localhost", 80)

    assert {address.address[0] for address in found} <= {"127.0.0.1", "::1"}
    assert len(found) == len(set(found)) >= 1


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a..b", "x" * 300])
async def test_system_says_what_it_does_not_know(host):
    """As an error of its own kind."""
    with pytest.raises((OSError, UnicodeError)):
        await system_addresses(host, 80)


async def test_addresses_that_failed_are_tried_last_for_a_minute():
    """So that a dead one does not cost every new connection its quarter of a second."""
    book = Book()
    book.says = (FIRST, SECOND)
    names = Names(book.resolve)

    names.put_off([FIRST])
    put_off = await names.in_order("llm", 80)
    names._put_off = {FIRST: asyncio.get_running_loop().time() - 1}
    forgiven = await names.in_order("llm", 80)
    names.put_off([SECOND])

    assert put_off == (SECOND, FIRST)
    assert forgiven == (FIRST, SECOND)
    assert list(names._put_off) == [SECOND]
