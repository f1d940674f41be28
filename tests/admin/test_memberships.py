"""Memberships: what each member may spend in a team, and has."""

from sqlalchemy import insert, update

from proxy_cli.admin.budgets import many
from proxy_cli.admin.memberships import memberships_of
from proxy_cli.store.tables import BUDGETS, MEMBERS, SPEND, TEAMS


async def test_the_limits_that_are_shown_are_those_that_hold(any_desk):
    """A member's own come before those of the budget he stands on, and those before what the team says of all."""

    def made(connection):
        fields = {"team_member_budget": 1.0, "team_member_rpm_limit": 1, "team_member_tpm_limit": 1}
        connection.execute(insert(TEAMS).values(team_id="t", fields=fields))
        connection.execute(insert(BUDGETS).values(budget_id="b", fields={"max_budget": 2.0, "rpm_limit": 2}))
        own = {"max_budget_in_team": 3.0}
        connection.execute(insert(MEMBERS).values(team_id="t", user_id="u", role="user", budget_id="b", fields=own))
        return memberships_of(any_desk.office, connection, many(connection, TEAMS.select()))

    (found,) = await any_desk.office.store.write(made)

    table = found["litellm_budget_table"]
    assert (table["max_budget"], table["rpm_limit"], table["tpm_limit"]) == (3.0, 2, 1)
    assert (table["budget_id"], found["budget_source"]) == ("b", "custom")


async def test_a_member_without_any_limit_has_no_budget(any_desk):
    """And his sum is all that he has ever spent in the team; that of another team is not his."""

    def made(connection):
        for team_id in ("t", "other"):
            connection.execute(insert(TEAMS).values(team_id=team_id, fields={}))
            connection.execute(insert(MEMBERS).values(team_id=team_id, user_id="u", role="user", fields={}))
        for node in ("one", "two"):
            row = {"kind": "team_member", "id": "t/u", "window": 0, "node": node, "nano": 250_000_000}
            connection.execute(insert(SPEND).values(**row))
        return memberships_of(any_desk.office, connection, many(connection, TEAMS.select().order_by(TEAMS.c.team_id)))

    of_other, of_this = await any_desk.office.store.write(made)

    assert (of_this["litellm_budget_table"], of_this["budget_source"], of_this["spend"]) == (None, "none", 0.5)
    assert (of_other["team_id"], of_other["spend"]) == ("other", 0.0)


async def test_memberships_of_one_user_are_found_in_all_his_teams(any_desk):
    """Nobody else's are among them."""

    def made(connection):
        for team_id in ("a", "b"):
            connection.execute(insert(TEAMS).values(team_id=team_id, fields={}))
            for user_id in ("u", "v"):
                connection.execute(insert(MEMBERS).values(team_id=team_id, user_id=user_id, role="user", fields={}))
        connection.execute(update(MEMBERS).values(fields={"max_budget_in_team": 1.0}))
        return memberships_of(any_desk.office, connection, many(connection, TEAMS.select()), "u")

    found = await any_desk.office.store.write(made)

    assert {(each["team_id"], each["user_id"]) for each in found} == {("a", "u"), ("b", "u")}


async def test_a_user_is_told_what_he_may_spend_in_each_of_his_teams(any_desk):
    """Clients look for it beside the team, in LiteLLM's words."""
    for team_id, usd in (("a", 1e-7), ("b", 2.0)):
        await any_desk.post("/team/new", {"team_id": team_id})
        member = {"role": "user", "user_id": "u"}
        await any_desk.post("/team/member_add", {"team_id": team_id, "member": member, "max_budget_in_team": usd})

    teams = (await any_desk.get("/user/info", user_id="u"))["teams"]

    found = {team["team_id"]: team["team_memberships"][0]["litellm_budget_table"]["max_budget"] for team in teams}
    assert found == {"a": 1e-7, "b": 2.0}
