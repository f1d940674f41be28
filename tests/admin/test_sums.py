"""What has been spent in the present windows, and the corrections of an admin."""

import pytest
from sqlalchemy import select

from proxy_cli.admin import sums
from proxy_cli.admin.base import Office
from proxy_cli.config.schema import Config
from proxy_cli.config.settings_litellm import LiteLLMSettings
from proxy_cli.store.tables import SPEND
from proxy_cli.store.writing import upsert
from tests.fakes.office import Clock, office_over

NOON = 1_790_000_000.0 // 86_400 * 86_400 + 43_200


def add(connection, kind: str, name: str, window: int, node: str, nano: int) -> None:
    """Have a server count."""
    connection.execute(upsert(SPEND).values(kind=kind, id=name, window=window, node=node, nano=nano))


def at(office: Office, now_s: float) -> Office:
    """The same office at another time of day."""
    clock = Clock()
    clock.now_s = now_s
    return Office(
        store=office.store,
        callers=office.callers,
        config=office.config,
        table=office.table,
        prices=office.prices,
        scrubber=office.scrubber,
        wall=clock,
    )


def test_a_window_begins_where_its_period_does(desk):
    """Without a period there is one window, which never ends."""
    office = at(desk.office, NOON)

    assert sums.window(office, "1d") == int(NOON) - 43_200
    assert sums.reset_at_us(office, "1d") == (int(NOON) + 43_200) * 1_000_000
    assert sums.window(office, None) == sums.window(office, "") == 0
    assert sums.reset_at_us(office, None) is None


def test_days_begin_in_the_time_zone_of_the_configuration(desk):
    """As the limits count them."""
    config = Config(litellm_settings=LiteLLMSettings(timezone="Asia/Tokyo"))
    office = at(office_over(desk.office.store, config), NOON)

    assert sums.window(office, "1d") == int(NOON) - 21 * 3600


def test_a_period_that_is_none_has_no_windows(desk):
    """A row that another version has written breaks no list."""
    assert sums.window(desk.office, "fortnight") == 0


async def test_a_sum_is_that_of_all_servers(any_desk):
    """By kind, name and window; never below nothing."""

    def work(connection):
        add(connection, "key", "a", 0, "here", 5)
        add(connection, "key", "a", 0, "there", 7)
        add(connection, "key", "a", 60, "here", 11)
        add(connection, "key", "b", 0, "here", -3)
        add(connection, "user", "a", 0, "here", 13)
        return sums.spent(connection, [("key", "a", 0), ("key", "a", 60), ("key", "b", 0), ("key", "c", 0)])

    assert await any_desk.office.store.write(work) == {("key", "a", 0): 12, ("key", "a", 60): 11, ("key", "b", 0): 0}


async def test_hundreds_of_sums_are_read_at_once(desk):
    """In parts that every database takes."""

    def work(connection):
        for number in range(250):
            add(connection, "key", str(number), 0, "here", number)
        return sums.spent(connection, [("key", str(number), 0) for number in range(250)])

    assert sum((await desk.office.store.write(work)).values()) == sum(range(250))


@pytest.mark.parametrize("nano", [0, 3, 100])
async def test_a_correction_stands_beside_what_was_counted(any_desk, nano):
    """It changes no server's row, may be made twice, and what is counted later comes on top."""

    def work(connection):
        add(connection, "key", "a", 0, "here", 10)
        sums.set_spent(connection, ("key", "a", 0), 50)
        sums.set_spent(connection, ("key", "a", 0), nano)
        corrected = sums.spent(connection, [("key", "a", 0)])
        add(connection, "key", "a", 0, "there", 4)
        own = connection.execute(select(SPEND.c.nano).where(SPEND.c.node == "here")).scalar_one()
        return corrected, sums.spent(connection, [("key", "a", 0)]), own

    corrected, later, own = await any_desk.office.store.write(work)

    assert (corrected[("key", "a", 0)], later[("key", "a", 0)], own) == (nano, nano + 4, 10)


async def test_a_key_that_takes_anothers_place_begins_where_that_one_stood(any_desk):
    """In all of its windows, and in those of its models."""
    former, later = "a" * 64, "b" * 64

    def work(connection):
        add(connection, "key", former, 0, "here", 1)
        add(connection, "key_window", f"{former}/1d", 60, "here", 2)
        add(connection, "key_model", f"{former}/gpt_4%", 0, "there", 3)
        add(connection, "user", former, 0, "here", 4)
        sums.hand_on(connection, former, later)
        totals = [("key", later, 0), ("key_window", f"{later}/1d", 60), ("key_model", f"{later}/gpt_4%", 0)]
        return sums.spent(connection, [*totals, ("user", later, 0)])

    assert sorted((await any_desk.office.store.write(work)).values()) == [1, 2, 3]


def test_the_period_of_an_object_is_its_own_before_its_budgets():
    """And none where neither says one."""
    assert sums.period_of({"budget_duration": "1d"}, {"budget_duration": "7d"}) == "1d"
    assert sums.period_of({}, {"budget_duration": "7d"}) == "7d"
    assert sums.period_of({}, None) is None
