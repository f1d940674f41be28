"""What callers who may make and change keys try, to become somebody else or to spend more than they were given."""

from typing import Any

import pytest

from proxy_cli.callers import Role
from proxy_cli.errors import Forbidden, InvalidRequest, Unprocessable
from tests.fakes.office import ADMIN, Desk, caller_of_key

ANNA = caller_of_key("sk-anna-of-the-test", user_id="anna")  # leads blue
BOSS = "boss"  # a proxy_admin, who is in blue


async def with_blue(desk: Desk, **fields: object) -> None:
    """The team blue, which anna leads and a proxy_admin is in."""
    await desk.post("/user/new", {"user_id": "anna", "auto_create_key": False})
    await desk.post("/user/new", {"user_id": BOSS, "user_role": "proxy_admin", "auto_create_key": False})
    members = [{"role": "admin", "user_id": "anna"}, {"role": "user", "user_id": BOSS}]
    await desk.post("/team/new", {"team_id": "blue", "members_with_roles": members, **fields})


def asks_models_only(shown: dict[str, Any]) -> bool:
    """Whether a key's routes are those that ask models."""
    return bool(shown["allowed_routes"] == ["llm_api_routes"])


@pytest.mark.row("A-17")
async def test_a_key_made_for_another_does_not_act_as_him(desk):
    """Whoever leads a team holds the keys that he makes for its members: they ask models, and no more."""
    await with_blue(desk)

    made = await desk.post("/key/generate", {"team_id": "blue", "user_id": BOSS}, ANNA)
    wide = {"team_id": "blue", "user_id": BOSS, "allowed_routes": ["/user/new", "/chat/completions", "/*"]}
    narrowed = await desk.post("/key/generate", wide, ANNA)

    assert asks_models_only(made)
    assert narrowed["allowed_routes"] == ["/chat/completions"]


@pytest.mark.row("A-17")
async def test_a_key_moved_to_another_does_not_act_as_him(desk):
    """Nor where the key was its maker's own before."""
    await with_blue(desk)
    own = await desk.post("/key/generate", {"team_id": "blue"}, ANNA)

    moved = await desk.post("/key/update", {"key": own["key"], "user_id": BOSS}, ANNA)

    assert asks_models_only(moved)


@pytest.mark.row("A-17")
async def test_a_key_that_somebody_else_replaces_does_not_act_as_its_user(desk):
    """Who replaces a key holds the new one; its user may do so himself and keeps all of it."""
    await with_blue(desk)
    his = await desk.post("/key/generate", {"team_id": "blue", "user_id": BOSS})

    taken = await desk.post("/key/regenerate", {"key": his["token"], "grace_period": "1h"}, ANNA)

    assert asks_models_only(taken)
    opened = {"key": taken["token"], "allowed_routes": []}
    assert asks_models_only(await desk.post("/key/update", opened, ANNA))
    boss = caller_of_key("sk-another-of-his", user_id=BOSS, role=Role.ADMIN)
    assert (await desk.post("/key/update", opened, boss))["allowed_routes"] == []


@pytest.mark.row("A-17")
@pytest.mark.parametrize("nowhere", [None, ""])
async def test_a_teams_key_is_not_taken_out_of_it_by_its_admin(desk, nowhere):
    """Out there it would be a key without the team's limits, and a service account's without any."""
    await with_blue(desk, max_budget=1, models=["cheap"])
    service = await desk.post("/key/service-account/generate", {"team_id": "blue", "key_alias": "robot"}, ANNA)

    with pytest.raises(Forbidden):
        await desk.post("/key/update", {"key": service["key"], "team_id": nowhere}, ANNA)
    assert (await desk.post("/key/update", {"key": service["key"], "team_id": nowhere}, ADMIN))["team_id"] is None


@pytest.mark.row("B-05")
async def test_a_teams_key_stays_with_the_organization_of_the_team(desk):
    """Else its admin would have another organization pay, in which he happens to be."""
    for name in ("acme", "other"):
        await desk.post("/organization/new", {"organization_id": name, "organization_alias": name})
    await with_blue(desk, organization_id="acme")
    member = {"role": "internal_user", "user_id": "anna"}
    await desk.post("/organization/member_add", {"organization_id": "other", "member": member})
    key = await desk.post("/key/generate", {"team_id": "blue"}, ANNA)

    changed = await desk.post("/key/update", {"key": key["key"], "organization_id": "other"}, ANNA)

    assert changed["organization_id"] == "acme"


@pytest.mark.row("A-17")
@pytest.mark.parametrize(
    "change",
    [
        {"metadata": {"temp_budget_increase": 1e6, "temp_budget_expiry": "2099-01-01"}},
        {"metadata": {"weight": 1e9}},
        {"budget_duration": "1s"},
        {"budget_limits": []},
        {"model_max_budget": None},
        {"allowed_ips": []},
        {"max_parallel_requests": 1000},
    ],
)
async def test_a_user_does_not_loosen_what_binds_his_key(desk, change):
    """By none of the fields that count, be they its own or its budget's; nor by another key that it makes."""
    await desk.post("/budget/new", {"budget_id": "small", "max_parallel_requests": 2})
    await desk.post("/user/new", {"user_id": "anna", "auto_create_key": False})
    limits = {"max_budget": 1, "budget_duration": "30d", "model_max_budget": {"m": 1}, "allowed_ips": ["10.0.0.1"]}
    windows = [{"budget_duration": "1d", "max_budget": 0.5}]
    made = {"user_id": "anna", "budget_id": "small", "budget_limits": windows, **limits}
    key = await desk.post("/key/generate", made)

    for caller in (ANNA, caller_of_key(key["key"], user_id="anna")):
        with pytest.raises(Forbidden):
            await desk.post("/key/update", {"key": key["key"], **change}, caller)
    child = await desk.post("/key/generate", {}, caller_of_key(key["key"], user_id="anna"))
    assert {name: child[name] for name in limits} == limits
    assert child["max_parallel_requests"] == 2


async def test_a_key_for_managing_makes_none_that_asks_models(desk):
    """Whatever words it finds for the routes."""
    await desk.post("/user/new", {"user_id": "anna", "auto_create_key": False})
    key = await desk.post("/key/generate", {"user_id": "anna", "key_type": "management"})
    caller = caller_of_key(key["key"], user_id="anna")

    for routes in (["llm_api_routes"], ["/*"], ["management_routes", "/chat/completions"]):
        with pytest.raises(Forbidden):
            await desk.post("/key/generate", {"allowed_routes": routes}, caller)
        with pytest.raises(Forbidden):
            await desk.post("/key/update", {"key": key["key"], "allowed_routes": routes}, caller)


@pytest.mark.row("B-05")
async def test_an_organizations_admin_makes_no_users_whom_nobody_limits(desk):
    """Their keys, and those that they make with them, are the organization's."""
    await desk.post("/organization/new", {"organization_id": "acme", "organization_alias": "acme", "max_budget": 1})
    await desk.post("/user/new", {"user_id": "anna", "auto_create_key": False})
    member = {"role": "org_admin", "user_id": "anna"}
    await desk.post("/organization/member_add", {"organization_id": "acme", "member": member})

    made = await desk.post("/user/new", {"user_id": "new", "organizations": ["acme"]}, ANNA)
    child = await desk.post("/key/generate", {}, caller_of_key(made["key"], user_id="new"))

    keys = [await desk.get("/key/info", key=each) for each in (made["key"], child["key"])]
    assert [each["info"]["organization_id"] for each in keys] == ["acme", "acme"]


@pytest.mark.row("A-18")
async def test_an_organizations_admin_opens_no_model_by_an_alias(desk):
    """What the alias of a team stands for may be asked for; so it stands for what the organization has."""
    acme = {"organization_id": "acme", "organization_alias": "acme", "models": ["cheap"]}
    await desk.post("/organization/new", acme)
    await desk.post("/user/new", {"user_id": "anna", "auto_create_key": False})
    member = {"role": "org_admin", "user_id": "anna"}
    await desk.post("/organization/member_add", {"organization_id": "acme", "member": member})
    team = {"organization_id": "acme", "models": ["cheap"], "team_id": "blue"}

    with pytest.raises(InvalidRequest, match="dear"):
        await desk.post("/team/new", {**team, "model_aliases": {"cheap": "dear"}}, ANNA)
    await desk.post("/team/new", {**team, "model_aliases": {"usual": "cheap"}}, ANNA)
    with pytest.raises(InvalidRequest, match="dear"):
        await desk.post("/team/update", {"team_id": "blue", "model_aliases": {"cheap": "dear"}}, ANNA)
    await desk.post("/team/update", {"team_id": "blue", "model_aliases": {"cheap": "dear"}})


@pytest.mark.row("A-22")
@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"a": [1] * 30_000}},
        {"models": ["m"] * 3_000},
        {"tags": [""] * 30_000},
        {"model_rpm_limit": {str(each): 1 for each in range(3_000)}},
        {"budget_limits": [{"budget_duration": f"{each}s", "max_budget": 1} for each in range(1, 100)]},
    ],
)
async def test_a_key_is_not_made_so_large_that_its_requests_hold_up_others(desk, body):
    """Each limit of a key is counted with its requests, and each field read with it."""
    await desk.post("/user/new", {"user_id": "anna", "auto_create_key": False})

    with pytest.raises(Unprocessable):
        await desk.post("/key/generate", body, ANNA)
