"""`/organization/...`: what several teams share."""

import asyncio

import pytest
from sqlalchemy import insert, select

from proxy_cli.admin.base import decoded
from proxy_cli.admin.organizations import NewOrganization
from proxy_cli.callers import Caller, Role
from proxy_cli.errors import Forbidden, InvalidRequest, NotFound, Unprocessable
from proxy_cli.store.tables import CHANGES, KEYS, ORGANIZATION_MEMBERS, ORGANIZATIONS, SPEND, TEAMS

CHIEF = Caller(role=Role.USER, user_id="chief")
MEMBER = Caller(role=Role.USER, user_id="member")
STRANGER = Caller(role=Role.USER, user_id="stranger")


async def acme(desk, **fields: object):
    """The organization `acme` with an admin and a member."""
    made = await desk.post("/organization/new", {"organization_id": "acme", "organization_alias": "Acme", **fields})
    for name, role in (("chief", "org_admin"), ("member", "internal_user")):
        member = {"role": role, "user_id": name}
        await desk.post("/organization/member_add", {"organization_id": "acme", "member": member})
    return made


async def rows(desk, table):
    """What the store has."""
    query = select(table)
    return await desk.office.store.read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])


async def test_an_organization_comes_back_as_it_was_made(any_desk):
    """Its limits stand in a budget, where LiteLLM's clients look for them."""
    made = await acme(any_desk, models=["a"], max_budget=5, budget_duration="30d", metadata={"k": 1})
    shown = await any_desk.get("/organization/info", organization_id="acme")

    assert {name: shown[name] for name in made} == made
    assert (made["organization_alias"], made["models"], made["metadata"]) == ("Acme", ["a"], {"k": 1})
    assert (made["spend"], made["created_by"]) == (0.0, "default_user_id")
    table = made["litellm_budget_table"]
    assert (table["max_budget"], table["budget_duration"], table["tpm_limit"]) == (5.0, "30d", None)
    assert table["budget_reset_at"] > made["created_at"]
    assert [(each["user_id"], each["user_role"]) for each in shown["members"]] == [
        ("chief", "org_admin"),
        ("member", "internal_user"),
    ]


async def test_organizations_of_one_name_made_at_once_are_all_made(any_desk):
    """The name is for people; the id tells them apart."""
    made = await asyncio.gather(
        *(any_desk.post("/organization/new", {"organization_alias": "Same", "max_budget": None}) for _ in range(8))
    )

    assert len({each["organization_id"] for each in made}) == 8
    assert len(await any_desk.post("/organization/list")) == len(await any_desk.get("/organization/list")) == 8


@pytest.mark.parametrize("method", ["PATCH", "POST"])
async def test_a_change_leaves_all_else_as_it_was(any_desk, method):
    """Null takes a field away; both methods do the same."""
    made = await acme(any_desk, models=["a"], max_budget=5, tpm_limit=3)

    body = {"organization_id": "acme", "organization_alias": "New", "tpm_limit": None, "max_budget": 6}
    changed = await any_desk.send(method, "/organization/update", body)

    assert changed["organization_alias"] == "New"
    assert (changed["litellm_budget_table"]["max_budget"], changed["litellm_budget_table"]["tpm_limit"]) == (6.0, None)
    assert changed["models"] == made["models"]
    assert ("organization", "acme") in any_desk.office.callers.all


@pytest.mark.parametrize("method", ["DELETE", "POST"])
async def test_with_an_organization_go_its_teams_places_and_keys(any_desk, method):
    """Nothing is left that stood on it; others lose nothing."""
    await acme(any_desk)
    await any_desk.post("/organization/new", {"organization_id": "other", "organization_alias": "Other"})
    await any_desk.post("/team/new", {"team_id": "blue", "organization_id": "acme"})
    await any_desk.post("/team/new", {"team_id": "red", "organization_id": "other"})

    def keys(connection):
        for digest, team_id, organization_id in (("1", "blue", ""), ("2", "", "acme"), ("3", "red", "other")):
            values = {"digest": digest, "team_id": team_id, "organization_id": organization_id, "fields": {}}
            connection.execute(insert(KEYS).values(**values))

    await any_desk.office.store.write(keys)
    gone = await any_desk.send(method, "/organization/delete", {"organization_ids": ["acme"]})

    assert [each["organization_id"] for each in gone] == ["acme"]
    assert [row["organization_id"] for row in await rows(any_desk, ORGANIZATIONS)] == ["other"]
    assert [row["team_id"] for row in await rows(any_desk, TEAMS)] == ["red"]
    assert [row["digest"] for row in await rows(any_desk, KEYS)] == ["3"]
    assert await rows(any_desk, ORGANIZATION_MEMBERS) == []
    changed = {(row["kind"], row["id"]) for row in await rows(any_desk, CHANGES)}
    assert {("organization", "acme"), ("team", "blue"), ("key", "1"), ("key", "2")} <= changed


async def test_of_several_organizations_all_are_deleted_or_none(any_desk):
    """One that is missing leaves the others."""
    await acme(any_desk)

    with pytest.raises(NotFound, match="missing"):
        await any_desk.post("/organization/delete", {"organization_ids": ["acme", "missing"]})
    assert len(await rows(any_desk, ORGANIZATIONS)) == 1


@pytest.mark.row("A-16")
async def test_of_an_organization_each_sees_what_is_his(any_desk):
    """Its admin all of it, a member his own place, a stranger that there is none."""
    await acme(any_desk)
    await any_desk.post("/team/new", {"team_id": "blue", "organization_id": "acme"})

    of_chief = await any_desk.get("/organization/info", CHIEF, organization_id="acme")
    of_member = await any_desk.get("/organization/info", MEMBER, organization_id="acme")

    assert ([each["user_id"] for each in of_chief["members"]], len(of_chief["teams"])) == (["chief", "member"], 1)
    assert ([each["user_id"] for each in of_member["members"]], of_member["teams"]) == (["member"], [])
    with pytest.raises(NotFound) as foreign:
        await any_desk.get("/organization/info", STRANGER, organization_id="acme")
    with pytest.raises(NotFound) as missing:
        await any_desk.get("/organization/info", STRANGER, organization_id="none")
    assert foreign.value.message == missing.value.message.replace("none", "acme")
    assert await any_desk.get("/organization/list", STRANGER) == []
    assert await any_desk.post("/organization/info", {"organizations": ["acme"]}, STRANGER) == []
    assert [each["organization_id"] for each in await any_desk.get("/organization/list", MEMBER)] == ["acme"]


@pytest.mark.row("A-17")
@pytest.mark.parametrize(
    ("field", "value"),
    [("max_budget", 1e6), ("models", ["*"]), ("budget_id", None), ("metadata", {}), ("tpm_limit", None)],
)
async def test_the_admin_of_an_organization_gives_it_no_more_than_it_has(desk, field, value):
    """What it may is said by the proxy's admins; he says how it is called."""
    await acme(desk, max_budget=1, models=["a"], tpm_limit=1)
    before = await rows(desk, ORGANIZATIONS)

    with pytest.raises(Forbidden, match=field):
        await desk.post("/organization/update", {"organization_id": "acme", field: value}, CHIEF)
    assert await rows(desk, ORGANIZATIONS) == before
    body = {"organization_id": "acme", "organization_alias": "Renamed"}
    assert (await desk.post("/organization/update", body, CHIEF))["organization_alias"] == "Renamed"


async def test_lists_are_narrowed_by_id_and_by_a_part_of_the_name(any_desk):
    """A wildcard of SQL is a character like any other."""
    await acme(any_desk)
    await any_desk.post("/organization/new", {"organization_id": "other", "organization_alias": "50%_off"})

    async def found(**query):
        return [each["organization_id"] for each in await any_desk.get("/organization/list", **query)]

    assert await found(org_id="acme") == ["acme"]
    assert await found(org_alias="ACM") == ["acme"]
    assert await found(org_alias="%") == await found(org_alias="_") == ["other"]
    assert await found(org_id="acme", org_alias="off") == []


async def test_what_an_organization_has_spent_is_the_sum_of_all_servers(desk):
    """In the window of its budget."""
    await acme(desk)

    def spent(connection):
        for node in ("one", "two"):
            row = {"kind": "organization", "id": "acme", "window": 0, "node": node, "nano": 500_000_000}
            connection.execute(insert(SPEND).values(**row))

    await desk.office.store.write(spent)

    assert (await desk.get("/organization/info", organization_id="acme"))["spend"] == 1.0


@pytest.mark.parametrize("body", [b"{}", b'{"organization_alias": ""}', b'{"organization_alias": "a", "models": "a"}'])
def test_a_body_that_is_no_organization_is_refused(body):
    """A name is needed."""
    with pytest.raises(Unprocessable):
        decoded(body, NewOrganization)


async def test_an_organization_stands_on_no_budget_that_is_not_there(desk):
    """It would be no limit at all."""
    with pytest.raises(InvalidRequest, match="'gone'"):
        await desk.post("/organization/new", {"organization_alias": "a", "budget_id": "gone"})
    with pytest.raises(InvalidRequest, match="which organization"):
        await desk.get("/organization/info")
