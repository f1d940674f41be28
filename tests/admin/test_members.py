"""`/team/member_...`: who is in a team, and what he may spend there."""

import asyncio

import msgspec
import pytest
from sqlalchemy import insert, select

from proxy_cli.admin.base import decoded
from proxy_cli.admin.members import MOST_AT_ONCE, MemberAdd
from proxy_cli.callers import Caller, Role
from proxy_cli.config.schema import Config
from proxy_cli.config.settings_litellm import LiteLLMSettings
from proxy_cli.errors import Forbidden, InvalidRequest, NotFound, Unprocessable
from proxy_cli.store.tables import CHANGES, KEYS, MEMBERS, USERS
from tests.fakes.office import Desk, office_over

LEADER = Caller(role=Role.USER, user_id="leader")
MEMBER = Caller(role=Role.USER, user_id="member")
STRANGER = Caller(role=Role.USER, user_id="stranger")


@pytest.fixture
async def team(any_desk):
    """A team with a leader and a member."""
    members = [{"role": "admin", "user_id": "leader"}, {"role": "user", "user_id": "member"}]
    await any_desk.post("/team/new", {"team_id": "blue", "members_with_roles": members})
    return any_desk


async def rows(desk, table, *conditions):
    """What the store has."""
    query = select(table).where(*conditions)
    return await desk.office.store.read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])


async def names(desk) -> list[str]:
    """Who is in the team."""
    info = await desk.get("/team/info", team_id="blue")
    return [member["user_id"] for member in info["team_info"]["members_with_roles"]]


async def test_members_are_added_in_their_order_with_their_limits(team):
    """The answer is the team, with those who were added and what they may spend."""
    members = [{"role": "user", "user_id": name} for name in ("zoe", "adam", "kim")]

    added = await team.post(
        "/team/member_add", {"team_id": "blue", "member": members, "max_budget_in_team": 2, "budget_duration": "1d"}
    )

    assert await names(team) == ["leader", "member", "default_user_id", "zoe", "adam", "kim"]
    assert [user["user_id"] for user in added["updated_users"]] == ["zoe", "adam", "kim"]
    assert [user["user_role"] for user in added["updated_users"]] == ["internal_user"] * 3
    assert [each["litellm_budget_table"]["max_budget"] for each in added["updated_team_memberships"]] == [2.0] * 3
    assert ("team_member", "blue/zoe") in team.office.callers.all
    assert len(await rows(team, CHANGES, CHANGES.c.id == "blue/zoe")) == 1


async def test_an_address_means_the_user_who_has_it_however_it_is_written(team):
    """A user is found by his address in any case, and made where nobody has it."""

    def someone(connection):
        connection.execute(insert(USERS).values(user_id="known", email="known@example.org", fields={}))

    await team.office.store.write(someone)
    members = [{"role": "user", "user_email": address} for address in ("Known@Example.org", "new@example.org")]

    await team.post("/team/member_add", {"team_id": "blue", "member": members})

    made = (await rows(team, USERS, USERS.c.email == "new@example.org"))[0]
    assert (await names(team))[-2:] == ["known", made["user_id"]]
    await team.post("/team/member_delete", {"team_id": "blue", "user_email": "KNOWN@example.org"})
    assert "known" not in await names(team)


async def test_who_is_in_a_team_is_not_added_again_and_nobody_else_with_him(team):
    """All of a request are added or none."""
    members = [{"role": "user", "user_id": "new"}, {"role": "admin", "user_id": "member"}]

    with pytest.raises(InvalidRequest, match="'member' is in team 'blue' already") as refused:
        await team.post("/team/member_add", {"team_id": "blue", "member": members})

    assert refused.value.code == "team_member_already_in_team"
    assert await names(team) == ["leader", "member", "default_user_id"]
    assert await rows(team, USERS, USERS.c.user_id == "new") == []


async def test_one_user_added_many_times_at_once_is_in_the_team_once(team):
    """One request puts him there; the others are refused."""
    body = {"team_id": "blue", "member": {"role": "user", "user_id": "new"}}

    results = await asyncio.gather(*(team.post("/team/member_add", body) for _ in range(6)), return_exceptions=True)

    assert sum(isinstance(result, dict) for result in results) == 1
    assert all(isinstance(result, dict | InvalidRequest) for result in results)
    assert (await names(team)).count("new") == 1


async def test_of_many_each_is_added_for_himself(team):
    """The answer says of each how it went, and who failed leaves the others in."""
    members = [{"role": "user", "user_id": "new"}, {"role": "user", "user_id": "member"}, {"role": "user"}]

    told = await team.post("/team/bulk_member_add", {"team_id": "blue", "members": members})

    assert [each["success"] for each in told["results"]] == [True, False, False]
    assert "already" in told["results"][1]["error"]
    assert (told["total_requested"], told["successful_additions"], told["failed_additions"]) == (3, 1, 2)
    assert "new" in await names(team)


async def test_all_users_are_added_by_an_admin_of_the_proxy_only(team):
    """Those who are in the team already are left as they are."""
    await team.post("/team/new", {"members_with_roles": [{"role": "user", "user_id": "other"}]})

    with pytest.raises(Forbidden):
        await team.post("/team/bulk_member_add", {"team_id": "blue", "all_users": True}, LEADER)
    told = await team.post("/team/bulk_member_add", {"team_id": "blue", "all_users": True})

    assert [each["user_id"] for each in told["results"]] == ["other"]


async def test_a_member_gets_another_role_and_other_limits(team):
    """What is not named stays; null takes a limit away."""
    body = {"team_id": "blue", "user_id": "member"}
    first = await team.post("/team/member_update", {**body, "role": "admin", "max_budget_in_team": 4242.0})
    second = await team.post("/team/member_update", {**body, "rpm_limit": 3, "max_budget_in_team": None})

    assert (first["role"], first["max_budget_in_team"]) == ("admin", 4242.0)
    assert (second["role"], second["max_budget_in_team"], second["rpm_limit"]) == ("admin", None, 3)
    member = (await rows(team, MEMBERS, MEMBERS.c.user_id == "member"))[0]
    assert (member["role"], member["fields"]) == ("admin", {"rpm_limit": 3})


async def test_with_a_member_go_his_keys_of_the_team_and_no_others(team):
    """Who is taken out works with the team's money no more."""

    def keys(connection):
        for digest, team_id, user_id in (("1", "blue", "member"), ("2", "blue", "leader"), ("3", "", "member")):
            connection.execute(insert(KEYS).values(digest=digest, team_id=team_id, user_id=user_id, fields={}))

    await team.office.store.write(keys)
    left = await team.post("/team/member_delete", {"team_id": "blue", "user_id": "member"})

    assert [member["user_id"] for member in left["members_with_roles"]] == ["leader", "default_user_id"]
    assert sorted(row["digest"] for row in await rows(team, KEYS)) == ["2", "3"]
    assert ("key", "1") in team.office.callers.all
    with pytest.raises(InvalidRequest, match="no member"):
        await team.post("/team/member_delete", {"team_id": "blue", "user_id": "member"})


async def test_new_members_may_ask_for_what_the_team_says_of_all(team):
    """`default_team_member_models` is what a member may ask for, where nothing else is said."""
    await team.post("/team/update", {"team_id": "blue", "default_team_member_models": ["a"]})
    await team.post("/team/member_add", {"team_id": "blue", "member": {"role": "user", "user_id": "one"}})
    two = {"role": "user", "user_id": "two"}
    await team.post("/team/member_add", {"team_id": "blue", "member": two, "allowed_models": ["b"]})

    found = {row["user_id"]: row["fields"] for row in await rows(team, MEMBERS)}
    assert (found["one"], found["two"]) == ({"allowed_models": ["a"]}, {"allowed_models": ["b"]})


@pytest.mark.row("A-16")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/team/member_add", {"member": {"role": "user", "user_id": "new"}}),
        ("/team/bulk_member_add", {"members": [{"role": "user", "user_id": "new"}]}),
        ("/team/member_update", {"user_id": "member", "role": "admin"}),
        ("/team/member_delete", {"user_id": "member"}),
    ],
)
async def test_members_are_the_affair_of_a_teams_admins(team, path, body):
    """A member is told that it is not his; a stranger, that there is no such team; both change nothing."""
    before = await rows(team, MEMBERS)

    with pytest.raises(Forbidden, match="not allowed"):
        await team.post(path, {"team_id": "blue", **body}, MEMBER)
    with pytest.raises(NotFound) as foreign:
        await team.post(path, {"team_id": "blue", **body}, STRANGER)
    with pytest.raises(NotFound) as missing:
        await team.post(path, {"team_id": "none", **body}, STRANGER)
    assert foreign.value.message.replace("blue", "none") == missing.value.message
    for role in (Role.USER_VIEWER, Role.VIEWER):
        with pytest.raises(Forbidden):
            await team.post(path, {"team_id": "blue", **body}, Caller(role=role, user_id="leader"))
    assert await rows(team, MEMBERS) == before

    await team.post(path, {"team_id": "blue", **body}, LEADER)
    assert await rows(team, MEMBERS) != before


async def test_the_admin_of_a_team_learns_nothing_of_the_users_he_adds(team):
    """Neither an address nor limits: only what he has named himself."""

    def someone(connection):
        connection.execute(insert(USERS).values(user_id="known", email="known@example.org", fields={"max_budget": 5}))

    await team.office.store.write(someone)

    told = await team.post(
        "/team/member_add", {"team_id": "blue", "member": {"role": "user", "user_id": "known"}}, LEADER
    )
    assert told["updated_users"] == [{"user_id": "known"}]
    assert told["members_with_roles"][-1] == {"user_id": "known", "user_email": None, "role": "user"}


async def test_a_user_joins_a_team_that_is_open_to_all_and_no_other(team):
    """He puts himself in, as a plain member and without limits of his own choosing."""
    settings = LiteLLMSettings(default_internal_user_params={"available_teams": ["blue"]})
    office = office_over(team.office.store, Config(litellm_settings=settings))
    desk = Desk(office, tuple(team._endpoints.values()))
    himself = {"role": "user", "user_id": "stranger"}
    await team.post("/team/new", {"team_id": "red"})

    for body in (
        {"team_id": "red", "member": himself},
        {"team_id": "blue", "member": {**himself, "role": "admin"}},
        {"team_id": "blue", "member": {"role": "user", "user_id": "another"}},
        {"team_id": "blue", "member": himself, "max_budget_in_team": 9},
    ):
        with pytest.raises(NotFound):
            await desk.post("/team/member_add", body, STRANGER)
    assert [each["team_id"] for each in await desk.get("/team/available", STRANGER)] == ["blue"]
    await desk.post("/team/member_add", {"team_id": "blue", "member": himself}, STRANGER)
    assert "stranger" in await names(desk)
    assert await desk.get("/team/available", STRANGER) == []


@pytest.mark.parametrize("member", [{"role": "user"}, {"role": "user", "user_id": " "}, []])
async def test_who_is_not_named_is_not_added(desk, member):
    """Somebody without an id and without an address is nobody."""
    await desk.post("/team/new", {"team_id": "blue"})

    with pytest.raises(InvalidRequest):
        await desk.post("/team/member_add", {"team_id": "blue", "member": member})


async def test_more_than_a_request_may_name_are_refused(desk):
    """A request ends within its time."""
    await desk.post("/team/new", {"team_id": "blue"})
    many = [{"role": "user", "user_id": str(number)} for number in range(MOST_AT_ONCE + 1)]

    with pytest.raises(InvalidRequest, match=str(MOST_AT_ONCE)):
        await desk.post("/team/bulk_member_add", {"team_id": "blue", "members": many})


@pytest.mark.parametrize("member", ["x", {"role": "owner", "user_id": "x"}, {"user_id": "x"}, [{"role": "user"}, 5]])
def test_a_body_that_names_no_members_is_refused(member):
    """Before anything is looked up."""
    with pytest.raises(Unprocessable):
        decoded(msgspec.json.encode({"team_id": "t", "member": member}), MemberAdd)
