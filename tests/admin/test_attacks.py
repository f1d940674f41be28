"""What callers who may make and change keys try, to become somebody else or to spend more than they were given."""

import pytest

from proxy_cli.callers import Role
from proxy_cli.errors import Forbidden
from tests.fakes.office import ADMIN, Desk, caller_of_key

ANNA = caller_of_key("sk-anna-of-the-test", user_id="anna")  # leads blue
BOSS = "boss"  # a proxy_admin, who is in blue


async def with_blue(desk: Desk, **fields: object) -> None:
    """The team blue, which anna leads and a proxy_admin is in."""
    await desk.post("/user/new", {"user_id": "anna", "auto_create_key": False})
    await desk.post("/user/new", {"user_id": BOSS, "user_role": "proxy_admin", "auto_create_key": False})
    members = [{"role": "admin", "user_id": "anna"}, {"role": "user", "user_id": BOSS}]
    await desk.post("/team/new", {"team_id": "blue", "members_with_roles": members, **fields})


def asks_models_only(shown: dict) -> bool:
    """Whether a key's routes are those that ask models."""
    return shown["allowed_routes"] == ["llm_api_routes"]


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
