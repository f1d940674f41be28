"""`/team/...`: who works together, what they may ask for, and what they may spend."""

import asyncio

import pytest
from sqlalchemy import insert, select

from proxy_cli.admin.base import decoded
from proxy_cli.admin.teams import NewTeam, TeamChange, with_tags
from proxy_cli.callers import Caller, Role
from proxy_cli.errors import Forbidden, InvalidRequest, NotFound, Unprocessable
from proxy_cli.store.tables import CHANGES, KEYS, MEMBERS, TEAMS

LEADER = Caller(role=Role.USER, user_id="leader")
MEMBER = Caller(role=Role.USER, user_id="member")
OF_ORGANIZATION = Caller(role=Role.USER, user_id="chief")


async def rows(desk, table, *conditions):
    """What the store has."""
    query = select(table).where(*conditions)
    return await desk.office.store.read(lambda connection: [dict(row) for row in connection.execute(query).mappings()])


async def blue(desk, **fields: object):
    """The team `blue` with a leader and a member."""
    members = [{"role": "admin", "user_id": "leader"}, {"role": "user", "user_id": "member"}]
    return await desk.post("/team/new", {"team_id": "blue", "members_with_roles": members, **fields})


async def acme(desk, **fields: object):
    """The organization `acme` with an admin."""
    await desk.post("/organization/new", {"organization_id": "acme", "organization_alias": "Acme", **fields})
    member = {"role": "org_admin", "user_id": "chief"}
    await desk.post("/organization/member_add", {"organization_id": "acme", "member": member})


async def test_a_team_comes_back_as_it_was_made(any_desk):
    """Each field is there, and whoever makes a team with the master key is its admin under LiteLLM's name."""
    made = await blue(any_desk, team_alias="Blue", models=["a"], max_budget=3, tags=["x"], metadata={"k": 1})
    info = await any_desk.get("/team/info", team_id="blue")

    assert info["team_id"] == "blue"
    assert {name: info["team_info"][name] for name in made if name != "members_with_roles"} == {
        name: value for name, value in made.items() if name != "members_with_roles"
    }
    assert [member["user_id"] for member in made["members_with_roles"]] == ["leader", "member", "default_user_id"]
    assert [member["role"] for member in made["members_with_roles"]] == ["admin", "user", "admin"]
    assert (made["team_alias"], made["models"], made["max_budget"]) == ("Blue", ["a"], 3.0)
    assert (made["tags"], made["metadata"]) == (["x"], {"k": 1, "tags": ["x"]})
    assert ("team", "blue") in any_desk.office.callers.all


async def test_a_change_leaves_all_else_as_it_was(any_desk):
    """What an update does not name stays; what it names as null goes."""
    made = await blue(any_desk, models=["a"], max_budget=3, tpm_limit=5)
    changed = await any_desk.post("/team/update", {"team_id": "blue", "team_alias": "New", "tpm_limit": None})

    assert changed["team_id"] == "blue"
    different = {name for name, value in changed["data"].items() if made[name] != value}
    assert different == {"team_alias", "tpm_limit", "updated_at"}


async def test_a_team_that_is_there_is_not_made_again(any_desk):
    """The first one keeps its members and limits."""
    await blue(any_desk, max_budget=1)

    with pytest.raises(InvalidRequest, match="'blue' already"):
        await any_desk.post("/team/new", {"team_id": "blue", "max_budget": 9})
    assert (await any_desk.get("/team/info", team_id="blue"))["team_info"]["max_budget"] == 1


async def test_teams_made_at_once_with_the_same_new_user_are_all_made(any_desk):
    """The user is made once, whoever comes first."""
    members = [{"role": "user", "user_id": "new"}]

    made = await asyncio.gather(*(any_desk.post("/team/new", {"members_with_roles": members}) for _ in range(8)))

    assert len({team["team_id"] for team in made}) == 8
    assert len(await rows(any_desk, MEMBERS, MEMBERS.c.user_id == "new")) == 8


async def test_changes_of_one_team_at_once_are_all_kept(any_desk):
    """Fields stand in one column, and none is lost when two change different ones."""
    await blue(any_desk)
    fields = ["max_budget", "soft_budget", "tpm_limit", "rpm_limit", "max_parallel_requests"]

    await asyncio.gather(*(any_desk.post("/team/update", {"team_id": "blue", name: 7}) for name in fields))

    team = (await any_desk.get("/team/info", team_id="blue"))["team_info"]
    assert {name: team[name] for name in fields} == dict.fromkeys(fields, 7)


async def test_a_blocked_team_says_so_until_it_is_unblocked(any_desk):
    """Blocking is told to other processes at once."""
    await blue(any_desk)

    assert (await any_desk.post("/team/block", {"team_id": "blue"}))["blocked"] is True
    assert (await any_desk.get("/team/info", team_id="blue"))["team_info"]["blocked"] is True
    assert (await any_desk.post("/team/unblock", {"team_id": "blue"}))["blocked"] is False
    changes = await rows(any_desk, CHANGES, CHANGES.c.kind == "team")
    assert len(changes) == 3


async def test_with_a_team_go_its_memberships_and_its_keys(any_desk):
    """Nobody is left with a key of a team that is gone, and other teams lose nothing."""
    await blue(any_desk)
    await any_desk.post("/team/new", {"team_id": "red", "members_with_roles": [{"role": "user", "user_id": "member"}]})

    def keys(connection):
        for digest, team in (("1", "blue"), ("2", "blue"), ("3", "red")):
            connection.execute(insert(KEYS).values(digest=digest, team_id=team, fields={}))

    await any_desk.office.store.write(keys)

    assert await any_desk.post("/team/delete", {"team_ids": ["blue", "blue"]}) == {"deleted_teams": ["blue"]}
    assert [row["digest"] for row in await rows(any_desk, KEYS)] == ["3"]
    assert {row["team_id"] for row in await rows(any_desk, MEMBERS)} == {"red"}
    assert {("key", "1"), ("key", "2"), ("team", "blue")} <= set(any_desk.office.callers.all)
    with pytest.raises(NotFound):
        await any_desk.get("/team/info", team_id="blue")


async def test_of_several_teams_all_are_deleted_or_none(any_desk):
    """One that is missing leaves the others as they are."""
    await blue(any_desk)

    with pytest.raises(NotFound, match="missing"):
        await any_desk.post("/team/delete", {"team_ids": ["blue", "missing"]})
    assert len(await rows(any_desk, TEAMS)) == 1
    with pytest.raises(InvalidRequest):
        await any_desk.post("/team/delete", {"team_ids": []})


async def test_models_are_added_and_taken_away(any_desk):
    """A team that may have all keeps that; the last model is never taken, for no list means all."""
    await blue(any_desk)

    added = await any_desk.post("/team/model/add", {"team_id": "blue", "models": ["a"]})
    assert added["models"] == ["all-proxy-models", "a"]
    left = await any_desk.post("/team/model/delete", {"team_id": "blue", "models": ["all-proxy-models", "b"]})
    assert left["models"] == ["a"]
    with pytest.raises(InvalidRequest, match="no model"):
        await any_desk.post("/team/model/delete", {"team_id": "blue", "models": ["a"]})
    assert (await any_desk.post("/team/model/add", {"team_id": "blue", "models": ["a", "c"]}))["models"] == ["a", "c"]


@pytest.mark.parametrize("name", ["budget_id", "organization_id"])
async def test_a_team_stands_on_nothing_that_is_not_there(desk, name):
    """A budget or an organization that is missing would be no limit at all."""
    with pytest.raises(InvalidRequest, match="'gone'"):
        await desk.post("/team/new", {name: "gone"})
    await blue(desk)
    with pytest.raises(InvalidRequest, match="'gone'"):
        await desk.post("/team/update", {"team_id": "blue", name: "gone"})


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_budget": 11}, "max_budget 11"),
        ({"tpm_limit": 6}, "tpm_limit 6"),
        ({"models": ["a", "c"]}, "may not have c"),
    ],
)
async def test_a_team_gets_no_more_than_its_organization_has(desk, fields, words):
    """Neither when it is made nor later, and whoever says it."""
    await acme(desk, max_budget=10, tpm_limit=5, models=["a", "b"])

    with pytest.raises(InvalidRequest, match=words):
        await desk.post("/team/new", {"organization_id": "acme", **fields})
    await desk.post("/team/new", {"team_id": "blue", "organization_id": "acme", "max_budget": 10, "models": ["b"]})
    with pytest.raises(InvalidRequest, match=words):
        await desk.post("/team/update", {"team_id": "blue", **fields}, OF_ORGANIZATION)


async def test_the_admin_of_an_organization_makes_teams_within_it_only(any_desk):
    """He becomes their admin; teams elsewhere are not his to make."""
    await acme(any_desk)

    made = await any_desk.post("/team/new", {"organization_id": "acme"}, OF_ORGANIZATION)
    assert made["members_with_roles"] == [{"user_id": "chief", "user_email": None, "role": "admin"}]
    assert made["created_by"] == "chief"
    for body in ({}, {"organization_id": "other"}):
        with pytest.raises(Forbidden, match="not allowed to make teams"):
            await any_desk.post("/team/new", body, OF_ORGANIZATION)


_MORE = [
    ("max_budget", 1e6),
    ("models", ["b"]),
    ("organization_id", None),
    ("budget_id", None),
    ("tpm_limit", None),
    ("metadata", {"model_rpm_limit": {"a": 10**6}}),
    ("blocked", False),
    ("team_member_permissions", ["/key/generate"]),
]


@pytest.mark.row("A-17")
@pytest.mark.parametrize(
    ("caller", "field", "value"),
    [(caller, *more) for caller in (LEADER, MEMBER) for more in _MORE]
    + [(OF_ORGANIZATION, *more) for more in _MORE[:4]],
)
async def test_nobody_gives_his_own_team_more_than_it_has(desk, caller, field, value):
    """Limits, models, routes and where the money comes from are said by those above: refused, and unchanged."""
    limits = {"max_budget": 10, "tpm_limit": 5, "models": ["a"]}
    await desk.post("/budget/new", {"budget_id": "small", "max_budget": 1})
    await acme(desk, **limits)
    await blue(desk, **limits, organization_id="acme", budget_id="small", blocked=True)
    before = await rows(desk, TEAMS)

    with pytest.raises((Forbidden, InvalidRequest)):
        await desk.post("/team/update", {"team_id": "blue", field: value}, caller)
    assert await rows(desk, TEAMS) == before


@pytest.mark.row("A-17")
async def test_fields_that_are_the_servers_own_are_not_taken_from_a_body(desk):
    """What was spent, who made it and when is nobody's to say."""
    sent = {"spend": 5, "created_by": "x", "created_at": "1999", "budget_reset_at": "1999", "members_count": 9}

    made = await blue(desk, **sent)
    changed = (await desk.post("/team/update", {"team_id": "blue", **sent}))["data"]

    for team in (made, changed):
        assert (team["spend"], team["created_by"], team["budget_reset_at"]) == (0.0, "default_user_id", None)
        assert team["created_at"] > "2026"
        assert "members_count" not in team


@pytest.mark.parametrize(
    "body",
    [
        b'{"members_with_roles": [{"role": "owner", "user_id": "x"}]}',
        b'{"members_with_roles": {"role": "user"}}',
        b'{"models": "gpt"}',
        b'{"model_rpm_limit": {"a": -1}}',
        b'{"budget_limits": [{"budget_duration": "1d", "max_budget": -1}]}',
        b'{"team_id": 5.5, "metadata": []}',
    ],
)
def test_a_body_that_is_no_team_is_refused_before_anything_is_looked_up(body):
    """The refusal names the field."""
    with pytest.raises(Unprocessable):
        decoded(body, NewTeam)


def test_a_change_must_name_its_team():
    """Without the id nothing is changed."""
    with pytest.raises(Unprocessable, match="team_id"):
        decoded(b'{"max_budget": 1}', TeamChange)


async def test_blocked_is_yes_or_no(desk):
    """Null is neither."""
    with pytest.raises(InvalidRequest, match="blocked is null"):
        await blue(desk, blocked=None)


def test_tags_stand_beside_the_metadata_and_in_it():
    """Clients look for them in either place, and a new metadata says them anew."""
    both = with_tags({"tags": ["a"], "metadata": {"k": 1}}, {"tags": ["a"]})
    anew = with_tags({"tags": ["a"], "metadata": {"tags": ["b"]}}, {"metadata": {"tags": ["b"]}})
    none = with_tags({"metadata": {"tags": ["a"]}}, {"tags": None})

    assert both == {"tags": ["a"], "metadata": {"k": 1, "tags": ["a"]}}
    assert anew == {"tags": ["b"], "metadata": {"tags": ["b"]}}
    assert none == {}
