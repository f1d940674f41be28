"""What the store says of keys: read together, asked rarely, on both databases alike."""

import asyncio
from itertools import pairwise
from typing import Any, cast

import pytest
from sqlalchemy import insert

from proxy_cli.access.grants import Terms, known_of
from proxy_cli.access.lookups import Lookups, read_customers, read_keys, read_named, read_tags
from proxy_cli.errors import Overloaded
from proxy_cli.store.failures import StoreUnavailable
from proxy_cli.store.opening import open_store
from proxy_cli.store.tables import END_USERS, TAGS
from proxy_cli.tasks import Tasks
from tests.access.stored import KEY, budget, digest_of, key_row, member, organization, put, team, user
from tests.access.test_callers import Turned
from tests.fakes.store import fresh_settings


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request, tmp_path):
    """A fresh store of each kind."""
    settings = fresh_settings(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres")
    opened = open_store(settings)
    yield opened
    await opened.close()


async def test_all_that_keys_depend_on_is_read_together(store):
    """Of many keys at once; what is not there is none."""
    other = KEY + "-other"
    await put(
        store,
        organization("o", budget_id="bo", fields={"models": ["m"]}),
        team("t", organization_id="o", budget_id="bt"),
        user("u", budget_id="bu", role="proxy_admin_viewer"),
        member("t", "u", fields={"max_budget_in_team": 1}),
        *(budget(name, max_budget=1) for name in ("bk", "bo", "bt", "bu")),
        key_row(team_id="t", user_id="u", budget_id="bk", fields={"models": ["m"]}),
        key_row(other, team_id="gone"),
    )

    found = await store.read(lambda connection: read_keys(connection, [digest_of(KEY), digest_of(other), "none"]))
    first, second = found[digest_of(KEY)], found[digest_of(other)]

    assert set(found) == {digest_of(KEY), digest_of(other)}
    assert (first.team["team_id"], first.user["user_id"]) == ("t", "u")
    assert first.member["fields"] == {"max_budget_in_team": 1}
    assert first.organization["organization_id"] == "o"
    assert {"bk", "bo", "bt", "bu"} <= first.budgets.keys()
    assert (second.team, second.user, second.member) == (None, None, None)
    caller = known_of(digest_of(KEY), first, Terms(user_budget_holds_for_teams=True), 0.0).caller
    assert caller is not None
    assert [scope.kind for scope in caller.scopes] == ["key", "team_member", "user", "team", "organization"]
    assert all(scope.max_nano for scope in caller.scopes)


async def test_a_key_that_was_replaced_again_and_again_is_its_latest(store):
    """However often within its grace."""
    keys = [f"{KEY}-{number}" for number in range(4)]
    await put(
        store,
        *(key_row(key, replaced_by=digest_of(following)) for key, following in pairwise(keys)),
        key_row(keys[-1], alias="latest"),
    )

    found = await store.read(lambda connection: read_keys(connection, [digest_of(keys[0])]))
    facts = found[digest_of(keys[0])]

    assert facts.key["alias"] == "latest"
    assert facts.presented["digest"] == digest_of(keys[0])


async def test_keys_that_replace_each_other_are_read_to_an_end(store):
    """A ring in the table holds nobody up."""
    other = KEY + "-other"
    await put(store, key_row(replaced_by=digest_of(other)), key_row(other, replaced_by=digest_of(KEY)))

    found = await store.read(lambda connection: read_keys(connection, [digest_of(KEY)]))

    assert found[digest_of(KEY)].key["digest"] in {digest_of(KEY), digest_of(other)}


async def test_end_users_tags_and_who_a_token_names_are_read(store):
    """With their budgets."""

    def fill(connection):
        connection.execute(insert(END_USERS).values(user_id="anne", budget_id="b", fields={}))
        connection.execute(insert(TAGS).values(name="x", fields={}))

    await put(store, fill, budget("b", max_budget=1), user("u"), team("t"), member("t", "u"))

    customers = await store.read(lambda connection: read_customers(connection, ["anne", "bert"]))
    tags = await store.read(lambda connection: read_tags(connection, ["x", "y"]))
    named = await store.read(lambda connection: read_named(connection, "u", "t"))

    assert {id_: budget["fields"] for id_, (_, budget) in customers.items()} == {"anne": {"max_budget": 1}}
    assert {id_: budget for id_, (_, budget) in tags.items()} == {"x": None}
    assert (named.key, named.user["user_id"], named.team["team_id"]) == (None, "u", "t")
    assert named.member["user_id"] == "u"


class Answering:
    """A store whose every answer is told by the test."""

    def __init__(self):
        self.asked = []
        self.is_down = False
        self.is_held = asyncio.Event()
        self.is_held.set()

    async def read(self, work, *, within_s=5.0):
        self.asked.append(work(None))
        await self.is_held.wait()
        if self.is_down:
            raise StoreUnavailable("it is switched off")
        return {id_: id_.upper() for id_ in self.asked[-1]}


@pytest.fixture
async def answering():
    """Such a store, and lookups over it, with a clock that is turned by hand."""
    store, tasks, clock = Answering(), Tasks(), Turned(now_s=0.0)
    read = cast("Any", lambda _connection, ids: list(ids))
    yield store, Lookups[str](cast("Any", store), read, clock=clock, tasks=tasks), clock
    await tasks.close()


async def test_what_is_asked_while_a_query_runs_is_in_the_next_one(answering):
    """All of it in one, and the same thing once; nobody gets what was read before he asked."""
    store, lookups, _ = answering
    store.is_held.clear()
    first = asyncio.create_task(lookups.find("a"))
    while not store.asked:
        await asyncio.sleep(0)
    rest = [asyncio.create_task(lookups.find(each)) for each in ("b", "c", "b", "a")]
    await asyncio.sleep(0)

    store.is_held.set()

    assert await asyncio.gather(first, *rest) == ["A", "B", "C", "B", "A"]
    assert store.asked == [["a"], ["b", "c", "a"]]


async def test_one_who_leaves_takes_nobodys_answer_along(answering):
    """Two ask for the same, and one of them is cancelled."""
    store, lookups, _ = answering
    store.is_held.clear()
    leaves, stays = (asyncio.create_task(lookups.find("a")) for _ in range(2))
    await asyncio.sleep(0.01)

    leaves.cancel()
    store.is_held.set()

    assert await stays == "A"


async def test_a_store_that_is_down_is_asked_once_a_second(answering):
    """Meanwhile whoever asks is told at once."""
    store, lookups, clock = answering
    store.is_down = True
    for _ in range(5):
        with pytest.raises(StoreUnavailable, match="switched off"):
            await lookups.find("a")
    asked = len(store.asked)

    store.is_down = False
    clock.now_s += 1.0

    assert asked == 1
    assert await lookups.find("a") == "A"


async def test_only_so_many_wait(answering):
    """More are sent away at once, so that a flood of guesses is no flood of waiting requests."""
    _, lookups, _ = answering

    told = await asyncio.gather(*(lookups.find(f"k{number}") for number in range(2_600)), return_exceptions=True)

    refused = [each for each in told if isinstance(each, Overloaded)]
    assert len(refused) == 600
    assert {each.retry_after_s for each in refused} == {1.0}
