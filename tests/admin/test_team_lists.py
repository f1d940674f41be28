"""`/team/info`, `/team/list`, `/v2/team/list`: teams as they are looked at."""

import pytest
from sqlalchemy import insert

from proxy_cli.callers import Caller, Role
from proxy_cli.errors import GatewayError, InvalidRequest, NotFound, Unprocessable
from proxy_cli.store.tables import KEYS, SPEND
from tests.fakes.office import ADMIN, VIEWER

LEADER = Caller(role=Role.USER, user_id="leader")
MEMBER = Caller(role=Role.USER, user_id="member")
STRANGER = Caller(role=Role.USER, user_id="stranger")
CHIEF = Caller(role=Role.USER, user_id="chief")
OF_TEAM = Caller(role=Role.USER, key="3", team_id="blue")
NOBODY = Caller(role=Role.USER, key="9")


@pytest.fixture
async def teams(any_desk):
    """Two teams, one of them in an organization, and keys of the first."""
    await any_desk.post("/organization/new", {"organization_id": "acme", "organization_alias": "Acme"})
    chief = {"role": "org_admin", "user_id": "chief"}
    await any_desk.post("/organization/member_add", {"organization_id": "acme", "member": chief})
    members = [{"role": "admin", "user_id": "leader"}, {"role": "user", "user_id": "member"}]
    blue = {"team_id": "blue", "team_alias": "Blue 100%_sure", "organization_id": "acme", "team_member_budget": 4}
    await any_desk.post("/team/new", {**blue, "members_with_roles": members})
    await any_desk.post("/team/new", {"team_id": "red", "team_alias": "Red"})

    def keys(connection):
        for digest, user_id in (("1", "leader"), ("2", "member"), ("3", "")):
            connection.execute(insert(KEYS).values(digest=digest, team_id="blue", user_id=user_id, fields={}))
        for kind, name, nano in (("team", "blue", 1_500_000_000), ("team_member", "blue/member", 250_000_000)):
            connection.execute(insert(SPEND).values(kind=kind, id=name, window=0, node="n", nano=nano))

    await any_desk.office.store.write(keys)
    return any_desk


SEES = [
    (ADMIN, {"1", "2", "3"}, 4, "unrestricted"),
    (VIEWER, {"1", "2", "3"}, 3, "none"),
    (CHIEF, {"1", "2", "3"}, 3, "unrestricted"),
    (LEADER, {"1", "2", "3"}, 3, "team_admin"),
    (MEMBER, {"1", "2", "3"}, 1, "none"),
    (OF_TEAM, {"3"}, 0, "none"),
]


@pytest.mark.row("A-16")
@pytest.mark.parametrize(
    ("caller", "keys", "memberships", "access"), SEES, ids=["admin", "viewer", "chief", "leader", "member", "key"]
)
async def test_of_a_team_each_sees_what_is_his(teams, caller, keys, memberships, access):
    """Its keys are seen by who is in it, what each may spend by who leads it and by himself; a key sees itself."""
    info = await teams.get("/team/info", caller, team_id="blue")

    assert {key["token"] for key in info["keys"]} == keys
    assert len(info["team_memberships"]) == min(memberships, 3)
    assert info["team_info"]["caller_edit_access"]["kind"] == access
    assert info["team_info"]["spend"] == 1.5
    assert len(info["team_info"]["members_with_roles"]) == 3


@pytest.mark.row("A-16")
@pytest.mark.parametrize("caller", [STRANGER, NOBODY], ids=["another user", "a key of nobody's"])
async def test_a_foreign_team_is_as_a_missing_one(teams, caller):
    """The words and the status are the same, so that names cannot be tried."""
    with pytest.raises(NotFound) as foreign:
        await teams.get("/team/info", caller, team_id="blue")
    with pytest.raises(NotFound) as missing:
        await teams.get("/team/info", caller, team_id="none")

    assert foreign.value.message == missing.value.message.replace("none", "blue")
    assert await teams.get("/team/list", caller) == []
    assert (await teams.get("/v2/team/list", caller))["total"] == 0


async def test_what_members_may_spend_and_have_spent_stands_with_the_team(teams):
    """A member's own limit comes before the team's for all; the sum is that of his window."""
    body = {"team_id": "blue", "user_id": "leader", "max_budget_in_team": 9}
    await teams.post("/team/member_update", body)

    info = await teams.get("/team/info", team_id="blue")
    found = {each["user_id"]: each for each in info["team_memberships"]}

    assert (found["leader"]["litellm_budget_table"]["max_budget"], found["leader"]["budget_source"]) == (9.0, "custom")
    assert found["member"]["litellm_budget_table"]["max_budget"] == 4.0
    assert (found["member"]["spend"], found["member"]["budget_source"]) == (0.25, "team_default")
    assert info["team_info"]["team_member_budget_table"]["max_budget"] == 4.0


async def test_a_key_of_a_team_may_ask_without_naming_it(teams):
    """Its own team is meant; a key of none is told to name one."""
    assert (await teams.get("/team/info", OF_TEAM))["team_id"] == "blue"
    with pytest.raises(InvalidRequest, match="which team"):
        await teams.get("/team/info", STRANGER)


@pytest.mark.parametrize(
    ("caller", "seen"),
    [(ADMIN, ["blue", "red"]), (CHIEF, ["blue"]), (LEADER, ["blue"]), (MEMBER, ["blue"]), (OF_TEAM, ["blue"])],
    ids=["admin", "chief", "leader", "member", "key"],
)
async def test_lists_hold_the_teams_that_a_caller_may_see(teams, caller, seen):
    """Both lists the same ones, in the order of their names."""
    assert [team["team_id"] for team in await teams.get("/team/list", caller)] == seen
    assert [team["team_id"] for team in (await teams.get("/v2/team/list", caller))["teams"]] == seen


async def test_lists_are_narrowed_by_user_and_organization(teams):
    """Where a team is in none, LiteLLM's word for that finds it."""
    assert [team["team_id"] for team in await teams.get("/team/list", user_id="member")] == ["blue"]
    assert [team["team_id"] for team in await teams.get("/team/list", organization_id="acme")] == ["blue"]
    assert [team["team_id"] for team in await teams.get("/team/list", organization_id="default_organization")] == [
        "red"
    ]
    with pytest.raises(NotFound):
        await teams.get("/team/list", STRANGER, user_id="member")


async def test_a_page_counts_members_and_keys(teams):
    """Each page says how many there are in all."""
    first = await teams.get("/v2/team/list", page_size="1", sort_by="team_id", sort_order="desc")
    second = await teams.get("/v2/team/list", page_size="1", page="2", sort_by="team_id", sort_order="desc")

    assert [team["team_id"] for team in (*first["teams"], *second["teams"])] == ["red", "blue"]
    assert {name: first[name] for name in ("total", "page", "page_size", "total_pages")} == {
        "total": 2,
        "page": 1,
        "page_size": 1,
        "total_pages": 2,
    }
    assert (second["teams"][0]["members_count"], second["teams"][0]["keys_count"]) == (3, 3)


@pytest.mark.row("A-04")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("100%_s", ["blue"]),
        ("%", ["blue"]),
        ("_", ["blue"]),
        ("%" * 9, []),
        ("_" * 1000, []),
        ("bLUE", ["blue"]),
        ("\\", []),
    ],
)
async def test_names_are_looked_for_as_they_are_written(teams, words, found):
    """A wildcard of SQL is a character like any other."""
    for name in ("search", "team_alias"):
        page = await teams.get("/v2/team/list", **{name: words})
        assert [team["team_id"] for team in page["teams"]] == found


HOSTILE = [
    "' OR '1'='1",
    "1; DROP TABLE llmproxy_team; --",
    '" UNION SELECT * FROM llmproxy_key --',
    "1) AND (SELECT pg_sleep(9)) --",
    "%27%20OR%201=1",
    "\\'; --",
    "created_at; SELECT 1",
    "\N{GRINNING FACE}",
    "{}[]$ne",
    "-1",
]


QUERIES = ("team_id", "user_id", "organization_id", "org_id", "org_alias", "search", "sort_by", "sort_order", "page")


async def status(desk, path: str, name: str, words: str) -> int:
    """What a question with strange words comes to."""
    try:
        await desk.get(path, **{name: words})
    except GatewayError as refused:
        return refused.status
    return 200


@pytest.mark.row("A-02")
@pytest.mark.parametrize("words", HOSTILE)
async def test_strange_words_in_a_query_find_nothing_and_break_nothing(teams, words):
    """Every field of every list takes them as text, or refuses them by name."""
    for path in ("/team/info", "/team/list", "/v2/team/list", "/organization/list", "/organization/info"):
        for name in QUERIES:
            assert await status(teams, path, name, words) in {200, 400, 404, 422}
    assert len(await teams.get("/team/list")) == 2


@pytest.mark.row("A-02")
@pytest.mark.parametrize("words", HOSTILE)
async def test_strange_words_in_a_body_are_kept_as_they_are(any_desk, words):
    """A name may be anything that is text, and is found by it again."""
    await any_desk.post(
        "/team/new", {"team_id": words, "team_alias": words, "models": [words], "metadata": {words: words}}
    )

    info = (await any_desk.get("/team/info", team_id=words))["team_info"]
    assert (info["team_alias"], info["models"], info["metadata"]) == (words, [words], {words: words})
    await any_desk.post("/team/member_add", {"team_id": words, "member": {"role": "user", "user_id": words}})
    await any_desk.post("/team/member_delete", {"team_id": words, "user_id": words})
    assert await any_desk.post("/team/delete", {"team_ids": [words]}) == {"deleted_teams": [words]}


@pytest.mark.parametrize("query", [{"sort_by": "spend"}, {"sort_order": "up"}, {"page": "0"}, {"page_size": "101"}])
async def test_a_page_that_cannot_be_is_refused(desk, query):
    """With the field, and what it may be."""
    with pytest.raises(Unprocessable, match=next(iter(query))):
        await desk.get("/v2/team/list", **query)


async def test_no_team_is_open_to_all_where_nothing_says_so(desk):
    """The list is the configuration's."""
    await desk.post("/team/new", {"team_id": "blue"})

    assert await desk.get("/team/available", MEMBER) == []
