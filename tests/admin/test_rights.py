"""Who may touch what."""

import pytest
from sqlalchemy import insert

from proxy_cli.admin import rights
from proxy_cli.callers import Role
from proxy_cli.errors import Forbidden, NotFound
from proxy_cli.store.tables import MEMBERS, ORGANIZATION_MEMBERS
from tests.fakes.office import ADMIN, VIEWER, caller_of_key

ANNA = caller_of_key("sk-anna", user_id="anna")
BERT = caller_of_key("sk-bert", user_id="bert")
LEAD = caller_of_key("sk-lead", user_id="lead")
ALONE = caller_of_key("sk-alone")
ONLOOKER = caller_of_key("sk-onlooker", user_id="anna", role=Role.USER_VIEWER)
KEY = {"digest": "d", "user_id": "carl", "team_id": "blue", "organization_id": "acme"}


@pytest.fixture
async def ask(desk):
    """`await ask(rule, ...)`: a rule over a store with a team and an organization in it."""

    def fill(connection):
        for user_id, role in (("anna", "admin"), ("bert", "user")):
            connection.execute(insert(MEMBERS).values(team_id="blue", user_id=user_id, role=role))
        for user_id, role in (("lead", "org_admin"), ("bert", "internal_user")):
            connection.execute(insert(ORGANIZATION_MEMBERS).values(organization_id="acme", user_id=user_id, role=role))

    await desk.office.store.write(fill)

    async def asked(rule, *arguments, **named):
        return await desk.office.store.read(lambda connection: rule(connection, *arguments, **named))

    return asked


async def test_an_organization_is_in_its_admins_hands(ask):
    """Not in every member's."""
    found = [await ask(rights.is_organization_admin, each, "acme") for each in (ADMIN, LEAD, BERT, ALONE)]

    assert found == [True, True, False, False]


async def test_teams_and_organizations_are_listed_by_what_one_is_in_them(ask):
    """For nobody there are none."""
    assert await ask(rights.teams_of, "bert") == ["blue"]
    assert await ask(rights.teams_of, "bert", as_admin=True) == []
    assert await ask(rights.teams_of, "anna", as_admin=True) == ["blue"]
    assert await ask(rights.organizations_of, "bert") == ["acme"]
    assert await ask(rights.organizations_of, "bert", as_admin=True) == []
    assert await ask(rights.teams_of, "") == await ask(rights.organizations_of, "") == []


@pytest.mark.row("A-16")
async def test_a_key_is_changed_by_its_user_and_by_who_has_its_team_or_organization(ask):
    """Nobody else; whoever only looks changes none, not even his own."""
    carl = caller_of_key("sk-carl", user_id="carl")
    own_of_onlooker = {**KEY, "user_id": "anna"}

    found = [await ask(rights.owns_key, each, KEY) for each in (ADMIN, carl, ANNA, LEAD, BERT, VIEWER, ALONE)]

    assert found == [True, True, True, True, False, False, False]
    assert not await ask(rights.owns_key, ONLOOKER, own_of_onlooker)
    assert await ask(rights.sees_key, ONLOOKER, own_of_onlooker)
    assert await ask(rights.sees_key, BERT, KEY)
    assert not await ask(rights.sees_key, ALONE, KEY)


@pytest.mark.row("A-16")
async def test_keys_without_a_user_belong_to_nobody_who_has_none(ask):
    """An empty id is equal to no other."""
    nobodys = {**KEY, "user_id": "", "team_id": "", "organization_id": ""}

    assert not await ask(rights.owns_key, ALONE, nobodys)
    assert not await ask(rights.sees_key, ALONE, nobodys)
    assert await ask(rights.sees_key, ALONE, {**nobodys, "digest": ALONE.key})


def test_what_is_foreign_and_what_is_missing_have_one_answer():
    """404, or the 403 that LiteLLM's clients know; only who sees all learns the name's fate."""
    assert isinstance(rights.missing("team", "x" * 500), NotFound)
    assert len(rights.missing("team", "x" * 500).message) < 200
    assert isinstance(rights.not_theirs(VIEWER, "key", "k"), NotFound)
    assert isinstance(rights.not_theirs(ANNA, "key", "k"), Forbidden)
    assert rights.not_theirs(ANNA, "key", "a").message == rights.not_theirs(ANNA, "key", "b").message


def test_who_only_looks_changes_nothing():
    """Neither viewers nor customers."""
    for caller in (VIEWER, ONLOOKER, caller_of_key("sk-c", role=Role.CUSTOMER)):
        with pytest.raises(Forbidden):
            rights.require_change(caller)
    rights.require_change(ANNA)
    rights.require_admin(ADMIN, "do this")
    with pytest.raises(Forbidden, match="do this"):
        rights.require_admin(ANNA, "do this")


def test_reserved_fields_are_an_admins():
    """All that were sent are named."""
    rights.refuse_fields(ADMIN, ["spend"], ["spend"], "a key")
    rights.refuse_fields(ANNA, ["name"], ["spend"], "a key")
    with pytest.raises(Forbidden, match="max, spend"):
        rights.refuse_fields(ANNA, ["spend", "max", "name"], ["max", "spend"], "a key")
