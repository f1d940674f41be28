"""`/key/info`, `/key/list` and what else tells of keys."""

import pytest
from sqlalchemy import insert

from proxy_cli.callers import Role
from proxy_cli.errors import Forbidden, InvalidRequest, NotFound, Unprocessable
from proxy_cli.store.tables import MEMBERS, TEAMS
from tests.fakes.office import VIEWER, Desk, caller_of_key

ANNA = caller_of_key("sk-anna", user_id="anna")
BERT = caller_of_key("sk-bert", user_id="bert")


async def with_keys(desk: Desk) -> dict[str, str]:
    """Keys of anna, of bert, and of the team `blue` that anna leads; their tokens by alias."""

    def work(connection):
        connection.execute(insert(TEAMS).values(team_id="blue", fields={}))
        for user_id, role in (("anna", "admin"), ("bert", "user")):
            connection.execute(insert(MEMBERS).values(team_id="blue", user_id=user_id, role=role))

    await desk.office.store.write(work)
    made = {}
    for alias, fields in (
        ("a_1", {"user_id": "anna"}),
        ("b%1", {"user_id": "bert"}),
        ("blue", {"team_id": "blue"}),
        ("blue-bert", {"team_id": "blue", "user_id": "bert"}),
    ):
        made[alias] = (await desk.post("/key/generate", {"key_alias": alias, **fields}))["token"]
    return made


async def aliases(desk: Desk, caller=VIEWER, **query: str) -> set[str]:
    """The aliases of the keys that a list has."""
    told = await desk.get("/key/list", caller, return_full_object="true", **query)
    assert told["total_count"] == len(told["keys"])
    return {each["key_alias"] for each in told["keys"]}


async def test_a_key_tells_of_itself_without_being_named(desk):
    """As LiteLLM's clients ask for their own limits."""
    made = await desk.post("/key/generate", {"rpm_limit": 5})
    caller = caller_of_key(made["key"])

    own = await desk.get("/key/info", caller)
    named = await desk.get("/key/info", caller, key=made["key"])

    assert own["info"] == named["info"]
    assert own["info"]["rpm_limit"] == 5
    with pytest.raises(InvalidRequest, match="master key"):
        await desk.get("/key/info")


async def test_a_random_key_tells_nothing_of_another(desk):
    """But that it is somebody else's, which whoever has it could have tried; one of nobody's is not found."""
    made = await desk.post("/key/generate")
    other = caller_of_key((await desk.post("/key/generate"))["key"])

    with pytest.raises(Forbidden):
        await desk.get("/key/info", other, key=made["key"])
    with pytest.raises(NotFound):
        await desk.get("/key/info", other, key="sk-of-nobody-at-all")
    assert (await desk.get("/key/info", VIEWER, key=made["key"]))["info"]["key_name"] == made["key_name"]
    with pytest.raises(NotFound) as refused:
        await desk.get("/key/info", key="sk-of-nobody-at-all")
    assert "sk-of-nobody-at-all" not in refused.value.message


async def test_several_keys_are_told_of_at_once(any_desk):
    """Those that are foreign or missing are left out."""
    tokens = await with_keys(any_desk)
    keys = [tokens["a_1"], tokens["b%1"], "sk-of-nobody-at-all"]

    told = await any_desk.post("/v2/key/info", {"keys": keys})
    narrowed = await any_desk.post("/v2/key/info", {"keys": keys}, ANNA)

    assert told["key"] == keys
    assert {each["key_alias"] for each in told["info"]} == {"a_1", "b%1"}
    assert {each["key_alias"] for each in narrowed["info"]} == {"a_1"}


async def test_keys_are_listed_in_pages_by_token_or_whole(any_desk):
    """In LiteLLM's shape."""
    tokens = await with_keys(any_desk)

    told = await any_desk.get("/key/list", page="2", size="3", sort_by="key_alias", sort_order="asc")

    assert told == {"keys": [tokens["blue-bert"]], "total_count": 4, "current_page": 2, "total_pages": 2}
    assert len((await any_desk.get("/key/list"))["keys"]) == 4


async def test_lists_are_narrowed(any_desk):
    """By user, team, token, alias and status."""
    tokens = await with_keys(any_desk)
    await any_desk.post("/key/block", {"key": tokens["blue"]})

    assert await aliases(any_desk, user_id="bert") == {"b%1", "blue-bert"}
    assert await aliases(any_desk, team_id="blue") == {"blue", "blue-bert"}
    assert await aliases(any_desk, key_hash=tokens["a_1"]) == {"a_1"}
    assert await aliases(any_desk, status="revoked") == {"blue"}
    assert await aliases(any_desk, status="active", team_id="blue") == {"blue-bert"}
    assert await aliases(any_desk, status="expired") == await aliases(any_desk, status="deleted") == set()


@pytest.mark.row("A-04")
async def test_a_search_takes_wildcards_for_what_they_are(any_desk):
    """`%` and `_` find themselves, whatever their number."""
    await with_keys(any_desk)

    assert await aliases(any_desk, key_alias="%") == {"b%1"}
    assert await aliases(any_desk, key_alias="_") == {"a_1"}
    assert await aliases(any_desk, key_alias="%" * 1000) == await aliases(any_desk, key_alias="_" * 1000) == set()
    assert (await any_desk.get("/key/aliases", search="BLUE"))["aliases"] == ["blue", "blue-bert"]


@pytest.mark.row("A-02")
@pytest.mark.parametrize(
    "query",
    [
        {"sort_by": "token;drop"},
        {"sort_order": "x"},
        {"page": "x"},
        {"size": "0"},
        {"status": "x"},
        {"user_id": "x" * 9999},
    ],
)
async def test_orders_and_pages_that_nobody_offers_are_refused(desk, query):
    """With 422."""
    with pytest.raises(Unprocessable):
        await desk.get("/key/list", **query)


@pytest.mark.row("A-16")
async def test_a_user_lists_his_own_keys_and_a_teams_admin_the_teams(desk):
    """Nobody's are counted that are not shown."""
    await with_keys(desk)

    assert await aliases(desk, ANNA) == {"a_1"}
    assert await aliases(desk, ANNA, include_team_keys="true") == {"a_1", "blue", "blue-bert"}
    assert await aliases(desk, ANNA, team_id="blue") == {"blue", "blue-bert"}
    assert await aliases(desk, BERT) == {"b%1", "blue-bert"}
    assert await aliases(desk, BERT, team_id="blue") == {"blue-bert"}
    assert await aliases(desk, BERT, include_team_keys="true") == {"b%1", "blue-bert"}
    assert (await desk.get("/key/aliases", BERT))["aliases"] == ["b%1", "blue-bert"]
    with pytest.raises(Forbidden):
        await desk.get("/key/list", BERT, user_id="anna")


@pytest.mark.row("A-16")
async def test_a_key_without_a_user_lists_itself(desk):
    """And not those of all others without a user."""
    made = await desk.post("/key/generate", {"key_alias": "mine"})
    await desk.post("/key/generate", {"key_alias": "other"})

    assert await aliases(desk, caller_of_key(made["key"])) == {"mine"}
    assert await aliases(desk, caller_of_key("", role=Role.CUSTOMER)) == set()


@pytest.mark.row("P-04")
async def test_no_list_holds_a_key(desk):
    """`token` is the one thing that leads to it, and it opens nothing."""
    made = await desk.post("/key/generate", {"key_alias": "x"})

    told = str([await desk.get("/key/list", return_full_object="1"), await desk.get("/key/info", key=made["token"])])

    assert made["key"] not in told
    assert made["key_name"] in told


async def test_a_key_is_healthy_unless_it_asks_for_what_is_not_there(desk):
    """Callbacks for single keys are named as what does not work."""
    plain = caller_of_key((await desk.post("/key/generate"))["key"])
    logging = [{"callback_name": "gcs_bucket", "callback_type": "success", "callback_vars": {}}]
    watched = caller_of_key((await desk.post("/key/generate", {"metadata": {"logging": logging}}))["key"])

    assert await desk.post("/key/health", {}, plain) == {"key": "healthy", "logging_callbacks": None}
    told = await desk.post("/key/health", {}, watched)

    assert (told["key"], told["logging_callbacks"]["status"]) == ("unhealthy", "unhealthy")
    assert told["logging_callbacks"]["callbacks"] == ["gcs_bucket"]
