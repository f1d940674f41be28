"""`/key/...`: keys are made, changed, taken back and replaced."""

import asyncio
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import insert, select

from proxy_cli.callers import Role
from proxy_cli.config.schema import Config
from proxy_cli.config.settings_litellm import LiteLLMSettings
from proxy_cli.errors import (
    Conflict,
    Forbidden,
    GatewayError,
    InvalidRequest,
    NotFound,
    TeamMemberRefused,
    Unprocessable,
)
from proxy_cli.store.changes import changes_after
from proxy_cli.store.tables import KEYS, MEMBERS, SPEND, TEAMS, USERS
from proxy_cli.store.writing import upsert
from tests.fakes.office import ADMIN, VIEWER, Desk, caller_of_key, office_over

ANNA = caller_of_key("sk-anna", user_id="anna")
BERT = caller_of_key("sk-bert", user_id="bert")


async def with_team(desk: Desk, **fields: object) -> None:
    """A team `blue`, led by anna, with bert in it."""

    def work(connection):
        connection.execute(insert(TEAMS).values(team_id="blue", fields=fields))
        for user_id, role in (("anna", "admin"), ("bert", "user")):
            connection.execute(insert(MEMBERS).values(team_id="blue", user_id=user_id, role=role))

    await desk.office.store.write(work)


async def with_settings(desk: Desk, **settings: Any) -> Desk:
    """The same desk under another configuration."""
    config = Config(litellm_settings=LiteLLMSettings(**settings))
    return Desk(office_over(desk.office.store, config), tuple(desk._endpoints.values()))


async def stored(desk: Desk, key: str) -> dict[str, Any]:
    """A key's row."""
    digest = sha256(key.encode()).hexdigest()
    rows = await desk.office.store.read(
        lambda connection: connection.execute(select(KEYS).where(KEYS.c.digest == digest)).mappings().all()
    )
    return dict(rows[0]) if rows else {}


async def spend(desk: Desk, kind: str, name: str, nano: int, window: int = 0, node: str = "here") -> None:
    """Have a server count what was spent."""
    row = {"kind": kind, "id": name, "window": window, "node": node, "nano": nano}
    await desk.office.store.write(lambda connection: connection.execute(upsert(SPEND).values(**row)))


async def test_a_key_is_in_the_answer_that_made_it_and_nowhere_else(any_desk):
    """What is stored is its SHA-256 and a hint of four characters."""
    made = await any_desk.post("/key/generate", {"models": ["gpt-4"], "key_alias": "one", "max_budget": 2})

    row = await stored(any_desk, made["key"])
    assert made["key"].startswith("sk-")
    assert made["token"] == made["token_id"] == row["digest"] == sha256(made["key"].encode()).hexdigest()
    assert made["key_name"] == f"sk-...{made['key'][-4:]}"
    assert made["key"] not in str({**row, "digest": ""})
    assert row["fields"] == {"models": ["gpt-4"], "max_budget": 2.0}


async def test_what_was_written_is_shown_again(any_desk):
    """Every field that was given is in the answer and in /key/info; `token` is not in the latter."""
    await with_team(any_desk)
    fields = {
        "key_alias": "two",
        "models": ["a", "b"],
        "aliases": {"c": "a"},
        "max_budget": 25.0,
        "budget_duration": "30d",
        "tpm_limit": 7,
        "rpm_limit": 8,
        "max_parallel_requests": 9,
        "metadata": {"tag": "x"},
        "team_id": "blue",
        "model_max_budget": {"a": {"budget_limit": 1.5, "time_period": "1d"}},
        "budget_limits": [{"budget_duration": "1d", "max_budget": 3.0}],
        "allowed_routes": ["llm_api_routes"],
        "permissions": {"allow": True},
    }

    made = await any_desk.post("/key/generate", fields)
    told = await any_desk.get("/key/info", key=made["key"])

    assert {name: made[name] for name in fields} == fields
    assert {name: told["info"][name] for name in fields} == fields
    assert told["key"] == made["key"]
    assert "token" not in told["info"]
    assert told["info"]["status"] == "active"
    assert told["info"]["budget_reset_at"] > made["created_at"]
    assert told["info"]["spend"] == 0


async def test_a_hundred_keys_at_once_are_a_hundred_keys(desk):
    """Nobody waits for anybody's answer, and none is drawn twice."""
    made = await asyncio.gather(*(desk.post("/key/generate") for _ in range(100)))

    assert len({each["key"] for each in made}) == 100


async def test_a_change_is_told_to_other_processes_in_its_transaction(desk):
    """Whoever remembers a key forgets it."""
    made = await desk.post("/key/generate")
    await desk.post("/key/update", {"key": made["key"], "rpm_limit": 1})

    _, changes = await desk.office.store.read(lambda connection: changes_after(connection, 0))

    assert changes == [("key", made["token"])] * 2
    assert desk.office.callers.all == changes


async def test_a_chosen_key_is_taken_once(any_desk):
    """The second one that asks for it is refused, and does not learn whose it is."""
    await any_desk.post("/key/generate", {"key": "sk-chosen-by-me-1234"})

    with pytest.raises(Conflict):
        await any_desk.post("/key/generate", {"key": "sk-chosen-by-me-1234"})


@pytest.mark.parametrize(
    "key", ["sk-short", "pk-chosen-by-me-1234", "sk-with blank in it", "sk-ümlaut-in-here-1", "x" * 64]
)
async def test_a_chosen_key_that_is_none_is_refused_without_being_shown(desk, key):
    """It begins with sk- and is long enough not to be guessed."""
    with pytest.raises(InvalidRequest) as refused:
        await desk.post("/key/generate", {"key": key})

    assert key not in refused.value.message


async def test_an_alias_belongs_to_one_key(any_desk):
    """A second key of that name is refused with 400; a key may keep its own."""
    made = await any_desk.post("/key/generate", {"key_alias": "one"})
    other = await any_desk.post("/key/generate")

    with pytest.raises(InvalidRequest, match="'one' already") as refused:
        await any_desk.post("/key/generate", {"key_alias": "one"})
    assert refused.value.status == 400
    with pytest.raises(InvalidRequest):
        await any_desk.post("/key/update", {"key": other["key"], "key_alias": "one"})
    assert (await any_desk.post("/key/update", {"key": made["key"], "key_alias": "one"}))["key_alias"] == "one"


async def test_a_change_keeps_what_it_does_not_name_and_null_takes_away(any_desk):
    """A merge: left out stays, null clears, and the window of the budget stays where it was."""
    made = await any_desk.post(
        "/key/generate", {"max_budget": 5, "budget_duration": "30d", "rpm_limit": 1, "models": ["a"]}
    )

    changed = await any_desk.post("/key/update", {"key": made["key"], "rpm_limit": 2})
    cleared = await any_desk.post("/key/update", {"key": made["token"], "max_budget": None, "budget_duration": None})

    assert changed["key"] == made["key"]
    assert (changed["rpm_limit"], changed["max_budget"], changed["models"]) == (2, 5.0, ["a"])
    assert changed["budget_reset_at"] == made["budget_reset_at"]
    assert (cleared["max_budget"], cleared["budget_duration"], cleared["budget_reset_at"]) == (None, None, None)
    assert cleared["rpm_limit"] == 2


async def test_a_duration_is_when_a_key_ends(desk):
    """From then on it is shown as expired; `-1` and null take the end away."""
    made = await desk.post("/key/generate", {"duration": "30d"})
    short = await desk.post("/key/generate", {"duration": "1s"})

    assert made["created_at"] < made["expires"]
    assert (await desk.post("/key/update", {"key": made["key"], "duration": "-1"}))["expires"] is None
    await asyncio.sleep(1.0)
    assert (await desk.get("/key/info", key=short["key"]))["info"]["status"] == "expired"


async def test_tags_stand_in_the_metadata_too(desk):
    """LiteLLM's clients look for them there; both change together."""
    made = await desk.post("/key/generate", {"tags": ["a"], "metadata": {"x": 1}})
    changed = await desk.post("/key/update", {"key": made["key"], "tags": ["b"]})
    cleared = await desk.post("/key/update", {"key": made["key"], "tags": None})

    assert made["metadata"] == {"x": 1, "tags": ["a"]}
    assert changed["metadata"] == {"x": 1, "tags": ["b"]}
    assert cleared["metadata"] == {"x": 1}


async def test_deleting_names_what_was_deleted_and_all_or_nothing_goes(any_desk):
    """Keys are named by themselves, by token or by alias; one that is missing leaves the others there."""
    first, second = [await any_desk.post("/key/generate", {"key_alias": name}) for name in ("a", "b")]

    with pytest.raises(NotFound):
        await any_desk.post("/key/delete", {"keys": [first["key"], "sk-of-nobody-at-all"]})
    assert await stored(any_desk, first["key"])
    told = await any_desk.post("/key/delete", {"keys": [first["token"]], "key_aliases": ["b"]})

    assert told == {"deleted_keys": [first["token"], "b"]}
    assert not await stored(any_desk, first["key"])
    assert not await stored(any_desk, second["key"])
    with pytest.raises(NotFound):
        await any_desk.get("/key/info", key=first["key"])


async def test_blocking_is_undone_by_unblocking(desk):
    """`blocked` says it, and so does the status."""
    made = await desk.post("/key/generate")

    blocked = await desk.post("/key/block", {"key": made["key"]})
    unblocked = await desk.post("/key/unblock", {"key": made["key"]})

    assert (blocked["blocked"], blocked["status"]) == (True, "revoked")
    assert (unblocked["blocked"], unblocked["status"]) == (False, "active")


async def test_another_key_takes_a_keys_place_with_all_it_is_and_has_spent(any_desk):
    """Fields, alias and what was spent go on; the former one is gone where no grace is given."""
    made = await any_desk.post("/key/generate", {"key_alias": "one", "max_budget": 5, "models": ["a"]})
    await spend(any_desk, "key", made["token"], 1_500_000_000)
    await spend(any_desk, "key_model", f"{made['token']}/a", 7)

    later = await any_desk.post(f"/key/{made['token']}/regenerate", {"rpm_limit": 3})

    assert later["key"] != made["key"]
    assert (later["key_alias"], later["max_budget"], later["models"], later["rpm_limit"]) == ("one", 5.0, ["a"], 3)
    assert later["spend"] == 1.5
    assert not await stored(any_desk, made["key"])
    assert await stored(any_desk, later["key"])


async def test_a_former_key_works_on_for_its_time_of_grace(desk):
    """Its row says when it ends and which key took its place; it is not replaced twice, and both go together."""
    made = await desk.post("/key/generate", {"key_alias": "one"})

    later = await desk.post(
        "/key/regenerate", {"key": made["key"], "new_key": "sk-the-next-one-of-mine", "grace_period": "1h"}
    )

    former = await stored(desk, made["key"])
    assert later["key"] == "sk-the-next-one-of-mine"
    assert former["replaced_by"] == later["token"]
    assert former["expires_at"] - former["updated_at"] == 3_600_000_000
    with pytest.raises(Conflict):
        await desk.post("/key/regenerate", {"key": made["key"]})
    await desk.post("/key/delete", {"keys": [later["key"]]})
    assert not await stored(desk, made["key"])


async def test_the_master_key_is_not_replaced_over_http(desk):
    """It stands in the configuration."""
    made = await desk.post("/key/generate")

    with pytest.raises(InvalidRequest, match="configuration"):
        await desk.post("/key/regenerate", {"key": made["key"], "new_master_key": "sk-new"})


async def test_spend_is_set_back_in_its_present_window(any_desk):
    """What servers count later comes on top; it is never set above what was spent."""
    made = await any_desk.post("/key/generate", {"max_budget": 5})
    await spend(any_desk, "key", made["token"], 3_000_000_000)

    told = await any_desk.post(f"/key/{made['key']}/reset_spend", {"reset_to": 1})
    await spend(any_desk, "key", made["token"], 500_000_000, node="there")

    assert (told["previous_spend"], told["spend"], told["key_hash"]) == (3.0, 1.0, made["token"])
    assert (await any_desk.get("/key/info", key=made["key"]))["info"]["spend"] == 1.5
    with pytest.raises(InvalidRequest):
        await any_desk.post(f"/key/{made['key']}/reset_spend", {"reset_to": 2})


async def test_spend_may_be_given_with_a_key_and_changed(desk):
    """As LiteLLM's clients carry sums over from elsewhere."""
    made = await desk.post("/key/generate", {"spend": 2.5, "budget_duration": "1d"})
    changed = await desk.post("/key/update", {"key": made["key"], "spend": 0})

    assert (made["spend"], changed["spend"]) == (2.5, 0)


async def test_one_change_of_many_that_fails_holds_up_no_other(desk):
    """Each is told apart, with what is wrong."""
    made = await desk.post("/key/generate", {"max_budget": 5})
    body = {"keys": [{"key": made["key"], "max_budget": 42}, {"key": "sk-of-nobody-at-all", "max_budget": 1}]}

    told = await desk.post("/key/bulk_update", body)

    assert told["total_requested"] == 2
    assert [(each["key"], each["key_info"]["max_budget"]) for each in told["successful_updates"]] == [(made["key"], 42)]
    assert [each["key"] for each in told["failed_updates"]] == ["sk-of-nobody-at-all"]
    with pytest.raises(Forbidden):
        await desk.post("/key/bulk_update", body, ANNA)


async def test_a_service_accounts_key_belongs_to_a_team_and_no_user(desk):
    """Its alias is its name in the metadata."""
    await with_team(desk)

    made = await desk.post("/key/service-account/generate", {"team_id": "blue", "key_alias": "bot", "user_id": "anna"})

    assert (made["team_id"], made["user_id"]) == ("blue", None)
    assert made["metadata"] == {"service_account_id": "bot"}
    with pytest.raises(InvalidRequest, match="team_id"):
        await desk.post("/key/service-account/generate", {})


async def test_defaults_and_bounds_of_the_operator_hold(desk):
    """A default fills what is missing; a bound refuses what is over it, and is the limit of what says none."""
    here = await with_settings(
        desk,
        default_key_generate_params={"models": ["usual"], "tpm_limit": 10},
        upperbound_key_generate_params={"max_budget": 100, "duration": "30d", "rpm_limit": 5},
    )

    made = await here.post("/key/generate", {"tpm_limit": 20, "models": []})

    assert (made["models"], made["tpm_limit"], made["max_budget"], made["rpm_limit"]) == (["usual"], 20, 100, 5)
    assert made["expires"] is not None
    for over in ({"max_budget": 101}, {"duration": "31d"}, {"rpm_limit": 6}):
        with pytest.raises(InvalidRequest, match="upperbound"):
            await here.post("/key/generate", over)
    with pytest.raises(InvalidRequest, match="upperbound"):
        await here.post("/key/update", {"key": made["key"], "max_budget": 101})


async def test_key_generation_settings_say_who_makes_keys_and_what_they_must_say(desk):
    """For personal keys by role, for a team's by the role in it."""
    await with_team(desk, team_member_permissions=["/key/generate"])
    here = await with_settings(
        desk,
        key_generation_settings={
            "personal_key_generation": {"allowed_user_roles": ["proxy_admin"]},
            "team_key_generation": {"allowed_team_member_roles": ["admin"], "required_params": ["tags"]},
        },
    )

    with pytest.raises(Forbidden):
        await here.post("/key/generate", {}, ANNA)
    with pytest.raises(Forbidden):
        await here.post("/key/generate", {"team_id": "blue", "tags": ["x"]}, BERT)
    with pytest.raises(InvalidRequest, match="tags"):
        await here.post("/key/generate", {"team_id": "blue"}, ANNA)
    assert (await here.post("/key/generate", {"team_id": "blue", "tags": ["x"]}, ANNA))["team_id"] == "blue"


async def test_a_user_makes_and_changes_keys_of_his_own(desk):
    """His user id is put in; nobody else may touch them."""
    made = await desk.post("/key/generate", {"key_alias": "mine"}, ANNA)

    assert made["user_id"] == made["created_by"] == "anna"
    assert (await desk.post("/key/update", {"key": made["key"], "key_alias": "his"}, ANNA))["key_alias"] == "his"
    for path, body in (
        ("/key/update", {"key": made["key"], "models": ["x"]}),
        ("/key/block", {"key": made["key"]}),
        ("/key/delete", {"keys": [made["key"]]}),
        ("/key/regenerate", {"key": made["key"]}),
        (f"/key/{made['token']}/reset_spend", {"reset_to": 0}),
    ):
        with pytest.raises(Forbidden):
            await desk.post(path, body, BERT)
        with pytest.raises(Forbidden):
            await desk.post(path, body, VIEWER)
    assert await desk.post("/key/delete", {"keys": [made["key"]]}, ANNA) == {"deleted_keys": [made["key"]]}


@pytest.mark.row("A-16")
async def test_what_is_foreign_is_answered_as_what_is_missing(desk):
    """Word for word, so that nobody learns which keys there are."""
    made = await desk.post("/key/generate")

    async def refusal(path: str, key: str) -> tuple[int | str, ...]:
        with pytest.raises(GatewayError) as refused:
            await desk.post(path, {"key": key, "keys": [key]}, ANNA)
        return refused.value.status, refused.value.message

    for path in ("/key/update", "/key/block", "/key/unblock", "/key/regenerate", "/key/delete"):
        assert await refusal(path, made["key"]) == await refusal(path, "sk-of-nobody-at-all") != ()


async def test_a_key_that_belongs_to_no_user_makes_none(desk):
    """Neither does a viewer's."""
    with pytest.raises(Forbidden, match="no user"):
        await desk.post("/key/generate", {}, caller_of_key("sk-alone"))
    with pytest.raises(Forbidden, match="looks at"):
        await desk.post("/key/generate", {}, caller_of_key("sk-x", user_id="x", role=Role.USER_VIEWER))


async def test_a_teams_keys_are_made_by_its_admin_and_by_members_whom_it_lets(desk):
    """For members alone; a service account's key needs a right of its own."""
    await with_team(desk)

    for_bert = await desk.post("/key/generate", {"team_id": "blue", "user_id": "bert"}, ANNA)
    with pytest.raises(Forbidden, match="no member"):
        await desk.post("/key/generate", {"team_id": "blue", "user_id": "carl"}, ANNA)
    with pytest.raises(TeamMemberRefused, match="admins"):
        await desk.post("/key/generate", {"team_id": "blue"}, BERT)
    with pytest.raises(Forbidden, match="admins"):
        await desk.post("/key/generate", {"team_id": "red"}, ANNA)
    await desk.post("/key/update", {"key": for_bert["key"], "max_budget": 3}, ANNA)

    assert for_bert["user_id"] == "bert"


async def test_members_make_keys_of_a_team_where_it_lets_them(desk):
    """For themselves."""
    await with_team(desk, team_member_permissions=["/key/generate"])

    made = await desk.post("/key/generate", {"team_id": "blue"}, BERT)

    assert made["user_id"] == "bert"
    with pytest.raises(Forbidden, match="himself"):
        await desk.post("/key/generate", {"team_id": "blue", "user_id": "anna"}, BERT)
    with pytest.raises(TeamMemberRefused, match="admins"):
        await desk.post("/key/service-account/generate", {"team_id": "blue"}, BERT)


async def test_a_teams_member_sees_its_keys_and_changes_them_where_it_lets_him(desk):
    """Otherwise he is refused as LiteLLM refuses him: 401, with a type of its own."""
    await with_team(desk, team_member_permissions=["/key/update", "/key/delete"])
    made = await desk.post("/key/generate", {"team_id": "blue"})

    assert (await desk.get("/key/info", BERT, key=made["key"]))["info"]["team_id"] == "blue"
    changed = await desk.post("/key/update", {"key": made["key"], "metadata": {"x": 1}, "team_id": "blue"}, BERT)
    assert changed["metadata"] == {"x": 1}
    for path in ("/key/regenerate", "/key/block"):
        with pytest.raises(TeamMemberRefused) as refused:
            await desk.post(path, {"key": made["key"]}, BERT)
        assert (refused.value.status, refused.value.kind) == (401, "team_member_permission_error")
    with pytest.raises(Forbidden):
        await desk.post("/key/update", {"key": made["key"], "team_id": "red"}, BERT)
    assert await desk.post("/key/delete", {"keys": [made["key"]]}, BERT)


async def test_a_key_gets_no_more_than_its_teams_budget(desk):
    """But from a proxy_admin's hand, who may raise the team's; that holds for the key in any case."""
    await with_team(desk, max_budget=10)

    with pytest.raises(InvalidRequest, match="team"):
        await desk.post("/key/generate", {"team_id": "blue", "max_budget": 11}, ANNA)
    made = await desk.post("/key/generate", {"team_id": "blue", "max_budget": 11})

    assert made["max_budget"] == 11


@pytest.mark.parametrize("field", ["team_id", "organization_id", "budget_id"])
async def test_a_key_does_not_stand_on_what_is_not_there(desk, field):
    """A proxy_admin is told what is missing."""
    with pytest.raises(InvalidRequest, match="there is no"):
        await desk.post("/key/generate", {field: "nowhere"})


@pytest.mark.row("A-17")
@pytest.mark.parametrize(
    "change",
    [
        {"spend": 0},
        {"budget_id": "b"},
        {"max_budget": 100},
        {"max_budget": None},
        {"rpm_limit": None},
        {"temp_budget_increase": 10},
        {"user_id": "anna"},
        {"user_id": None},
        {"team_id": "blue"},
        {"organization_id": "o"},
        {"blocked": False},
    ],
)
async def test_a_user_does_not_give_his_key_what_is_not_his_to_give(desk, change):
    """The change is refused, and nothing of it happens."""
    await with_team(desk)
    made = await desk.post(
        "/key/generate", {"user_id": "bert", "max_budget": 5, "rpm_limit": 5, "blocked": True, "spend": 4}
    )
    before = await stored(desk, made["key"])

    with pytest.raises(Forbidden):
        await desk.post("/key/update", {"key": made["key"], "key_alias": "x", **change}, BERT)

    assert await stored(desk, made["key"]) == before


@pytest.mark.row("A-17")
async def test_fields_that_no_body_has_change_nothing(desk):
    """`created_by`, roles and the like are not a caller's to say."""
    made = await desk.post("/key/generate", {"created_by": "root", "user_role": "proxy_admin", "token": "x"}, ANNA)

    row = await stored(desk, made["key"])
    assert row["created_by"] == "anna"
    assert row["fields"] == {}


async def test_a_user_may_lower_what_his_key_may(desk):
    """And block it."""
    made = await desk.post("/key/generate", {"user_id": "bert", "max_budget": 5})

    lowered = await desk.post("/key/update", {"key": made["key"], "max_budget": 4, "blocked": True}, BERT)

    assert (lowered["max_budget"], lowered["blocked"]) == (4, True)


@pytest.mark.row("A-18")
@pytest.mark.parametrize(
    "more",
    [
        {"models": ["b"]},
        {"models": ["a", "*"]},
        {"models": ["a"], "aliases": {"a": "b"}},
        {"aliases": {"x": "b"}},
        {"max_budget": 11},
        {"rpm_limit": 11},
        {"tpm_limit": 11},
        {"max_parallel_requests": 11},
        {"allowed_routes": ["management_routes"]},
        {"duration": "2d"},
    ],
)
async def test_a_key_gets_no_more_than_the_key_that_asks_for_it(desk, more):
    """Neither made nor changed."""
    limits = {"max_budget": 10, "rpm_limit": 10, "tpm_limit": 10, "max_parallel_requests": 10, "duration": "1d"}
    parent = await desk.post(
        "/key/generate", {"user_id": "anna", "models": ["a"], "allowed_routes": ["/key/generate"], **limits}
    )
    caller = caller_of_key(parent["key"], user_id="anna")

    child = await desk.post("/key/generate", {}, caller)
    with pytest.raises(Forbidden):
        await desk.post("/key/generate", more, caller)
    with pytest.raises(Forbidden):
        await desk.post("/key/update", {"key": child["key"], **more}, caller)

    shared = ("models", "allowed_routes", "max_budget", "rpm_limit", "tpm_limit", "max_parallel_requests")
    assert {name: child[name] for name in shared} == {name: parent[name] for name in shared}
    assert child["expires"] <= parent["expires"]


@pytest.mark.row("A-18")
async def test_a_personal_key_gets_no_more_than_its_user(desk):
    """The user's budget and models bound it."""
    fields = {"max_budget": 10, "models": ["a"]}
    await desk.office.store.write(
        lambda connection: connection.execute(insert(USERS).values(user_id="anna", fields=fields))
    )

    for more in ({"max_budget": 11}, {"models": ["b"]}):
        with pytest.raises(Forbidden, match="maker"):
            await desk.post("/key/generate", more, ANNA)


@pytest.mark.row("A-21")
@pytest.mark.row("A-22")
@pytest.mark.parametrize(
    "text", ["os.environ/DATABASE_URL", "oidc/env_path/X", "file:///etc/passwd", "{{7*7}}", "${x}"]
)
async def test_texts_are_texts(any_desk, text):
    """Whatever they look like, they come back as they were sent."""
    made = await any_desk.post("/key/generate", {"key_alias": text, "metadata": {"note": text}, "models": [text]})

    told = (await any_desk.get("/key/info", key=made["key"]))["info"]

    assert (told["key_alias"], told["metadata"], told["models"]) == (text, {"note": text}, [text])


async def status(desk: Desk, path: str, body: dict[str, Any]) -> int:
    """What the master key's question is answered with; anything but a refusal goes on."""
    try:
        await desk.post(path, body, ADMIN)
    except GatewayError as error:
        return error.status
    return 200


STRANGE = ["' OR 1=1--", "sk-' UNION SELECT 1--", "😀" * 50, "%00", "../../x", "a" * 256, "\x1b[31m", "x\ny"]


@pytest.mark.row("A-02")
@pytest.mark.parametrize("text", STRANGE)
async def test_no_value_is_an_internal_error(any_desk, text):
    """Each is taken as a text, or refused with a sentence."""
    for path, body in (
        ("/key/generate", {"key": text}),
        ("/key/generate", {"key_alias": text, "user_id": text, "metadata": {text: text}}),
        ("/key/generate", {"team_id": text}),
        ("/key/generate", {"duration": text}),
        ("/key/generate", {"budget_duration": text}),
        ("/key/generate", {"allowed_routes": [text]}),
        ("/key/generate", {"model_max_budget": {text: text}}),
        ("/key/update", {"key": text, "models": [text]}),
        ("/key/delete", {"keys": [text], "key_aliases": [text]}),
        ("/key/regenerate", {"key": text, "grace_period": text}),
        (f"/key/{text}/reset_spend", {"reset_to": 1}),
    ):
        assert await status(any_desk, path, body) in {200, 400, 404, 409, 422}


@pytest.mark.row("A-02")
@pytest.mark.parametrize(
    "body",
    [
        {"model_max_budget": {"a": {"budget_limit": "nan"}}},
        {"model_max_budget": {"a": {"budget_limit": -1}}},
        {"model_max_budget": {"a": True}},
        {"model_max_budget": {"a": {"budget_limit": 1, "time_period": "x"}}},
        {"budget_limits": [{"budget_duration": "x", "max_budget": 1}]},
        {"budget_duration": "0d"},
        {"duration": "999999999d"},
        {"duration": "999999mo"},
        {"allowed_routes": ["/a b"]},
        {"max_budget": -1},
        {"key_type": "root"},
    ],
)
async def test_limits_that_are_none_are_refused(desk, body):
    """With 400 or 422 and the field's name."""
    with pytest.raises((InvalidRequest, Unprocessable)) as refused:
        await desk.post("/key/generate", body)

    assert refused.value.param
