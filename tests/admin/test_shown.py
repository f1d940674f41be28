"""Rows of the store as LiteLLM's clients know them."""

import pytest
from sqlalchemy import insert, select

from proxy_cli.admin import shown
from proxy_cli.admin.base import rows_of
from proxy_cli.store.tables import (
    BUDGETS,
    END_USERS,
    KEYS,
    MEMBERS,
    ORGANIZATION_MEMBERS,
    ORGANIZATIONS,
    SPEND,
    TEAMS,
    USERS,
)

EVERY_FIELD = """
token key_name key_alias spend max_budget expires models aliases config user_id team_id permissions
max_parallel_requests metadata blocked tpm_limit rpm_limit budget_duration budget_reset_at
allowed_cache_controls allowed_routes model_spend model_max_budget organization_id created_at created_by
updated_at updated_by litellm_budget_table budget_id soft_budget
"""


def put(connection, table, **values) -> None:
    """A row."""
    connection.execute(insert(table).values(**values))


def spend(connection, kind: str, name: str, nano: int, window: int = 0) -> None:
    """Have a server count."""
    put(connection, SPEND, kind=kind, id=name, window=window, node="here", nano=nano)


@pytest.fixture
def show(any_desk):
    """`await show(rows, table, fill)`: the rows of a table, once `fill` has filled it."""

    async def told(rows, table, fill):
        def work(connection):
            fill(connection)
            return rows(any_desk.office, connection, rows_of(connection, select(table)))

        return await any_desk.office.store.write(work)

    return told


async def test_a_key_has_every_field_that_litellm_shows(show):
    """Empty where nothing is set."""
    keys = await show(
        shown.key_rows, KEYS, lambda connection: put(connection, KEYS, digest="d", hint="sk-...abcd", fields={})
    )

    assert set(EVERY_FIELD.split()) <= set(keys[0])
    assert (keys[0]["user_id"], keys[0]["models"], keys[0]["metadata"]) == (None, [], {})
    assert keys[0]["litellm_budget_table"] is None


async def test_a_key_stands_on_its_budget(show):
    """The window of its spend is that of the budget, unless it has a word of its own."""

    def fill(connection):
        put(connection, BUDGETS, budget_id="b", fields={"max_budget": 5, "budget_duration": "1mo"})
        put(connection, KEYS, digest="d", budget_id="b", fields={})
        put(connection, KEYS, digest="e", budget_id="b", fields={"budget_duration": "100d"})
        spend(connection, "key", "d", 7_000_000_000)

    first, second = await show(shown.key_rows, KEYS, fill)

    assert (first["spend"], first["litellm_budget_table"]["max_budget"]) == (0, 5)
    assert first["budget_reset_at"] == first["litellm_budget_table"]["budget_reset_at"]
    assert second["budget_reset_at"] != first["budget_reset_at"]


async def test_a_soft_budget_of_its_own_stands_where_clients_look_for_it(show):
    """In the key's budget, which is none of the store's."""
    keys = await show(
        shown.key_rows, KEYS, lambda connection: put(connection, KEYS, digest="d", fields={"soft_budget": 2})
    )

    assert (keys[0]["litellm_budget_table"]["soft_budget"], keys[0]["litellm_budget_table"]["budget_id"]) == (2, None)


async def test_money_is_shown_in_dollars(show):
    """To the nano-dollar."""

    def fill(connection):
        put(connection, KEYS, digest="d", fields={})
        spend(connection, "key", "d", 1)

    assert (await show(shown.key_rows, KEYS, fill))[0]["spend"] == 1e-9


async def test_a_user_is_shown_with_his_teams_and_organizations_and_without_his_password(show):
    """Read for all users at once."""

    def fill(connection):
        put(
            connection,
            USERS,
            user_id="anna",
            email="a@b.c",
            role="internal_user",
            fields={"password": "hash", "models": ["m"]},
        )
        put(connection, USERS, user_id="bert", fields={})
        put(connection, MEMBERS, team_id="blue", user_id="anna", fields={})
        put(connection, ORGANIZATION_MEMBERS, organization_id="acme", user_id="anna", role="org_admin", fields={})
        spend(connection, "user", "anna", 2_000_000_000)

    anna, bert = await show(shown.user_rows, USERS, fill)

    assert "hash" not in str(anna)
    assert (anna["teams"], anna["models"], anna["spend"], anna["user_email"]) == (["blue"], ["m"], 2.0, "a@b.c")
    assert anna["organization_memberships"][0]["user_role"] == "org_admin"
    assert (bert["teams"], bert["organization_memberships"], bert["user_role"]) == ([], [], None)


async def test_a_team_is_shown_with_its_members(show):
    """By role, in the order in which they came."""

    def fill(connection):
        put(connection, TEAMS, team_id="blue", alias="Blue", fields={"max_budget": 3})
        put(connection, MEMBERS, team_id="blue", user_id="z", role="admin", fields={}, created_at=1)
        put(connection, MEMBERS, team_id="blue", user_id="a", role="user", fields={}, created_at=2)

    team = (await show(shown.team_rows, TEAMS, fill))[0]

    assert (team["team_alias"], team["max_budget"], team["blocked"]) == ("Blue", 3, False)
    assert [(each["user_id"], each["role"]) for each in team["members_with_roles"]] == [("z", "admin"), ("a", "user")]


@pytest.mark.parametrize(
    ("rows", "table", "values", "kind"),
    [
        (shown.organization_rows, ORGANIZATIONS, {"organization_id": "x"}, "organization"),
        (shown.customer_rows, END_USERS, {"user_id": "x"}, "end_user"),
        (shown.team_rows, TEAMS, {"team_id": "x"}, "team"),
    ],
)
async def test_every_kind_of_object_shows_what_it_has_spent(show, rows, table, values, kind):
    """Its own, and nobody else's."""

    def fill(connection):
        put(connection, table, fields={}, **values)
        spend(connection, kind, "x", 3_000_000_000)
        spend(connection, "key", "x", 5_000_000_000)

    assert (await show(rows, table, fill))[0]["spend"] == 3.0


def test_moments_are_texts():
    """None where there is none."""
    assert shown.moment(0) is None
    assert shown.moment(None) is None
    assert shown.moment(1_000_000) == "1970-01-01T00:00:01.000000Z"
