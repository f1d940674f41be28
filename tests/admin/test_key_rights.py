"""Who may make a key for whom."""

import pytest
from sqlalchemy import insert

from proxy_cli.admin.key_rights import check_change, check_creation, standing
from proxy_cli.errors import Forbidden, InvalidRequest
from proxy_cli.store.tables import MEMBERS, ORGANIZATION_MEMBERS, ORGANIZATIONS, TEAMS
from tests.fakes.office import ADMIN, caller_of_key

ANNA = caller_of_key("sk-anna", user_id="anna")  # leads blue
BERT = caller_of_key("sk-bert", user_id="bert")  # is in blue
LEAD = caller_of_key("sk-lead", user_id="lead")  # leads acme, to which blue belongs
KEY = {
    "digest": "d",
    "user_id": "bert",
    "team_id": "blue",
    "organization_id": "acme",
    "budget_id": "",
    "blocked": False,
    "fields": {"max_budget": 5},
}


@pytest.fixture
async def judge(desk):
    """`await judge(rule)`: a rule over a team of an organization."""

    def fill(connection):
        connection.execute(insert(ORGANIZATIONS).values(organization_id="acme", fields={}))
        connection.execute(insert(TEAMS).values(team_id="blue", organization_id="acme", fields={}))
        connection.execute(insert(TEAMS).values(team_id="red", fields={}))
        for user_id, role in (("anna", "admin"), ("bert", "user")):
            connection.execute(insert(MEMBERS).values(team_id="blue", user_id=user_id, role=role))
        row = {"organization_id": "acme", "user_id": "lead", "role": "org_admin", "fields": {}}
        connection.execute(insert(ORGANIZATION_MEMBERS).values(**row))

    await desk.office.store.write(fill)

    async def judged(rule):
        return await desk.office.store.read(rule)

    return judged


async def test_a_team_is_in_the_hands_of_its_admin_and_its_organizations(judge):
    """A member is none of these."""
    found = [await judge(lambda c, who=who: standing(c, who, "blue")) for who in (ADMIN, ANNA, LEAD, BERT)]

    assert [each.is_manager for each in found] == [True, True, True, False]
    assert found[3].role == "user"
    assert {each.organization_id for each in found} == {"acme"}


async def test_a_team_that_is_not_there_is_told_to_admins_alone(judge):
    """For others it is one that is not theirs."""
    with pytest.raises(InvalidRequest, match="no team"):
        await judge(lambda connection: standing(connection, ADMIN, "green"))
    assert not (await judge(lambda connection: standing(connection, ANNA, "green"))).is_manager


async def test_an_organization_is_given_by_its_members_only(judge):
    """A proxy_admin is told where it is not there."""

    def creation(caller, name):
        wanted = {"organization_id": name, "user_id": caller.user_id}
        return lambda c: check_creation(c, caller, standing(c, caller, ""), wanted, is_service=False)

    await judge(creation(LEAD, "acme"))
    for caller, name in ((ANNA, "acme"), (LEAD, "other")):
        with pytest.raises(Forbidden):
            await judge(creation(caller, name))
    with pytest.raises(InvalidRequest):
        await judge(creation(ADMIN, "other"))


@pytest.mark.row("A-17")
@pytest.mark.parametrize(
    ("caller", "change", "allowed"),
    [
        (BERT, {"max_budget": 4}, True),
        (BERT, {"max_budget": 6}, False),
        (BERT, {"rpm_limit": 6}, True),
        (BERT, {"key_alias": "x", "models": ["m"]}, True),
        (BERT, {"user_id": "anna"}, False),
        (BERT, {"team_id": None}, False),
        (ANNA, {"max_budget": 6}, True),
        (ANNA, {"spend": 0}, False),
        (ANNA, {"user_id": "anna"}, True),
        (ANNA, {"user_id": "carl"}, False),
        (ANNA, {"team_id": "red"}, False),
        (LEAD, {"max_budget": None}, True),
        (ADMIN, {"spend": 0, "user_id": "x", "team_id": "red"}, True),
    ],
)
async def test_changes_are_for_whom_they_are(judge, caller, change, allowed):
    """A key's user lowers, who has its team raises, and spend is a proxy_admin's."""

    def work(connection):
        stands = standing(connection, caller, change.get("team_id", "blue") or "")
        check_change(connection, caller, stands, KEY, change)

    if allowed:
        await judge(work)
    else:
        with pytest.raises(Forbidden):
            await judge(work)
