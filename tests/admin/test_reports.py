"""What was spent in all, as LiteLLM's reports say it."""

import pytest
from sqlalchemy import func, insert, select

from proxy_cli.admin import reports
from proxy_cli.admin.sums import ADJUSTMENT
from proxy_cli.errors import Unprocessable
from proxy_cli.store.tables import CHANGES, KEYS, SPEND, TEAMS
from tests.fakes.spending import ADMIN, ALICE, BOB, ask, day, keep, office_of, send, tagged
from tests.fakes.store import fresh_store


@pytest.fixture
async def store(tmp_path):
    opened = fresh_store(tmp_path)
    yield opened
    await opened.close()


@pytest.fixture
async def office(store):
    """Two days of Alice, one of Bob's, in a team, for a customer."""
    await keep(
        store,
        days=[
            day(),
            day("2026-11-20", model="llama", model_group="local", provider="hosted_vllm", nano=500_000_000),
            day(key=BOB.key, user_id="bob", team_id="red", end_user="customer", nano=2_000_000_000, requests=3),
            day("2025-01-01", nano=7_000_000_000),
        ],
        tags=[tagged("blue"), tagged("green", nano=3_000_000_000, requests=2), tagged("blue", key=BOB.key, nano=1)],
    )
    await store.write(
        lambda connection: (
            connection.execute(insert(TEAMS).values(team_id="red", alias="Red")),
            connection.execute(insert(KEYS).values(digest=BOB.key, alias="bob's", hint="sk-...bbbb")),
        )
    )
    return office_of(store)


async def asked(office, path, caller=ADMIN, **query):
    return await ask(office, reports.ENDPOINTS, path, caller, **query)


async def test_each_day_of_the_last_thirty_is_told(office):
    """The earliest first; older ones when they are asked for."""
    assert await asked(office, "/global/spend/logs") == [
        {"date": "2026-11-20", "spend": 0.5},
        {"date": "2026-11-22", "spend": 3.0},
    ]
    older = await asked(office, "/global/spend/logs", start_date="2025-01-01", end_date="2025-01-02")
    assert older == [{"date": "2025-01-01", "spend": 7.0}]


async def test_the_days_of_one_key_are_told_with_it(office):
    """As it was named, so that a client knows its answer again."""
    found = await asked(office, "/global/spend/logs", api_key=BOB.key)

    assert found == [{"date": "2026-11-22", "spend": 2.0, "api_key": BOB.key}]


async def test_the_keys_that_spend_most_come_first(office):
    """With alias and hint, of those keys that are still there."""
    assert await asked(office, "/global/spend/keys") == [
        {"api_key": BOB.key, "key_alias": "bob's", "key_name": "sk-...bbbb", "total_spend": 2.0},
        {"api_key": ALICE.key, "key_alias": None, "key_name": None, "total_spend": 1.5},
    ]
    assert len(await asked(office, "/global/spend/keys", limit="1")) == 1


async def test_models_and_providers_are_told_by_what_they_cost(office):
    """The dearest first."""
    assert await asked(office, "/global/spend/models") == [
        {"model": "gpt-4o", "total_spend": 3.0},
        {"model": "llama", "total_spend": 0.5},
    ]
    assert await asked(office, "/global/spend/provider") == [
        {"provider": "openai", "spend": 3.0},
        {"provider": "hosted_vllm", "spend": 0.5},
    ]


async def test_teams_are_told_by_day_and_in_all(office):
    """By their aliases; what belongs to none is told, too."""
    assert await asked(office, "/global/spend/teams") == {
        "daily_spend": [
            {"date": "2026-11-20", "Unassigned": 0.5},
            {"date": "2026-11-22", "Unassigned": 1.0, "Red": 2.0},
        ],
        "teams": ["Red", "Unassigned"],
        "total_spend_per_team": [
            {"team_id": "red", "team_alias": "Red", "total_spend": 2.0},
            {"team_id": "Unassigned", "team_alias": "Unassigned", "total_spend": 1.5},
        ],
    }


async def test_end_users_are_told_with_their_calls(office):
    """Of a key and of days, where they are named; nobody is no end user."""
    path = "/global/spend/end_users"
    everyone = [{"end_user": "customer", "total_count": 3, "total_spend": 2.0}]

    assert await send(office, reports.ENDPOINTS, path, b"") == everyone
    assert await send(office, reports.ENDPOINTS, path, f'{{"api_key": "{BOB.key}"}}'.encode()) == everyone
    assert await send(office, reports.ENDPOINTS, path, f'{{"api_key": "{ALICE.key}"}}'.encode()) == []
    assert await send(office, reports.ENDPOINTS, path, b'{"startTime": "2026-11-23", "endTime": "2026-11-24"}') == []
    assert await asked(office, "/global/all_end_users") == {"end_users": ["customer"]}


async def test_tags_are_told_in_both_shapes(office):
    """For scripts and for LiteLLM's page; of some of them where they are named."""
    assert await asked(office, "/spend/tags") == [
        {"individual_request_tag": "green", "log_count": 2, "total_spend": 3.0},
        {"individual_request_tag": "blue", "log_count": 2, "total_spend": 1.000000001},
    ]
    assert await asked(office, "/global/spend/tags", tags="green") == {
        "spend_per_tag": [{"name": "green", "spend": 3.0, "log_count": 2}]
    }
    assert await asked(office, "/global/spend/all_tag_names") == {"tag_names": ["blue", "green"]}


async def test_tags_of_others_are_not_told(office):
    """Bob's part of a tag is his."""
    found = await asked(office, "/spend/tags", caller=BOB)

    assert found == [{"individual_request_tag": "blue", "log_count": 1, "total_spend": 1e-9}]


async def test_a_report_of_teams_has_days_with_teams_with_models(office):
    """And what each model has cost by key."""
    found = await asked(office, "/global/spend/report", start_date="2026-11-22", end_date="2026-11-22")

    (of_day,) = found
    red = next(each for each in of_day["teams"] if each["team_name"] == "Red")
    assert of_day["group_by_day"] == "2026-11-22"
    assert red["total_spend"] == 2.0
    assert red["metadata"] == [{"model": "gpt-4o", "spend": 2.0, "total_tokens": 15, "api_key": BOB.key}]


async def test_a_report_of_customers_names_them(office):
    """By end user, those without one under an empty name."""
    found = await asked(office, "/global/spend/report", group_by="customer", start_date="2026-11-22")

    assert {each["customer"]: each["total_spend"] for each in found[0]["customers"]} == {"": 1.0, "customer": 2.0}


@pytest.mark.parametrize("query", [{"group_by": "api_key"}, {"api_key": ALICE.key}])
async def test_a_report_of_keys_has_their_models(office, query):
    """The dearest first, with tokens in and out."""
    found = await asked(office, "/global/spend/report", **query)

    of_alice = next(each for each in found if each["api_key"] == ALICE.key)
    assert of_alice["total_cost"] == 1.5
    assert (of_alice["total_input_tokens"], of_alice["total_output_tokens"]) == (20, 10)
    assert [each["model"] for each in of_alice["model_details"]] == ["gpt-4o", "llama"]


async def test_a_report_of_one_user_or_customer_is_grouped_by_what_was_named(office):
    """Without a word on the grouping."""
    of_user = await asked(office, "/global/spend/report", internal_user_id="bob")
    of_customer = await asked(office, "/global/spend/report", customer_id="customer")

    assert [each["internal_user_id"] for each in of_user] == ["bob"]
    assert of_customer[0]["customers"][0]["customer"] == "customer"


async def test_a_report_by_what_is_not_known_is_refused(office):
    """With the words that are."""
    with pytest.raises(Unprocessable, match="team, customer, api_key"):
        await asked(office, "/global/spend/report", group_by="moon")


async def test_activity_counts_requests_and_tokens(office):
    """Of each day, in all and by model."""
    assert await asked(office, "/global/activity") == {
        "daily_data": [
            {"date": "Nov 20", "api_requests": 1, "total_tokens": 15},
            {"date": "Nov 22", "api_requests": 4, "total_tokens": 30},
        ],
        "sum_api_requests": 5,
        "sum_total_tokens": 45,
    }
    by_model = await asked(office, "/global/activity/model")
    assert [(each["model"], each["sum_api_requests"]) for each in by_model] == [("chat", 4), ("local", 1)]


async def test_the_whole_proxys_spend_is_that_of_its_present_window(office):
    """Where the ledger has counted it as such; else of all days."""
    assert await asked(office, "/global/spend") == {"spend": 10.5, "max_budget": None}

    proxy = {"kind": "proxy", "id": ""}
    rows = [
        {"window": 1, "node": "a", "nano": 9},
        {"window": 2, "node": "a", "nano": 3},
        {"window": 2, "node": "b", "nano": 4},
    ]
    await office.store.write(lambda connection: connection.execute(insert(SPEND), [{**proxy, **each} for each in rows]))

    assert (await asked(office, "/global/spend"))["spend"] == 7e-9


async def test_a_reset_makes_sums_of_keys_and_teams_nothing_and_loses_no_count(office):
    """What servers count goes on from there; users and the ledger's sums stay."""
    counted = [("key", "k", 1, 5), ("key", "k", 2, 6), ("team", "t", 0, 7), ("user", "u", 0, 8)]
    rows = [{"kind": kind, "id": name, "window": at, "node": "a", "nano": nano} for kind, name, at, nano in counted]
    await office.store.write(lambda connection: connection.execute(insert(SPEND), rows))

    for _ in range(2):
        await send(office, reports.ENDPOINTS, "/global/spend/reset", b"")

    query = select(SPEND.c.kind, func.sum(SPEND.c.nano)).group_by(SPEND.c.kind)
    sums = await office.store.read(lambda connection: dict(connection.execute(query).all()))
    assert sums == {"key": 0, "team": 0, "user": 8}
    adjusted = select(func.count()).select_from(SPEND).where(SPEND.c.node == ADJUSTMENT)
    assert await office.store.read(lambda connection: connection.scalar(adjusted)) == 3
    kinds = await office.store.read(lambda connection: set(connection.scalars(select(CHANGES.c.kind))))
    assert kinds == {"spend"}
    assert ("spend", "") in office.callers.forgotten


async def test_a_reset_where_nothing_was_spent_changes_nothing(office):
    """The first hour of a proxy."""
    assert (await send(office, reports.ENDPOINTS, "/global/spend/reset", b""))["status"] == "success"


async def test_providers_have_no_budgets(office):
    """The path answers, for clients that look."""
    assert await asked(office, "/provider/budgets") == {"providers": {}}
