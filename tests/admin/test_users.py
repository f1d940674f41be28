"""`/user/...`: users are made, changed and deleted."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import insert, select

from proxy_cli.admin.user_body import is_password
from proxy_cli.callers import Role
from proxy_cli.config.schema import Config
from proxy_cli.config.settings_litellm import LiteLLMSettings
from proxy_cli.errors import Conflict, Forbidden, GatewayError, InvalidRequest, NotFound
from proxy_cli.store.changes import changes_after
from proxy_cli.store.tables import KEYS, MEMBERS, ORGANIZATION_MEMBERS, ORGANIZATIONS, SPEND, TEAMS, USERS
from tests.fakes.office import VIEWER, Desk, caller_of_key, office_over

ANNA = caller_of_key("sk-anna", user_id="anna")
LEAD = caller_of_key("sk-lead", user_id="lead")


async def put(desk: Desk, table, **values) -> None:
    """A row."""
    await desk.office.store.write(lambda connection: connection.execute(insert(table).values(**values)))


async def rows(desk: Desk, table, *conditions) -> list[dict[str, Any]]:
    """The rows of a table."""
    query = select(table).where(*conditions)
    return await desk.office.store.read(
        lambda connection: [dict(each) for each in connection.execute(query).mappings()]
    )


async def with_organization(desk: Desk) -> None:
    """An organization `acme` of which lead is org_admin."""
    await put(desk, ORGANIZATIONS, organization_id="acme", fields={})
    await put(desk, ORGANIZATION_MEMBERS, organization_id="acme", user_id="lead", role="org_admin", fields={})


async def test_a_new_user_gets_a_key_that_is_shown_once(any_desk):
    """With the user's models; limits are the user's alone."""
    made = await any_desk.post(
        "/user/new", {"user_id": "anna", "user_email": "Anna@Example.com", "models": ["a"], "max_budget": 3}
    )

    keys = await rows(any_desk, KEYS)
    assert made["key"].startswith("sk-")
    assert (made["user_id"], made["user_email"], made["user_role"]) == ("anna", "anna@example.com", "internal_user")
    assert (made["max_budget"], made["models"], made["token"]) == (3, ["a"], keys[0]["digest"])
    assert keys[0]["user_id"] == "anna"
    assert keys[0]["fields"] == {"models": ["a"]}


async def test_no_key_is_made_where_none_is_wanted(desk):
    """`auto_create_key: false`."""
    made = await desk.post("/user/new", {"auto_create_key": False})

    assert made["key"] == ""
    assert made["user_id"]
    assert await rows(desk, KEYS) == []


async def test_what_was_written_is_shown_again(any_desk):
    """In /user/info, with his keys and teams."""
    await put(any_desk, TEAMS, team_id="blue", alias="Blue", fields={})
    fields = {
        "user_email": "a@b.c",
        "user_alias": "Anna",
        "user_role": "proxy_admin_viewer",
        "max_budget": 10.0,
        "budget_duration": "5s",
        "tpm_limit": 1,
        "rpm_limit": 2,
        "metadata": {"x": [1]},
        "models": ["m"],
    }
    made = await any_desk.post("/user/new", {**fields, "user_id": "anna", "teams": ["blue"], "key_alias": "first"})

    told = await any_desk.get("/user/info", user_id="anna")

    assert {name: made[name] for name in fields} == fields
    assert {name: told["user_info"][name] for name in fields} == fields
    assert told["user_info"]["budget_reset_at"]
    assert told["user_info"]["spend"] == 0
    assert told["user_info"]["teams"] == ["blue"]
    assert [each["key_alias"] for each in told["keys"]] == ["first"]
    assert [each["team_alias"] for each in told["teams"]] == ["Blue"]
    assert made["key"] not in str(told)


async def test_many_users_are_made_at_once(desk):
    """Each under an id of his own."""
    made = await asyncio.gather(*(desk.post("/user/new") for _ in range(20)))

    assert len({each["user_id"] for each in made}) == len({each["key"] for each in made}) == 20


async def test_an_id_and_an_address_belong_to_one_user(any_desk):
    """409 for the id, 400 for the address, however it is written; and nothing is left of the attempt."""
    await any_desk.post("/user/new", {"user_id": "anna", "user_email": "a@b.c"})

    with pytest.raises(Conflict, match="'anna' already"):
        await any_desk.post("/user/new", {"user_id": "anna"})
    with pytest.raises(InvalidRequest, match="exists already") as refused:
        await any_desk.post("/user/new", {"user_email": " A@B.C "})
    assert refused.value.status == 400
    assert len(await rows(any_desk, USERS)) == len(await rows(any_desk, KEYS)) == 1


async def test_a_password_is_kept_as_what_it_hashes_to(desk):
    """And shown to nobody."""
    made = await desk.post("/user/new", {"user_id": "anna", "password": "correct horse"})

    kept = (await rows(desk, USERS))[0]["fields"]["password"]
    assert "correct horse" not in kept
    assert is_password("correct horse", kept)
    assert not is_password("wrong horse", kept)
    assert "password" not in made
    assert kept not in str(await desk.get("/user/info", user_id="anna"))


async def test_defaults_of_the_operator_hold_for_internal_users(desk):
    """An admin gets none of them."""
    await put(desk, TEAMS, team_id="blue", fields={})
    settings = LiteLLMSettings(
        default_internal_user_params={"models": ["usual"], "teams": ["blue"], "available_teams": ["red"]},
        max_internal_user_budget=7,
        internal_user_budget_duration="1mo",
    )
    here = Desk(office_over(desk.office.store, Config(litellm_settings=settings)), tuple(desk._endpoints.values()))

    user = await here.post("/user/new", {"user_id": "anna"})
    admin = await here.post("/user/new", {"user_role": "proxy_admin"})

    assert (user["models"], user["max_budget"], user["budget_duration"]) == (["usual"], 7, "1mo")
    assert user["teams"] == ["blue"]
    assert (admin["models"], admin["max_budget"], admin["teams"]) == ([], None, [])


async def test_a_user_is_put_into_teams_with_a_role_and_a_budget(desk):
    """As his places say; a team that is not there is refused."""
    await put(desk, TEAMS, team_id="blue", fields={})
    places = [{"team_id": "blue", "max_budget_in_team": 2, "user_role": "admin"}]

    await desk.post("/user/new", {"user_id": "anna", "teams": places})

    member = (await rows(desk, MEMBERS))[0]
    assert (member["user_id"], member["role"], member["fields"]) == ("anna", "admin", {"max_budget_in_team": 2.0})
    with pytest.raises(InvalidRequest, match="no team 'red'"):
        await desk.post("/user/new", {"teams": ["red"]})


async def test_a_team_named_for_his_key_has_the_user_as_a_member(desk):
    """As LiteLLM's clients put somebody into a team at once."""
    await put(desk, TEAMS, team_id="blue", fields={})

    made = await desk.post("/user/new", {"user_id": "anna", "team_id": "blue", "teams": ["blue"]})

    assert made["teams"] == ["blue"]
    assert [each["team_id"] for each in await rows(desk, KEYS)] == ["blue"]


@pytest.mark.row("A-16")
async def test_a_user_sees_himself_and_nobody_else(desk):
    """Who is foreign is answered as who is missing; viewers and admins are told."""
    await desk.post("/user/new", {"user_id": "anna"})
    await desk.post("/user/new", {"user_id": "bert"})

    assert (await desk.get("/user/info", ANNA))["user_id"] == "anna"
    assert (await desk.get("/user/info", VIEWER, user_id="bert"))["user_id"] == "bert"
    answers = set()
    for user_id in ("bert", "nobody"):
        with pytest.raises(Forbidden) as refused:
            await desk.get("/user/info", ANNA, user_id=user_id)
        answers.add((refused.value.status, refused.value.message))
    assert len(answers) == 1
    with pytest.raises(NotFound):
        await desk.get("/user/info", user_id="nobody")


async def test_users_are_made_by_admins_only(desk):
    """A plain user, a viewer and a key without a user are refused."""
    for caller in (ANNA, VIEWER, caller_of_key("sk-alone")):
        with pytest.raises(Forbidden):
            await desk.post("/user/new", {}, caller)
        with pytest.raises(Forbidden):
            await desk.post("/user/delete", {"user_ids": ["anna"]}, caller)
        with pytest.raises(Forbidden):
            await desk.post("/user/bulk_update", {"users": []}, caller)


async def test_an_organizations_admin_makes_users_in_it(desk):
    """Plain ones, and in no other."""
    await with_organization(desk)
    await put(desk, ORGANIZATIONS, organization_id="other", fields={})

    made = await desk.post("/user/new", {"user_id": "new", "organization_id": "acme"}, LEAD)

    assert [each["organization_id"] for each in made["organization_memberships"]] == ["acme"]
    for fields in (
        {"organization_id": "other"},
        {"organizations": ["acme", "other"]},
        {"organization_id": "acme", "user_role": "proxy_admin"},
        {"organization_id": "acme", "teams": ["blue"]},
        {"organization_id": "acme", "team_id": "blue"},
        {"organization_id": "acme", "spend": 1},
    ):
        with pytest.raises(Forbidden):
            await desk.post("/user/new", fields, LEAD)
    assert (await desk.get("/user/info", LEAD, user_id="new"))["user_id"] == "new"


async def test_a_change_keeps_what_it_does_not_name_and_null_takes_away(any_desk):
    """By id or by address; other processes are told."""
    await any_desk.post("/user/new", {"user_id": "anna", "user_email": "a@b.c", "max_budget": 3, "rpm_limit": 1})

    told = await any_desk.post("/user/update", {"user_email": "A@b.c", "rpm_limit": None, "user_role": "proxy_admin"})

    row = told["data"]
    assert told["user_id"] == row["user_id"] == "anna"
    assert (row["max_budget"], row["rpm_limit"], row["user_role"]) == (3, None, "proxy_admin")
    _, changes = await any_desk.office.store.read(lambda connection: changes_after(connection, 0))
    assert changes[-1] == ("user", "anna")
    assert any_desk.office.callers.all[-1] == ("user", "anna")
    with pytest.raises(NotFound):
        await any_desk.post("/user/update", {"user_id": "nobody", "rpm_limit": 1})
    with pytest.raises(InvalidRequest, match="no user is named"):
        await any_desk.post("/user/update", {"rpm_limit": 1})


@pytest.mark.row("A-17")
@pytest.mark.parametrize(
    "change",
    [
        {"user_role": "proxy_admin"},
        {"max_budget": 1000},
        {"max_budget": None},
        {"spend": 0},
        {"models": []},
        {"rpm_limit": None},
        {"budget_id": None},
        {"user_email": "boss@b.c"},
        {"sso_user_id": "boss"},
    ],
)
async def test_a_user_does_not_change_what_he_may(desk, change):
    """Not even beside something that he may change; how he is called he may."""
    await desk.post("/user/new", {"user_id": "anna", "max_budget": 3, "models": ["a"], "spend": 2})
    before = await rows(desk, USERS)

    with pytest.raises(Forbidden):
        await desk.post("/user/update", {"user_id": "anna", "user_alias": "x", **change}, ANNA)

    assert await rows(desk, USERS) == before
    assert (await desk.post("/user/update", {"user_id": "anna", "user_alias": "x"}, ANNA))["data"]["user_alias"] == "x"
    with pytest.raises(Forbidden):
        await desk.post("/user/update", {"user_id": "bert", "user_alias": "x"}, ANNA)


async def test_many_changes_are_told_one_by_one(desk):
    """One that fails holds up no other."""
    await desk.post("/user/new", {"user_id": "anna"})
    users = [{"user_id": "anna", "rpm_limit": 4}, {"user_id": "nobody", "rpm_limit": 4}]

    told = await desk.post("/user/bulk_update", {"users": users})

    assert (told["total_requested"], told["successful_updates"], told["failed_updates"]) == (2, 1, 1)
    assert [each["success"] for each in told["results"]] == [True, False]
    assert told["results"][0]["updated_user"]["rpm_limit"] == 4


async def test_with_a_user_go_his_keys_and_memberships(any_desk):
    """All named are there, or none goes."""
    await put(any_desk, TEAMS, team_id="blue", fields={})
    made = await any_desk.post("/user/new", {"user_id": "anna", "teams": ["blue"]})
    await any_desk.post("/user/new", {"user_id": "bert"})

    with pytest.raises(NotFound):
        await any_desk.post("/user/delete", {"user_ids": ["anna", "nobody"]})
    assert len(await rows(any_desk, USERS)) == 2
    assert await any_desk.post("/user/delete", {"user_ids": ["anna"]}) == 1

    assert [each["user_id"] for each in await rows(any_desk, USERS)] == ["bert"]
    assert [each["user_id"] for each in await rows(any_desk, KEYS)] == ["bert"]
    assert await rows(any_desk, MEMBERS) == []
    _, changes = await any_desk.office.store.read(lambda connection: changes_after(connection, 0))
    assert {("key", made["token"]), ("user", "anna")} <= set(changes)


async def test_the_spend_of_the_whole_proxy_stands_under_litellms_name_for_it(any_desk):
    """It is told and set back; its budget is the configuration's."""
    await put(any_desk, SPEND, kind="proxy", id="", window=0, node="here", nano=2_000_000_000)

    before = await any_desk.get("/user/info", user_id="litellm-proxy-budget")
    await any_desk.post("/user/update", {"user_id": "litellm-proxy-budget", "spend": 0})
    later = await any_desk.get("/user/info", user_id="litellm-proxy-budget")

    assert (before["user_info"]["spend"], later["user_info"]["spend"]) == (2.0, 0)
    for caller in (ANNA, VIEWER):
        with pytest.raises(Forbidden):
            await any_desk.post("/user/update", {"user_id": "litellm-proxy-budget", "spend": 0}, caller)
    with pytest.raises(InvalidRequest, match="max_budget"):
        await any_desk.post("/user/update", {"user_id": "litellm-proxy-budget", "max_budget": 0})


@pytest.mark.row("A-02")
@pytest.mark.parametrize("text", ["' OR 1=1--", "%", "_" * 200, "😀", "\x1b[31m", "a\nb"])
async def test_no_value_is_an_internal_error(any_desk, text):
    """Each is taken as a text, or refused with a sentence."""
    made = await any_desk.post("/user/new", {"user_id": text, "user_alias": text, "metadata": {text: text}})

    assert (await any_desk.get("/user/info", user_id=text))["user_info"]["metadata"] == {text: text}
    assert made["user_id"] == text
    with pytest.raises(GatewayError) as refused:
        await any_desk.post("/user/new", {"budget_duration": text})
    assert refused.value.status == 400


def test_roles_are_what_callers_may_be():
    """A user's role is one that admission knows."""
    assert {each.value for each in Role} > {"proxy_admin", "internal_user"}
