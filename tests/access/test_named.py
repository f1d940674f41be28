"""End users and tags that a request names: counted and limited where the store knows them."""

import msgspec
import pytest
from sqlalchemy import insert

from proxy_cli.access.callers import Callers
from proxy_cli.access.grants import Terms
from proxy_cli.access.keys import Keys
from proxy_cli.callers import ANYONE, Bounds, Caller, Role
from proxy_cli.errors import Forbidden, ModelDenied
from proxy_cli.money import NANO
from proxy_cli.secret import Secret
from proxy_cli.shapes import Call, Controls, Operation, Target
from proxy_cli.store.failures import StoreUnavailable
from proxy_cli.store.tables import END_USERS, TAGS
from proxy_cli.wire.request import cut
from tests.access.stored import MASTER, budget, put
from tests.fakes.store import fresh_store


class Counted:
    """A store that counts what is read of it, and can be down."""

    def __init__(self, store):
        self._store = store
        self.reads = 0
        self.is_down = False

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
    made = []

    def one(**terms):
        made.append(Callers(Keys(Secret(MASTER)), store=store, terms=Terms(**terms)))
        return made[-1]

    yield one
    for each in made:
        await each.close()


def customer(user_id, blocked=False, budget_id="", **fields):
    row = {"user_id": user_id, "blocked": blocked, "budget_id": budget_id, "fields": fields}
    return lambda connection: connection.execute(insert(END_USERS).values(**row))


def tag(name, **fields):
    return lambda connection: connection.execute(insert(TAGS).values(name=name, fields=fields))


def call(body=b"{}", headers=(), tags=(), caller=ANYONE, model="m"):
    return Call(
        request_id="r",
        operation=Operation.CHAT,
        model=model,
        body=body,
        fields=cut(body),
        headers=headers,
        controls=Controls(tags=tags),
        caller=caller,
    )


BY_ANNE = call(b'{"user": "anne"}')


async def found(callers, asked):
    """What is counted for a call, as it is the first time and the second."""
    first = await callers.load(asked.caller, asked)
    assert callers.known(asked.caller, asked) == first
    return first


async def test_a_call_that_names_nobody_asks_nothing(store, make):
    """It costs a look at the fields."""
    assert make().known(ANYONE, call(b'{"model": "m"}')) == ("", (), None)
    assert store.reads == 0


async def test_where_no_end_user_is_known_none_is_looked_up(store, make):
    """However many names callers think of."""
    callers = make()
    first = await found(callers, BY_ANNE)

    others = [callers.known(ANYONE, call(b'{"user": "u%d"}' % number)) for number in range(100)]

    assert first == ("anne", (), None)
    assert others[7] == ("u7", (), None)
    assert store.reads == 1


async def test_an_end_user_who_is_known_is_counted_and_limited(store, make):
    """By what was set for him, and then by his budget."""
    await put(store, budget("b", max_budget=2, rpm_limit=3), customer("anne", budget_id="b", tpm_limit=4))

    name, scopes, _ = await found(make(), BY_ANNE)

    assert name == "anne"
    assert [(each.kind, each.id, each.max_nano, each.rpm, each.tpm) for each in scopes] == [
        ("end_user", "anne", 2 * NANO, 3, 4)
    ]


@pytest.mark.parametrize("terms", [{"customer_budget_usd": 1.5}, {"customer_budget_id": "usual"}])
async def test_a_budget_for_all_end_users_holds_for_whom_has_none(store, make, terms):
    """An amount, or a budget of the store's; whoever has one of his own goes by that."""
    await put(store, budget("usual", max_budget=1.5), budget("own", max_budget=9), customer("bert", budget_id="own"))
    callers = make(**terms)

    assert [each.max_nano for each in (await found(callers, BY_ANNE))[1]] == [NANO * 3 // 2]
    assert [each.max_nano for each in (await found(callers, call(b'{"user": "bert"}')))[1]] == [9 * NANO]


async def test_a_blocked_end_user_is_refused_and_one_who_is_let_in_again_is_not(store, make):
    """As soon as it is heard of."""
    await put(store, customer("anne", blocked=True))
    callers = make()

    for _ in range(2):
        with pytest.raises(Forbidden, match="'anne' is blocked") as caught:
            await callers.load(ANYONE, BY_ANNE)
    await store.write(lambda connection: connection.execute(END_USERS.update().values(blocked=False)))
    callers.forget("end_user", "anne")

    assert caught.value.code == "blocked_end_user"
    assert (await found(callers, BY_ANNE))[0] == "anne"


async def test_an_end_user_may_ask_for_his_models_only(store, make):
    """Where some were set."""
    await put(store, customer("anne", models=["a"]))
    callers = make()

    assert (await found(callers, call(b'{"user": "anne"}', model="a")))[0] == "anne"
    with pytest.raises(ModelDenied) as caught:
        await callers.load(ANYONE, BY_ANNE)

    assert caught.value.kind == "end_user_model_access_denied"


async def test_an_end_user_has_no_other_model_by_way_of_a_failure(store, make):
    """What the request names for that is judged, too."""
    await put(store, customer("anne", models=["a"]))
    asked = call(b'{"user": "anne"}', model="a")
    asked = msgspec.structs.replace(asked, controls=Controls(fallbacks=(Target("b"),)))

    with pytest.raises(ModelDenied):
        await make().load(ANYONE, asked)


@pytest.mark.parametrize("header", ["x-litellm-end-user-id", "x-litellm-customer-id", "x-shop-user"])
async def test_an_end_user_is_named_in_the_body_or_a_header(make, header):
    """The header's word counts more, as LiteLLM has it."""
    callers = make(customer_headers=("x-shop-user",))

    assert (await found(callers, call(headers=((header, "bert"),))))[0] == "bert"
    assert (await found(callers, call(b'{"user": "anne"}', headers=((header, "bert"),))))[0] == "bert"


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"user": "a", "litellm_metadata": {"user": "b"}}', "a"),
        (b'{"litellm_metadata": {"user": "b"}, "metadata": {"user_id": "c"}}', "b"),
        (b'{"metadata": {"user_id": "c"}, "safety_identifier": "d"}', "c"),
        (b'{"metadata": {"user_id": 7}, "safety_identifier": "d"}', "d"),
        (b'{"metadata": "no object", "user": ""}', ""),
    ],
)
async def test_an_end_user_is_named_by_the_first_field_that_has_one(make, body, name):
    """In LiteLLM's order; what is no name is none."""
    assert (await found(make(), call(body)))[0] == name


async def test_litellms_own_header_counts_more_than_one_of_the_settings(make):
    """Wherever it stands."""
    headers = (("x-shop-user", "a"), ("x-litellm-customer-id", "b"))

    assert (await found(make(customer_headers=("x-shop-user",)), call(headers=headers)))[0] == "b"


async def test_an_end_users_region_goes_with_his_calls(store, make):
    """And the model that is asked where the one he names is not there; without a region nothing is bound."""
    await put(
        store,
        customer("anne", allowed_model_region="eu", default_model="small"),
        customer("bert", default_model="small"),
    )
    callers = make()

    assert (await found(callers, BY_ANNE))[2] == Bounds("eu", "small")
    assert (await found(callers, call(b'{"user": "bert"}')))[2] is None


async def test_tags_with_a_budget_are_counted(store, make):
    """Those of the key and those of the request, each once; tags that nobody has set up are not."""
    await put(store, tag("a", max_budget=1), tag("b", max_budget=2))
    caller = Caller(role=Role.USER, tags=("a", "plain"))

    _, scopes, _ = await found(make(), call(tags=("b", "a"), caller=caller))

    assert [(each.kind, each.id, each.max_nano) for each in scopes] == [("tag", "a", NANO), ("tag", "b", 2 * NANO)]


async def test_while_the_store_is_away_a_request_goes_on_with_what_is_known(store, make):
    """Whoever was known keeps his limits."""
    await put(store, customer("anne", max_budget=1))
    callers = make()
    known = await found(callers, BY_ANNE)
    store.is_down = True

    assert callers.known(ANYONE, BY_ANNE) == known
    assert await callers.load(ANYONE, call(b'{"user": "bert"}')) == ("bert", (), None)


async def test_the_end_user_made_after_the_first_request_is_known(store, make):
    """That there was none before is forgotten with it."""
    callers = make()
    await found(callers, BY_ANNE)

    await put(store, customer("anne", max_budget=1))
    callers.forget("end_user", "anne")

    assert [each.max_nano for each in (await found(callers, BY_ANNE))[1]] == [NANO]


async def test_without_a_store_nothing_is_counted():
    """There is nothing to count it in."""
    callers = Callers(Keys(None))

    assert callers.known(ANYONE, BY_ANNE) == ("", (), None)
    assert await callers.load(ANYONE, BY_ANNE) == ("", (), None)
