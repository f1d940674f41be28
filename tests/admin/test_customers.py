"""`/customer/...` and `/end_user/...`: those on whose behalf a caller asks."""

import pytest
from sqlalchemy import insert, select

from proxy_cli.admin.base import decoded
from proxy_cli.admin.customers import CustomerChange, NewCustomer
from proxy_cli.errors import InvalidRequest, NotFound, Unprocessable
from proxy_cli.store.tables import CHANGES, END_USERS, SPEND


async def rows(desk, table):
    """What the store has."""
    query = select(table)
    return await desk.office.store.read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])


@pytest.mark.parametrize("prefix", ["customer", "end_user"])
async def test_a_customer_is_made_changed_shown_and_deleted(any_desk, prefix):
    """Under both of LiteLLM's names; null takes a field away."""
    made = await any_desk.post(f"/{prefix}/new", {"user_id": "c", "alias": "Carl", "max_budget": 7.0, "tpm_limit": 2})
    changed = await any_desk.post(f"/{prefix}/update", {"user_id": "c", "tpm_limit": None, "rpm_limit": 4})
    shown = await any_desk.get(f"/{prefix}/info", end_user_id="c")
    listed = await any_desk.get(f"/{prefix}/list")

    assert (made["user_id"], made["alias"], made["blocked"], made["spend"]) == ("c", "Carl", False, 0.0)
    assert made["litellm_budget_table"]["max_budget"] == 7.0
    limits = {name: changed["litellm_budget_table"][name] for name in ("max_budget", "tpm_limit", "rpm_limit")}
    assert limits == {"max_budget": 7.0, "tpm_limit": None, "rpm_limit": 4}
    assert [shown] == listed == [changed]
    assert (await any_desk.post(f"/{prefix}/delete", {"user_ids": ["c", "c"]}))["deleted_customers"] == 1
    with pytest.raises(NotFound):
        await any_desk.get(f"/{prefix}/info", end_user_id="c")
    assert [(row["kind"], row["id"]) for row in await rows(any_desk, CHANGES)] == [("end_user", "c")] * 3
    assert any_desk.office.callers.all == [("end_user", "c")] * 3


async def test_a_customer_without_limits_has_no_budget(desk):
    """Nothing is shown that does not hold."""
    made = await desk.post("/customer/new", {"user_id": "c"})

    assert (made["litellm_budget_table"], made["budget_id"], made["alias"]) == (None, None, None)


async def test_a_customer_that_is_there_is_not_made_again(any_desk):
    """He keeps his limits; the words are those that LiteLLM's clients look for."""
    await any_desk.post("/customer/new", {"user_id": "c", "max_budget": 1})

    with pytest.raises(InvalidRequest, match="Customer already exists"):
        await any_desk.post("/customer/new", {"user_id": "c", "max_budget": 9})
    assert (await any_desk.get("/customer/info", end_user_id="c"))["litellm_budget_table"]["max_budget"] == 1


async def test_a_customer_stands_on_a_budget_or_has_one_of_his_own(any_desk):
    """Never both, whichever comes first; one takes the other's place where that is said."""
    await any_desk.post("/budget/new", {"budget_id": "b", "tpm_limit": 2})

    made = await any_desk.post("/customer/new", {"user_id": "c", "budget_id": "b"})
    assert (made["budget_id"], made["litellm_budget_table"]["tpm_limit"]) == ("b", 2)
    with pytest.raises(InvalidRequest, match="either a budget_id or a max_budget"):
        await any_desk.post("/customer/update", {"user_id": "c", "max_budget": 1})
    with pytest.raises(InvalidRequest, match="either a budget_id or a max_budget"):
        await any_desk.post("/customer/new", {"user_id": "d", "max_budget": 1, "budget_id": "b"})
    with pytest.raises(InvalidRequest, match="'gone'"):
        await any_desk.post("/customer/new", {"user_id": "d", "budget_id": "gone"})
    changed = await any_desk.post("/customer/update", {"user_id": "c", "max_budget": 1, "budget_id": None})
    assert (changed["budget_id"], changed["litellm_budget_table"]["max_budget"]) == (None, 1.0)


async def test_customers_are_blocked_before_they_are_known_and_unblocked_again(any_desk):
    """Blocking keeps limits; unblocking tells who stays blocked."""
    await any_desk.post("/customer/new", {"user_id": "c", "max_budget": 1})

    blocked = await any_desk.post("/customer/block", {"user_ids": ["c", "unknown"]})
    assert [(each["user_id"], each["blocked"]) for each in blocked["blocked_users"]] == [("c", True), ("unknown", True)]
    assert await any_desk.post("/customer/unblock", {"user_ids": ["c"]}) == {"blocked_users": ["unknown"]}
    shown = await any_desk.get("/customer/info", end_user_id="c")
    assert (shown["blocked"], shown["litellm_budget_table"]["max_budget"]) == (False, 1.0)
    with pytest.raises(NotFound, match="'never'"):
        await any_desk.post("/customer/unblock", {"user_ids": ["never"]})


async def test_a_customer_may_begin_with_what_was_spent_elsewhere(any_desk):
    """What servers count comes on top of it."""
    made = await any_desk.post("/customer/new", {"user_id": "c", "spend": 1.5, "max_budget": 4})

    def counted(connection):
        connection.execute(insert(SPEND).values(kind="end_user", id="c", window=0, node="n", nano=250_000_000))

    await any_desk.office.store.write(counted)

    assert made["spend"] == 1.5
    assert (await any_desk.get("/customer/info", end_user_id="c"))["spend"] == 1.75


async def test_of_several_customers_all_are_deleted_or_none(any_desk):
    """One that is missing leaves the others."""
    await any_desk.post("/customer/new", {"user_id": "c"})

    with pytest.raises(NotFound, match="'missing'"):
        await any_desk.post("/customer/delete", {"user_ids": ["c", "missing"]})
    assert len(await rows(any_desk, END_USERS)) == 1


@pytest.mark.row("A-17")
async def test_a_change_does_not_touch_what_was_spent(desk):
    """Only a new customer begins with a sum."""
    await desk.post("/customer/new", {"user_id": "c", "spend": 1.0})

    changed = await desk.post("/customer/update", {"user_id": "c", "spend": 0.0, "created_by": "x"})

    assert (changed["spend"], changed["created_by"]) == (1.0, "default_user_id")


@pytest.mark.row("A-02")
@pytest.mark.parametrize("name", ["' OR '1'='1", "%", "a\\", "\N{GRINNING FACE}", "x" * 256, "../..", "\n"])
async def test_a_customer_may_be_called_anything(any_desk, name):
    """Names come from foreign programs, and each is found by itself alone."""
    await any_desk.post("/customer/new", {"user_id": "other"})
    await any_desk.post("/customer/new", {"user_id": name})

    assert (await any_desk.get("/customer/info", end_user_id=name))["user_id"] == name
    assert (await any_desk.post("/customer/delete", {"user_ids": [name]}))["deleted_customers"] == 1
    assert len(await rows(any_desk, END_USERS)) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"user_id": ""}',
        b'{"user_id": "' + b"x" * 257 + b'"}',
        b'{"user_id": "c", "allowed_model_region": "mars"}',
        b'{"user_id": "c", "max_budget": -1}',
    ],
)
@pytest.mark.parametrize("kind", [NewCustomer, CustomerChange])
def test_a_body_that_is_no_customer_is_refused(body, kind):
    """Before anything is looked up."""
    with pytest.raises(Unprocessable):
        decoded(body, kind)


async def test_what_cannot_be_asked_is_refused(desk):
    """With the field."""
    with pytest.raises(InvalidRequest, match="end_user_id"):
        await desk.get("/customer/info")
    with pytest.raises(InvalidRequest, match="blocked is null"):
        await desk.post("/customer/new", {"user_id": "c", "blocked": None})
