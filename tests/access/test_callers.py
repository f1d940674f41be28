"""Who is calling, as one process knows it: found once, served from memory, forgotten when it is over."""

import asyncio
from dataclasses import dataclass

import pytest
from sqlalchemy import update

from proxy_cli.access.addresses import Addresses
from proxy_cli.access.callers import Callers
from proxy_cli.access.grants import Terms
from proxy_cli.access.keys import Keys
from proxy_cli.access.news import News
from proxy_cli.callers import ANYONE, Role, Scope
from proxy_cli.errors import Forbidden, Unauthenticated
from proxy_cli.secret import Secret
from proxy_cli.store.changes import say_changed
from proxy_cli.store.failures import StoreUnavailable
from proxy_cli.store.tables import TEAMS
from tests.access.stored import KEY, MASTER, bearer, changed_key, deleted_key, digest_of, key_row, put, team
from tests.fakes.store import fresh_store

PEER = "127.0.0.1"


@dataclass
class Turned:
    """A clock that is turned by hand."""

    now_s: float = 1_000.0

    def __call__(self):
        return self.now_s


class Counted:
    """A store that counts what is read of it, and can be down."""

    def __init__(self, store):
        self._store = store
        self.reads = 0
        self.is_down = False
        self.dialect, self.shown = store.dialect, store.shown

    async def read(self, work, *, within_s=5.0):
        if self.is_down:
            raise StoreUnavailable("it is switched off")
        self.reads += 1
        return await self._store.read(work, within_s=within_s)

    async def write(self, work, *, within_s=15.0):
        return await self._store.write(work, within_s=within_s)

    async def close(self):
        await self._store.close()


@pytest.fixture
async def store(tmp_path):
    opened = Counted(fresh_store(tmp_path))
    yield opened
    await opened.close()


@pytest.fixture
async def make(store):
    """Makes the callers of one process after another."""
    made = []

    def one(**more):
        callers = Callers(Keys(Secret(MASTER)), store=store, **more)
        made.append(callers)
        return callers

    yield one
    for each in made:
        await each.close()


async def code_of(callers, headers, client=PEER):
    """The code of the refusal of a request, or None."""
    try:
        await callers.find(headers, client)
    except (Unauthenticated, Forbidden) as refusal:
        return refusal.code
    return None


def test_without_a_master_key_anyone_is_let_in():
    """Without a word about keys, and with any."""
    callers = Callers(Keys(None))

    assert callers.admit((), PEER) is ANYONE
    assert callers.admit((("authorization", "Bearer x"),), PEER) is ANYONE


async def test_a_key_of_the_store_is_found_once_and_known_from_then_on(store, make):
    """The first request waits for the store; later ones do not."""
    await put(store, key_row(alias="app"))
    callers = make()

    assert callers.admit(bearer(), PEER) is None
    found = await callers.find(bearer(), PEER)
    reads = store.reads

    assert callers.admit(bearer(), PEER) is found
    assert (found.key, found.key_alias, found.role) == (digest_of(KEY), "app", Role.USER)
    assert store.reads == reads == 1


async def test_the_master_key_is_known_without_the_store(make, store):
    """An operator gets in whatever the store does."""
    store.is_down = True

    assert make().admit(bearer(MASTER), PEER).is_admin


async def test_the_proxys_own_budget_is_counted_for_everybody(make):
    """For the master key, too."""
    proxy = Scope(kind="proxy", id="", max_nano=5)
    callers = make(terms=Terms(proxy=proxy))

    assert callers.admit(bearer(MASTER), PEER).scopes == (proxy,)
    assert callers.pass_by((), PEER).scopes == (proxy,)


@pytest.mark.row("A-01")
@pytest.mark.row("A-07")
@pytest.mark.parametrize(
    "wrong",
    [
        "' OR 1=1--",
        "sk-' UNION SELECT * FROM llmproxy_key --",
        "sk-\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        "sk-" + "x" * 1_000_000,
        "sk-🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑🔑",
        "sk-\udcff\udcfe\udcfd-0123456789",
        digest_of(KEY),
        "sk-" + digest_of(KEY),
        KEY + "x",
        KEY[:-1],
    ],
)
async def test_whatever_is_no_key_is_refused_in_the_same_shape(store, make, wrong):
    """Not in the words of the database, nor with what was sent; a digest of a key is no key."""
    await put(store, key_row())
    callers = make()

    with pytest.raises(Unauthenticated, match="is not known here; check the key your client sends") as caught:
        await callers.find(bearer(wrong), PEER)

    assert (caught.value.status, caught.value.code) == (401, "invalid_api_key")
    assert wrong not in caught.value.message
    assert digest_of(wrong.encode("utf-8", "surrogateescape").decode("latin-1")) not in caught.value.message


@pytest.mark.row("A-03")
async def test_many_wrong_keys_ask_the_database_little_and_displace_nobody(store, make):
    """Thousands of guesses are a few queries, repeated ones none; a caller who is known stays known."""
    await put(store, key_row())
    callers = make(terms=Terms(most_known=10))
    known = await callers.find(bearer(), PEER)
    guesses = [bearer(f"sk-guess-number-{number}") for number in range(1_500)]

    codes = await asyncio.gather(*(code_of(callers, each) for each in guesses))
    reads = store.reads
    again = [await code_of(callers, each) for each in guesses[:100]]

    assert {*codes, *again} == {"invalid_api_key"}
    assert reads <= 10
    assert store.reads == reads
    assert callers.admit(bearer(), PEER) is known


async def test_keys_that_were_never_handed_out_here_are_not_looked_up(store, make):
    """What does not look like a key asks the database nothing."""
    assert await code_of(make(), bearer("hello-there-this-is-no-key")) == "invalid_api_key"
    assert store.reads == 0


async def test_as_many_keys_are_remembered_as_was_said(store, make):
    """The oldest is looked up again."""
    await put(store, *(key_row(f"{KEY}-{number}") for number in range(4)))
    callers = make(terms=Terms(most_known=3))

    for number in range(4):
        await callers.find(bearer(f"{KEY}-{number}"), PEER)

    assert callers.admit(bearer(f"{KEY}-0"), PEER) is None
    assert callers.admit(bearer(f"{KEY}-3"), PEER) is not None


@pytest.mark.row("A-36")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (changed_key(blocked=True), "blocked_key"),
        (changed_key(expires_at=1_000_000), "expired_key"),
        (deleted_key(), "invalid_api_key"),
    ],
)
async def test_what_one_process_ends_is_over_in_another_within_a_second(store, make, change, code):
    """The other process has only the list of changes."""
    await put(store, key_row())
    elsewhere = make()
    elsewhere.start()
    while True:
        await elsewhere.find(bearer(), PEER)
        await asyncio.sleep(0.05)  # so that its first look at the list is behind it
        if elsewhere.admit(bearer(), PEER) is not None:
            break

    await put(store, change)
    async with asyncio.timeout(1.0):
        while elsewhere.admit(bearer(), PEER) is not None:
            await asyncio.sleep(0.02)

    assert await code_of(elsewhere, bearer()) == code


async def test_what_a_process_changes_itself_is_over_at_once(store, make):
    """It need not ask the list."""
    await put(store, key_row())
    callers = make()
    await callers.find(bearer(), PEER)

    await put(store, deleted_key())
    callers.forget("key", digest_of(KEY))

    assert callers.admit(bearer(), PEER) is None
    assert await code_of(callers, bearer()) == "invalid_api_key"


async def test_a_key_that_was_refused_before_it_was_made_is_good_when_it_is(store, make):
    """A refusal is remembered no longer than until the key is there."""
    callers = make()
    assert await code_of(callers, bearer()) == "invalid_api_key"

    await put(store, key_row())
    callers.forget("key", digest_of(KEY))

    assert await code_of(callers, bearer()) is None


async def test_a_change_while_a_key_is_looked_up_is_not_overlooked(store, make):
    """What was read before the change is not kept."""
    await put(store, key_row())
    callers = make()
    finding = asyncio.create_task(callers.find(bearer(), PEER))
    await asyncio.sleep(0)

    callers.forget("key", digest_of(KEY))
    await finding

    assert callers.admit(bearer(), PEER) is None


@pytest.mark.row("A-18")
async def test_a_change_of_the_team_is_a_change_of_its_keys(store, make):
    """A team that may do less has keys that may do less."""
    await put(store, team(fields={"models": ["a", "b"]}), key_row(team_id="t", fields={"models": ["a", "b"]}))
    callers = make()
    assert (await callers.find(bearer(), PEER)).models == (frozenset("ab"), frozenset("ab"))
    news = News(store, callers.forget)
    await news.look()
    await callers.find(bearer(), PEER)

    def shrink(connection):
        connection.execute(update(TEAMS).values(fields={"models": ["b"]}))
        say_changed(connection, "team", "t")

    await store.write(shrink)
    await news.look()

    assert (await callers.find(bearer(), PEER)).models == (frozenset("ab"), frozenset("b"))


async def test_a_key_ends_at_its_time(store, make):
    """Also where it was found before."""
    wall = Turned(1_000.0)
    await put(store, key_row(expires_at=1_060_000_000))
    callers = make(wall=wall)
    await callers.find(bearer(), PEER)

    wall.now_s = 1_059.9
    assert callers.admit(bearer(), PEER) is not None
    wall.now_s = 1_060.0

    assert await code_of(callers, bearer()) == "expired_key"


async def test_a_caller_who_is_known_goes_on_for_ten_minutes_without_the_store(store, make):
    """And one who is not is told that the store does not answer: 503, not 401."""
    clock = Turned()
    await put(store, key_row(), key_row(KEY + "2"))
    callers = make(clock=clock)
    known = await callers.find(bearer(), PEER)
    store.is_down = True

    clock.now_s += 599
    assert await callers.find(bearer(), PEER) is known
    with pytest.raises(StoreUnavailable) as caught:
        await callers.find(bearer(KEY + "2"), PEER)
    clock.now_s += 2
    with pytest.raises(StoreUnavailable):
        await callers.find(bearer(), PEER)

    assert (caught.value.status, caught.value.code) == (503, "store_unavailable")


async def test_a_caller_who_is_known_is_looked_up_again_behind_his_back(store, make):
    """After the time that was set, without a wait; what was changed meanwhile holds then."""
    clock = Turned()
    await put(store, key_row(alias="old"))
    callers = make(clock=clock, terms=Terms(ttl_s=60.0))
    await callers.find(bearer(), PEER)
    await put(store, changed_key(alias="new"))

    clock.now_s += 61
    first = callers.admit(bearer(), PEER)
    async with asyncio.timeout(2):
        while callers.admit(bearer(), PEER).key_alias != "new":
            await asyncio.sleep(0.01)

    assert first.key_alias == "old"


async def test_the_old_key_works_until_its_grace_ends_as_the_new_one(store, make):
    """It counts for the new one, and may what that may."""
    wall = Turned(1_000.0)
    new = KEY + "-new"
    await put(
        store,
        key_row(new, fields={"models": ["b"]}),
        key_row(replaced_by=digest_of(new), expires_at=1_060_000_000, fields={"models": ["a"]}),
    )
    callers = make(wall=wall)

    during = await callers.find(bearer(), PEER)
    wall.now_s = 1_061.0

    assert (during.key, during.models) == (digest_of(new), (frozenset("b"),))
    assert await code_of(callers, bearer()) == "expired_key"
    assert await code_of(callers, bearer(new)) is None


@pytest.mark.row("A-14")
async def test_a_key_for_some_addresses_is_refused_from_others(store, make):
    """What a client says of its own address changes nothing, unless a proxy in front that is known says it."""
    await put(store, key_row(fields={"allowed_ips": ["10.0.0.0/8"]}))
    callers = make(addresses=Addresses(trusted=["192.0.2.1"]))
    forged = (*bearer(), ("x-forwarded-for", "10.1.2.3"))

    assert await code_of(callers, bearer(), "10.1.2.3") is None
    assert await code_of(callers, bearer(), "198.51.100.7") == "ip_not_allowed"
    assert await code_of(callers, forged, "198.51.100.7") == "ip_not_allowed"
    assert await code_of(callers, forged, "192.0.2.1") is None


@pytest.mark.row("A-05")
async def test_every_carrier_leads_to_the_same_caller(store, make):
    """And so to the same restrictions."""
    await put(store, key_row(fields={"models": ["a"]}))
    callers = make()
    found = [
        await callers.find(((name, prefix + KEY),), PEER) for name in Keys(None).carriers for prefix in ("", "Bearer ")
    ]

    assert len({id(each) for each in found}) == 1


async def test_another_configuration_holds_at_once(store, make):
    """A new master key opens, the old one does not, and who is known is looked up by the new terms."""
    await put(store, key_row())
    callers = make()
    before = await callers.find(bearer(), PEER)
    proxy = Scope(kind="proxy", id="", max_nano=5)

    callers.take(Keys(Secret("sk-another-master-key")), terms=Terms(proxy=proxy))

    assert callers.admit(bearer("sk-another-master-key"), PEER).is_admin
    assert await code_of(callers, bearer(MASTER)) == "invalid_api_key"
    assert proxy not in before.scopes
    async with asyncio.timeout(2):
        while proxy not in (await callers.find(bearer(), PEER)).scopes:
            await asyncio.sleep(0.01)


@pytest.mark.row("A-14")
@pytest.mark.parametrize("master", [None, Secret(MASTER)])
def test_addresses_that_may_not_call_are_refused_before_any_key(master):
    """With the master key, without a key where none is needed, and on public routes."""
    callers = Callers(Keys(master), addresses=Addresses(allowed=["10.0.0.0/8"]))

    admitted = callers.admit(bearer(MASTER), "10.1.1.1")
    assert admitted is not None
    assert admitted.is_admin
    assert callers.pass_by((), "10.1.1.1").role is Role.CUSTOMER
    for refuse in (lambda: callers.admit(bearer(MASTER), PEER), lambda: callers.pass_by((), PEER)):
        with pytest.raises(Forbidden, match=PEER):
            refuse()
