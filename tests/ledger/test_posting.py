"""Rows into the tables."""

import pytest
from sqlalchemy import select

from proxy_cli.ledger.posting import DONE, Batch, Moved, forget, positions, post, sound, spent
from proxy_cli.ledger.row import State
from proxy_cli.ledger.segments import SegmentName
from proxy_cli.store.opening import open_store
from proxy_cli.store.tables import DAILY, DAILY_TAGS, LEDGER, SPEND
from tests.fakes.rows import CHARGE, settled
from tests.fakes.store import fresh_settings

FIRST = SegmentName("n-0-1", 1)


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request, tmp_path):
    """A store of either kind."""
    settings = fresh_settings(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres")
    opened = open_store(settings)
    yield opened
    await opened.close()


async def put(store, rows, steps=None, *, keeps_rows=True, node="n"):
    """One batch."""
    batch = Batch(rows=rows, steps=steps or {})
    await store.write(lambda connection: post(connection, batch, node=node, keeps_rows=keeps_rows))


async def all_of(store, table, *columns):
    """What stands in a table."""
    picked = [table.c[name] for name in columns]
    return await store.read(lambda connection: [tuple(row) for row in connection.execute(select(*picked))])


async def test_a_row_stands_in_the_ledger_and_in_every_sum(store):
    """The ledger has it, what it is charged to has its cost, and its day has its tokens."""
    failed = settled("b", cost=4, tags=("red",))
    failed.state = State.FAILED

    await put(store, [settled("a", cost=3, tags=("red", "blue", "red")), failed])

    assert sorted(await all_of(store, LEDGER, "request_id", "state", "cost_nano")) == [
        ("a", "settled", 3),
        ("b", "failed", 4),
    ]
    assert await all_of(store, SPEND, "kind", "id", "window", "node", "nano") == [(*CHARGE, "n", 7)]
    days = await all_of(store, DAILY, "day", "key", "requests", "failed", "prompt_tokens", "completion_tokens", "nano")
    assert days == [("2027-01-15", "k", 2, 1, 20, 40, 7)]
    tags = await all_of(store, DAILY_TAGS, "tag", "requests", "failed", "nano")
    assert sorted(tags) == [("blue", 1, 0, 3), ("red", 2, 1, 7)]


@pytest.mark.parametrize("count", [1, 19, 20, 21, 57])
async def test_many_rows_are_put_in_as_they_are(store, count):
    """However many of them one statement takes."""
    rows = [settled(f"{number:03}", cost=number, tags=(f"t{number}",)) for number in range(count)]

    await put(store, rows)

    found = sorted(await all_of(store, LEDGER, "request_id", "cost_nano", "tags", "metadata", "stream"))
    assert found == [(row.request_id, row.cost_nano, list(row.tags), row.metadata, row.stream) for row in rows]


async def test_a_row_that_is_there_already_is_not_counted_again(store):
    """Whatever comes twice, in one batch or in two, is one row and one cost."""
    await put(store, [settled("a", cost=3), settled("a", cost=3)])

    await put(store, [settled("a", cost=3), settled("b", cost=5)])

    assert sorted(await all_of(store, LEDGER, "request_id")) == [("a",), ("b",)]
    assert await all_of(store, SPEND, "nano") == [(8,)]


@pytest.mark.row("B-17")
async def test_names_that_others_give_make_no_two_requests_one(store):
    """A provider that repeats its id, and a client that repeats its call id, get as many rows as requests."""
    rows = [settled(f"r{number}") for number in range(1000)]
    for row in rows:
        row.answer_id, row.call_id = "chatcmpl-1", "mine"

    await put(store, rows)

    assert len(await all_of(store, LEDGER, "request_id")) == 1000
    assert await all_of(store, SPEND, "nano") == [(3000,)]


async def test_a_batch_that_does_not_begin_where_the_last_one_ended_changes_nothing(store):
    """Somebody else has been there: no row, no sum and no place is touched."""
    await put(store, [settled("a")], {FIRST: (0, 100)})

    for before in (0, 50):
        with pytest.raises(Moved):
            await put(store, [settled("b")], {FIRST: (before, 200)})

    assert await all_of(store, LEDGER, "request_id") == [("a",)]
    assert await store.read(lambda connection: positions(connection, [FIRST])) == {FIRST: 100}


async def test_places_are_kept_and_forgotten(store):
    """How far a segment is can be asked until it is forgotten."""
    other = SegmentName("n-0-1", 2)
    await put(store, [], {FIRST: (0, 100), other: (0, 16)})
    await put(store, [], {FIRST: (100, DONE)})

    await store.write(lambda connection: forget(connection, [other]))

    assert await store.read(lambda connection: positions(connection, [FIRST, other])) == {FIRST: DONE}


async def test_without_rows_only_the_sums_are_kept(store):
    """Where no rows are to be kept, what was spent is known all the same."""
    await put(store, [settled("a", tags=("red",))], keeps_rows=False)

    assert await all_of(store, LEDGER, "request_id") == []
    assert await all_of(store, SPEND, "nano") == [(3,)]
    assert await all_of(store, DAILY, "requests") == [(1,)]


async def test_each_node_has_a_sum_of_its_own(store):
    """What two servers count for one scope stands apart, and both are found."""
    await put(store, [settled("a", cost=3)], node="one")
    await put(store, [settled("b", cost=4)], node="two")

    found = await store.read(lambda connection: spent(connection, [CHARGE, ("key", "other", 0)]))

    assert sorted(found) == [(CHARGE, "one", 3), (CHARGE, "two", 4)]


async def test_no_row_stands_in_the_way_of_others(store):
    """What no database takes is made into what it takes: a row that is refused would be tried for ever."""
    row = settled("strange\0", cost=-5, tags=("a\0b",))
    row.metadata = {"number": float("nan"), "text": "a\0b", "list": [float("inf")]}
    row.status, row.prompt_tokens, row.started_at = 2**40, 2**63, 2**63
    row.error, row.messages, row.response = "x\0y", "m\0", "r\0"
    row.charges = (("user", "u\0", 0),)

    await put(store, [row, settled("b")])

    found = await all_of(store, LEDGER, "request_id", "cost_nano", "error", "status", "messages")
    assert sorted(found) == [("b", 3, "", 0, None), ("strange", 0, "xy", 2**31 - 1, "m")]


def test_a_sound_row_stays_as_it_is():
    """What any database takes is not changed."""
    row = settled("a", tags=("x",))
    row.metadata = {"a": [1, None, "b"]}
    before = repr(row)

    assert repr(sound(row)) == before
