"""`/budget/...`: limits with a name, on which keys, teams and customers stand."""

import pytest
from sqlalchemy import select

from proxy_cli.admin.base import decoded
from proxy_cli.admin.budgets import NewBudget, check_limits, table_of
from proxy_cli.errors import InvalidRequest, NotFound, Unprocessable
from proxy_cli.store.tables import CHANGES


async def changes(desk):
    """What other processes are told to forget."""
    query = select(CHANGES.c.kind, CHANGES.c.id).order_by(CHANGES.c.number)
    return await desk.office.store.read(lambda connection: [tuple(row) for row in connection.execute(query)])


async def test_a_budget_is_made_changed_shown_and_deleted(any_desk):
    """Every field comes back as it was given; null takes one away."""
    made = await any_desk.post("/budget/new", {"budget_id": "b", "max_budget": 12.5, "budget_duration": "30d"})
    changed = await any_desk.post("/budget/update", {"budget_id": "b", "max_budget": 91.25, "budget_duration": None})
    shown = await any_desk.post("/budget/info", {"budgets": ["b", "missing"]})
    listed = await any_desk.get("/budget/list")
    deleted = await any_desk.post("/budget/delete", {"id": "b"})

    assert (made["max_budget"], made["soft_budget"]) == (12.5, None)
    assert made["budget_reset_at"] > made["created_at"]
    assert (changed["max_budget"], changed["budget_duration"], changed["budget_reset_at"]) == (91.25, None, None)
    assert shown == listed == [changed] == [deleted]
    assert await any_desk.get("/budget/list") == []
    assert await changes(any_desk) == [("budget", "b")] * 3
    assert any_desk.office.callers.all == [("budget", "b")] * 3


async def test_a_budget_without_a_name_gets_one(desk):
    """Ids are made up where none is given, each time another one."""
    first, second = await desk.post("/budget/new", {}), await desk.post("/budget/new", {"budget_id": " "})

    assert first["budget_id"] != second["budget_id"]


async def test_a_budget_that_is_there_is_not_made_again(any_desk):
    """The first one stays as it is."""
    await any_desk.post("/budget/new", {"budget_id": "b", "max_budget": 1})

    with pytest.raises(InvalidRequest, match="'b' already"):
        await any_desk.post("/budget/new", {"budget_id": "b", "max_budget": 2})
    assert (await any_desk.post("/budget/info", {"budgets": ["b"]}))[0]["max_budget"] == 1


@pytest.mark.parametrize(
    ("path", "body"), [("/budget/update", {"budget_id": "x", "max_budget": 1}), ("/budget/delete", {"id": "x"})]
)
async def test_a_budget_that_is_not_there_is_said_to_be_missing(any_desk, path, body):
    """Nothing is made by changing it."""
    with pytest.raises(NotFound, match="'x'"):
        await any_desk.post(path, body)
    assert await any_desk.get("/budget/list") == []


async def test_a_budget_that_something_stands_on_is_not_deleted(any_desk):
    """Its limits would be gone without a word; the refusal says what it limits."""
    await any_desk.post("/budget/new", {"budget_id": "b", "max_budget": 1})
    await any_desk.post("/customer/new", {"user_id": "one", "budget_id": "b"})
    await any_desk.post("/customer/new", {"user_id": "two", "budget_id": "b"})
    await any_desk.post("/team/new", {"team_id": "t", "budget_id": "b"})

    with pytest.raises(InvalidRequest, match="1 team, 2 customers"):
        await any_desk.post("/budget/delete", {"id": "b"})
    assert len(await any_desk.get("/budget/list")) == 1


async def test_the_settings_of_a_budget_say_what_is_set(desk):
    """Every limit is listed with its kind and its present value."""
    await desk.post("/budget/new", {"budget_id": "b", "tpm_limit": 7})

    told = {each["field_name"]: each for each in await desk.get("/budget/settings", budget_id="b")}

    assert (told["tpm_limit"]["field_value"], told["tpm_limit"]["field_type"]) == (7, "Integer")
    assert (told["max_budget"]["field_value"], told["max_budget"]["stored_in_db"]) == (None, False)
    with pytest.raises(InvalidRequest, match="which budget"):
        await desk.get("/budget/settings")
    with pytest.raises(NotFound):
        await desk.get("/budget/settings", budget_id="other")


async def test_asking_for_no_budget_is_refused(desk):
    """An empty list is a mistake of the caller's, and the answer says how it is written."""
    with pytest.raises(InvalidRequest, match="name the budgets"):
        await desk.post("/budget/info", {"budgets": []})


@pytest.mark.parametrize("field", ["max_budget", "soft_budget", "tpm_limit", "rpm_limit", "max_parallel_requests"])
@pytest.mark.parametrize("value", ["-1", "1e300", '"x"', "[]", "true"])
def test_a_limit_that_is_none_is_refused_with_its_name(field, value):
    """Less than nothing, more than a database counts, and other kinds of value."""
    with pytest.raises(Unprocessable, match=field):
        decoded(f'{{"{field}": {value}}}'.encode(), NewBudget)


@pytest.mark.parametrize("words", ["", "d", "1", "0d", "-1d", "1.5h", "99999999999d", "30 days", "1d; DROP TABLE x"])
@pytest.mark.parametrize("field", ["budget_duration", "team_member_budget_duration"])
def test_a_length_of_time_that_is_none_is_refused_with_its_name(field, words):
    """It would never end, or never begin anew."""
    with pytest.raises(InvalidRequest, match=field):
        check_limits({field: words})


async def test_limits_of_ones_own_are_shown_as_a_budget_over_those_of_a_named_one(desk):
    """LiteLLM's clients look for limits in `litellm_budget_table`, wherever they come from."""
    named = {"max_budget": 5.0, "rpm_limit": 3, "budget_id": "b", "created_at": "2026"}

    table = table_of(desk.office, {"budget_id": "b", "rpm_limit": 9, "litellm_budget_table": named})

    assert (table["max_budget"], table["rpm_limit"], table["tpm_limit"]) == (5.0, 9, None)
    assert (table["budget_id"], table["created_at"]) == ("b", "2026")


async def test_who_made_a_budget_and_who_changed_it_is_kept(desk):
    """The columns that say so are nobody's to be sent."""
    made = await desk.post("/budget/new", {"budget_id": "b", "created_by": "somebody", "updated_by": "somebody"})

    assert (made["created_by"], made["updated_by"]) == ("default_user_id", "default_user_id")
