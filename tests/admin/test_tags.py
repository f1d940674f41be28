"""`/tag/...`: words on requests, and their budgets."""

import pytest
from sqlalchemy import insert, select

from proxy_cli.admin.base import decoded
from proxy_cli.admin.tags import TagFields, TagNames
from proxy_cli.callers import Caller, Role
from proxy_cli.errors import InvalidRequest, NotFound, Unprocessable
from proxy_cli.store.tables import CHANGES, DAILY_TAGS, KEYS, SPEND

USER = Caller(role=Role.USER, user_id="anna", key="1")
KEY_OF_NOBODY = Caller(role=Role.USER, key="2")


async def used(desk, *days: tuple[str, str, str]) -> None:
    """Requests that carried tags: the day, the tag and the key."""

    def work(connection):
        connection.execute(insert(KEYS).values(digest="1", user_id="anna", fields={}))
        for day, tag, key in days:
            connection.execute(insert(DAILY_TAGS).values(day=day, tag=tag, key=key, model="m"))

    await desk.office.store.write(work)


async def test_a_tag_is_made_changed_shown_and_deleted(any_desk):
    """Its limits stand beside its name, and in a budget."""
    body = {"name": "engineering", "description": "cost center", "max_budget": 500.0, "budget_duration": "30d"}
    made = await any_desk.post("/tag/new", body)
    changed = await any_desk.post("/tag/update", {"name": "engineering", "max_budget": 750, "description": None})
    shown = await any_desk.post("/tag/info", {"names": ["engineering"]})

    assert made["message"] == "Tag engineering created successfully"
    tag = made["tag"]
    assert {name: tag[name] for name in body} == body
    assert tag["budget_reset_at"] > tag["created_at"]
    assert (changed["tag"]["max_budget"], changed["tag"]["description"]) == (750.0, None)
    assert shown == {"engineering": changed["tag"]}
    assert shown["engineering"]["litellm_budget_table"]["max_budget"] == 750.0
    assert (await any_desk.post("/tag/delete", {"name": "engineering"}))["message"] == (
        "Tag engineering deleted successfully"
    )
    assert await any_desk.get("/tag/list") == []
    changes = await any_desk.office.store.read(
        lambda connection: [tuple(row) for row in connection.execute(select(CHANGES.c.kind, CHANGES.c.id))]
    )
    assert changes == any_desk.office.callers.all == [("tag", "engineering")] * 3


async def test_a_tag_that_is_there_is_not_made_again(any_desk):
    """It keeps its budget."""
    await any_desk.post("/tag/new", {"name": "t", "max_budget": 1})

    with pytest.raises(InvalidRequest, match="'t' already"):
        await any_desk.post("/tag/new", {"name": "t", "max_budget": 9})
    assert (await any_desk.post("/tag/info", {"names": ["t"]}))["t"]["max_budget"] == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [("/tag/info", {"names": ["t", "gone"]}), ("/tag/update", {"name": "gone"}), ("/tag/delete", {"name": "gone"})],
)
async def test_a_tag_that_is_not_there_is_said_to_be_missing(any_desk, path, body):
    """By its name."""
    await any_desk.post("/tag/new", {"name": "t"})

    with pytest.raises(NotFound, match="'gone'"):
        await any_desk.post(path, body)


async def test_a_tag_may_stand_on_a_named_budget(any_desk):
    """Its limits are those of the budget, and what it has spent is its own."""
    await any_desk.post("/budget/new", {"budget_id": "b", "max_budget": 3})
    await any_desk.post("/tag/new", {"name": "t", "budget_id": "b"})

    def spent(connection):
        connection.execute(insert(SPEND).values(kind="tag", id="t", window=0, node="n", nano=250_000_000))

    await any_desk.office.store.write(spent)

    (tag,) = await any_desk.get("/tag/list")
    assert (tag["budget_id"], tag["max_budget"], tag["spend"]) == ("b", 3.0, 0.25)
    with pytest.raises(InvalidRequest, match="'gone'"):
        await any_desk.post("/tag/update", {"name": "t", "budget_id": "gone"})


async def test_the_list_has_tags_that_were_seen_in_requests_too(any_desk):
    """After those for which something is set, with the days on which they were seen."""
    await any_desk.post("/tag/new", {"name": "set"})
    await used(any_desk, ("2026-01-02", "seen", "1"), ("2026-01-05", "seen", "9"), ("2026-01-03", "set", "1"))

    listed = await any_desk.get("/tag/list")

    assert [tag["name"] for tag in listed] == ["set", "seen"]
    assert listed[1]["created_at"].startswith("2026-01-02")
    assert listed[1]["updated_at"].startswith("2026-01-05")
    of_days = await any_desk.get("/tag/list", start_date="2026-01-03", end_date="2026-01-04")
    assert [tag["name"] for tag in of_days] == ["set"]


@pytest.mark.row("A-16")
async def test_who_does_not_see_all_sees_the_tags_of_his_own_keys(any_desk):
    """A key of nobody's sees its own."""
    await any_desk.post("/tag/new", {"name": "secret"})
    await any_desk.post("/tag/new", {"name": "set"})
    days = [
        ("2026-01-02", "set", "1"),
        ("2026-01-02", "own", "1"),
        ("2026-01-02", "other", "2"),
        ("2026-01-02", "x", ""),
    ]
    await used(any_desk, *days)

    assert [tag["name"] for tag in await any_desk.get("/tag/list", USER)] == ["set", "own"]
    assert [tag["name"] for tag in await any_desk.get("/tag/list", KEY_OF_NOBODY)] == ["other"]
    assert await any_desk.get("/tag/list", Caller(role=Role.USER)) == []


async def test_models_get_their_tags_where_they_stand(desk):
    """What would do nothing here is refused, and the words say where it is done."""
    for fields in ({"models": ["gpt"]}, {"model_info": {"id": "gpt"}}):
        with pytest.raises(InvalidRequest, match="litellm_params"):
            await desk.post("/tag/new", {"name": "t", **fields})
    assert (await desk.post("/tag/new", {"name": "t", "models": []}))["tag"]["models"] == []


@pytest.mark.parametrize("query", [{"start_date": "2026-01-01"}, {"end_date": "2026-01-01"}])
async def test_half_a_range_of_days_is_refused(desk, query):
    """Both ends or neither."""
    with pytest.raises(InvalidRequest, match="together"):
        await desk.get("/tag/list", **query)


@pytest.mark.parametrize(
    "body", [b"{}", b'{"name": ""}', b'{"name": "t", "max_budget": -1}', b'{"name": 5, "names": 5}']
)
def test_a_body_that_is_no_tag_is_refused(body):
    """Before anything is looked up."""
    kind = TagNames if b"names" in body else TagFields
    with pytest.raises(Unprocessable):
        decoded(body, kind)
