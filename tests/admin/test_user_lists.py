"""`/user/list` and what else tells of users."""

import pytest
from sqlalchemy import insert

from proxy_cli.errors import Forbidden, Unprocessable
from proxy_cli.store.tables import ORGANIZATION_MEMBERS, ORGANIZATIONS
from tests.fakes.office import VIEWER, Desk, caller_of_key

LEAD = caller_of_key("sk-lead", user_id="lead")


async def with_users(desk: Desk) -> None:
    """Three users, one of them with two keys."""
    for user_id, email, role in (
        ("anna", "a_x@example.com", "internal_user"),
        ("bert", "b%x@example.com", "internal_user"),
        ("carl", "cxx@example.com", "proxy_admin"),
    ):
        await desk.post("/user/new", {"user_id": user_id, "user_email": email, "user_role": role})
    await desk.post("/key/generate", {"user_id": "anna"})


async def names(desk: Desk, caller=VIEWER, **query: str) -> list[str]:
    """The ids that a list has."""
    return [each["user_id"] for each in (await desk.get("/user/list", caller, **query))["users"]]


async def test_users_are_listed_in_pages_with_the_number_of_their_keys(any_desk):
    """In LiteLLM's shape."""
    await with_users(any_desk)

    told = await any_desk.get("/user/list", page="2", page_size="2", sort_by="user_id", sort_order="asc")
    first = await any_desk.get("/user/list", user_ids="anna")

    assert [each["user_id"] for each in told["users"]] == ["carl"]
    assert {name: told[name] for name in ("total", "page", "page_size", "total_pages")} == {
        "total": 3,
        "page": 2,
        "page_size": 2,
        "total_pages": 2,
    }
    assert (first["total"], first["users"][0]["key_count"]) == (1, 2)


async def test_lists_are_narrowed_by_role_id_and_address(any_desk):
    """Each by itself and together."""
    await with_users(any_desk)

    assert await names(any_desk, role="proxy_admin") == ["carl"]
    assert sorted(await names(any_desk, user_ids="anna,bert,nobody")) == ["anna", "bert"]
    assert await names(any_desk, user_ids="anna", role="proxy_admin") == []
    assert len(await names(any_desk, user_email="EXAMPLE")) == 3


@pytest.mark.row("A-04")
async def test_a_search_takes_wildcards_for_what_they_are(any_desk):
    """`%` and `_` find themselves."""
    await with_users(any_desk)

    assert await names(any_desk, user_email="_x") == ["anna"]
    assert await names(any_desk, user_email="%x") == ["bert"]
    assert await names(any_desk, user_email="%" * 200) == []
    assert await names(any_desk, user_email="_" * 1000) == []


@pytest.mark.row("A-02")
@pytest.mark.parametrize(
    "query", [{"sort_by": "password"}, {"sort_order": "up"}, {"page": "-1"}, {"page_size": "101"}, {"role": "x" * 2000}]
)
async def test_orders_and_pages_that_nobody_offers_are_refused(desk, query):
    """With 422."""
    with pytest.raises(Unprocessable):
        await desk.get("/user/list", **query)


@pytest.mark.row("A-16")
async def test_an_organizations_admin_lists_its_users_and_others_none(desk):
    """Himself, too."""
    await with_users(desk)

    def work(connection):
        connection.execute(insert(ORGANIZATIONS).values(organization_id="acme", fields={}))
        for user_id, role in (("lead", "org_admin"), ("bert", "internal_user")):
            row = {"organization_id": "acme", "user_id": user_id, "role": role, "fields": {}}
            connection.execute(insert(ORGANIZATION_MEMBERS).values(**row))

    await desk.office.store.write(work)

    assert await names(desk, LEAD) == ["bert"]
    with pytest.raises(Forbidden):
        await desk.get("/user/list", caller_of_key("sk-anna", user_id="anna"))


async def test_the_roles_are_told(desk):
    """Each with what it is."""
    assert set(await desk.get("/user/available_roles")) == {
        "proxy_admin",
        "proxy_admin_viewer",
        "internal_user",
        "internal_user_viewer",
    }


async def test_the_master_key_has_no_user_of_its_own(desk):
    """It is told so, without an error."""
    assert (await desk.get("/user/info"))["user_info"] is None
