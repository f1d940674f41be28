"""Which part of the ledger a question means, and which part its caller may see."""

import pytest
from sqlalchemy import insert, select

from proxy_cli.admin.base import Ask
from proxy_cli.admin.filters import (
    day_of,
    days,
    digests,
    key_names,
    moment,
    moments,
    own,
    seen_by,
    team_names,
    user_names,
)
from proxy_cli.callers import Caller, Role
from proxy_cli.errors import Unprocessable
from proxy_cli.store.moments import from_iso
from proxy_cli.store.tables import DAILY, KEYS, MEMBERS, ORGANIZATION_MEMBERS, TEAMS, USERS
from tests.fakes.spending import ADMIN, ALICE, BOB, VIEWER, day, keep, office_of
from tests.fakes.store import fresh_store


@pytest.fixture
async def store(tmp_path):
    opened = fresh_store(tmp_path)
    yield opened
    await opened.close()


def asked(**query):
    return Ask(caller=ADMIN, query=query)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("2026-01-31", "2026-01-31T00:00:00"),
        ("2026-01-31 12:30:00", "2026-01-31T12:30:00"),
        ("2026-01-31T12:30:00Z", "2026-01-31T12:30:00"),
        ("2026-01-31T12:30:00+02:00", "2026-01-31T10:30:00"),
    ],
)
def test_dates_and_moments_are_read_as_utc(text, meant):
    """All that LiteLLM's clients send."""
    assert moment(text, "start_date") == from_iso(meant)


def test_the_end_of_a_range_is_the_end_of_its_day():
    """A date names a whole day, a moment itself."""
    assert moment("2026-01-31", "end_date", end=True) == from_iso("2026-02-01")
    assert moment("2026-01-31 12:00:00", "end_date", end=True) == from_iso("2026-01-31T12:00:00")


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "31.01.2026", "' OR 1=1--", "0" * 100])
def test_what_is_no_date_is_refused_with_how_to_write_one(text):
    """One sentence, with the parameter at fault."""
    with pytest.raises(Unprocessable, match="write a date as 2026-01-31") as caught:
        moments(asked(start_date=text))

    assert caught.value.param == "start_date"


def test_a_range_that_ends_before_it_begins_is_refused():
    """An empty answer would say that nothing was spent."""
    with pytest.raises(Unprocessable, match="exchange them"):
        moments(asked(start_date="2026-02-02", end_date="2026-01-01"))


@pytest.mark.parametrize(
    ("query", "meant"),
    [
        ({}, ("2026-10-24", "2026-11-23")),
        ({"start_date": "2026-11-01"}, ("2026-11-01", "2026-11-23")),
        ({"end_date": "2026-11-10"}, ("2026-10-11", "2026-11-10")),
        ({"start_date": "2026-11-01", "end_date": "2026-11-02"}, ("2026-11-01", "2026-11-02")),
        ({"start_date": "2026-11-01 05:00:00", "end_date": "2026-11-02 00:00:00"}, ("2026-11-01", "2026-11-01")),
        ({"end_date": "0001-01-02"}, ("0001-01-01", "0001-01-02")),
    ],
)
async def test_days_that_are_not_named_are_the_last_thirty(store, query, meant):
    """Up to the last day that is named, else up to today."""
    assert days(office_of(store), asked(**query)) == meant


def test_the_day_of_a_moment_is_that_of_utc():
    """As the daily sums are written."""
    assert day_of(from_iso("2026-01-31T23:59:59.999999")) == "2026-01-31"


def test_a_key_is_found_by_itself_and_by_its_digest():
    """Clients send what they have: the key, or the token that a list has told them."""
    (of_key,) = digests("sk-1234")

    assert len(of_key) == 64
    assert of_key in digests(of_key)


async def seen(store, caller):
    """The users of those rows that a caller sees."""

    def work(connection):
        return sorted(connection.scalars(select(DAILY.c.user_id).where(seen_by(connection, DAILY, caller))))

    return await store.read(work)


async def filled(store):
    await keep(
        store,
        days=[
            day(),
            day(key=BOB.key, user_id="bob", team_id="red"),
            day(key="d" * 64, user_id="carol", team_id="red", organization_id="acme"),
            day(key="", user_id="", model="of the master key"),
        ],
    )


async def test_who_sees_all_sees_all(store):
    """The admin, and whoever looks for him."""
    await filled(store)

    assert await seen(store, ADMIN) == await seen(store, VIEWER) == ["", "alice", "bob", "carol"]


async def test_others_see_what_is_their_own(store):
    """By user and by key; who has neither sees nothing, not even what was done without a key."""
    await filled(store)

    assert await seen(store, ALICE) == ["alice"]
    assert await seen(store, Caller(role=Role.USER, key="d" * 64)) == ["carol"]
    assert await seen(store, Caller(role=Role.CUSTOMER)) == []


async def test_admins_of_teams_and_organizations_see_what_is_in_their_hands(store):
    """Members do not."""
    await filled(store)
    await store.write(
        lambda connection: (
            connection.execute(insert(MEMBERS).values(team_id="red", user_id="alice", role="admin")),
            connection.execute(insert(MEMBERS).values(team_id="red", user_id="bob", role="user")),
            connection.execute(
                insert(ORGANIZATION_MEMBERS).values(organization_id="acme", user_id="bob", role="org_admin")
            ),
        )
    )

    assert await seen(store, ALICE) == ["alice", "bob", "carol"]
    assert await seen(store, BOB) == ["bob", "carol"]


def test_own_rows_of_a_table_without_users_are_those_of_the_key():
    """Sums of tags do not know users."""
    assert "user_id" in str(own(DAILY, ALICE))


async def test_names_are_told_beside_ids(store):
    """Aliases of keys and teams and addresses of users, of those that there are."""
    await store.write(
        lambda connection: (
            connection.execute(insert(KEYS).values(digest=ALICE.key, alias="laptop", team_id="red")),
            connection.execute(insert(TEAMS).values(team_id="red", alias="Red")),
            connection.execute(insert(TEAMS).values(team_id="plain")),
            connection.execute(insert(USERS).values(user_id="alice", email="alice@example.com")),
        )
    )

    keys = await store.read(lambda connection: key_names(connection, {ALICE.key, "gone"}))
    teams = await store.read(lambda connection: team_names(connection, {"red", "plain"}))
    users = await store.read(lambda connection: user_names(connection, {"alice", "bob"}))

    assert keys == {ALICE.key: {"key_alias": "laptop", "team_id": "red"}}
    assert teams == {"red": "Red", "plain": "plain"}
    assert users == {"alice": "alice@example.com"}
