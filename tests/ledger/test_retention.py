"""Old rows go, sums stay."""

import pytest
from sqlalchemy import func, insert, select

from proxy_cli.ledger.posting import Batch, post
from proxy_cli.ledger.retention import MERGED, Retention, Upkeep, merge, seconds_of
from proxy_cli.store.opening import open_store
from proxy_cli.store.tables import CHANGES, LEDGER, NODES, SPEND
from tests.fakes.rows import settled
from tests.fakes.store import fresh_settings

DAY_US = 24 * 3600 * 1_000_000
NOW_US = 1_800_000_000_000_000


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request, tmp_path):
    """A store of either kind."""
    settings = fresh_settings(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres")
    opened = open_store(settings)
    yield opened
    await opened.close()


class Clock:
    """Time that a test turns."""

    def __init__(self):
        self.now_s = 1000.0

    def __call__(self):
        return self.now_s


def rows_of(count, *, age_days):
    """Requests of a day."""
    rows = [settled(f"{age_days}-{number}") for number in range(count)]
    for row in rows:
        row.started_at = NOW_US - int(age_days * DAY_US)
    return rows


async def put(store, rows, node="n"):
    """One batch."""
    await store.write(lambda connection: post(connection, Batch(rows=rows, steps={}), node=node, keeps_rows=True))


async def count_of(store):
    """Rows of the ledger."""
    return await store.read(lambda connection: connection.execute(select(func.count()).select_from(LEDGER)).scalar())


async def sums_of(store):
    """What stands in the sums of scopes, by node."""
    return await store.read(
        lambda connection: {row.node: row.nano for row in connection.execute(select(SPEND.c.node, SPEND.c.nano))}
    )


def upkeep_of(retention, clock):
    """What the draining process does beside."""
    return Upkeep(retention, node="n", clock=clock, now=lambda: NOW_US, pause_s=0.0)


@pytest.mark.row("D-07")
async def test_rows_go_by_age_some_at_a_time_and_sums_stay(store):
    """Each step deletes a thousand at most, until none is too old."""
    await put(store, rows_of(1500, age_days=40) + rows_of(5, age_days=2))
    upkeep = upkeep_of(Retention(period_s=30 * 86_400), Clock())

    counts = []
    for _ in range(3):
        await upkeep(store)
        counts.append(await count_of(store))

    assert counts == [505, 5, 5]
    assert await sums_of(store) == {"n": 1505 * 3}


async def test_rows_go_by_number_the_oldest_first(store):
    """The newest rows stay, as many as there may be."""
    await put(store, [*rows_of(3, age_days=3), *rows_of(2, age_days=2), *rows_of(2, age_days=1)])

    await upkeep_of(Retention(most_rows=4), Clock())(store)

    assert await count_of(store) == 4


async def test_without_a_bound_nothing_goes(store):
    """Rows stay for ever unless somebody says otherwise."""
    await put(store, rows_of(5, age_days=4000))

    await upkeep_of(Retention(), Clock())(store)

    assert await count_of(store) == 5


async def test_it_is_looked_at_again_after_the_interval(store):
    """Rows that come to be too old between two looks go with the later one."""
    clock = Clock()
    upkeep = upkeep_of(Retention(period_s=86_400, interval_s=3600), clock)
    await upkeep(store)
    await put(store, rows_of(5, age_days=2))

    counts = []
    for pause_s in (3500, 200):
        clock.now_s += pause_s
        await upkeep(store)
        counts.append(await count_of(store))

    assert counts == [5, 0]


async def test_what_a_node_spent_that_is_gone_is_kept_under_one_name(store):
    """A server that came and went leaves its sum and no rows of its own; one that lives keeps its own."""
    for node, seen in (("gone", NOW_US - 2 * DAY_US), ("there", NOW_US - DAY_US // 2)):
        await put(store, [settled(f"{node}-{number}") for number in range(3)], node)
        values = {"node": node, "seen_at": seen}
        await store.write(lambda connection, values=values: connection.execute(insert(NODES).values(values)))
    clock = Clock()
    upkeep = upkeep_of(Retention(), clock)

    await upkeep(store)
    await upkeep(store)

    assert await sums_of(store) == {MERGED: 9, "there": 9}
    nodes = await store.read(lambda connection: connection.execute(select(NODES.c.node)).scalars().all())
    assert sorted(nodes) == ["n", "there"]


async def test_a_node_that_comes_back_is_counted_on(store):
    """What it spends after it was merged is added, and merged again later."""
    await put(store, [settled("a", cost=5)], "back")
    await store.write(lambda connection: merge(connection, "back"))

    await put(store, [settled("b", cost=6)], "back")
    between = await sums_of(store)
    await store.write(lambda connection: merge(connection, "back"))

    assert between == {MERGED: 5, "back": 6}
    assert await sums_of(store) == {MERGED: 11}


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("2m", 120), ("1h", 3600), ("7d", 604_800), ("1mo", 2_592_000)]
)
def test_durations_are_read(text, seconds):
    """A number and a unit."""
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "0d", "1.5h", "7 days"])
def test_what_is_no_duration_is_refused_with_its_value(text):
    """The message names what was written and what to write."""
    with pytest.raises(ValueError, match="is no duration"):
        seconds_of(text)


async def test_the_list_of_changes_is_a_day_long(store):
    """What was changed before that goes with the old rows, but for the newest, whatever is kept of the ledger."""

    def fill(connection):
        for name, age_days in (("old", 3), ("older", 2), ("new", 0.5)):
            connection.execute(insert(CHANGES).values(kind="key", id=name, at=NOW_US - int(age_days * DAY_US)))

    await store.write(fill)

    await upkeep_of(Retention(), Clock())(store)

    left = await store.read(lambda connection: connection.execute(select(CHANGES.c.id)).scalars().all())
    assert left == ["new"]
