"""Every request that was paid for, as LiteLLM's clients read it."""

import hashlib

import pytest
from sqlalchemy import event, insert, text

from proxy_cli.admin import activity, reports, spend
from proxy_cli.admin.base import Ask
from proxy_cli.errors import NotFound, Unprocessable
from proxy_cli.store.moments import from_iso
from proxy_cli.store.opening import open_store
from proxy_cli.store.tables import KEYS, TEAMS, USERS
from tests.fakes.spending import ADMIN, ALICE, BOB, VIEWER, ask, day, keep, office_of, row, send, tagged
from tests.fakes.store import fresh_store


@pytest.fixture
async def store(tmp_path):
    opened = fresh_store(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def office(store):
    """Five calls: three of Alice's, one of them failed, and two of Bob's."""
    await keep(
        store,
        rows=[
            row(1),
            row(2, state="failed", status=502, error_code="upstream_unavailable", error="100% broken", cost_nano=0),
            row(3, tags=["a", "b"], metadata={"note": "x"}, team_id="red", cost_nano=5_000, call_id="call-3"),
            row(4, key=BOB.key, user_id="bob", cost_nano=3_000, completion_tokens=50),
            row(5, key=BOB.key, user_id="bob", end_user="customer", messages='[{"role": "user"}]'),
        ],
        days=[
            day(),
            day(key=BOB.key, user_id="bob", nano=2_500_000_000),
            day("2026-11-20", model="llama", nano=500_000_000),
        ],
    )
    return office_of(store)


async def asked(office, path="/spend/logs", caller=ADMIN, **query):
    return await ask(office, spend.ENDPOINTS, path, caller, **query)


def numbers(rows):
    return [int(each["llmproxy_request_id"].removeprefix("ours-")) for each in rows]


async def test_a_row_has_the_fields_that_clients_of_litellm_read(office):
    """Ids, money in USD, tokens, moments as ISO 8601, and whose it was also in the metadata."""
    (found,) = await asked(office, request_id="chatcmpl-3")

    assert found["request_id"] == "chatcmpl-3"
    assert found["call_type"] == "acompletion"
    assert found["spend"] == 5e-6
    assert (found["prompt_tokens"], found["completion_tokens"], found["total_tokens"]) == (10, 5, 15)
    assert found["startTime"] == "2026-11-22T10:00:03.000000Z"
    assert found["request_duration_ms"] == 500
    assert (found["model"], found["model_group"], found["custom_llm_provider"]) == ("gpt-4o", "chat", "openai")
    assert found["request_tags"] == ["a", "b"]
    assert found["metadata"]["note"] == "x"
    assert found["metadata"]["user_api_key_team_id"] == found["team_id"] == "red"
    assert found["status"] == "success"


@pytest.mark.parametrize("name", ["ours-3", "chatcmpl-3", "call-3"])
async def test_a_request_is_found_by_each_of_its_ids(office, name):
    """Ours, its answer's, and the one that its caller gave."""
    assert numbers(await asked(office, request_id=name)) == [3]


async def test_a_request_that_nobody_made_is_no_row(office):
    """An empty list, with or without dates."""
    assert await asked(office, request_id="no-such") == []


async def test_a_key_is_named_as_it_is_or_by_its_digest(store):
    """As a client has it."""
    digest = hashlib.sha256(b"sk-1234").hexdigest()
    await keep(store, rows=[row(1), row(2, key=digest)])
    office = office_of(store)

    assert numbers(await asked(office, api_key="sk-1234")) == numbers(await asked(office, api_key=digest)) == [2]


async def test_rows_are_listed_newest_first(office):
    """Of all users, for whoever sees all; with a limit the newest."""
    assert numbers(await asked(office)) == [5, 4, 3, 2, 1]
    assert numbers(await asked(office, caller=VIEWER, limit="2")) == [5, 4]


async def test_others_find_their_own_rows_alone(office):
    """What is foreign is as what is missing, also when it is named."""
    assert numbers(await asked(office, caller=ALICE)) == [3, 2, 1]
    assert await asked(office, caller=ALICE, user_id="bob") == []
    assert await asked(office, caller=ALICE, request_id="chatcmpl-4") == []


async def test_a_failed_request_tells_why(office):
    """Status and error, in the place where LiteLLM has them."""
    (found,) = await asked(office, request_id="ours-2")

    assert found["status"] == "failure"
    assert found["metadata"]["error_information"] == {
        "error_code": "502",
        "error_class": "upstream_unavailable",
        "error_message": "100% broken",
    }


async def test_with_dates_each_day_is_summed_up(office):
    """By users, models and keys, the earliest first; a day without calls is left out."""
    found = await asked(office, start_date="2026-11-01", end_date="2026-11-30")

    assert [each["startTime"] for each in found] == ["2026-11-20", "2026-11-22"]
    assert found[1]["spend"] == 3.5
    assert found[1]["users"] == {"alice": 1.0, "bob": 2.5}
    assert found[1]["models"] == {"gpt-4o": 3.5}
    assert found[1][BOB.key] == 2.5


async def test_sums_are_narrowed_to_the_caller_and_to_what_is_named(office):
    """As rows are."""
    dates = {"start_date": "2026-11-21", "end_date": "2026-11-22"}

    assert [each["spend"] for each in await asked(office, caller=ALICE, **dates)] == [1.0]
    assert [each["spend"] for each in await asked(office, user_id="bob", **dates)] == [2.5]
    assert [each["spend"] for each in await asked(office, api_key=ALICE.key, **dates)] == [1.0]


async def test_with_dates_and_without_summary_rows_are_listed(office):
    """LiteLLM's `summarize=false`; the end is the end of its day."""
    found = await asked(office, start_date="2026-11-22", end_date="2026-11-22", summarize="false")

    assert numbers(found) == [5, 4, 3, 2, 1]
    assert await asked(office, start_date="2026-11-23", end_date="2026-11-23", summarize="false") == []


async def test_pages_say_where_they_are(office):
    """LiteLLM's fields, and that the total is the real one."""
    found = await asked(office, "/spend/logs/v2", page="2", page_size="2")

    assert numbers(found["data"]) == [3, 2]
    assert (found["page"], found["page_size"], found["total"], found["total_pages"]) == (2, 2, 5, 3)
    assert found["total_is_capped"] is False


async def test_the_cursor_of_a_page_leads_to_the_next_one(office):
    """Whatever is added meanwhile, nothing comes twice and nothing is missed."""
    first = await asked(office, "/spend/logs/v2", page_size="2")
    await keep(office.store, rows=[row(9)])
    second = await asked(office, "/spend/logs/v2", page_size="2", cursor=first["next_cursor"])
    third = await asked(office, "/spend/logs/v2", page_size="2", cursor=second["next_cursor"])

    assert numbers([*first["data"], *second["data"], *third["data"]]) == [5, 4, 3, 2, 1]
    assert third["next_cursor"] is None


async def test_rows_of_one_moment_are_told_apart_by_the_cursor(store):
    """A page may end among them."""
    at = from_iso("2026-11-22T10:00:00")
    await keep(store, rows=[row(number, started_at=at) for number in range(4)])
    office = office_of(store)

    first = await asked(office, "/spend/logs/v2", page_size="3")
    rest = await asked(office, "/spend/logs/v2", page_size="3", cursor=first["next_cursor"])

    assert sorted(numbers([*first["data"], *rest["data"]])) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"sort_by": "spend"}, [3, 4, 1, 5, 2]),
        ({"sort_by": "total_tokens", "page_size": "1"}, [4]),
        ({"sort_order": "asc", "page_size": "2"}, [1, 2]),
        ({"status_filter": "failure"}, [2]),
        ({"status_filter": "success", "user_id": "alice"}, [3, 1]),
        ({"error_message": "100%"}, [2]),
        ({"error_message": "1__%"}, []),
        ({"end_user": "customer"}, [5]),
        ({"team_id": "red"}, [3]),
        ({"model": "chat", "min_spend": "0.000002"}, [4, 3]),
        ({"model": "gpt-4o", "max_spend": "0"}, [2]),
        ({"model": "other"}, []),
        ({"key_alias": "alice's"}, [5, 4, 3, 2, 1]),
        ({"start_date": "2026-11-22 10:00:04", "end_date": "2026-11-22 10:00:05"}, [4]),
    ],
)
async def test_pages_hold_what_is_asked_for(office, query, found):
    """Filters and orders of LiteLLM's page of logs."""
    assert numbers((await asked(office, "/spend/logs/ui", **query))["data"]) == found


@pytest.mark.row("A-02")
@pytest.mark.parametrize(
    "query",
    [
        {"sort_by": "spend; DROP TABLE llmproxy_ledger"},
        {"sort_order": "desc--"},
        {"page": "0"},
        {"page": "1e9"},
        {"page": "999999"},
        {"page_size": "100000"},
        {"min_spend": "nan"},
        {"max_spend": "-1"},
        {"cursor": "' OR 1=1--"},
        {"cursor": "1.a", "sort_by": "spend"},
        {"status_filter": "maybe"},
        {"start_date": "' UNION SELECT 1"},
    ],
)
async def test_what_cannot_be_meant_is_refused(office, query):
    """With the parameter at fault; nothing of it becomes part of a statement."""
    with pytest.raises(Unprocessable) as caught:
        await asked(office, "/spend/logs/v2", **query)

    assert caught.value.param in query


@pytest.mark.row("A-02")
@pytest.mark.parametrize("name", ["user_id", "team_id", "model", "api_key", "request_id", "end_user", "error_message"])
async def test_texts_of_a_query_are_values_and_never_statements(office, name):
    """A quote is a letter like any other."""
    assert (await asked(office, "/spend/logs/v2", **{name: "x' OR '1'='1"}))["data"] == []


async def test_prompts_are_shown_with_one_row_and_not_in_lists(office):
    """A list would read them all for nothing."""
    found = await asked(office, "/spend/logs/v2", request_id="ours-5")
    endpoint = next(each for each in spend.ENDPOINTS if each.name == "spend_log")
    one = await endpoint.answer(office, Ask(caller=ADMIN, slot="ours-5"))

    assert found["data"][0]["messages"] == {}
    assert one["messages"] == [{"role": "user"}]


@pytest.mark.parametrize("slot", ["ours-5", "no-such"])
async def test_a_foreign_row_is_as_a_missing_one(office, slot):
    """Alice learns of Bob's request no more than of one that was never made."""
    endpoint = next(each for each in spend.ENDPOINTS if each.name == "spend_log")

    with pytest.raises(NotFound, match=slot):
        await endpoint.answer(office, Ask(caller=ALICE, slot=slot))


async def test_keys_and_users_are_listed_by_what_they_have_spent(office):
    """With what is known of them; who does not see all sees himself."""
    await office.store.write(
        lambda connection: (
            connection.execute(insert(KEYS).values(digest=BOB.key, alias="bob's", fields={"max_budget": 5.0})),
            connection.execute(insert(USERS).values(user_id="bob", email="bob@example.com", fields={})),
            connection.execute(insert(TEAMS).values(team_id="red", alias="Red")),
        )
    )

    keys, users = await asked(office, "/spend/keys"), await asked(office, "/spend/users")

    assert [(each["token"], each["spend"]) for each in keys] == [(BOB.key, 2.5), (ALICE.key, 1.5)]
    assert (keys[0]["key_alias"], keys[0]["max_budget"]) == ("bob's", 5.0)
    assert [(each["user_id"], each["spend"]) for each in users] == [("bob", 2.5), ("alice", 1.5)]
    assert users[0]["user_email"] == "bob@example.com"
    assert [each["user_id"] for each in await asked(office, "/spend/users", user_id="alice")] == ["alice"]
    assert [each["token"] for each in await asked(office, "/spend/keys", caller=ALICE)] == [ALICE.key]


@pytest.mark.row("D-07")
@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/spend/logs", {"start_date": "2026-11-01", "end_date": "2026-11-30"}),
        ("/spend/keys", {}),
        ("/spend/users", {}),
    ],
)
async def test_sums_never_read_the_ledger(office, path, query):
    """A page of sums costs the same whether ten requests were made or ten million."""
    read = []

    def listen(connection):
        event.listen(connection, "before_cursor_execute", lambda *told: read.append(told[2]))
        return 0

    await office.store.read(listen)
    await asked(office, path, **query)

    assert not [statement for statement in read if "llmproxy_ledger" in statement]


@pytest.mark.row("D-07")
async def test_rows_are_found_by_an_index_in_its_order(store):
    """The newest page is read without sorting or scanning what came before."""
    plan = await store.read(
        lambda connection: connection.execute(
            text(
                "EXPLAIN QUERY PLAN SELECT * FROM llmproxy_ledger WHERE key IN ('a') ORDER BY started_at DESC LIMIT 50"
            )
        ).all()
    )

    assert "llmproxy_ledger_key" in str(plan)
    assert "USE TEMP B-TREE" not in str(plan)


async def filled(store):
    await keep(
        store,
        rows=[row(1), row(2, state="failed", cost_nano=0), row(3, tags=["a"]), row(4, key=BOB.key, user_id="bob")],
        days=[day(), day("2026-11-20", team_id="red"), day(key=BOB.key, user_id="bob", end_user="customer")],
        tags=[tagged("blue"), tagged("green")],
    )
    return office_of(store)


async def test_both_databases_answer_alike(store, postgres):
    """Every page of money, with its filters, for an admin and for others."""
    endpoints = (*spend.ENDPOINTS, *reports.ENDPOINTS, *activity.ENDPOINTS)
    paths = [each.path for each in endpoints if each.method == "GET" and "{" not in each.path]
    dates = {"start_date": "2026-11-01", "end_date": "2026-11-30"}
    queries: tuple[dict[str, str], ...] = (
        {},
        dates,
        {**dates, "summarize": "false", "sort_by": "spend", "api_key": BOB.key, "team_ids": "red"},
    )
    other = open_store(postgres)
    offices = [await filled(store), await filled(other)]

    for path in paths:
        for query in queries:
            for caller in (ADMIN, ALICE):
                one, two = [await ask(office, endpoints, path, caller, **query) for office in offices]
                assert one == two, path

    for office in offices:
        await send(office, reports.ENDPOINTS, "/global/spend/reset", b"")
    await other.close()
